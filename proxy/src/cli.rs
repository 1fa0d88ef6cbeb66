//! The command line of `fusebox-proxy`.

mod endpoint;
mod ingress;
mod operation;

use crate::config::{ADMIN_DEFAULT, Config, ENDPOINTS_MAX, Inbound, Limits, Outbound, Token};
use clap::Parser;
use endpoint::endpoint;
use fusebox_proto::policy::{self, Document};
use fusebox_proto::{Invalid, ServiceId};
use ingress::IngressArgs;
use operation::OperationArgs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A sidecar proxy with breakers.
///
/// Every flag is also read from the environment as `FUSEBOX_<FLAG>`; flags that may be repeated
/// take several values there, separated by spaces.
#[derive(Debug, Parser)]
#[command(
    name = "fusebox-proxy",
    version,
    about,
    after_help = "fusebox-proxy redirect prints the rules for transparent interception."
)]
pub struct Args {
    /// Name of the service whose sidecar this is
    #[arg(long, value_name = "NAME", env = "FUSEBOX_SERVICE")]
    service: String,
    /// Namespace of the service
    #[arg(long, value_name = "NS", default_value = "", env = "FUSEBOX_NAMESPACE")]
    namespace: String,
    /// Environment of the service, such as production; two environments never merge
    #[arg(long, value_name = "ENV", default_value = "", env = "FUSEBOX_ENVIRONMENT")]
    environment: String,
    /// Which instance of the service [default: the machine's name and the admin port]
    #[arg(
        long,
        value_name = "ID",
        default_value = "",
        hide_default_value = true,
        env = "FUSEBOX_INSTANCE"
    )]
    instance: String,
    /// Control address of a collector, such as <http://127.0.0.1:4319>; without one the proxy works
    /// alone
    #[arg(long, value_name = "URL", value_parser = collector, env = "FUSEBOX_COLLECTOR")]
    collector: Option<String>,
    /// File with the token that the collector asks for
    #[arg(long, value_name = "FILE", value_parser = token, env = "FUSEBOX_TOKEN_FILE")]
    token_file: Option<Token>,
    /// File with the traffic policy of a proxy without a collector, as Istio or the Gateway API
    /// write it; a collector's policy replaces it
    #[arg(long, value_name = "FILE", env = "FUSEBOX_CONFIG")]
    config: Option<PathBuf>,
    /// Directory in which the last good policy of the collector is kept over a restart
    #[arg(long, value_name = "DIR", env = "FUSEBOX_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Where /metrics, /healthz, /readyz, /config and /breakers are served
    #[arg(long, value_name = "ADDR", default_value_t = ADMIN_DEFAULT, value_parser = listen, env = "FUSEBOX_ADMIN")]
    admin: SocketAddr,
    /// Threads that serve traffic
    #[arg(long, value_name = "N", default_value_t = 1, env = "FUSEBOX_WORKERS")]
    workers: usize,
    /// Start a trace for this share of the requests that carry no traceparent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, env = "FUSEBOX_TRACE_ROOT")]
    trace_root: f64,
    /// Allow listening beyond loopback although nothing is encrypted
    #[arg(long, env = "FUSEBOX_INSECURE")]
    insecure: bool,
    /// Let connections be upgraded to this protocol, beside websocket; never h2c
    #[arg(long, value_name = "NAME", value_delimiter = ' ', env = "FUSEBOX_UPGRADE")]
    upgrade: Vec<String>,
    /// A listener in front of the application, such as 127.0.0.1:15006=127.0.0.1:8080
    #[arg(long, value_name = "LISTEN=APP", value_parser = inbound, value_delimiter = ' ', env = "FUSEBOX_INBOUND")]
    inbound: Vec<Inbound>,
    /// A listener for calls to a service, such as
    /// 127.0.0.1:15001=inventory@127.0.0.1:8081,127.0.0.1:8082, or dns:inventory.local:8081 for all
    /// addresses of a name, or srv:_http._tcp.inventory.local for its SRV records; without endpoints
    /// those of a service entry of the policy are taken; or for calls to all services, those of service entries
    /// too, told apart by Host, such as 127.0.0.1:15001
    #[arg(long, value_name = "LISTEN[=HOST[@ENDPOINT[,ENDPOINT]...]]", value_parser = outbound, value_delimiter = ' ', env = "FUSEBOX_OUTBOUND")]
    outbound: Vec<OutboundFlag>,
    /// Connections are redirected to the listener for all services (see fusebox-proxy redirect
    /// --help): pass on what goes to unknown services
    #[arg(long, env = "FUSEBOX_TRANSPARENT")]
    transparent: bool,
    /// Forward the names of HTTP/1 headers in the letters in which they came
    #[arg(long, env = "FUSEBOX_PRESERVE_HEADER_CASE")]
    preserve_header_case: bool,
    #[command(flatten)]
    ingress: IngressArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

