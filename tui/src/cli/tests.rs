use super::args::{Act, Cli, Command, Demo, Lines, Output, Query, Reset, Trip};
use clap::{CommandFactory as _, Parser as _};
use fusebox_proto::command::{ActionKind, TTL_DEFAULT};
use fusebox_proto::policy::Profile;
use std::path::PathBuf;
use std::time::Duration;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(std::iter::once("fusebox").chain(line.split_whitespace()))?;
    if let Some(Command::Trip(trip)) = &cli.command {
        trip.check()?;
    }
    Ok(cli)
}

#[track_caller]
fn command(line: &str) -> Command {
    let cli = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    cli.command.expect("a command")
}

/// Scenario: the command line as a whole.
/// Guarantees: it has the commands of this release and no other, and clap finds no flaw in it.
#[test]
fn the_commands_are_those_of_the_contract() {
    let cli = Cli::command();
    cli.clone().debug_assert();
    let names: Vec<&str> = cli.get_subcommands().map(clap::Command::get_name).collect();
    let expected = [
        "demo",
        "status",
        "services",
        "edges",
        "incidents",
        "breakers",
        "proxies",
        "trip",
        "reset",
        "policy",
        "apply",
        "rollback",
        "lint",
        "shift",
        "diagnose",
        "record",
        "replay",
        "completions",
    ];
    assert_eq!(names, expected);
}

/// Scenario: `record` and `replay` as they are typed, rightly and wrongly.
/// Guarantees: what the contract says is taken; what cannot be meant is refused, with what is allowed.
#[test]
fn recordings_are_named_and_paced() {
    let Command::Replay(replay) = command("replay a.jsonl b.jsonl.zst --speed 10x") else {
        panic!("it is replay");
    };
    assert_eq!((replay.files.len(), replay.speed, replay.headless), (2, Some(10.0), false));
    assert!(!replay.what_if);
    let Command::Replay(replay) = command("replay a.jsonl --headless --what-if --output json")
    else {
        panic!("it is replay");
    };
    assert_eq!((replay.what_if, replay.headless, replay.output), (true, true, Lines::Json));
    let Command::Record(record) = command("record --out a.jsonl --for 60s") else {
        panic!("it is record");
    };
    assert_eq!((record.length, record.incident), (Some(Duration::from_mins(1)), None));
    let check = |line: &str, says: &str| {
        let error = parse(line).expect_err(line).to_string();
        assert!(error.contains(says), "{line}: {error}");
    };
    check("replay", "<FILE>");
    check("replay a --speed 0.01", "from 0.1 to 1000");
    check("replay a --speed fast", "such as 10");
    check("replay a --to 127.0.0.1:4318", "http://HOST:PORT");
    check("replay a --to http://127.0.0.1:4318 --what-if", "cannot be used with");
    check("record --for 60s", "--out");
    check("record --out a --for 60s --incident 4", "cannot be used with");
}

/// Scenario: every long flag of every command.
/// Guarantees: its environment variable is `FUSEBOX_<FLAG>`.
#[test]
fn every_flag_has_its_variable() {
    let cli = Cli::command();
    let commands = || std::iter::once(&cli).chain(cli.get_subcommands());
    let flags = commands().flat_map(clap::Command::get_arguments);
    let mut count = 0;
    for flag in flags.filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version")) {
        let Some(long) = flag.get_long() else { continue };
        let variable = format!("FUSEBOX_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
        count += 1;
    }
    assert!(20 < count, "{count}");
}

/// Scenario: global flags before and behind a command.
/// Guarantees: they mean the same in both places.
#[test]
fn global_flags_stand_anywhere() {
    const FLAGS: &str = "--collector http://127.0.0.1:1/ --theme light --read-only --plain --ascii";
    let check = |line: &str| {
        let global = parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).global;
        assert_eq!(global.collector.as_deref(), Some("http://127.0.0.1:1"), "{line}");
        assert_eq!(global.theme.as_deref(), Some("light"), "{line}");
        assert_eq!((global.read_only, global.plain, global.ascii), (true, true, true), "{line}");
    };
    check(FLAGS);
    check(&format!("{FLAGS} status"));
    check(&format!("edges {FLAGS}"));
}

/// Scenario: each question with its flags.
/// Guarantees: a table once is the default.
#[test]
fn questions_are_read() {
    let check = |line: &str, output, watch| {
        let command = command(line);
        let (noun, query) = command.query().expect("a question");
        assert!(line.starts_with(noun.as_str()), "{line}");
        assert_eq!(*query, Query { output, watch }, "{line}");
    };
    check("status", Output::Table, false);
    check("services", Output::Table, false);
    check("edges --output table", Output::Table, false);
    check("incidents --output json", Output::Json, false);
    check("breakers --watch", Output::Table, true);
    check("proxies --output json --watch", Output::Json, true);
    check("policy --output json", Output::Json, false);
}

