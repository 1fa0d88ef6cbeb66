//! What retries of several layers multiply to: the worst case along paths that are really called.

use super::{Live, warn};
use fusebox_proto::ServiceId;
use fusebox_proto::policy::{Finding, Policy};
use std::collections::HashMap;

/// Products below this are not worth a line: two layers with one retry each.
const PRODUCT_MIN: f64 = 4.0;
/// Paths that are named, the worst first.
const PATHS_MAX: usize = 5;
/// Edges of a path.
const LENGTH_MAX: usize = 16;
/// Steps of the search; a mesh that needs more is searched in part.
const STEPS_MAX: usize = 100_000;

/// Attempts that one request on each edge may become.
struct Layers<'l> {
    /// By caller: callee, attempts, and what is printed.
    from: HashMap<&'l ServiceId, Vec<(&'l ServiceId, u32, String)>>,
    steps: usize,
}

/// A path, and what its layers multiply to.
#[derive(Clone, Default)]
struct Path<'l> {
    product: f64,
    on: Vec<&'l ServiceId>,
    layers: Vec<(u32, String)>,
}

/// The worst paths.
pub(super) fn lint(policy: &Policy, live: &Live) -> Vec<Finding> {
    let mut layers = Layers { from: HashMap::new(), steps: 0 };
    for edge in &live.edges {
        let attempts = edge.retries_max(policy) + 1;
        let next = (&edge.edge.destination, attempts, edge.name());
        layers.from.entry(&edge.edge.source).or_default().push(next);
    }
    let mut worst: Vec<Path<'_>> = Vec::new();
    for service in &live.services {
        let start = Path { product: 1.0, on: vec![&service.id], layers: Vec::new() };
        let path = layers.worst_from(&start);
        // A first layer that multiplies nothing belongs to a longer name for the same thing.
        let is_own = path.layers.first().is_some_and(|(attempts, _)| 1 < *attempts);
        let multiplies = path.layers.iter().filter(|(attempts, _)| 1 < *attempts).count();
        if is_own && 2 <= multiplies && PRODUCT_MIN <= path.product {
            worst.push(path);
        }
    }
    worst.sort_by(|a, b| b.product.total_cmp(&a.product));
    // The rest of a path that is named already says nothing new.
    let is_part = |path: &Path<'_>, of: &Path<'_>| of.layers.ends_with(&path.layers);
    let mut named: Vec<Path<'_>> = Vec::new();
    for path in worst {
        if named.len() < PATHS_MAX && !named.iter().any(|other| is_part(&path, other)) {
            named.push(path);
        }
    }
    named.iter().map(Path::finding).collect()
}

impl<'l> Layers<'l> {
    /// The path that begins with this one and multiplies most; the shortest of those.
    fn worst_from(&mut self, path: &Path<'l>) -> Path<'l> {
        let mut worst = path.clone();
        if LENGTH_MAX <= path.layers.len() || STEPS_MAX <= self.steps {
            return worst;
        }
        let last = path.on.last().copied();
        let next = last.and_then(|last| self.from.get(last)).cloned().unwrap_or_default();
        for (callee, attempts, name) in next {
            if path.on.contains(&callee) {
                continue;
            }
            self.steps += 1;
            let mut longer = path.clone();
            longer.product *= f64::from(attempts);
            longer.on.push(callee);
            longer.layers.push((attempts, name));
            let found = self.worst_from(&longer);
            if worst.product < found.product {
                worst = found;
            }
        }
        worst
    }
}

impl Path<'_> {
    fn finding(&self) -> Finding {
        let first = self.on.first().map(ToString::to_string).unwrap_or_default();
        let last = self.on.last().map(ToString::to_string).unwrap_or_default();
        let layer = |(attempts, name): &(u32, String)| format!("{name} {attempts}");
        let layers: Vec<String> = self.layers.iter().map(layer).collect();
        let message = format!(
            "one request of {first} may become {:.0} attempts on {last} when everything fails",
            self.product
        );
        warn("", "", &message, &layers.join(" × "))
    }
}