/// What one `--outbound` asks for.
#[derive(Clone, Debug)]
enum OutboundFlag {
    Service(Outbound),
    All(SocketAddr),
}

impl Args {
    /// The configuration that these arguments describe.
    ///
    /// # Errors
    /// What is wrong, in which flag, and what is allowed.
    pub fn config(self) -> Result<Config, Invalid> {
        let service = ServiceId::new(&self.environment, &self.namespace, &self.service)
            .map_err(|invalid| Invalid::new(flag_of(&invalid.field), invalid.reason))?;
        let (mut services, mut by_host) = (Vec::new(), Vec::new());
        for flag in self.outbound {
            match flag {
                OutboundFlag::Service(outbound) => services.push(outbound),
                OutboundFlag::All(listen) => by_host.push(listen),
            }
        }
        for outbound in &services {
            outbound.edge(&service).map_err(|invalid| {
                Invalid::new("--outbound", format!("{:?} {}", outbound.host, invalid.reason))
            })?;
        }
        let config = Config {
            policy: self.config.as_deref().map(documents).transpose()?.unwrap_or_default(),
            state_dir: self.state_dir,
            service,
            instance: self.instance,
            collector: self.collector,
            token: self.token_file,
            admin: self.admin,
            workers: self.workers,
            trace_root_percent: self.trace_root,
            insecure: self.insecure,
            inbound: self.inbound,
            outbound: services,
            by_host,
            transparent: self.transparent,
            ingress: self.ingress.ingress()?,
            upgrades: self.upgrade,
            limits: Limits { preserve_header_case: self.preserve_header_case, ..Limits::default() },
            operation: self.operation.operation()?,
        };
        config.check()?;
        Ok(config)
    }
}

/// The flag that a part of a service's name came from.
fn flag_of(part: &str) -> &'static str {
    match part {
        "environment" => "--environment",
        "namespace" => "--namespace",
        _ => "--service",
    }
}

fn collector(text: &str) -> Result<String, String> {
    let allowed = "allowed is http://HOST:PORT, the collector's control address";
    let uri: http::Uri = text.parse().map_err(|e| format!("{e}; {allowed}"))?;
    if uri.scheme_str() != Some("http") || uri.port_u16().is_none() {
        return Err(allowed.into());
    }
    if !matches!(uri.path_and_query().map(http::uri::PathAndQuery::as_str), None | Some("/")) {
        return Err(format!("has a path; {allowed}"));
    }
    Ok(text.to_owned())
}

fn token(path: &str) -> Result<Token, String> {
    Token::read(Path::new(path))
}

/// The documents of a policy file. Whether they fit together is seen at the start.
fn documents(path: &Path) -> Result<Vec<Document>, Invalid> {
    let invalid = |reason: String| Invalid::new("--config", reason);
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|error| invalid(format!("{name}: {error}")))?;
    let read = policy::read(&name, &text);
    let (documents, _) = read.map_err(|findings| invalid(crate::policy::reason(&findings)))?;
    Ok(documents)
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("{text:?} is no listening address; allowed is IP:PORT such as 127.0.0.1:15001")
    })
}

fn inbound(text: &str) -> Result<Inbound, String> {
    let (at, app) = text.split_once('=').ok_or("has no '='; allowed is LISTEN=APP")?;
    let app = endpoint(app)?;
    if app.followed().is_some() {
        return Err(format!("{app} has dns: or srv:, which are for --outbound"));
    }
    Ok(Inbound { listen: listen(at)?, app })
}

