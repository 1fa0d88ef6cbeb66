//! `apply`, `rollback`, `shift` and `lint`.

use super::act::request_id;
use super::args::{Apply, Lint, Output, Rollback, Shift};
use super::connect::Target;
use super::exit::{Exit, Failure};
use super::out;
use super::render;
use fusebox_proto::policy::{
    self, ApplyRequest, DOCUMENTS_LEN_MAX, FILES_MAX, LintRequest, RollbackRequest, ShiftRequest,
    SourceFile,
};
use fusebox_proto::view::{LintResult, PolicyOutcome, PolicyResult};
use fusebox_proto::wire::v1;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What files of documents are called, in a folder.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Applies files.
pub(crate) async fn apply(
    target: &Target,
    apply: Apply,
    by: String,
    ascii: bool,
) -> Result<Exit, Failure> {
    let Apply { files, dry_run, strict, profile, why, output } = apply;
    let (files, request_id) = (read(&files)?, request_id());
    let request =
        ApplyRequest { request_id, files, dry_run, strict, profile, reason: why.reason, by };
    let mut client = target.connect().await?;
    let reply = target.answer(client.apply(v1::ApplyRequest::from(request))).await?;
    finish(reply, output, ascii)
}

/// Goes back to an earlier version.
pub(crate) async fn rollback(
    target: &Target,
    rollback: Rollback,
    by: String,
    ascii: bool,
) -> Result<Exit, Failure> {
    let Rollback { to, why, output } = rollback;
    let request = RollbackRequest { request_id: request_id(), to, reason: why.reason, by };
    let mut client = target.connect().await?;
    let reply = target.answer(client.rollback(v1::RollbackRequest::from(request))).await?;
    finish(reply, output, ascii)
}

/// Moves traffic between subsets.
pub(crate) async fn shift(
    target: &Target,
    shift: Shift,
    by: String,
    ascii: bool,
) -> Result<Exit, Failure> {
    let Shift { host, weights, why, output } = shift;
    let request = ShiftRequest { request_id: request_id(), host, weights, reason: why.reason, by };
    let mut client = target.connect().await?;
    let reply = target.answer(client.shift(v1::ShiftRequest::from(request))).await?;
    finish(reply, output, ascii)
}

fn finish(reply: v1::PolicyReply, output: Output, ascii: bool) -> Result<Exit, Failure> {
    let result = PolicyResult::try_from(reply).map_err(anyhow::Error::new)?;
    out::print(&match output {
        Output::Table => render::policy_result(&result, ascii),
        Output::Json => format!("{}\n", serde_json::to_string(&result).expect("plain data")),
    })?;
    Ok(exit(&result))
}

/// A policy that no proxy is there for is in force for those that come: that is done.
const fn exit(result: &PolicyResult) -> Exit {
    match result.outcome {
        PolicyOutcome::Refused => Exit::Usage,
        PolicyOutcome::Unchanged | PolicyOutcome::DryRun => Exit::Done,
        PolicyOutcome::Applied if result.applied == result.proxies => Exit::Done,
        PolicyOutcome::Applied if result.applied == 0 => Exit::Failed,
        PolicyOutcome::Applied => Exit::Partial,
    }
}

/// Says what is wrong. Files are looked at even where no collector is, without live figures.
pub(crate) async fn lint(target: &Target, lint: Lint) -> Result<Exit, Failure> {
    let Lint { files, strict, profile, output } = lint;
    let files = read(&files)?;
    let result = match target.connect().await {
        Ok(mut client) => {
            let request = v1::LintRequest::from(LintRequest { files, profile });
            let reply = target.answer(client.lint(request)).await?;
            LintResult::try_from(reply).map_err(anyhow::Error::new)?
        }
        Err(failure) if files.is_empty() => return Err(failure),
        Err(failure) => {
            eprintln!("fusebox: {failure}; these files alone, without live figures:");
            LintResult::new(static_lint(&files, profile.unwrap_or_default()))
        }
    };
    out::print(&match output {
        Output::Table => render::lint(&result),
        Output::Json => format!("{}\n", serde_json::to_string(&result).expect("plain data")),
    })?;
    let is_bad = policy::refuses(&result.findings, strict);
    Ok(if is_bad { Exit::Usage } else { Exit::Done })
}

fn static_lint(files: &[SourceFile], profile: policy::Profile) -> Vec<policy::Finding> {
    let said = policy::read_all(files).and_then(|(documents, mut findings)| {
        let documents = policy::merge(&[], &documents)?;
        let (_, more) = policy::compile(&documents, profile)?;
        findings.extend(more);
        Ok(findings)
    });
    said.unwrap_or_else(|findings| findings)
}

