//! The last minute of each service and edge, a sample a second, for sparklines.

use fusebox_proto::view::{EdgeView, Service, Snapshot};
use std::collections::{HashMap, VecDeque};

/// Samples kept: a minute.
pub const SAMPLES_MAX: usize = 60;
/// Services and edges kept. A mesh beyond that is shown without sparklines for the rest.
pub const SERIES_MAX: usize = 4_096;

/// The last minute of one figure, oldest first; NaN is "not known".
pub type Series = VecDeque<f32>;

/// The last minute of one service.
#[derive(Clone, Debug, Default)]
pub struct ServiceHistory {
    /// Requests per second.
    pub rate: Series,
    /// 0…1
    pub error_ratio: Series,
    /// Milliseconds.
    pub p50_ms: Series,
    /// Milliseconds.
    pub p95_ms: Series,
    /// Milliseconds.
    pub p99_ms: Series,
}

/// The last minute of one edge.
#[derive(Clone, Debug, Default)]
pub struct EdgeHistory {
    /// Attempts per second.
    pub rate: Series,
    /// 0…1
    pub error_ratio: Series,
    /// Attempts per request.
    pub attempts: Series,
}

/// The last minute of everything.
#[derive(Clone, Debug, Default)]
pub struct History {
    second: u64,
    services: HashMap<String, ServiceHistory>,
    edges: HashMap<(String, String), EdgeHistory>,
}

impl History {
    /// Takes a sample of each figure, once for each second of data. Seconds without data are gaps.
    pub fn sample(&mut self, snapshot: &Snapshot) {
        let second = snapshot.at.0 / 1_000;
        if second <= self.second {
            return;
        }
        let gaps = if self.second == 0 { 0 } else { second - self.second - 1 };
        let gaps = usize::try_from(gaps).unwrap_or(SAMPLES_MAX).min(SAMPLES_MAX);
        self.second = second;
        self.services.retain(|name, _| has_service(snapshot, name));
        self.edges.retain(|name, _| has_edge(snapshot, name));
        for service in &snapshot.services {
            if let Some(history) = entry(&mut self.services, service.name.clone()) {
                history.push(gaps, service);
            }
        }
        for edge in &snapshot.edges {
            let name = (edge.source.clone(), edge.destination.clone());
            if let Some(history) = entry(&mut self.edges, name) {
                history.push(gaps, edge);
            }
        }
    }

    /// Of a service.
    pub fn service(&self, name: &str) -> Option<&ServiceHistory> {
        self.services.get(name)
    }

    /// Of an edge.
    pub fn edge(&self, source: &str, destination: &str) -> Option<&EdgeHistory> {
        self.edges.get(&(source.to_owned(), destination.to_owned()))
    }
}

fn has_service(snapshot: &Snapshot, name: &str) -> bool {
    snapshot.services.binary_search_by(|s| s.name.as_str().cmp(name)).is_ok()
}

fn has_edge(snapshot: &Snapshot, name: &(String, String)) -> bool {
    let key = (&name.0, &name.1);
    snapshot.edges.binary_search_by(|e| (&e.source, &e.destination).cmp(&key)).is_ok()
}

fn entry<K: std::hash::Hash + Eq, V: Default>(map: &mut HashMap<K, V>, key: K) -> Option<&mut V> {
    if map.len() < SERIES_MAX || map.contains_key(&key) {
        return Some(map.entry(key).or_default());
    }
    None
}

fn push(series: &mut Series, gaps: usize, value: Option<f64>) {
    if !series.is_empty() {
        series.extend(std::iter::repeat_n(f32::NAN, gaps));
    }
    series.push_back(value.map_or(f32::NAN, |v| v as f32));
    let surplus = series.len().saturating_sub(SAMPLES_MAX);
    series.drain(..surplus);
}

impl ServiceHistory {
    fn push(&mut self, gaps: usize, service: &Service) {
        push(&mut self.rate, gaps, service.rate);
        push(&mut self.error_ratio, gaps, service.error_ratio);
        push(&mut self.p50_ms, gaps, service.p50_ms);
        push(&mut self.p95_ms, gaps, service.p95_ms);
        push(&mut self.p99_ms, gaps, service.p99_ms);
    }
}

impl EdgeHistory {
    fn push(&mut self, gaps: usize, edge: &EdgeView) {
        push(&mut self.rate, gaps, edge.rate);
        push(&mut self.error_ratio, gaps, edge.error_ratio);
        push(&mut self.attempts, gaps, edge.attempts_per_request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusebox_proto::view::Stamp;

    fn snapshot(second: u64, rate: f64) -> Snapshot {
        let service = Service { name: "cart".into(), rate: Some(rate), ..Service::default() };
        Snapshot { at: Stamp(second * 1_000), services: vec![service], ..Snapshot::default() }
    }

    /// Scenario: two minutes of data, several updates within a second, a gap of three seconds, a
    /// service that vanishes.
    /// Guarantees: one sample a second, gaps stay gaps, a minute is kept, what vanished is
    /// forgotten.
    #[test]
    fn keeps_one_minute_of_seconds() {
        let mut history = History::default();
        for second in 1_000..1_120 {
            history.sample(&snapshot(second, second as f64));
            history.sample(&snapshot(second, 0.0));
        }
        let rate = &history.service("cart").expect("sampled").rate;
        assert_eq!((rate.len(), rate.front(), rate.back()), (60, Some(&1_060.0), Some(&1_119.0)));

        history.sample(&snapshot(1_123, 5.0));
        let rate = &history.service("cart").expect("sampled").rate;
        assert_eq!(rate.len(), SAMPLES_MAX);
        let tail: Vec<bool> = rate.iter().skip(55).map(|v| v.is_nan()).collect();
        assert_eq!(tail, [false, true, true, true, false]);

        history.sample(&Snapshot { at: Stamp(1_124_000), ..Snapshot::default() });
        assert!(history.service("cart").is_none());
    }
}
