//! Flags of the commands about the policy.

use super::super::parse;
use super::Output;
use clap::Args;
use clap::builder::FalseyValueParser;
use fusebox_proto::policy::Profile;
use std::path::PathBuf;

/// `fusebox apply`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Apply {
    /// A file of documents, a folder of them, or - for standard input; may be given several times
    #[arg(short = 'f', long = "file", env = "FUSEBOX_FILE", value_name = "FILE", required = true, num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,

    /// Change nothing; say what would change, and what there is to say about it
    #[arg(long, env = "FUSEBOX_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(crate) dry_run: bool,

    /// Warnings refuse, too
    #[arg(long, env = "FUSEBOX_STRICT", value_parser = FalseyValueParser::new())]
    pub(crate) strict: bool,

    /// How the whole set is read from now on: fusebox repairs Istio's traps, istio-compat keeps them
    /// [default: as it is]
    #[arg(long, env = "FUSEBOX_PROFILE", value_name = "NAME", value_parser = parse::profile())]
    pub(crate) profile: Option<Profile>,

    #[command(flatten)]
    pub(crate) why: Why,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// What every change of the policy is asked.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Why {
    /// Why, for whoever looks at the versions
    #[arg(
        long,
        env = "FUSEBOX_REASON",
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) reason: String,
}

/// `fusebox rollback`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Rollback {
    /// The version whose documents are wanted, 0 for none [default: the one before the newest]
    #[arg(long, env = "FUSEBOX_TO", value_name = "VERSION")]
    pub(crate) to: Option<u64>,

    #[command(flatten)]
    pub(crate) why: Why,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `fusebox lint`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Lint {
    /// Documents to look at over those in force: a file, a folder, or - for standard input; may be
    /// given several times
    #[arg(short = 'f', long = "file", env = "FUSEBOX_FILE", value_name = "FILE", num_args = 1..)]
    pub(crate) files: Vec<PathBuf>,

    /// Warnings count as errors
    #[arg(long, env = "FUSEBOX_STRICT", value_parser = FalseyValueParser::new())]
    pub(crate) strict: bool,

    /// How the set is read: fusebox or istio-compat [default: as it is]
    #[arg(long, env = "FUSEBOX_PROFILE", value_name = "NAME", value_parser = parse::profile())]
    pub(crate) profile: Option<Profile>,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}

/// `fusebox shift`
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub(crate) struct Shift {
    /// A host that a route document names
    pub(crate) host: String,

    /// Each subset that the rule sends to, with its part of the traffic: v1=90 v2=10
    #[arg(required = true, num_args = 1.., value_name = "SUBSET=WEIGHT", value_parser = parse::weight)]
    pub(crate) weights: Vec<(String, u32)>,

    #[command(flatten)]
    pub(crate) why: Why,

    /// How to print
    #[arg(long, env = "FUSEBOX_OUTPUT", value_enum, default_value_t)]
    pub(crate) output: Output,
}
