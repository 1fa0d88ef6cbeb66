//! For which request a sidecar sent a call on, while the spans of its application are on their way.
//!
//! The spans of a proxy come within a second, those of the application between them with the next batch
//! of its SDK. Until then what a proxy sent on belongs to the request that it let in and that was under
//! way all the while; where several were, to the shortest.

/// Of what a sidecar let in of a trace, no more is looked through for each call that it sent on.
const AROUND_MAX: usize = 256;

/// Of `let_in`, requests each with its start and end, the shortest around the call `sent_on`; all in ns
/// on one clock.
pub(crate) fn shortest_around<T>(
    sent_on: [u64; 2],
    let_in: impl Iterator<Item = (T, [u64; 2])>,
) -> Option<T> {
    let [start_ns, end_ns] = sent_on;
    let_in
        .take(AROUND_MAX)
        .filter(|(_, [from_ns, to_ns])| *from_ns <= start_ns && end_ns <= *to_ns)
        .min_by_key(|(_, [from_ns, to_ns])| to_ns - from_ns)
        .map(|(request, _)| request)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: requests that end too early, begin too late, are around a call, and too many.
    /// Guarantees: the shortest around it is its request, and only so many are looked at.
    #[test]
    fn the_shortest_around_is_the_request() {
        let check = |let_in: &[[u64; 2]], expected: Option<usize>| {
            let found = shortest_around([10, 20], let_in.iter().copied().enumerate());
            assert_eq!(found, expected, "{let_in:?}");
        };
        check(&[], None);
        check(&[[0, 19], [11, 30], [0, 9], [21, 30]], None);
        check(&[[0, 40], [5, 25], [9, 40]], Some(1));
        check(&[[10, 20]], Some(0));
        let mut many = vec![[0, 40]; AROUND_MAX];
        many.push([10, 20]);
        check(&many, Some(0));
    }
}
