//! Resource attributes → who sent it.

use super::attributes::text;
use super::visible;
use crate::spans::Origin;
use fusebox_proto::name::NAME_LEN_MAX;
use fusebox_proto::{ServiceId, text};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::borrow::Cow;
use std::sync::Arc;

/// Attributes of a resource beyond this many are not looked at.
const ATTRIBUTES_MAX: usize = 256;

/// Who sent the spans of this resource, and whether it is an Envoy.
pub(super) fn of(resource: Option<&Resource>) -> (Origin, bool) {
    let attributes = resource.map(|resource| resource.attributes.as_slice()).unwrap_or_default();
    let value = |key: &str| {
        let mut first = attributes.iter().take(ATTRIBUTES_MAX);
        first.find(|entry| entry.key == key)?.value.as_ref()
    };
    let text = |key: &str| value(key).and_then(text).filter(|text| !text.trim().is_empty());
    let is_envoy = text("telemetry.sdk.name") == Some("envoy");
    let environment =
        text("deployment.environment.name").or_else(|| text("deployment.environment"));
    let name = text("service.name").map_or_else(
        || match text("process.executable.name") {
            Some(executable) => Cow::from(format!("unknown_service:{executable}")),
            None => Cow::from("unknown_service"),
        },
        Cow::from,
    );
    let host_and_pid = || {
        let pid = match value("process.pid")?.value.as_ref()? {
            Value::IntValue(pid) => pid.to_string(),
            Value::StringValue(pid) => pid.clone(),
            _ => return None,
        };
        Some(Arc::from(visible(&format!("{}:{pid}", text("host.name")?))))
    };
    let instance =
        || text("service.instance.id").map(|id| visible(id).into()).or_else(host_and_pid);
    let origin = Origin {
        service: service(
            environment.unwrap_or_default(),
            text("service.namespace").unwrap_or_default(),
            &name,
        ),
        instance: if is_envoy { None } else { instance() },
        version: text("service.version").filter(|_| !is_envoy).map(|text| visible(text).into()),
    };
    (origin, is_envoy)
}

fn service(environment: &str, namespace: &str, name: &str) -> ServiceId {
    let cut = |part| text::cut(part, NAME_LEN_MAX);
    ServiceId::new(&cut(environment), &cut(namespace), &cut(name))
        .expect("the parts were cut to the allowed length, and the name is not blank")
}
