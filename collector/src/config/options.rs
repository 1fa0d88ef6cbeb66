//! Flags, environment and file: the same names, the flags win.

use super::Config;
use crate::guard;
use fusebox_proto::Invalid;
use fusebox_proto::view::GuardMode;
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

    /// Where the history is kept [default: fusebox in `$XDG_STATE_HOME`, else in ~/.local/state]
    #[arg(long, env = "FUSEBOX_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Keep nothing on disk: what is known lasts as long as the process
    #[arg(long, env = "FUSEBOX_IN_MEMORY", value_parser = clap::builder::FalseyValueParser::new())]
    in_memory: bool,

    /// A file with the token that proxies and consoles must show
    #[arg(long, env = "FUSEBOX_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// Listen beyond loopback although nothing is encrypted
    #[arg(long, env = "FUSEBOX_INSECURE", value_parser = clap::builder::FalseyValueParser::new())]
    insecure: bool,

    /// What to do about an incident: off (nothing), suggest, act (what is suggested, within limits)
    /// [default: suggest]
    #[arg(long, env = "FUSEBOX_GUARD", value_name = "MODE", value_parser = mode)]
    #[serde(deserialize_with = "some_mode")]
    guard: Option<GuardMode>,

    /// Actions a minute that `--guard act` may take [default: 2]
    #[arg(long, env = "FUSEBOX_GUARD_PER_MINUTE", value_name = "N")]
    guard_per_minute: Option<u32>,

    /// Leases that `--guard act` may hold at once [default: 3]
    #[arg(long, env = "FUSEBOX_GUARD_AT_ONCE", value_name = "N")]
    guard_at_once: Option<u32>,

    /// Share of the mesh's edges that `--guard act` may hold at once; one always [default: 10]
    #[arg(long, env = "FUSEBOX_GUARD_SHARE", value_name = "PERCENT")]
    guard_share: Option<u8>,
}

impl Options {
    /// The whole configuration: reads the file of `--config`, if there is one, below the flags.
    ///
    /// # Errors
    /// If the file cannot be read or says what it must not; names the file and what is allowed.
    pub fn resolve(self) -> Result<Config, Invalid> {
        let file = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let default = Config::default();
        let data_dir = data_dir(&self, &file)?;
        let guard = guard(&self, &file);
        Ok(Config {
            otlp_grpc: self.otlp_grpc.or(file.otlp_grpc).unwrap_or(default.otlp_grpc),
            otlp_http: self.otlp_http.or(file.otlp_http).unwrap_or(default.otlp_http),
            control: self.control.or(file.control).unwrap_or(default.control),
            http: self.http.or(file.http).unwrap_or(default.http),
            data_dir,
            token_file: self.token_file.or(file.token_file),
            insecure: self.insecure || file.insecure,
            embedded: false,
            guard,
        })
    }
}

/// What may be done without a person; each flag wins over its like in the file.
fn guard(flags: &Options, file: &Options) -> guard::Settings {
    let default = guard::Settings::default();
    guard::Settings {
        mode: flags.guard.or(file.guard).unwrap_or(default.mode),
        per_minute_max: (flags.guard_per_minute.or(file.guard_per_minute))
            .unwrap_or(default.per_minute_max),
        at_once_max: flags.guard_at_once.or(file.guard_at_once).unwrap_or(default.at_once_max),
        share_percent_max: (flags.guard_share.or(file.guard_share))
            .unwrap_or(default.share_percent_max),
    }
}

/// Where the history is kept, if it is. A flag that says so wins over the file; within either, only
/// one thing can be said.
fn data_dir(flags: &Options, file: &Options) -> Result<Option<PathBuf>, Invalid> {
    for (source, names) in
        [(flags, ["--data-dir", "--in-memory"]), (file, ["data-dir", "in-memory"])]
    {
        match (&source.data_dir, source.in_memory) {
            (Some(_), true) => {
                let [data_dir, in_memory] = names;
                let reason = format!(
                    "cannot be given with {data_dir}: the one keeps a history, the other none"
                );
                return Err(Invalid::new(in_memory, reason));
            }
            (Some(path), false) if path.as_os_str().is_empty() => {
                return Err(Invalid::new(names[0], "is empty; name a directory"));
            }
            (Some(path), false) => return Ok(Some(path.clone())),
            (None, true) => return Ok(None),
            (None, false) => (),
        }
    }
    default_data_dir(|name| std::env::var_os(name).map(PathBuf::from)).map(Some)
}

