//! Printed names, and what an operator means by what was typed.
//!
//! A service prints as `name` where no other service has that name, else in full,
//! `environment/namespace/name`.

use fusebox_proto::view::EdgeName;
use fusebox_proto::{Edge, ServiceId};
use std::collections::{BTreeMap, BTreeSet};

/// More candidates than this are not named.
const CANDIDATES_MAX: usize = 5;

/// The names of all known services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    by_name: BTreeMap<String, BTreeSet<ServiceId>>,
}

/// Why a name stands for no service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// None is called so; these come close.
    Unknown(Vec<String>),
    /// Several are.
    Ambiguous(Vec<String>),
}

impl<'a> FromIterator<&'a ServiceId> for Names {
    fn from_iter<I: IntoIterator<Item = &'a ServiceId>>(services: I) -> Self {
        let mut names = Self::default();
        for service in services {
            let of_name = names.by_name.entry(service.name().to_owned()).or_default();
            of_name.insert(service.clone());
        }
        names
    }
}

impl Names {
    /// How a service prints.
    pub(crate) fn print(&self, service: &ServiceId) -> String {
        let is_shared = self.by_name.get(service.name()).is_some_and(|of_name| 1 < of_name.len());
        if is_shared { service.to_string() } else { service.name().to_owned() }
    }

    /// How an edge prints.
    pub(crate) fn print_edge(&self, edge: &Edge) -> EdgeName {
        EdgeName { source: self.print(&edge.source), destination: self.print(&edge.destination) }
    }

    /// The service that `typed` means: a full name, `namespace/name`, or a name that is unique.
    ///
    /// # Errors
    /// If it means none or several.
    pub(crate) fn resolve(&self, typed: &str) -> Result<&ServiceId, Unresolved> {
        let typed = typed.trim();
        let bare = typed.rsplit('/').next().unwrap_or(typed);
        let of_name = self.by_name.get(bare).into_iter().flatten();
        let meant: Vec<&ServiceId> = of_name.filter(|service| is_meant(service, typed)).collect();
        match meant[..] {
            [] => Err(Unresolved::Unknown(self.near(bare))),
            [service] => Ok(service),
            _ => {
                // What prints without a prefix has none; it must mean itself.
                if let Some(exact) = meant.iter().find(|service| service.to_string() == typed) {
                    return Ok(exact);
                }
                let printed = meant.iter().take(CANDIDATES_MAX).map(ToString::to_string);
                Err(Unresolved::Ambiguous(printed.collect()))
            }
        }
    }

    /// Printed names that come close to `typed`.
    fn near(&self, typed: &str) -> Vec<String> {
        let typed = typed.to_lowercase();
        let mut near: Vec<(usize, String)> = Vec::new();
        for (name, of_name) in &self.by_name {
            let lower = name.to_lowercase();
            let is_part = 2 <= typed.len() && (lower.contains(&typed) || typed.contains(&lower));
            let distance = distance(&typed, &lower);
            if is_part || distance <= 2 {
                near.extend(of_name.iter().map(|service| (distance, self.print(service))));
            }
        }
        near.sort();
        near.into_iter().map(|(_, name)| name).take(CANDIDATES_MAX).collect()
    }
}

fn is_meant(service: &ServiceId, typed: &str) -> bool {
    match typed.rsplit('/').collect::<Vec<_>>()[..] {
        [_] => true,
        [_, namespace] => service.namespace() == namespace,
        [_, namespace, environment] => {
            service.namespace() == namespace && service.environment() == environment
        }
        _ => false,
    }
}

/// Insertions, deletions and replacements that lead from `a` to `b` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let service = |e, ns, n| ServiceId::new(e, ns, n).unwrap();
        let all = [
            service("prod", "shop", "payment"),
            service("prod", "shop", "inventory"),
            service("staging", "shop", "inventory"),
            service("", "", "gateway"),
            service("", "", "cart"),
            service("prod", "shop", "cart"),
        ];
        all.iter().collect()
    }

    /// Scenario: a mesh of two environments in which some names are unique and some are not.
    /// Guarantees: names print short where that is unique and resolve to what they print.
    #[test]
    fn names_print_short_and_resolve() {
        let names = names();
        let check = |typed: &str, printed: &str| {
            let service = names.resolve(typed).unwrap_or_else(|e| panic!("{typed}: {e:?}"));
            assert_eq!(names.print(service), printed);
            assert_eq!(names.resolve(&names.print(service)), Ok(service));
        };
        check("payment", "payment");
        check("shop/payment", "payment");
        check("prod/shop/payment", "payment");
        check(" gateway ", "gateway");
        check("staging/shop/inventory", "staging/shop/inventory");
        check("shop/cart", "prod/shop/cart");
        check("cart", "cart");
    }

    /// Scenario: names that mean several services, or none, or nearly one.
    /// Guarantees: candidates are named, nearest first, and no guess is made.
    #[test]
    fn names_that_mean_nothing_or_too_much() {
        let names = names();
        let check = |typed: &str, expected: Unresolved| {
            assert_eq!(names.resolve(typed), Err(expected), "{typed}");
        };
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let both = ["prod/shop/inventory", "staging/shop/inventory"];
        check("inventory", Unresolved::Ambiguous(list(&both)));
        check("shop/inventory", Unresolved::Ambiguous(list(&both)));
        check("paymnt", Unresolved::Unknown(list(&["payment"])));
        check("inventor", Unresolved::Unknown(list(&both)));
        check("test/shop/payment", Unresolved::Unknown(list(&["payment"])));
        check("zebra", Unresolved::Unknown(list(&[])));
        check("", Unresolved::Unknown(list(&[])));
        check("a/b/c/payment", Unresolved::Unknown(list(&["payment"])));
    }
}
