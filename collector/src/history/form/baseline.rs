//! What is usual, as JSON.

use super::{EdgeForm, ServiceForm, Unreadable, read, write};
use crate::detect::p99::SeriesBaseline;
use crate::record::{BaselineRecord, Part, RetryBaseline, Subject};
use fusebox_proto::Invalid;
use fusebox_proto::text::visible;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SubjectForm {
    Service(ServiceForm),
    Edge(EdgeForm),
    Part { edge: EdgeForm, route: String, subset: String },
}

impl From<&Subject> for SubjectForm {
    fn from(subject: &Subject) -> Self {
        match subject {
            Subject::Service(service) => Self::Service(service.into()),
            Subject::Edge(edge) => Self::Edge(edge.into()),
            Subject::Part(Part { edge, route, subset }) => Self::Part {
                edge: edge.into(),
                route: route.to_string(),
                subset: subset.to_string(),
            },
        }
    }
}

impl TryFrom<SubjectForm> for Subject {
    type Error = Invalid;

    fn try_from(form: SubjectForm) -> Result<Self, Invalid> {
        Ok(match form {
            SubjectForm::Service(service) => Self::Service(service.try_into()?),
            SubjectForm::Edge(edge) => Self::Edge(edge.try_into()?),
            SubjectForm::Part { edge, route, subset } => Self::Part(Part {
                edge: edge.try_into()?,
                route: visible(&route).into(),
                subset: visible(&subset).into(),
            }),
        })
    }
}

/// The key under which what is usual of `subject` is kept.
pub(in crate::history) fn subject_key(subject: &Subject) -> String {
    serde_json::to_string(&SubjectForm::from(subject)).expect("nothing here can fail")
}

/// Whether a key is that of a route or subset; so it can be told of a record that cannot be read.
pub(in crate::history) fn is_part(subject_key: &str) -> bool {
    subject_key.starts_with(r#"{"part":"#)
}

#[derive(Serialize, Deserialize)]
struct BaselineForm {
    of: SubjectForm,
    latency: SeriesBaseline,
    retries: RetryBaseline,
    failed: Vec<f32>,
}

/// What is usual as JSON.
pub(in crate::history) fn write_baseline(record: &BaselineRecord) -> String {
    let BaselineRecord { subject, latency, retries, failed } = record.clone();
    write(BaselineForm { of: (&subject).into(), latency, retries, failed })
}

/// And back.
pub(in crate::history) fn read_baseline(text: &str) -> Result<BaselineRecord, Unreadable> {
    let BaselineForm { of, latency, retries, failed } = read(text)?;
    Ok(BaselineRecord { subject: of.try_into()?, latency, retries, failed })
}