/// The directory for state that the XDG base directory specification names; it has relative paths
/// ignored.
fn default_data_dir(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf, Invalid> {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .ok_or_else(|| {
            let reason = "has no default where neither XDG_STATE_HOME nor HOME names a directory; \
                          name one, or give --in-memory to keep nothing";
            Invalid::new("--data-dir", reason)
        })?;
    Ok(state.join("fusebox"))
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

fn mode(text: &str) -> Result<GuardMode, String> {
    let reason = || format!("`{text}` is no guard mode; off, suggest and act are");
    GuardMode::parse(text).ok_or_else(reason)
}

fn some_mode<'de, D: Deserializer<'de>>(source: D) -> Result<Option<GuardMode>, D::Error> {
    let text = String::deserialize(source)?;
    mode(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &str, file: &str) -> (Options, Options) {
        use clap::Parser as _;
        let words = std::iter::once("fusebox-collector").chain(args.split_whitespace());
        (Options::parse_from(words), toml::from_str(file).expect("a valid file"))
    }

    /// Scenario: flags and files that say where the history is kept, or that it is not.
    /// Guarantees: flags win over the file as a whole; nobody gets a history and none at once.
    #[test]
    fn where_the_history_is_kept() {
        let check = |args: &str, file: &str, expected: Result<Option<&str>, &str>| {
            let (flags, file) = options(args, file);
            match (data_dir(&flags, &file), expected) {
                (Ok(path), Ok(expected)) => assert_eq!(path, expected.map(PathBuf::from), "{args}"),
                (Err(invalid), Err(expected)) => {
                    assert!(invalid.to_string().starts_with(expected), "{args}: {invalid}");
                }
                (result, _) => panic!("{args}: {result:?}"),
            }
        };
        check("--data-dir /a", "", Ok(Some("/a")));
        check("--data-dir a", "", Ok(Some("a")));
        check("--in-memory", "", Ok(None));
        check("", "data-dir = '/f'", Ok(Some("/f")));
        check("", "in-memory = true", Ok(None));
        check("--data-dir /a", "in-memory = true", Ok(Some("/a")));
        check("--data-dir /a", "data-dir = '/f'", Ok(Some("/a")));
        check("--in-memory", "data-dir = '/f'", Ok(None));
        let both = "--in-memory: cannot be given with --data-dir";
        check("--in-memory --data-dir /a", "", Err(both));
        let both = "in-memory: cannot be given with data-dir";
        check("", "in-memory = true\ndata-dir = '/f'", Err(both));
        check("", "data-dir = ''", Err("data-dir: is empty"));
    }

    /// Scenario: environments with and without places for state.
    /// Guarantees: the default is where XDG wants it; where there is none, that is said.
    #[test]
    fn the_default_follows_xdg() {
        let check = |state: Option<&str>, home: Option<&str>, expected: Option<&str>| {
            let variable = |name: &str| match name {
                "XDG_STATE_HOME" => state.map(PathBuf::from),
                "HOME" => home.map(PathBuf::from),
                _ => None,
            };
            assert_eq!(default_data_dir(variable).ok(), expected.map(PathBuf::from));
        };
        check(Some("/s"), Some("/h"), Some("/s/fusebox"));
        check(None, Some("/h"), Some("/h/.local/state/fusebox"));
        check(Some("relative"), Some("/h"), Some("/h/.local/state/fusebox"));
        check(Some(""), Some("/h"), Some("/h/.local/state/fusebox"));
        check(Some("/s"), None, Some("/s/fusebox"));
        check(None, Some(""), None);
        check(None, None, None);
        let message = default_data_dir(|_| None).unwrap_err().to_string();
        assert!(message.contains("--in-memory") && message.contains("HOME"), "{message}");
    }
}