/// Reads files, folders and standard input, in the order in which they were named; folders by the
/// names in them.
fn read(paths: &[PathBuf]) -> Result<Vec<SourceFile>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = all.len();
            folder(path, &mut all)?;
            if all.len() == before {
                let endings = EXTENSIONS.join(", .");
                let reason = format!("-f {}: the folder has no file .{endings}", path.display());
                return Err(Failure::Usage(reason));
            }
        } else {
            all.push(file(path)?);
        }
        let len: usize = all.iter().map(|file| file.text.len()).sum();
        if DOCUMENTS_LEN_MAX < len || FILES_MAX < all.len() {
            return Err(Failure::Usage(format!(
                "-f {}: too much for one policy; at most {FILES_MAX} files of {DOCUMENTS_LEN_MAX} \
                 bytes together",
                path.display()
            )));
        }
    }
    Ok(all)
}

/// The files in a folder, not those in folders below it.
fn folder(path: &Path, all: &mut Vec<SourceFile>) -> Result<(), Failure> {
    let unreadable = |error| Failure::Usage(format!("-f {}: {error}", path.display()));
    let entries: io::Result<Vec<_>> =
        path.read_dir().and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let is_meant = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|own| EXTENSIONS.contains(&own)) && path.is_file()
    };
    let mut paths: Vec<PathBuf> =
        entries.map_err(unreadable)?.into_iter().filter(is_meant).collect();
    paths.sort();
    for path in paths.iter().take(FILES_MAX + 1) {
        all.push(file(path)?);
    }
    Ok(())
}

fn file(path: &Path) -> Result<SourceFile, Failure> {
    let is_stdin = path.as_os_str() == "-";
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    // One byte more than is allowed shows that it is too much.
    let limit = DOCUMENTS_LEN_MAX as u64 + 1;
    let mut text = String::new();
    let read = if is_stdin {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::Usage(format!("-f {name}: {error}")))?;
    Ok(SourceFile { name, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Scenario: what can become of a request, with all, some, none and no proxies.
    /// Guarantees: the codes of the contract.
    #[test]
    fn results_map_to_the_codes_of_the_contract() {
        let check = |outcome, applied, proxies, code: u8| {
            let result = PolicyResult { outcome, applied, proxies, ..PolicyResult::default() };
            assert_eq!(exit(&result).code(), code, "{outcome:?} {applied} of {proxies}");
        };
        check(PolicyOutcome::Refused, 0, 0, 2);
        check(PolicyOutcome::Unchanged, 0, 0, 0);
        check(PolicyOutcome::DryRun, 0, 0, 0);
        check(PolicyOutcome::Applied, 3, 3, 0);
        check(PolicyOutcome::Applied, 0, 0, 0);
        check(PolicyOutcome::Applied, 1, 3, 4);
        check(PolicyOutcome::Applied, 0, 3, 1);
    }

    /// Scenario: files, a folder, a missing file, an empty folder, and what is no text.
    /// Guarantees: files come in their order, folders by name without what is no document; errors
    /// are the operator's affair (2) and name the file.
    #[test]
    fn files_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("set")).unwrap();
        fs::create_dir(path("empty")).unwrap();
        for name in ["set/b.yml", "set/a.yaml", "set/c.json", "set/README.md", "x.yaml"] {
            fs::write(path(name), name).unwrap();
        }
        fs::write(path("binary"), [0xff, 0xfe]).unwrap();
        let texts = |names: &[&str]| {
            let paths: Vec<PathBuf> = names.iter().map(|name| path(name)).collect();
            read(&paths).map(|files| files.into_iter().map(|file| file.text).collect::<Vec<_>>())
        };
        let all = texts(&["x.yaml", "set"]).unwrap();
        assert_eq!(all, ["x.yaml", "set/a.yaml", "set/b.yml", "set/c.json"]);
        for wrong in ["missing", "empty", "binary"] {
            let failure = texts(&["x.yaml", wrong]).expect_err(wrong);
            assert_eq!(failure.exit().code(), 2);
            assert!(failure.to_string().contains(wrong), "{failure}");
        }
    }

    /// Scenario: files that are right, warn, and are wrong, without a collector.
    /// Guarantees: what reading, merging and compiling say is said.
    #[test]
    fn files_are_looked_at_alone() {
        const CANARY: &str =
            include_str!("../../../proto/tests/policy/valid/founding-inventory-canary.yaml");
        let check = |text: &str, word: &str| {
            let file = SourceFile { name: "a.yaml".into(), text: text.into() };
            let findings = static_lint(&[file], policy::Profile::Fusebox);
            let all: Vec<String> = findings.iter().map(ToString::to_string).collect();
            assert!(all.iter().any(|one| one.contains(word)), "{word} is not in {all:?}");
        };
        check(CANARY, "Istio would retry twice here");
        check(&CANARY.replace("name: v2", "name: v3"), "is v2, which no DestinationRule");
        check(&format!("{CANARY}\n---\n{CANARY}"), "is there twice");
        check("a: [", "a.yaml:");
    }
}
