//! What can be typed. Every long flag is also read from `FUSEBOX_<FLAG>`; the flag wins.

mod policy;

pub(crate) use policy::{Apply, Lint, Rollback, Shift};

use super::parse;
use clap::builder::{FalseyValueParser, PossibleValuesParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use fusebox_proto::command::ActionKind;
use fusebox_proto::page::Noun;
use fusebox_proto::view::Stamp;
use std::path::PathBuf;
use std::time::Duration;

/// Who listens where a collector is not told otherwise.
pub(crate) const COLLECTOR_DEFAULT: &str = "http://127.0.0.1:4319";

/// Find a retry storm in seconds, and stop it with one key.
///
/// Without a command: the dashboard, on the collector at the default address, else on one embedded
/// in this process that listens for OTLP on 4317 and 4318.
#[derive(Clone, Debug, Parser)]
#[command(name = "fusebox", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 failed, or no proxy can enforce it; 2 usage, unknown or ambiguous name;
3 an incident is open (status); 4 applied on some proxies but not all.";

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Control address of the collector, such as <http://127.0.0.1:4319>, which is the default;
    /// a named one is never replaced by another
    #[arg(long, global = true, env = "FUSEBOX_COLLECTOR", value_name = "URL", value_parser = parse::collector)]
    pub(crate) collector: Option<String>,

    /// A file with the token that the collector asks for
    #[arg(long, global = true, env = "FUSEBOX_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Change nothing: no key and no command acts
    #[arg(long, global = true, env = "FUSEBOX_READ_ONLY", value_parser = FalseyValueParser::new())]
    pub(crate) read_only: bool,

    /// Lines of text instead of a screen
    #[arg(long, global = true, env = "FUSEBOX_PLAIN", value_parser = FalseyValueParser::new())]
    pub(crate) plain: bool,

    /// Nothing but ASCII in what we draw
    #[arg(long, global = true, env = "FUSEBOX_ASCII", value_parser = FalseyValueParser::new())]
    pub(crate) ascii: bool,

    /// Colours of the dashboard
    #[arg(long, global = true, env = "FUSEBOX_THEME", value_name = "NAME", value_parser = PossibleValuesParser::new(fusebox::theme::NAMES))]
    pub(crate) theme: Option<String>,
}

/// What to do instead of opening the dashboard.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// The shop and a storm, to watch or to measure
    Demo(Demo),
    /// Overall health; exits 3 while an incident is open
    Status(Query),
    /// Services with rates, errors and latencies
    Services(Query),
    /// Who calls whom, and where each circuit stands
    Edges(Query),
    /// What is wrong, and what would help
    Incidents(Query),
    /// Circuits that are not closed
    Breakers(Query),
    /// Proxies that enforce commands
    Proxies(Query),
    /// Take a lease on an edge: refuse its attempts, or some of them, for a while
    Trip(Trip),
    /// End a lease
    Reset(Reset),
    /// The traffic policy in force, its versions, and how far each proxy is with it
    Policy(Query),
    /// Apply documents: Istio's and the Gateway API's YAML; others stay as they are
    Apply(Apply),
    /// Go back to the documents of an earlier version, on all proxies
    Rollback(Rollback),
    /// What is wrong with the policy, against what the mesh does
    Lint(Lint),
    /// Move traffic between subsets: edits the weights in the rules of a host
    Shift(Shift),
    /// Whose fault it is and since when: from files of traces, or the last minutes of the collector
    Diagnose(Diagnose),
    /// Keep what comes in, or what came in around an incident, as a file that can be replayed
    Record(Record),
    /// Files of traces happen again: on the dashboard, line by line, or for a collector elsewhere
    Replay(Replay),
    /// Completions for a shell, to be sourced by it
    Completions {
        /// Which shell
        shell: Shell,
    },
}

impl Command {
    /// The noun that this command asks for, if it asks.
    pub(crate) const fn query(&self) -> Option<(Noun, &Query)> {
        match self {
            Self::Status(query) => Some((Noun::Status, query)),
            Self::Services(query) => Some((Noun::Services, query)),
            Self::Edges(query) => Some((Noun::Edges, query)),
            Self::Incidents(query) => Some((Noun::Incidents, query)),
            Self::Breakers(query) => Some((Noun::Breakers, query)),
            Self::Proxies(query) => Some((Noun::Proxies, query)),
            Self::Policy(query) => Some((Noun::Policy, query)),
            Self::Demo(_)
            | Self::Trip(_)
            | Self::Reset(_)
            | Self::Apply(_)
            | Self::Rollback(_)
            | Self::Lint(_)
            | Self::Shift(_)
            | Self::Diagnose(_)
            | Self::Record(_)
            | Self::Replay(_)
            | Self::Completions { .. } => None,
        }
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Aligned, for people
    #[default]
    Table,
    /// The object of the contract, on one line
    Json,
}

/// How the lines of a demo are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lines {
    /// For people
    #[default]
    Text,
    /// One object a line
    Json,
}

/// Flags of a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Query {
    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,

    /// Print again at each change, until interrupted
    #[arg(long, env = "FUSEBOX_WATCH", value_parser = FalseyValueParser::new())]
    pub(crate) watch: bool,
}

