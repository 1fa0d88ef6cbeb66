//! What is compared before and after: one figure of one subject, over time.

use std::collections::HashMap;

/// Whose figure it is. The numbers are those of [`super::rows::Spans`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Subject {
    /// A service at an operation of its own.
    Own { service: u32, operation: u32 },
    /// A call from one node to another.
    Edge { caller: u32, callee: Node, operation: u32 },
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Node {
    /// A service that sends spans.
    Service(u32),
    /// What does not, by the name that clients have for it.
    Peer(u32),
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Measure {
    /// Time that nobody further down explains, ms.
    Time,
    /// 1 where it failed and nobody further down did.
    Failed,
    /// 1 where exactly these were called. `last` is the node that was called last.
    Shape { set: u64, last: Option<Node> },
}

/// A figure over time. A trace gives one sample, the mean of its calls: what one stall does to
/// many spans of a trace is one observation.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) subject: Subject,
    pub(super) measure: Measure,
    /// Rising; ns.
    pub(super) at_ns: Vec<u64>,
    pub(super) values: Vec<f32>,
    /// How many calls each sample stands for.
    pub(super) calls: Vec<f32>,
    /// Samples from the smallest to the largest.
    pub(super) order: Vec<u32>,
}

impl Series {
    /// How many samples are from before `onset_ns`.
    pub(super) fn before(&self, onset_ns: u64) -> usize {
        self.at_ns.partition_point(|at| *at < onset_ns)
    }
}

/// One call, before those of its trace are taken together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) trace: u32,
    pub(super) at_ns: u64,
    pub(super) value: f32,
    pub(super) weight: f32,
}

/// Series in the making.
#[derive(Debug, Default)]
pub(super) struct Drafts(HashMap<(Subject, Measure), Vec<Sample>, foldhash::fast::RandomState>);

impl Drafts {
    pub(super) fn add(&mut self, subject: Subject, measure: Measure, sample: Sample) {
        self.0.entry((subject, measure)).or_default().push(sample);
    }

    /// The series, in a stable order.
    pub(super) fn finish(self) -> Vec<Series> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
            .map(|((subject, measure), samples)| series(subject, measure, samples))
            .collect()
    }
}

fn series(subject: Subject, measure: Measure, mut samples: Vec<Sample>) -> Series {
    // The value too: a sum of fractions depends on its order.
    samples.sort_unstable_by_key(|sample| (sample.trace, sample.at_ns, sample.value.to_bits()));
    let mut merged: Vec<(u64, u32, f32, f32)> = Vec::new();
    for of_trace in samples.chunk_by(|a, b| a.trace == b.trace) {
        let sum: f32 = of_trace.iter().map(|sample| sample.value).sum();
        let calls = of_trace.iter().map(|sample| sample.weight).sum();
        let first = of_trace[0];
        merged.push((first.at_ns, first.trace, sum / of_trace.len() as f32, calls));
    }
    merged.sort_unstable_by_key(|(at_ns, trace, ..)| (*at_ns, *trace));
    let values: Vec<f32> = merged.iter().map(|(_, _, value, _)| *value).collect();
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
    Series {
        subject,
        measure,
        at_ns: merged.iter().map(|(at_ns, ..)| *at_ns).collect(),
        calls: merged.iter().map(|(.., calls)| *calls).collect(),
        values,
        order,
    }
}
