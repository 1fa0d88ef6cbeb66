//! Scenario files: those that come with the demo, and folders of good and bad ones.

use fusebox_demo::plan::{Plan, SEED_DEFAULT};
use fusebox_demo::scenario::Scenario;
use fusebox_demo::{catalogue, conditions};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

fn files(folder: &str) -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder of the tests");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("readable");
        (path.file_name().expect("a file").to_string_lossy().into_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

/// Scenario: the scenarios that come with the demo, and each as a listing shows it.
/// Guarantees: all parse, under the name of their file; the shop has twelve services; those that
/// expect an incident say which; each fault that ends does so within the run.
#[test]
fn all_that_come_with_the_demo_are_sound() {
    let scenarios = catalogue::built_in();
    let found: Vec<&str> = scenarios.iter().map(|scenario| scenario.name.as_str()).collect();
    assert_eq!(found, catalogue::names());
    for scenario in &scenarios {
        assert_eq!(scenario.services.len(), 12, "{}", scenario.name);
        let quiet = ["calm", "n-plus-one", "surge", "polling", "batch", "hedging"];
        let is_quiet = quiet.contains(&scenario.name.as_str());
        assert_eq!(scenario.expect.is_none(), is_quiet, "{}", scenario.name);
        for fault in &scenario.faults {
            let end_s = fault.at_s + fault.for_s.unwrap_or_default();
            assert!(end_s < scenario.duration_s - 10.0, "{}", scenario.name);
        }
    }
}

/// Scenario: good files.
/// Guarantees: they parse, and what they leave out is the shop's.
#[test]
fn valid_files_parse() {
    for (file, text) in files("valid") {
        let scenario = Scenario::parse(&file, &text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(format!("{}.toml", scenario.name), file);
        assert!(scenario.services.contains_key("inventory"), "{file}");
    }
}

/// Scenario: files with one thing wrong each; their first line says what the message must contain.
/// Guarantees: each is refused, with the file, the field, and what is allowed.
#[test]
fn invalid_files_say_what_is_wrong() {
    for (file, text) in files("invalid") {
        let expected = text.lines().next().and_then(|line| line.strip_prefix("# error: "));
        let expected = expected.expect("an expectation in the first line");
        let error = Scenario::parse(&file, &text).expect_err(&file).to_string();
        assert!(error.starts_with(&file), "{error}");
        assert!(error.contains(expected), "{file}:\n{error}\nlacks\n{expected}");
    }
}

/// Scenario: a name that is neither a scenario nor a file.
/// Guarantees: the message lists the scenarios.
#[test]
fn an_unknown_name_lists_the_known_ones() {
    let error = catalogue::find("retry-strom").expect_err("no such scenario").to_string();
    assert!(error.contains("retry-strom"), "{error}");
    assert!(error.contains("calm, retry-storm, layered-retries, metastable"), "{error}");
}

/// Scenario: the founding story under the default seed, twice under another, and under many.
/// Guarantees: the default is as written, with the names of the story; one seed is one run; names
/// stay different from each other, and the truth speaks in them.
#[test]
fn a_seed_is_a_run() {
    let scenario = || catalogue::find("retry-storm").expect("a built-in scenario");
    let written = Plan::new(scenario(), SEED_DEFAULT);
    assert_eq!(written.scenario, scenario());
    assert_eq!(written.name("payment"), "payment");
    assert_eq!(Plan::new(scenario(), 7), Plan::new(scenario(), 7));
    let mut payments = BTreeSet::new();
    for seed in 2..=40 {
        let plan = Plan::new(scenario(), seed);
        let names: BTreeSet<&str> =
            plan.scenario.services.keys().map(|role| plan.name(role)).collect();
        assert_eq!(names.len(), 12, "seed {seed}");
        let expect = plan.expect().expect("a storm");
        assert_eq!(expect.originator, plan.name("payment"));
        payments.insert(expect.originator);
    }
    assert!(2 < payments.len(), "{payments:?}");
}

/// Scenario: faults moved so that the first begins later or earlier than written.
/// Guarantees: all move by the same time.
#[test]
fn faults_move_together() {
    let mut plan = Plan::new(catalogue::find("retry-storm").expect("built in"), SEED_DEFAULT);
    plan.begin_faults_at(Duration::from_secs(3));
    let turns = conditions::script(&plan);
    let at: Vec<u128> = turns.iter().map(|turn| turn.at.as_millis()).collect();
    assert_eq!(at, [3_000, 3_500, 9_500]);
}
