//! Records as shares.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

fn service(priority: u16, weight: u16, target: &str) -> Service {
    Service { priority, weight, port: 80, target: target.to_owned(), known: None }
}

fn ips(lasts: &[u8]) -> Vec<IpAddr> {
    lasts.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last).into()).collect()
}

/// Scenario: records of several priorities in any order, with targets that are none, with port 0, and
/// too many of them; and the record of a service that is not available.
/// Guarantees: groups come by priority, the lowest number first; what is no target is dropped and
/// counted, and so are those beyond the bound, the worst ones; a lone `.` is told apart from nothing.
#[test]
fn priorities() {
    let check = |services: &[Service], expected: Option<(&[&[&str]], usize)>| {
        let grouped = by_priority(services.to_vec());
        let grouped = grouped.as_ref().map(|(groups, dropped)| {
            let targets = |group: &Vec<Service>| -> Vec<String> {
                group.iter().map(|service| service.target.clone()).collect()
            };
            (groups.iter().map(targets).collect::<Vec<_>>(), *dropped)
        });
        let expected = expected.map(|(groups, dropped)| {
            let groups = groups.iter().map(|group| group.iter().map(ToString::to_string).collect());
            (groups.collect::<Vec<Vec<String>>>(), dropped)
        });
        assert_eq!(grouped, expected, "{services:?}");
    };
    check(&[], Some((&[], 0)));
    check(&[service(0, 0, ".")], None);
    let mixed =
        [service(20, 1, "d"), service(10, 1, "b"), service(10, 5, "a"), service(15, 0, "c")];
    check(&mixed, Some((&[&["a", "b"], &["c"], &["d"]], 0)));
    let portless = Service { port: 0, ..service(1, 1, "b") };
    let bad = [service(1, 1, "."), service(1, 1, "a b"), service(1, 1, "a"), portless];
    check(&bad, Some((&[&["a"]], 3)));
    let many: Vec<_> = (0..100).rev().map(|at| service(at, 1, "a")).collect();
    let (groups, dropped) = by_priority(many).unwrap();
    assert_eq!((groups.len(), dropped), (64, 36));
    assert_eq!((groups[0][0].priority, groups[63][0].priority), (0, 63));
}

/// Scenario: targets of one priority with weights, some 0, some with more addresses than one, some the
/// same.
/// Guarantees: each target has the part that RFC 2782 gives it: weights in their ratio, all 0 the same,
/// a 0 beside others one part in their sum and one; the addresses of a target share its part; the same
/// address twice has both parts.
#[test]
fn weights() {
    let check = |targets: &[(u16, &[u8])], expected: &[(u8, u32)]| {
        let targets: Vec<_> = targets.iter().map(|(weight, own)| (*weight, 80, ips(own))).collect();
        let found: Vec<_> = weighed(&targets).iter().map(|one| (one.address, one.weight)).collect();
        let at = |(last, weight): &(u8, u32)| (SocketAddr::from(([10, 0, 0, *last], 80)), *weight);
        assert_eq!(found, expected.iter().map(at).collect::<Vec<_>>(), "{targets:?}");
    };
    check(&[], &[]);
    check(&[(0, &[1]), (0, &[2])], &[(1, 1), (2, 1)]);
    check(&[(100, &[1]), (100, &[2])], &[(1, 1), (2, 1)]);
    check(&[(60, &[1]), (20, &[2]), (20, &[3])], &[(1, 3), (2, 1), (3, 1)]);
    check(&[(0, &[1]), (65_535, &[2])], &[(1, 1), (2, 65_535)]);
    check(&[(1, &[1, 2]), (1, &[3])], &[(1, 1), (2, 1), (3, 2)]);
    check(&[(3, &[1, 2, 3]), (1, &[4])], &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    check(&[(1, &[1]), (2, &[1])], &[(1, 1)]);
    check(&[(1, &[1, 2]), (1, &[2])], &[(1, 1), (2, 3)]);
}

proptest! {
    /// Scenario: any targets with up to ten addresses of their own.
    /// Guarantees: the sum of a target's addresses is to the sum of another's as their weights are; no
    /// weight is 0.
    #[test]
    fn shares_are_exact(targets in prop::collection::vec((0_u16.., 1_usize..=10), 1..8)) {
        let address = |at: usize, of: usize| IpAddr::from([10, 0, at as u8, of as u8]);
        let all: Vec<_> = targets.iter().enumerate()
            .map(|(at, (weight, len))| (*weight, 80, (0..*len).map(|of| address(at, of)).collect::<Vec<_>>()))
            .collect();
        let found = weighed(&all);
        prop_assert!(found.iter().all(|one| 0 < one.weight));
        let sum = |at: usize| -> u128 {
            let own = found.iter().filter(|one| all[at].2.contains(&one.address.ip()));
            own.map(|one| u128::from(one.weight)).sum()
        };
        for (at, (weight, ..)) in all.iter().enumerate() {
            prop_assert_eq!(sum(at) * u128::from(all[0].0.max(1)), sum(0) * u128::from((*weight).max(1)));
        }
    }
}
