//! `trip` and `reset`.

use super::args::{Cli, Output, Reset, Trip};
use super::connect::Target;
use super::exit::{Exit, Failure};
use super::{out, parse, render};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use fusebox_proto::command::{ActionKind, ResetRequest, ResetScope, TripRequest};
use fusebox_proto::view::TripResult;
use fusebox_proto::wire::v1;

impl Trip {
    /// What no single flag can check.
    pub(crate) fn check(&self) -> Result<(), clap::Error> {
        match self.action {
            ActionKind::Open | ActionKind::Cap if self.percent.is_some() => {
                let reason = format!(
                    "--percent goes with --action mute-retries (retries that still pass) and shed \
                     (first attempts refused), not with {}",
                    self.action
                );
                Err(Cli::command().error(ErrorKind::ArgumentConflict, reason))
            }
            _ => Ok(()),
        }
    }

    fn request(self, by: String) -> TripRequest {
        TripRequest {
            request_id: request_id(),
            source: self.source,
            destination: self.destination,
            action: self.action,
            percent: self.percent,
            ttl: self.ttl,
            reason: self.reason,
            by,
        }
    }
}

impl Reset {
    fn request(self, by: String) -> ResetRequest {
        let scope = match (self.source, self.destination) {
            (Some(source), Some(destination)) => ResetScope::Edge { source, destination },
            _ => ResetScope::All,
        };
        let reason = String::new();
        ResetRequest { request_id: request_id(), scope, at_once: self.now, reason, by }
    }
}

/// Asks for a lease.
pub(crate) async fn trip(target: &Target, trip: Trip, by: String) -> Result<Exit, Failure> {
    let (output, ttl) = (trip.output, parse::time(trip.ttl));
    let request = v1::TripRequest::from(trip.request(by));
    let mut client = target.connect().await?;
    let reply = target.answer(client.trip(request)).await?;
    finish(reply, output, Some(&ttl))
}

/// Ends leases.
pub(crate) async fn reset(target: &Target, reset: Reset, by: String) -> Result<Exit, Failure> {
    let output = reset.output;
    let request = v1::ResetRequest::from(reset.request(by));
    let mut client = target.connect().await?;
    let reply = target.answer(client.reset(request)).await?;
    finish(reply, output, None)
}

fn finish(reply: v1::CommandReply, output: Output, ttl: Option<&str>) -> Result<Exit, Failure> {
    let results: Result<Vec<TripResult>, _> =
        reply.results.into_iter().map(TryInto::try_into).collect();
    let results = results.map_err(anyhow::Error::new)?;
    out::print(&show(&results, output, ttl))?;
    Ok(Exit::of_results(&results))
}

/// One line for each edge.
fn show(results: &[TripResult], output: Output, ttl: Option<&str>) -> String {
    match output {
        Output::Table if results.is_empty() => "no lease is in force\n".into(),
        Output::Table => results.iter().map(|result| render::result(result, ttl) + "\n").collect(),
        Output::Json => {
            let line = |result| serde_json::to_string(result).expect("plain data") + "\n";
            results.iter().map(line).collect()
        }
    }
}

/// Unique, so that asking twice for the same thing acts twice.
pub(super) fn request_id() -> String {
    format!("cli-{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::view::EdgeName;

    fn result(applied: u64, proxies: u64) -> TripResult {
        TripResult {
            edge: EdgeName { source: "a".into(), destination: "b".into() },
            action: "open".into(),
            applied,
            proxies,
            ..TripResult::default()
        }
    }

    /// Scenario: answers for no edge, one and two, for people and for programs.
    /// Guarantees: a line an edge, in JSON an object a line, and silence only where a program reads.
    #[test]
    fn each_edge_has_its_line() {
        let check = |results: &[TripResult], output, lines: usize| {
            let text = show(results, output, None);
            assert_eq!(text.lines().count(), lines, "{text}");
            if output == Output::Json {
                for line in text.lines() {
                    let object: serde_json::Value = serde_json::from_str(line).unwrap();
                    assert_eq!(object["edge"]["source"], "a");
                }
            }
        };
        check(&[], Output::Table, 1);
        check(&[], Output::Json, 0);
        check(&[result(1, 1)], Output::Table, 1);
        check(&[result(1, 1)], Output::Json, 1);
        check(&[result(1, 1), result(0, 0)], Output::Table, 2);
        check(&[result(1, 1), result(0, 0)], Output::Json, 2);
    }
}
