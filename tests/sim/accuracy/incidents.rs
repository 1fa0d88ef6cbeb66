//! The other half of the table: real incidents, of which nobody knows more than the truth that is
//! beside each file.

use fusebox_collector::capture;
use fusebox_collector::diagnose::{Diagnosis, Period, Spans, diagnose};
use fusebox_tests::{Bar, bars, incidents, is_asked_for};
use serde_json::Value;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Without `FUSEBOX_LONG=1`.
const SHORT: usize = 3;
/// Who is suspected with less is not accused.
const VERDICT: f64 = 0.5;

/// A row of the table.
struct Row {
    name: String,
    /// The service at fault.
    service: String,
    rank_max: Option<usize>,
    /// Of the service at fault among the suspects, from 1.
    rank: Option<usize>,
    /// With which it is suspected.
    confidence: f64,
    /// Who is suspected first, and how much.
    first: Option<(String, f64)>,
    spans: u64,
}

impl Row {
    fn of(folder: &Path, Bar { name, rank_max }: Bar) -> Self {
        let truth = std::fs::read(folder.join(format!("truth-{name}.json"))).expect("the truth");
        let truth: Value = serde_json::from_slice(&truth).expect("JSON");
        let service = truth["service"].as_str().expect("a service").to_owned();
        let mut spans = Spans::default();
        let told = capture::read(&folder.join(format!("{name}.otlp.jsonl.zst")), &mut |batch| {
            spans.add(batch, Period::Capture).expect("it is not too large");
            ControlFlow::Continue(())
        });
        assert_eq!(Some(told.expect("a capture").spans), truth["spans"].as_u64(), "{name}");
        let Diagnosis { window, suspects, .. } = diagnose(&spans, None).expect("it has spans");
        let place = suspects.iter().position(|suspect| suspect.service == service);
        Self {
            name,
            service,
            rank_max,
            rank: place.map(|place| place + 1),
            confidence: place.map_or(0.0, |place| suspects[place].confidence),
            first: suspects.into_iter().next().map(|first| (first.service, first.confidence)),
            spans: window.spans,
        }
    }

    fn is_met(&self) -> bool {
        match self.rank_max {
            Some(max) => self.rank.is_some_and(|rank| rank <= max),
            None => self.first.as_ref().is_none_or(|(_, confidence)| *confidence < VERDICT),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = match self.rank_max {
            Some(1) => "first".to_owned(),
            Some(max) => format!("in the first {max}"),
            None => "nobody".to_owned(),
        };
        let rank = self.rank.map_or("·".to_owned(), |rank| rank.to_string());
        let met = if self.is_met() { "met" } else { "not met" };
        let Self { name, service, confidence, spans, .. } = self;
        write!(f, "{name:<8} {service:<28} {rank:>4} {confidence:>11.2} {spans:>8}  ")?;
        write!(f, "{expected:<15} {met}")
    }
}

/// Scenario: real incidents, each a file, with no other hint (three of them; `FUSEBOX_LONG=1`: all).
/// Guarantees: the service at fault is where it must be among the suspects, and where the evidence is
/// not enough nobody is accused.
#[test]
fn real_incidents_are_in_the_table() {
    let Some(folder) = incidents() else {
        return println!("real incidents: none are here, so there are no rows");
    };
    let mut bars = bars();
    if !is_asked_for("FUSEBOX_LONG") {
        bars.truncate(SHORT);
    }
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<Row>> = Mutex::default();
    std::thread::scope(|scope| {
        // Two at a time: more would only take more memory.
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(bar) = bars.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = Row::of(&folder, bar.clone());
                    rows.lock().expect("no row panics").push(row);
                }
            });
        }
    });
    println!(
        "{:<8} {:<28} {:>4} {:>11} {:>8}  {:<15} verdict",
        "incident", "at fault", "rank", "confidence", "spans", "expected"
    );
    let mut rows = rows.into_inner().expect("no row panics");
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    for row in &rows {
        println!("{row}");
    }
    let missed: Vec<String> = rows
        .iter()
        .filter(|row| !row.is_met())
        .map(|row| format!("{row}; first {:?}", row.first))
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