fn trip_of(action: ActionKind, percent: Option<u8>, ttl_s: u64) -> Trip {
    Trip {
        source: "a".into(),
        destination: "b".into(),
        action,
        percent,
        ttl: Duration::from_secs(ttl_s),
        reason: String::new(),
        output: Output::Table,
    }
}

/// Scenario: trips with each flag.
/// Guarantees: without flags the circuit opens for five minutes.
#[test]
fn trips_are_read() {
    let check = |line: &str, expected: Trip| {
        let Command::Trip(trip) = command(line) else { panic!("{line}") };
        assert_eq!(trip, expected, "{line}");
    };
    check("trip a b", trip_of(ActionKind::Open, None, TTL_DEFAULT.as_secs()));
    check("trip a b --action open --ttl 1h", trip_of(ActionKind::Open, None, 3_600));
    check("trip --action mute-retries a b", trip_of(ActionKind::MuteRetries, None, 300));
    check(
        "trip a b --action mute-retries --percent 0",
        trip_of(ActionKind::MuteRetries, Some(0), 300),
    );
    check("trip a b --action shed --percent 100", trip_of(ActionKind::Shed, Some(100), 300));
    check("trip a b --action cap --ttl 90s", trip_of(ActionKind::Cap, None, 90));
    check(
        "trip a b --reason drill --output json",
        Trip {
            reason: "drill".into(),
            output: Output::Json,
            ..trip_of(ActionKind::Open, None, 300)
        },
    );
}

/// Scenario: resets of one edge and of all.
/// Guarantees: the ramp is the default.
#[test]
fn resets_are_read() {
    let check = |line: &str, edge: Option<(&str, &str)>, now: bool| {
        let Command::Reset(reset) = command(line) else { panic!("{line}") };
        let expected = Reset {
            source: edge.map(|(source, _)| source.into()),
            destination: edge.map(|(_, destination)| destination.into()),
            all: edge.is_none(),
            now,
            output: Output::Table,
        };
        assert_eq!(reset, expected, "{line}");
    };
    check("reset a b", Some(("a", "b")), false);
    check("reset a b --now", Some(("a", "b")), true);
    check("reset --all", None, false);
    check("reset --all --now", None, true);
}

/// Scenario: the commands about the policy with each flag.
/// Guarantees: without flags they act, take warnings, and keep the profile.
#[test]
fn policy_commands_are_read() {
    let check = |line: &str, files: &[&str], flags: (bool, bool), profile: Option<Profile>| {
        let Command::Apply(apply) = command(line) else { panic!("{line}") };
        let named: Vec<&str> = apply.files.iter().filter_map(|path| path.to_str()).collect();
        assert_eq!(named, files, "{line}");
        assert_eq!((apply.dry_run, apply.strict, apply.profile), (flags.0, flags.1, profile));
    };
    check("apply -f a.yaml", &["a.yaml"], (false, false), None);
    check("apply -f a.yaml b.yaml --dry-run", &["a.yaml", "b.yaml"], (true, false), None);
    let compat = Some(Profile::IstioCompat);
    let line = "apply -f a.yaml -f - --strict --profile istio-compat";
    check(line, &["a.yaml", "-"], (false, true), compat);
    let to = |line: &str| match command(line) {
        Command::Rollback(rollback) => rollback.to,
        other => panic!("{other:?}"),
    };
    assert_eq!((to("rollback"), to("rollback --to 7")), (None, Some(7)));
    let Command::Shift(shift) = command("shift inventory v1=90 v2=10") else { panic!("a shift") };
    assert_eq!(shift.weights, [("v1".to_owned(), 90), ("v2".to_owned(), 10)]);
    let Command::Lint(lint) = command("lint") else { panic!("a lint") };
    assert!(lint.files.is_empty() && !lint.strict);
}

/// Scenario: demos with each flag.
/// Guarantees: without flags it is the founding story, watched, and nobody acts but its visitor.
#[test]
fn demos_are_read() {
    let plain = || Demo {
        scenario: "retry-storm".into(),
        list: false,
        seed: 1,
        headless: false,
        length: None,
        act: Act::None,
        output: Lines::Text,
    };
    let check = |line: &str, expected: Demo| {
        let Command::Demo(demo) = command(line) else { panic!("{line}") };
        assert_eq!(demo, expected, "{line}");
    };
    check("demo", plain());
    check("demo --list", Demo { list: true, ..plain() });
    check(
        "demo --headless --scenario calm --seed 7 --for 60s --act suggested --output json",
        Demo {
            scenario: "calm".into(),
            seed: 7,
            headless: true,
            length: Some(Duration::from_mins(1)),
            act: Act::Suggested,
            output: Lines::Json,
            ..plain()
        },
    );
}

