//! What the collector is told when it starts: flags and environment over a file over defaults.

mod options;

pub use options::Options;

use crate::guard::{self, AT_ONCE_MAX, PER_MINUTE_MAX};
use crate::token::Token;
use fusebox_proto::Invalid;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// OTLP/gRPC, OpenTelemetry's own port.
pub const OTLP_GRPC_PORT: u16 = 4317;
/// OTLP/HTTP, OpenTelemetry's own port.
pub const OTLP_HTTP_PORT: u16 = 4318;
/// Proxies and consoles.
pub const CONTROL_PORT: u16 = 4319;
/// `/metrics`, `/healthz`, `/readyz`, `/api/v1`.
pub const HTTP_PORT: u16 = 4320;

/// Everything that [`crate::start`] needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where OTLP/gRPC listens; port 0 takes a free one, as in all of these.
    pub otlp_grpc: SocketAddr,
    /// Where OTLP/HTTP listens.
    pub otlp_http: SocketAddr,
    /// Where proxies and consoles connect.
    pub control: SocketAddr,
    /// Where metrics, health and the JSON API listen.
    pub http: SocketAddr,
    /// Where the history is kept; `None`: nowhere, what is known lasts as long as this process.
    pub data_dir: Option<PathBuf>,
    /// A file with the token that proxies and consoles must show.
    pub token_file: Option<PathBuf>,
    /// Whether to listen beyond loopback although nothing is encrypted.
    pub insecure: bool,
    /// Whether this collector lives in a console's process: it says so in its status.
    pub embedded: bool,
    /// What it may do by itself, and how much of it.
    pub guard: guard::Settings,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            otlp_grpc: loopback(OTLP_GRPC_PORT),
            otlp_http: loopback(OTLP_HTTP_PORT),
            control: loopback(CONTROL_PORT),
            http: loopback(HTTP_PORT),
            data_dir: None,
            token_file: None,
            insecure: false,
            embedded: false,
            guard: guard::Settings::default(),
        }
    }
}

impl Config {
    /// All addresses on free loopback ports: for tests, demos and the embedded collector of one.
    pub fn on_free_ports() -> Self {
        let mut config = Self::default();
        for (_, address) in config.listeners_mut() {
            address.set_port(0);
        }
        config
    }

    /// The flag and address of each listener.
    pub(crate) fn listeners(&self) -> [(&'static str, SocketAddr); 4] {
        [
            ("--otlp-grpc", self.otlp_grpc),
            ("--otlp-http", self.otlp_http),
            ("--control", self.control),
            ("--http", self.http),
        ]
    }

    fn listeners_mut(&mut self) -> [(&'static str, &mut SocketAddr); 4] {
        [
            ("--otlp-grpc", &mut self.otlp_grpc),
            ("--otlp-http", &mut self.otlp_http),
            ("--control", &mut self.control),
            ("--http", &mut self.http),
        ]
    }

    /// Refuses what would expose an unprotected port, and reads the token.
    pub(crate) fn check(&self) -> Result<Option<Token>, Invalid> {
        for (flag, address) in self.listeners() {
            if !address.ip().is_loopback() && !self.insecure {
                let reason = format!(
                    "{address} is not a loopback address, and nothing encrypts what goes over \
                     it; listen on 127.0.0.1 or [::1], or give --insecure too"
                );
                return Err(Invalid::new(flag, reason));
            }
        }
        if !self.control.ip().is_loopback() && self.token_file.is_none() {
            let reason = format!(
                "{} is not a loopback address: whoever reaches it could trip a breaker; give \
                 --token-file too",
                self.control
            );
            return Err(Invalid::new("--control", reason));
        }
        check_guard(&self.guard)?;
        self.token_file.as_deref().map(Token::read).transpose()
    }
}

/// Refuses limits that limit nothing, or allow nothing.
fn check_guard(guard: &guard::Settings) -> Result<(), Invalid> {
    for (flag, value, max) in [
        ("--guard-per-minute", guard.per_minute_max, PER_MINUTE_MAX),
        ("--guard-at-once", guard.at_once_max, AT_ONCE_MAX),
        ("--guard-share", guard.share_percent_max.into(), 100),
    ] {
        if !(1..=max).contains(&value) {
            return Err(Invalid::new(flag, format!("is {value}; 1 to {max} are allowed")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(flag: &str) -> Config {
        let mut config = Config::default();
        for (name, address) in config.listeners_mut() {
            if name == flag {
                address.set_ip(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            }
        }
        config
    }

    /// Scenario: one listener beyond loopback at a time, with and without `--insecure` and
    /// `--token-file`.
    /// Guarantees: nothing listens in the open unless someone said so, and the control address
    /// never without a token.
    #[test]
    fn other_interfaces_are_refused() {
        let check = |flag: &str, insecure: bool, token: bool, refused: Option<&str>| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("token");
            std::fs::write(&file, "a-token-of-this-test\n").unwrap();
            let config = Config { insecure, token_file: token.then_some(file), ..exposed(flag) };
            match (config.check(), refused) {
                (Ok(read), None) => assert_eq!(read.is_some(), token),
                (Err(invalid), Some(word)) => {
                    assert!(invalid.field == flag && invalid.reason.contains(word), "{invalid}");
                }
                (result, _) => panic!("{flag} {insecure} {token}: {:?}", result.map(|_| ())),
            }
        };
        check("none", false, false, None);
        check("--otlp-grpc", false, false, Some("--insecure"));
        check("--otlp-http", false, false, Some("--insecure"));
        check("--http", false, false, Some("--insecure"));
        check("--control", false, false, Some("--insecure"));
        check("--control", false, true, Some("--insecure"));
        check("--control", true, false, Some("--token-file"));
        check("--control", true, true, None);
        check("--otlp-grpc", true, false, None);
        check("--otlp-http", true, false, None);
        check("--http", true, false, None);
    }
}
