//! What is measured of a service that got slow.

use super::Scene;
use super::evidence::signal;
use super::regression::ms;
use super::sentence::rate;
use super::shift::{self, Shift, series, shift};
use super::slow::Guilt;
use crate::detect::Subject;
use crate::store::{LatencyTotal, Part};
use fusebox_proto::Edge;
use fusebox_proto::text::cut;
use fusebox_proto::view::Evidence;
use std::collections::BTreeSet;

/// Growth of the demand that is worth mentioning.
const DEMAND_GROWTH: f64 = 1.3;
/// What is usual is known badly before so many minutes.
const MINUTES_FEW: u64 = 10;
/// A name in evidence has at most so many bytes.
const NAMED_LEN_MAX: usize = 12;

/// What is measured of the guilty: by itself where it reports, else by who waits for it; of one route
/// or subset where only that shows it.
pub(super) struct Heard {
    subject: Subject,
    shift: Shift,
    now: LatencyTotal,
    usual: [Option<f64>; 2],
    minutes: u64,
    series: Vec<f64>,
}

/// What is heard of the guilty, whom `slow` accuse and whom `edge` leads to: where time is lost on a way,
/// of that.
pub(super) fn heard(
    scene: &Scene<'_>,
    (guilt, edge): (&Guilt, &Edge),
    slow: &BTreeSet<Subject>,
    onset: u64,
) -> Option<Heard> {
    let service = &guilt.service;
    let mut whole = [Subject::Service(service.clone()), Subject::Edge(edge.clone())];
    if let Some(way) = &guilt.way {
        whole = [Subject::Edge(way.clone()), Subject::Service(service.clone())];
    }
    let excess = |part: &Subject| shift(scene, part, onset).map_or(0.0, |shift| shift.excess());
    let parts = slow
        .iter()
        .filter(|it| matches!(it, Subject::Part(part) if part.edge.destination == *service))
        .max_by(|a, b| excess(a).total_cmp(&excess(b)).then_with(|| b.cmp(a)))
        .filter(|_| !whole.iter().any(|whole| slow.contains(whole)));
    parts.cloned().into_iter().chain(whole).find_map(|subject| {
        let shift = shift(scene, &subject, onset)?;
        let now = shift::latency(scene, &subject, onset)?;
        let usual = scene.detectors.latencies().usual(&subject)?;
        let series = series(scene, &subject);
        let quantiles = [0.99, 0.5].map(|q| usual.quantile_ms(q));
        Some(Heard { subject, shift, now, usual: quantiles, minutes: usual.minutes(), series })
    })
}

impl Heard {
    /// What a verdict from so much is worth, 0 … 1.
    pub(super) fn is_known_well(&self) -> f64 {
        let minutes = self.minutes.min(MINUTES_FEW) as f64 / MINUTES_FEW as f64;
        0.8 + 0.2 * minutes
    }

    /// In half a sentence.
    pub(super) fn figures(&self) -> String {
        let Self { usual: [p99, p50], .. } = self;
        let of = |name: &str, was: Option<f64>, is: Option<f64>| {
            let (was, is) = was.zip(is)?;
            Some(format!("{name} {} → {}", ms(was), ms(is)))
        };
        let p99 = of("p99", *p99, self.now.quantile_ms(0.99, 299));
        let p50 = || of("median", *p50, self.now.quantile_ms(0.5, 5));
        let figures = p99.or_else(p50);
        let figures = figures.unwrap_or_else(|| format!("{} more", ms(self.shift.excess_ms())));
        format!("{figures}{}", self.which())
    }

    /// Which of its calls, where not all are meant.
    fn which(&self) -> String {
        let Subject::Part(Part { route, subset, .. }) = &self.subject else {
            return String::new();
        };
        let named = |what: &str, name: &str| match name {
            "" => String::new(),
            name => format!(" {what} {}", cut(name, NAMED_LEN_MAX)),
        };
        named("on", route) + &named("to", subset)
    }

    pub(super) fn evidence(&self, scene: &Scene<'_>, edge: &Edge, onset: u64) -> Vec<Evidence> {
        let which = self.which();
        let p99 = (self.usual[0], self.now.quantile_ms(0.99, 299));
        let median = (self.usual[1], self.now.quantile_ms(0.5, 5));
        let mean = (Some(self.shift.usual_ms), Some(self.shift.now_ms));
        let mut all = vec![
            signal(&format!("p99{which}"), "ms", p99, self.series.clone()),
            signal(&format!("median{which}"), "ms", median, Vec::new()),
            signal(&format!("mean{which}"), "ms", mean, Vec::new()),
        ];
        if let Some(hour) = scene.detectors.latencies().usual_now(&self.subject) {
            let usual_ms = f64::from(hour.p99_us) / 1_000.0;
            all.push(signal("p99 at this hour", "ms", (Some(usual_ms), p99.1), Vec::new()));
        }
        let subject = Subject::Edge(edge.clone());
        if self.subject != subject
            && let Some(call) = shift::latency(scene, &subject, onset)
            && let Some(usual) = scene.detectors.latencies().usual(&subject)
        {
            let caller = cut(&scene.names.print(&edge.source), NAMED_LEN_MAX).into_owned();
            let p99 = (usual.quantile_ms(0.99), call.quantile_ms(0.99, 299));
            all.push(signal(&format!("p99 for {caller}"), "ms", p99, series(scene, &subject)));
        }
        let requests = (Some(self.shift.usual_per_s), Some(self.shift.now_per_s));
        all.push(signal(&format!("requests{which}"), "/s", requests, Vec::new()));
        all
    }

    /// What speaks against the verdict.
    pub(super) fn counter(&self, guilt: &Guilt) -> Vec<String> {
        let mut counter = Vec::new();
        let (was, is) = (self.shift.usual_per_s, self.shift.now_per_s);
        if DEMAND_GROWTH * was < is {
            let (was, is) = (rate(was), rate(is));
            counter.push(format!("requests grew too, {was} → {is}/s: load may be a cause"));
        }
        if self.minutes < MINUTES_FEW {
            counter.push(format!("what is usual is known from {} min only", self.minutes));
        }
        if guilt.way.is_some() {
            counter.push("neither end is slower by itself".into());
        }
        counter
    }
}
