//! Where a service is, as the command line says it.

use crate::config::Endpoint;
use crate::dns;
use std::collections::BTreeMap;

/// `[dns:]HOST:PORT[;LABEL=VALUE]...` or `srv:NAME[;LABEL=VALUE]...`.
pub(super) fn endpoint(text: &str) -> Result<Endpoint, String> {
    let mut parts = text.split(';');
    let address = parts.next().unwrap_or_default();
    match dns::service_name(address) {
        Some(name) => service(name)?,
        None => host(address)?,
    }
    let mut labels = BTreeMap::new();
    for part in parts {
        let label = part.split_once('=').filter(|(label, _)| !label.is_empty());
        let (label, value) =
            label.ok_or_else(|| format!("{part:?} is no label; allowed is LABEL=VALUE"))?;
        labels.insert(label.to_owned(), value.to_owned());
    }
    Ok(Endpoint { address: address.to_owned(), labels, weight: 1 })
}

fn service(name: &str) -> Result<(), String> {
    if dns::is_name(name) {
        return Ok(());
    }
    let allowed = "allowed is srv:NAME, whose SRV records tell the ports, such as \
                   srv:_http._tcp.inventory.example";
    Err(format!("\"srv:{}\" is no endpoint; {allowed}", name.escape_debug()))
}

fn host(address: &str) -> Result<(), String> {
    let allowed = "allowed is [dns:]HOST:PORT[;LABEL=VALUE]... or srv:NAME[;LABEL=VALUE]...";
    let wrong = || format!("{address:?} is no endpoint; {allowed}");
    // `dns:53` is a host named `dns`.
    let name = address.strip_prefix("dns:").filter(|name| name.contains(':'));
    let authority: http::uri::Authority = name.unwrap_or(address).parse().map_err(|_| wrong())?;
    if authority.host().is_empty() || address.contains('@') {
        return Err(wrong());
    }
    if authority.port_u16().is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: endpoints as people write them: addresses, hosts, names to be followed.
    /// Guarantees: each parses into what it says; only `dns:` and `srv:` names are followed, and a host
    /// may be named `dns` or `srv`.
    #[test]
    fn good_endpoints() {
        let check = |text: &str, followed: Option<&str>| {
            let endpoint = endpoint(text).unwrap();
            assert_eq!((endpoint.followed(), endpoint.to_string()), (followed, text.to_owned()));
        };
        check("127.0.0.1:80", None);
        check("[::1]:80;version=v2;zone=a", None);
        check("inventory:80", None);
        check("dns:53", None);
        check("srv:53", None);
        check("dns:b.local:80;v=1", Some("b.local:80"));
        check("dns:b.local.:80", Some("b.local.:80"));
        let name = "srv:_http._tcp.inventory.example";
        check(name, Some(name));
        check("srv:_http._tcp.b.;version=v2", Some("srv:_http._tcp.b."));
    }

    /// Scenario: endpoints with one thing wrong each.
    /// Guarantees: the message says what is allowed.
    #[test]
    fn bad_endpoints() {
        let long = format!("srv:{}", "a".repeat(64));
        let check = |text: &str, says: &str| {
            let message = endpoint(text).expect_err(text);
            assert!(message.contains(says), "{text}: {message}");
        };
        for text in ["127.0.0.1", "127.0.0.1:0", ":80", "", "u@h:1", "dns:h", "dns:h:0", "dns:h:x"]
        {
            check(text, "[dns:]HOST:PORT");
        }
        for text in ["srv:", "srv:a..b", "srv:a b", "srv:_http._tcp.b:80", "srv:a/b", &*long] {
            check(text, "allowed is srv:NAME");
        }
        check("h:1;v", "LABEL=VALUE");
        check("srv:a;=v", "LABEL=VALUE");
    }
}
