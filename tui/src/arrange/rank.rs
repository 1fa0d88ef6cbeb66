//! Ranks: the longest path from where calls come in, after cycles are broken.

/// Rank of each of `count` nodes. Calls that close a cycle do not count; they end up with the
/// callee's rank at or before the caller's.
pub(super) fn ranks(count: usize, calls: &[(usize, usize)]) -> Vec<usize> {
    let forward = acyclic(count, calls);
    let mut ranks = vec![0; count];
    // At most `count` rounds: a longest path has no more steps than there are nodes.
    for _ in 0..count {
        let mut settled = true;
        for &(a, b) in &forward {
            if ranks[b] < ranks[a] + 1 {
                ranks[b] = ranks[a] + 1;
                settled = false;
            }
        }
        if settled {
            break;
        }
    }
    pull_entries(&forward, &mut ranks);
    ranks
}

/// Who is called by nobody stands right before the first of its callees, not at the far left.
fn pull_entries(forward: &[(usize, usize)], ranks: &mut [usize]) {
    for node in 0..ranks.len() {
        let is_called = forward.iter().any(|&(_, b)| b == node);
        let first = forward.iter().filter(|&&(a, _)| a == node).map(|&(_, b)| ranks[b]).min();
        if let (false, Some(first)) = (is_called, first) {
            ranks[node] = first.saturating_sub(1);
        }
    }
}

/// The calls without those that close a cycle. Nodes are taken in the order of the calls; where
/// only cycles are left, the node of a cycle that lies nearest to the way in is taken next, and
/// what still calls it runs backwards. So traffic enters a cycle at its left end.
fn acyclic(count: usize, calls: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut open: Vec<(usize, usize)> = calls.iter().copied().filter(|(a, b)| a != b).collect();
    let mut left: Vec<usize> = (0..count).collect();
    let mut depth = vec![0; count];
    let mut forward = Vec::new();
    while !left.is_empty() {
        let free = left.iter().copied().find(|node| open.iter().all(|(_, b)| b != node));
        let node = free.or_else(|| {
            let cyclic = left.iter().copied().filter(|&node| reaches_itself(node, &open));
            // Depth 0 is not reached yet: only a cycle that nothing leads to begins there.
            cyclic.min_by_key(|&node| (depth[node] == 0, depth[node], node))
        });
        // Where nothing is free there is a cycle, so there always is a node.
        let Some(node) = node else { break };
        left.retain(|other| *other != node);
        for &(_, callee) in open.iter().filter(|(a, _)| *a == node) {
            if left.contains(&callee) {
                depth[callee] = depth[callee].max(depth[node] + 1);
                forward.push((node, callee));
            }
        }
        open.retain(|(a, b)| *a != node && *b != node);
    }
    forward
}

fn reaches_itself(node: usize, calls: &[(usize, usize)]) -> bool {
    let mut seen = vec![node];
    let mut at = 0;
    while let Some(&from) = seen.get(at) {
        at += 1;
        for &(_, to) in calls.iter().filter(|(a, _)| *a == from) {
            if to == node {
                return true;
            }
            if !seen.contains(&to) {
                seen.push(to);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: chains, diamonds, cycles, an entry that joins late, a node that calls itself.
    /// Guarantees: every forward call goes at least one rank right, exactly one call of a cycle
    /// does not.
    #[test]
    fn calls_go_right() {
        let check = |count, calls: &[(usize, usize)], expected: &[usize]| {
            assert_eq!(ranks(count, calls), expected, "{calls:?}");
        };
        check(3, &[(0, 1), (1, 2)], &[0, 1, 2]);
        check(4, &[(0, 1), (0, 2), (1, 3), (2, 3)], &[0, 1, 1, 2]);
        check(4, &[(0, 1), (1, 2), (0, 3), (2, 3)], &[0, 1, 2, 3]);
        check(3, &[(0, 1), (1, 2), (2, 1)], &[0, 1, 2]);
        check(3, &[(0, 1), (1, 2), (2, 0)], &[0, 1, 2]);
        check(4, &[(0, 1), (1, 2), (3, 2)], &[0, 1, 2, 1]);
        check(1, &[(0, 0)], &[0]);
        check(0, &[], &[]);
    }
}
