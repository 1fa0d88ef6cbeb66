//! Flags, environment and file: the same names, the flags win.

use super::Config;
use fusebox_proto::Invalid;
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// What can be said on the command line, in `FUSEBOX_<FLAG>` and in the file of `--config`.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Parser, Deserialize)]
#[command(name = "fusebox-collector", version, about, long_about = None)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Read the same names from a TOML file; flags win
    #[arg(long, env = "FUSEBOX_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,

    /// Where OTLP/gRPC listens [default: 127.0.0.1:4317]
    #[arg(long, env = "FUSEBOX_OTLP_GRPC", value_name = "ADDR", value_parser = address)]
    #[serde(deserialize_with = "some_address")]
    otlp_grpc: Option<SocketAddr>,

    /// Where OTLP/HTTP listens [default: 127.0.0.1:4318]
    #[arg(long, env = "FUSEBOX_OTLP_HTTP", value_name = "ADDR", value_parser = address)]
    #[serde(deserialize_with = "some_address")]
    otlp_http: Option<SocketAddr>,

    /// Where proxies and consoles connect [default: 127.0.0.1:4319]
    #[arg(long, env = "FUSEBOX_CONTROL", value_name = "ADDR", value_parser = address)]
    #[serde(deserialize_with = "some_address")]
    control: Option<SocketAddr>,

    /// Where /metrics, /healthz, /readyz and /api/v1 listen [default: 127.0.0.1:4320]
    #[arg(long, env = "FUSEBOX_HTTP", value_name = "ADDR", value_parser = address)]
    #[serde(deserialize_with = "some_address")]
    http: Option<SocketAddr>,

    /// Keep nothing on disk; this version never does
    #[arg(long, env = "FUSEBOX_IN_MEMORY", value_parser = clap::builder::FalseyValueParser::new())]
    in_memory: bool,

    /// A file with the token that proxies and consoles must show
    #[arg(long, env = "FUSEBOX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Listen beyond loopback although nothing is encrypted
    #[arg(long, env = "FUSEBOX_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    insecure: bool,
}

impl Options {
    /// The whole configuration: reads the file of `--config`, if there is one, below the flags.
    ///
    /// # Errors
    /// If the file cannot be read or says what it must not; names the file and what is allowed.
    pub fn resolve(self) -> Result<Config, Invalid> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let default = Config::default();
        Ok(Config {
            otlp_grpc: self.otlp_grpc.or(file.otlp_grpc).unwrap_or(default.otlp_grpc),
            otlp_http: self.otlp_http.or(file.otlp_http).unwrap_or(default.otlp_http),
            control: self.control.or(file.control).unwrap_or(default.control),
            http: self.http.or(file.http).unwrap_or(default.http),
            token_file: self.token_file.or(file.token_file),
            insecure: self.insecure || file.insecure,
            embedded: false,
        })
    }
}

fn read(path: &Path) -> Result<Options, Invalid> {
    let invalid = |reason: String| Invalid::new(path.display().to_string(), reason);
    let text =
        std::fs::read_to_string(path).map_err(|e| invalid(format!("cannot be read: {e}")))?;
    toml::from_str(&text).map_err(|e| invalid(e.to_string().trim_end().to_owned()))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let reason = || format!("`{text}` is not IP:PORT, such as 127.0.0.1:4317 or [::1]:4317");
    text.parse().map_err(|_| reason())
}

fn some_address<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(source)?;
    address(&text).map(Some).map_err(serde::de::Error::custom)
}
