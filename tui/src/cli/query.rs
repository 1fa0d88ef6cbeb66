//! `status`, `services`, `edges`, `incidents`, `breakers`, `proxies`.

use super::args::{Output, Query};
use super::connect::Target;
use super::exit::{Exit, Failure};
use super::out::{self, Out};
use super::render;
use fusebox_proto::page::Noun;
use fusebox_proto::view::Snapshot;

/// Prints the answer, and with `--watch` each further one.
pub(crate) async fn run(
    target: &Target,
    noun: Noun,
    query: Query,
    out: Out,
) -> Result<Exit, Failure> {
    let mut follow = target.follow().await?;
    let mut shown = show(noun, query.output, &follow.snapshot, out);
    out::print(&shown)?;
    if !query.watch {
        return Ok(exit(noun, &follow.snapshot));
    }
    loop {
        follow.next().await?;
        let next = show(noun, query.output, &follow.snapshot, out);
        if next == shown {
            continue;
        }
        match query.output {
            Output::Table => out.replace(&next)?,
            Output::Json => out::print(&next)?,
        }
        shown = next;
    }
}

fn show(noun: Noun, output: Output, snapshot: &Snapshot, out: Out) -> String {
    match output {
        Output::Table => render::table(noun, snapshot, out.width, out.ascii),
        Output::Json => {
            let page = serde_json::to_string(&snapshot.page(noun));
            format!("{}\n", page.expect("a page has string keys and no other way to fail"))
        }
    }
}

const fn exit(noun: Noun, snapshot: &Snapshot) -> Exit {
    match noun {
        Noun::Status if 0 < snapshot.status.incidents_open => Exit::IncidentOpen,
        _ => Exit::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: each noun with and without an open incident.
    /// Guarantees: only `status` tells of it in its exit code.
    #[test]
    fn status_alone_exits_3() {
        let mut snapshot = Snapshot::default();
        assert!(Noun::ALL.into_iter().all(|noun| exit(noun, &snapshot).code() == 0));
        snapshot.status.incidents_open = 1;
        for noun in Noun::ALL {
            let code = if noun == Noun::Status { 3 } else { 0 };
            assert_eq!(exit(noun, &snapshot).code(), code, "{noun:?}");
        }
    }

    /// Scenario: each noun as JSON.
    /// Guarantees: one object, on one line, as `--watch` promises.
    #[test]
    fn json_is_one_object_a_line() {
        let mut snapshot = Snapshot::default();
        snapshot.incidents.push(fusebox_proto::view::Incident {
            summary: "two\nlines".into(),
            ..Default::default()
        });
        for noun in Noun::ALL {
            let text = show(noun, Output::Json, &snapshot, Out { width: Some(20), ascii: true });
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap().is_object());
        }
    }
}
