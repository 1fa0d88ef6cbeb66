//! What `fusebox diagnose` answers.

use fusebox_proto::ServiceId;
use fusebox_proto::view::{Incident, Stamp, Suspect};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The answer, as the contract has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// What was looked at.
    pub window: Window,
    /// What is wrong, where that is sure enough: with a suspect of confidence 0.5 or more.
    pub incidents: Vec<Incident>,
    /// Best first.
    pub suspects: Vec<Suspect>,
    /// How good the data is.
    pub data_quality: Quality,
    /// For people: the answer in one sentence.
    #[serde(skip)]
    pub verdict: String,
    /// For people: what speaks for it, strongest first.
    #[serde(skip)]
    pub evidence: Vec<Exhibit>,
    /// The first suspect: what sends no spans is a node of its callers' environment.
    #[serde(skip)]
    pub guilty: Option<ServiceId>,
}

/// What was looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Start of the first span of the capture.
    pub from: Stamp,
    /// End of the last.
    pub to: Stamp,
    /// Since when it is worse; `None` where nothing is.
    pub onset: Option<Stamp>,
    /// With those of the baseline.
    pub spans: u64,
    /// As above.
    pub traces: u64,
}

/// How good the data is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Services that sent spans.
    pub services: u64,
    /// Operations and calls that could be compared.
    pub compared: u64,
    /// Those with fewer than 20 traces before or 3 after.
    pub too_few: u64,
    /// Length of what came before the onset, s.
    pub before_s: f64,
    /// Length of what came after, s.
    pub after_s: f64,
    /// Share of the spans whose parent is missing.
    pub orphans: f64,
    /// Spans that came twice.
    pub duplicates: u64,
    /// Lowest sampling probability that a span tells.
    pub sampling: f64,
    /// Spans refused in reading.
    pub rejected: u64,
    /// Lines, messages and documents without spans.
    pub other: u64,
    /// Files that end in the middle.
    pub truncated: u64,
    /// What weakens the answer, in words.
    pub notes: Vec<String>,
}

/// One thing that got worse.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Exhibit {
    /// `own time`, `time on the way`, `failures`, `other calls`
    pub signal: Cow<'static, str>,
    /// Where: `inventory`, or `payment → inventory`.
    pub place: String,
    /// At what.
    pub operation: String,
    /// Median in ms, or share.
    pub before: f64,
    /// As above.
    pub after: f64,
    /// `ms` or `%`
    pub unit: Cow<'static, str>,
    /// Requests since the onset.
    pub requests: u64,
    /// Evidence beyond chance, nats.
    pub nats: f64,
    /// Name of the suspect that it is mostly blamed on.
    pub blames: String,
}

/// The answer with what is for people: what a collector tells the console that asks.
#[derive(Serialize, Deserialize)]
struct Whole<'a> {
    diagnosis: Cow<'a, Diagnosis>,
    verdict: Cow<'a, str>,
    evidence: Cow<'a, [Exhibit]>,
}

impl Diagnosis {
    /// As JSON, with what is for people.
    pub fn to_whole_json(&self) -> Vec<u8> {
        let whole = Whole {
            diagnosis: Cow::Borrowed(self),
            verdict: Cow::Borrowed(&self.verdict),
            evidence: Cow::Borrowed(&self.evidence),
        };
        serde_json::to_vec(&whole).expect("plain data")
    }

    /// What [`to_whole_json`](Self::to_whole_json) wrote.
    ///
    /// # Errors
    /// If nobody wrote that.
    pub fn from_whole_json(json: &[u8]) -> serde_json::Result<Self> {
        let Whole { diagnosis, verdict, evidence } = serde_json::from_slice(json)?;
        let (verdict, evidence) = (verdict.into_owned(), evidence.into_owned());
        Ok(Self { verdict, evidence, ..diagnosis.into_owned() })
    }
}