/// `fusebox trip`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Trip {
    /// The calling service
    pub(crate) source: String,

    /// The called service
    pub(crate) destination: String,

    /// What to refuse: everything, retries, what is above a rate, a share
    #[arg(long, env = "FUSEBOX_ACTION", default_value = "open", value_parser = parse::action())]
    pub(crate) action: ActionKind,

    /// With mute-retries the share of retries that still pass (default 0), with shed the share of
    /// first attempts that is refused (default 50)
    #[arg(long, env = "FUSEBOX_PERCENT", value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) percent: Option<u8>,

    /// For how long, 1s to 1h; then the circuit closes through a ramp, whatever happens to us
    #[arg(long, env = "FUSEBOX_TTL", value_name = "TIME", default_value = "5m", value_parser = parse::ttl)]
    pub(crate) ttl: Duration,

    /// Why, for whoever looks at the breaker
    #[arg(
        long,
        env = "FUSEBOX_REASON",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) reason: String,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `fusebox reset`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(override_usage = "fusebox reset [OPTIONS] <SOURCE DESTINATION | --all>")]
pub(crate) struct Reset {
    /// The calling service
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) source: Option<String>,

    /// The called service
    #[arg(required_unless_present = "all")]
    pub(crate) destination: Option<String>,

    /// All leases that are in force
    #[arg(long, env = "FUSEBOX_ALL", value_parser = FalseyValueParser::new())]
    pub(crate) all: bool,

    /// Close at once instead of through the ramp
    #[arg(long, env = "FUSEBOX_NOW", value_parser = FalseyValueParser::new())]
    pub(crate) now: bool,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `fusebox diagnose`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Diagnose {
    /// Traces from before and during the trouble: OTLP JSON lines, OTLP protobuf or Jaeger's JSON;
    /// plain, gzip or zstd [default: the last minutes of the collector]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// Traces from a time that was good: they come before all others
    #[arg(long, env = "FUSEBOX_BASELINE", value_name = "FILE", requires = "files")]
    pub(crate) baseline: Vec<PathBuf>,

    /// About when it began, such as 2026-11-23T14:01:52Z: sought within a minute of it; where nothing
    /// convinces there, within five, then anywhere [default: sought in the later half, or with
    /// --baseline anywhere]
    #[arg(long, env = "FUSEBOX_SINCE", value_name = "RFC3339", value_parser = parse::instant)]
    pub(crate) since: Option<Stamp>,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Lines,
}

/// `fusebox record`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Record {
    /// Where to: OTLP JSON lines, packed if the name ends in .gz or .zst; a file of that name is
    /// replaced
    #[arg(long, env = "FUSEBOX_OUT", value_name = "FILE")]
    pub(crate) out: PathBuf,

    /// From now on for so long; Ctrl-C ends it well before [default: 60s]
    #[arg(long = "for", env = "FUSEBOX_FOR", value_name = "TIME", value_parser = parse::length, conflicts_with = "incident")]
    pub(crate) length: Option<Duration>,

    /// From five minutes before this incident until it was over, or now, as far as the collector
    /// still has it
    #[arg(long, env = "FUSEBOX_INCIDENT", value_name = "ID")]
    pub(crate) incident: Option<String>,
}

/// `fusebox replay`
#[derive(Clone, Debug, PartialEq, Args)]
pub(crate) struct Replay {
    /// Recordings of `fusebox record`, or any traces that were kept: OTLP JSON lines, OTLP protobuf
    /// or Jaeger's JSON; plain, gzip or zstd
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    /// So many times as fast as it was, 0.1 to 1000 [default: 1, with --headless as fast as it goes]
    #[arg(long, env = "FUSEBOX_SPEED", value_name = "N", value_parser = parse::speed)]
    pub(crate) speed: Option<f64>,

    /// No dashboard: tell what is found, line by line, the summary last
    #[arg(long, env = "FUSEBOX_HEADLESS", value_parser = FalseyValueParser::new())]
    pub(crate) headless: bool,

    /// Send the spans to this OTLP endpoint as if they were made now, such as
    /// <http://127.0.0.1:4318>; over HTTP or gRPC, as it answers
    #[arg(long, env = "FUSEBOX_TO", value_name = "OTLP-URL", value_parser = parse::otlp)]
    pub(crate) to: Option<String>,

    /// Tell in the summary what else would have been on the edge of each incident: what its suggestion
    /// would have refused, when a breaker would have opened, what a retry budget would have cost; as
    /// lines, like --headless
    #[arg(
        long,
        env = "FUSEBOX_WHAT_IF",
        value_parser = FalseyValueParser::new(),
        conflicts_with = "to"
    )]
    pub(crate) what_if: bool,

    /// How to print the lines of --headless and --to
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Lines,
}

/// `fusebox demo`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Demo {
    /// Which story: a name of --list, or a file
    #[arg(long, env = "FUSEBOX_SCENARIO", value_name = "NAME|FILE", default_value = "retry-storm")]
    pub(crate) scenario: String,

    /// Name the scenarios and end
    #[arg(long, env = "FUSEBOX_LIST", value_parser = FalseyValueParser::new())]
    pub(crate) list: bool,

    /// Varies rates, delays, instance counts and names; 1 has the names of the documentation
    #[arg(long, env = "FUSEBOX_SEED", value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// No dashboard: tell what happens, line by line, the summary last
    #[arg(long, env = "FUSEBOX_HEADLESS", value_parser = FalseyValueParser::new())]
    pub(crate) headless: bool,

    /// How long the load lasts [default: as the scenario says with --headless, else until you leave]
    #[arg(long = "for", env = "FUSEBOX_FOR", value_name = "TIME", value_parser = parse::length)]
    pub(crate) length: Option<Duration>,

    /// Who acts on an incident: nobody but you, or the demo as the collector suggests
    #[arg(long, env = "FUSEBOX_ACT", value_enum, default_value_t)]
    pub(crate) act: Act,

    /// How to print the lines of --headless
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Lines,
}

/// Who acts on an incident of a demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Act {
    /// What the collector suggests, at once
    Suggested,
    /// Nobody
    #[default]
    None,
}