fn outbound(text: &str) -> Result<OutboundFlag, String> {
    const ALLOWED: &str = "allowed is LISTEN=HOST[@ENDPOINT[,ENDPOINT]...] or LISTEN";
    let Some((at, rest)) = text.split_once('=') else {
        return listen(text).map(OutboundFlag::All);
    };
    let (host, list) = match rest.split_once('@') {
        Some((host, list)) => (host, Some(list)),
        None => (rest, None),
    };
    if host.is_empty() {
        return Err(format!("has no host behind '='; {ALLOWED}"));
    }
    let endpoints = list.map(|list| list.split(',').map(endpoint).collect::<Result<Vec<_>, _>>());
    let endpoints = endpoints.transpose()?.unwrap_or_default();
    if ENDPOINTS_MAX < endpoints.len() {
        return Err(format!("has {} endpoints; at most {ENDPOINTS_MAX}", endpoints.len()));
    }
    let outbound = Outbound { listen: listen(at)?, host: host.to_owned(), endpoints };
    Ok(OutboundFlag::Service(outbound))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::operation::{AccessLog, Only};

    fn parse(flags: &str) -> Result<Config, String> {
        let words = std::iter::once("fusebox-proxy").chain(flags.split_whitespace());
        let args = Args::try_parse_from(words).map_err(|error| {
            assert_eq!(error.exit_code(), 2, "usage errors exit 2");
            error.to_string()
        })?;
        args.config().map_err(|invalid| invalid.to_string())
    }

    /// Scenario: command lines as people write them.
    /// Guarantees: they parse into what they say.
    #[test]
    fn good_command_lines() {
        let config = parse(
            "--service payment --namespace shop --environment prod --instance a \
             --collector http://127.0.0.1:4319 --admin 127.0.0.1:0 --workers 2 --trace-root 12.5 \
             --inbound 127.0.0.1:15006=127.0.0.1:8080 --inbound [::1]:15007=localhost:8081 \
             --outbound 127.0.0.1:15001=inventory@127.0.0.1:8081,[::1]:8082;version=v2;zone=a",
        )
        .unwrap();
        assert_eq!(config.service.to_string(), "prod/shop/payment");
        assert_eq!(config.proxy_id().unwrap().as_str(), "prod/shop/payment/a");
        assert_eq!(config.workers, 2);
        assert_eq!(config.inbound.len(), 2);
        let outbound = &config.outbound[0];
        assert_eq!(
            outbound.edge(&config.service).unwrap().destination.to_string(),
            "prod/shop/inventory"
        );
        assert_eq!(outbound.endpoints[1].to_string(), "[::1]:8082;version=v2;zone=a");
        let operated = parse(
            "--service a --inbound 127.0.0.1:1=127.0.0.1:2 --access-log - --access-log-only refusals \
             --trusted-hops 1 --preserve-header-case --drain-grace 5s --drain-timeout 1m \
             --label version=v2 --label app=shop --state-dir /tmp/a --takeover \
             --dns-server 127.0.0.1:53 --dns-server [::1]:5353",
        )
        .unwrap();
        assert!(operated.limits.preserve_header_case);
        let operation = operated.operation;
        assert_eq!(operation.access_log, Some(AccessLog { path: None, only: Only::Refusals }));
        assert_eq!((operation.trusted_hops, operation.takeover), (Some(1), true));
        assert_eq!(operation.labels["version"], "v2");
        assert_eq!(operation.dns_servers[1], SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 5353)));
        assert_eq!(operation.drain_timeout, std::time::Duration::from_mins(1));
        let flags = "--service a --outbound 127.0.0.1:1 --outbound 127.0.0.1:2=b@h:1 --transparent";
        let all = parse(flags).unwrap();
        assert_eq!((all.by_host.len(), all.outbound.len(), all.transparent), (1, 1, true));

        let named = parse("--service a --outbound 127.0.0.1:1=api.example.com:443").unwrap();
        assert_eq!(
            (&*named.outbound[0].host, named.outbound[0].port()),
            ("api.example.com:443", 443)
        );
        assert_eq!(named.outbound[0].endpoints, []);

        let entry = "--service a --outbound 127.0.0.1:2=b@h:1 --ingress istio-ingressgateway";
        let ingress = parse(entry).unwrap().ingress.unwrap();
        assert_eq!(
            (&*ingress.gateway, ingress.address.is_loopback()),
            ("istio-ingressgateway", true)
        );
        let ports = "--ingress-port 80=127.0.0.1:0 --ingress-port 443=[::1]:8443";
        let ingress = parse(&format!("{entry} --ingress-address ::1 {ports}")).unwrap().ingress;
        let ingress = ingress.unwrap();
        assert_eq!((ingress.address.to_string(), ingress.ports.len()), ("::1".to_owned(), 2));
        let open = format!("{entry} --ingress-address 0.0.0.0 --insecure");
        assert!(parse(&open).unwrap().insecure);

        let exposed = parse("--service a --insecure --inbound 0.0.0.0:1=127.0.0.1:2").unwrap();
        assert!(exposed.insecure);
        assert_eq!(exposed.admin, ADMIN_DEFAULT);
        assert_eq!(exposed.collector, None);
    }

    /// Scenario: command lines with one thing wrong each.
    /// Guarantees: the message names the flag and says what is allowed.
    #[test]
    fn bad_command_lines() {
        let check = |flags: &str, flag: &str, says: &str| {
            let message = parse(flags).expect_err(flags);
            assert!(message.contains(flag) && message.contains(says), "{flags}: {message}");
        };
        let some = "--service a --inbound 127.0.0.1:1=127.0.0.1:2";
        check("--inbound 127.0.0.1:1=127.0.0.1:2", "--service", "required");
        check("--service a", "--inbound", "at least one");
        check("--service a --inbound 127.0.0.1:1", "--inbound", "LISTEN=APP");
        check("--service a --inbound x=127.0.0.1:2", "--inbound", "IP:PORT");
        check("--service a --inbound 127.0.0.1:1=127.0.0.1", "--inbound", "HOST:PORT");
        check("--service a --inbound 127.0.0.1:1=127.0.0.1:0", "--inbound", "HOST:PORT");
        check("--service a --inbound 127.0.0.1:1=:80", "--inbound", "HOST:PORT");
        check("--service a --outbound 127.0.0.1:1=", "--outbound", "HOST[@ENDPOINT");
        check("--service a --outbound 127.0.0.1:1=@127.0.0.1:2", "--outbound", "no host");
        check("--service a --outbound 127.0.0.1:1=b@", "--outbound", "HOST:PORT");
        check("--service a --outbound 127.0.0.1:1=b@srv:a..b", "--outbound", "srv:NAME");
        check("--service a --inbound 127.0.0.1:1=dns:h:1", "--inbound", "for --outbound");
        check("--service a --inbound 127.0.0.1:1=srv:h", "--inbound", "for --outbound");
        check(
            &format!("{some}{}", " --dns-server 127.0.0.1:53".repeat(9)),
            "--dns-server",
            "at most 8",
        );
        check("--service a --outbound 127.0.0.1:1=b@u@h:1", "--outbound", "HOST:PORT");
        check("--service a --inbound 0.0.0.0:1=127.0.0.1:2", "--inbound", "--insecure");
        check(&format!("{some} --admin 10.0.0.1:1"), "--admin", "--insecure");
        check(&format!("{some} --workers 0"), "--workers", "1 to 64");
        check(&format!("{some} --workers x"), "--workers", "invalid");
        check(&format!("{some} --trace-root 101"), "--trace-root", "0 to 100");
        check(&format!("{some} --trace-root NaN"), "--trace-root", "0 to 100");
        check(&format!("{some} --collector 127.0.0.1:4319"), "--collector", "http://HOST:PORT");
        check(&format!("{some} --collector https://h:1"), "--collector", "http://HOST:PORT");
        check(&format!("{some} --collector http://h"), "--collector", "http://HOST:PORT");
        check(&format!("{some} --collector http://h:1/x"), "--collector", "path");
        check("--service a --outbound 127.0.0.1:1", "--outbound", "needs services");
        check(&format!("{some} --transparent"), "--transparent", "--outbound LISTEN");
        check(&format!("{some} --outbound 1"), "--outbound", "IP:PORT");
        check(&format!("{some} --upgrade h2c"), "--upgrade", "speaks HTTP");
        check(&format!("{some} --what"), "--what", "unexpected");
        check(&format!("{some} --token-file /does/not/exist"), "--token-file", "No such file");
        check(&format!("{some} --label a"), "--label", "KEY=VALUE");
        check(&format!("{some} --label a=1 --label a=2"), "--label", "twice");
        check(&format!("{some} --trusted-hops x"), "--trusted-hops", "invalid");
        check(&format!("{some} --access-log-only refusals"), "--access-log-only", "not given");
        check(
            &format!("{some} --access-log - --access-log-only x"),
            "--access-log-only",
            "failures",
        );
        check(&format!("{some} --drain-timeout 20"), "--drain-timeout", "5m");
        check(&format!("{some} --drain-grace 30s"), "--drain-grace", "--drain-timeout");
        check(&format!("{some} --takeover"), "--takeover", "--state-dir");
        check("--service a --ingress g", "--ingress", "needs services");
        check(&format!("{some} --ingress-port 80=127.0.0.1:1"), "--ingress-port", "--ingress,");
        let entry = "--service a --outbound 127.0.0.1:2=b@h:1 --ingress g";
        check(&entry.replace("--ingress g", "--ingress a/g"), "--ingress", "istio-ingressgateway");
        check(&format!("{entry} --ingress-port 80"), "--ingress-port", "PORT=LISTEN");
        check(&format!("{entry} --ingress-port 0=127.0.0.1:1"), "--ingress-port", "PORT=LISTEN");
        check(&format!("{entry} --ingress-port 80=8080"), "--ingress-port", "IP:PORT");
        let twice = "--ingress-port 80=127.0.0.1:1 --ingress-port 80=127.0.0.1:2";
        check(&format!("{entry} {twice}"), "--ingress-port", "twice");
        check(&format!("{entry} --ingress-address 0.0.0.0"), "--ingress-address", "--insecure");
        check(&format!("{entry} --ingress-port 80=10.0.0.1:1"), "--ingress-port", "--insecure");
        let long = "n".repeat(200);
        check(&format!("--service {long} --inbound 127.0.0.1:1=127.0.0.1:2"), "--service", "128");
        check(&format!("--service a --outbound 127.0.0.1:1={long}@h:1"), "--outbound", "128");
    }
}
