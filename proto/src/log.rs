//! The log of a binary: lines on stderr, as `FUSEBOX_LOG` wants them.

use crate::text::visible;
use std::io::IsTerminal as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The environment variable that says what is logged, by level and part: `info`, or
/// `warn,fusebox_proxy=debug`.
pub const VARIABLE: &str = "FUSEBOX_LOG";

/// Starts the log of this process, once. `wanted` is what [`VARIABLE`] says; without it all of level
/// info is logged.
///
/// # Errors
/// `FUSEBOX_LOG` is not understood: what it is, and what is allowed.
pub fn start(wanted: Option<&str>) -> Result<(), String> {
    let filter = match wanted {
        Some(text) => parse(text)?,
        None => quiet(Targets::new().with_default(LevelFilter::INFO)),
    };
    let lines =
        fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

fn parse(text: &str) -> Result<Targets, String> {
    text.parse().map(quiet).map_err(|_| {
        let shown = visible(text);
        format!(
            "{VARIABLE}={shown}: allowed are error, warn, info, debug, trace and off, alone or for \
             a part, such as warn,fusebox_proxy=debug"
        )
    })
}

/// Leaves out the warnings of h2, unless they are asked for by its name: a peer can cause one with
/// each frame that it sends.
fn quiet(filter: Targets) -> Targets {
    let is_named = filter.iter().any(|(target, _)| target == "h2" || target.starts_with("h2::"));
    let is_loud = filter.default_level().is_some_and(|level| LevelFilter::ERROR < level);
    if is_named || !is_loud { filter } else { filter.with_target("h2", LevelFilter::ERROR) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::filter::LevelFilter as Level;

    /// Scenario: filters as people type them, and one with a level that does not exist.
    /// Guarantees: levels hold for their part; what a peer can cause at will is left out; nonsense is
    /// told with what is allowed, and not taken for silence.
    #[test]
    fn filters_are_read() {
        let check = |text: &str, target: &str, expected: Level| {
            let filter = parse(text).unwrap();
            for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
                let level = level.into_level().unwrap();
                assert_eq!(
                    filter.would_enable(target, &level),
                    level <= expected,
                    "{text} {level}"
                );
            }
        };
        check("info", "fusebox_proxy::pool", Level::INFO);
        check("warn,fusebox_proxy=debug", "fusebox_proxy::pool", Level::DEBUG);
        check("warn,fusebox_proxy=debug", "h2::proto", Level::ERROR);
        check("info,h2=debug", "h2::proto", Level::DEBUG);
        check("error", "h2", Level::ERROR);
        check("off", "h2", Level::OFF);
        let reason = parse("info,fusebox_proxy=\u{1b}loud").unwrap_err();
        assert!(reason.contains("FUSEBOX_LOG=info") && reason.contains("debug"), "{reason}");
        assert!(!reason.contains('\u{1b}'));
    }
}