/// Scenario: files, baselines and an onset; no file.
/// Guarantees: every file is kept in its place, and a baseline takes one file each time; a collector
/// can be asked in place of files.
#[test]
fn diagnose_takes_files_and_baselines() {
    let line = "diagnose a.jsonl b.zst --baseline c --baseline d --since 2026-11-23T14:01:52Z";
    let Command::Diagnose(read) = command(line) else { panic!("{line}") };
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(read.files, paths(&["a.jsonl", "b.zst"]));
    assert_eq!(read.baseline, paths(&["c", "d"]));
    assert_eq!(
        read.since.map(|since| since.to_string()).as_deref(),
        Some("2026-11-23T14:01:52.000Z")
    );
    assert_eq!(read.output, Lines::Text);
    let Command::Diagnose(read) = command("diagnose --baseline c a.jsonl") else { panic!() };
    assert_eq!((read.files, read.baseline), (paths(&["a.jsonl"]), paths(&["c"])));
    let Command::Diagnose(live) = command("diagnose --output json") else { panic!() };
    assert!(live.files.is_empty(), "the collector is asked");
}

/// Scenario: one wrong word at a time.
/// Guarantees: exit 2, and the message names the word and what is allowed.
#[test]
fn wrong_words_exit_2_and_say_what_is_allowed() {
    let check = |line: &str, says: &[&str]| {
        let Err(error) = parse(line) else { panic!("{line} passes") };
        assert_eq!(error.exit_code(), 2, "{line}");
        let text = error.to_string();
        for word in says {
            assert!(text.contains(word), "{line}: {word} is not in {text}");
        }
    };
    check("nonsense", &["nonsense"]);
    check("audit", &["audit"]);
    check("apply", &["--file"]);
    check("apply -f a.yaml --profile envoy", &["envoy", "fusebox", "istio-compat"]);
    check("rollback --to last", &["--to", "last"]);
    check("shift", &["HOST"]);
    check("shift inventory", &["SUBSET=WEIGHT"]);
    check("shift inventory v1", &["v1", "v2=10"]);
    check("lint --watch", &["--watch"]);
    check("--collector 127.0.0.1:4319", &["--collector", "http://127.0.0.1:4319"]);
    check("--collector https://collector:4319", &["--collector", "http://HOST:PORT"]);
    check("--theme pink", &["pink", "dark", "high-contrast"]);
    check("status extra", &["extra"]);
    check("status --output xml", &["xml", "table", "json"]);
    check("edges --percent 3", &["--percent"]);
    check("trip", &["SOURCE", "DESTINATION"]);
    check("trip a", &["DESTINATION"]);
    check("trip a b c", &["c"]);
    check("trip a b --action explode", &["explode", "open", "mute-retries", "cap", "shed"]);
    check("trip a b --ttl 0s", &["--ttl", "1s to 1h"]);
    check("trip a b --ttl 2h", &["--ttl", "1s to 1h"]);
    check("trip a b --ttl 5", &["--ttl", "unit"]);
    check("trip a b --action shed --percent 101", &["101", "0..=100"]);
    check("trip a b --action shed --percent half", &["half"]);
    check("trip a b --percent 10", &["--percent", "mute-retries", "shed", "open"]);
    check("trip a b --action cap --percent 10", &["--percent", "mute-retries", "shed", "cap"]);
    check("trip a b --output xml", &["xml"]);
    check("reset", &["SOURCE", "DESTINATION", "--all"]);
    check("reset a", &["DESTINATION"]);
    check("reset a b --all", &["--all"]);
    check("demo --act sometimes", &["sometimes", "suggested", "none"]);
    check("demo --for 0s", &["--for", "1s to 24h"]);
    check("demo --seed x", &["--seed"]);
    check("demo --output table", &["table", "text", "json"]);
    check("diagnose --baseline b", &["FILE"]);
    check("diagnose a --since yesterday", &["--since", "2026-11-23T14:01:52Z"]);
    check("diagnose a --since 2026-11-23", &["--since", "UTC"]);
    check("diagnose a --output table", &["table", "text", "json"]);
    check("diagnose a --baseline", &["--baseline", "FILE"]);
    check("completions tcsh", &["tcsh", "bash", "zsh", "fish"]);
}
