//! How a command ends.

use fusebox_proto::text;
use fusebox_proto::view::TripResult;
use std::process::ExitCode;
use tonic::Code;

/// A message from the network is cut to this many bytes: room for the candidates of a name.
const MESSAGE_LEN_MAX: usize = 4_096;

/// The codes of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// As asked.
    Done,
    /// Not done; also where no proxy can enforce it.
    Failed,
    /// Wrong words; unknown or ambiguous name.
    Usage,
    /// `status` while an incident is open.
    IncidentOpen,
    /// Applied on some proxies but not all.
    Partial,
}

impl Exit {
    /// The code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::IncidentOpen => 3,
            Self::Partial => 4,
        }
    }

    /// What came of a command on each edge.
    pub(crate) fn of_results(results: &[TripResult]) -> Self {
        let applied: u64 = results.iter().map(|result| result.applied).sum();
        let is_whole = |result: &TripResult| 0 < result.proxies && result.applied == result.proxies;
        match (applied, results.iter().all(is_whole)) {
            (_, true) => Self::Done,
            (0, false) => Self::Failed,
            (_, false) => Self::Partial,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The words were wrong: another command is needed.
    #[error("{0}")]
    Usage(String),
    /// The world was: the same command may work later.
    #[error("{0:#}")]
    Failed(#[from] anyhow::Error),
    /// Nobody reads any more. That is no failure.
    #[error("nobody reads the output")]
    BrokenPipe,
}

impl Failure {
    /// What a collector at `url` refused, in its own words.
    pub(crate) fn refused(url: &str, status: &tonic::Status) -> Self {
        let visible = text::visible(status.message());
        let message = text::cut(&visible, MESSAGE_LEN_MAX);
        match status.code() {
            Code::NotFound | Code::InvalidArgument => Self::Usage(message.into_owned()),
            _ => Self::Failed(anyhow::anyhow!("the collector at {url}: {message}")),
        }
    }

    /// How the process ends.
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Failed(_) => Exit::Failed,
            Self::BrokenPipe => Exit::Done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: results of one and of many edges.
    /// Guarantees: 0 only where all proxies acknowledged, 1 where none did or none is there, 4 in
    /// between; nothing to do is done.
    #[test]
    fn results_map_to_the_codes_of_the_contract() {
        let check = |results: &[(u64, u64)], code: u8| {
            let results: Vec<TripResult> = results
                .iter()
                .map(|&(applied, proxies)| TripResult { applied, proxies, ..TripResult::default() })
                .collect();
            assert_eq!(Exit::of_results(&results).code(), code, "{results:?}");
        };
        check(&[], 0);
        check(&[(1, 1)], 0);
        check(&[(3, 3), (1, 1)], 0);
        check(&[(0, 0)], 1);
        check(&[(0, 3)], 1);
        check(&[(0, 3), (0, 0)], 1);
        check(&[(1, 3)], 4);
        check(&[(3, 3), (0, 1)], 4);
        check(&[(3, 3), (0, 0)], 4);
    }

    /// Scenario: refusals of a collector.
    /// Guarantees: names are the operator's affair (2), the rest is not (1) and names the address;
    /// nothing of it reaches the terminal raw.
    #[test]
    fn refusals_map_to_the_codes_of_the_contract() {
        let check = |code: Code, exit: u8, says: &str| {
            let status = tonic::Status::new(code, "no service is called \"bb\"\x1b[2J; there is b");
            let failure = Failure::refused("http://127.0.0.1:1", &status);
            assert_eq!(failure.exit().code(), exit, "{code:?}");
            let text = failure.to_string();
            assert!(text.contains(says) && text.contains("there is b"), "{text}");
            assert!(!text.contains('\x1b'), "{text}");
        };
        check(Code::NotFound, 2, "bb");
        check(Code::InvalidArgument, 2, "bb");
        check(Code::Unavailable, 1, "127.0.0.1:1");
        check(Code::Unauthenticated, 1, "127.0.0.1:1");
        check(Code::DeadlineExceeded, 1, "127.0.0.1:1");
        check(Code::Internal, 1, "127.0.0.1:1");
        assert_eq!(Failure::BrokenPipe.exit().code(), 0);
    }
}
