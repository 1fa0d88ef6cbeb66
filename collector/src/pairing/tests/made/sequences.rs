//! Calls that one request makes one after the other.

use super::*;

/// Checks how many requests made many calls of `a` on `b`, and how many calls, in any order of arrival.
fn check_many(name: &str, spans: &[Draft], expected: Option<[u64; 2]>) {
    let edges = sums(batch(spans.iter().cloned())).edges();
    let edges: Vec<&str> = edges.iter().map(String::as_str).collect();
    assert_eq!(check(spans, &edges).sequences.get("a > b").copied(), expected, "{name}");
}

/// A request of `a` from 0 on, and calls of it on `b`, each with its path and its times.
fn request(calls: &[(&str, u64, u64)]) -> Vec<Draft> {
    let mut spans = vec![server("a", 1, 0, 0, 10_000)];
    for (id, (path, start, end)) in (10..).zip(calls) {
        let call = client("a", id, 1, *start, *end).http(path).status(200);
        spans.push(call.to("b:1"));
        spans.push(server("b", id + 100, id, start + 1, end - 1).http(path).status(200));
    }
    spans
}

/// Scenario: one request calls for things of one kind: five after each other, in equal or in other
/// words; four; of other kinds; of a kind that is not known; side by side; every 100 ms, as one who waits for a job; slow with long pauses; some of which
/// fail.
/// Guarantees: N+1 is five after each other that went well, and nothing else.
#[test]
fn what_is_n_plus_one() {
    let of = |count: u64, step: u64, length: u64, path: fn(u64) -> &'static str| {
        let call = |nth: u64| (path(nth), nth * step, nth * step + length);
        request(&(0..count).map(call).collect::<Vec<_>>())
    };
    let same = |_| "/p/1";
    let kinds = |nth| ["/p/1", "/p/2", "/p/3", "/p/4", "/p/5"][nth as usize % 5];
    let others = |nth| ["/p", "/q", "/r", "/s", "/t"][nth as usize % 5];
    check_many("equal", &of(5, 10, 8, same), Some([1, 5]));
    check_many("of one kind", &of(12, 10, 8, kinds), Some([1, 12]));
    check_many("four", &of(4, 10, 8, same), None);
    check_many("other things", &of(5, 10, 8, others), None);
    let below = |nth| ["/p/cart", "/p/price", "/p/stock", "/p/user", "/p/tax"][nth as usize % 5];
    check_many("other things below one path", &of(5, 10, 8, below), None);
    check_many("side by side", &of(12, 1, 30, kinds), None);
    check_many("side by side and short", &of(12, 0, 1, kinds), None);
    let mut exact = of(12, 0, 1, kinds);
    for (nth, draft) in (0_u64..).zip(exact.iter_mut().skip(1)) {
        draft.0.start_unix_ns += 10_007 * (nth / 2);
        draft.0.end_unix_ns = draft.0.start_unix_ns + 150_000;
    }
    check_many("side by side and very short", &exact, None);
    check_many("one millisecond each", &of(12, 1, 1, kinds), Some([1, 12]));
    check_many("polling", &of(12, 100, 8, same), None);
    check_many("starved", &of(12, 300, 180, kinds), Some([1, 12]));
    let mut failing = of(7, 10, 8, same);
    for draft in failing.iter_mut().skip(1).step_by(4) {
        *draft = draft.clone().status(503);
    }
    check_many("failing", &failing, None);
    let mut rpcs = of(12, 10, 8, same);
    for (nth, draft) in rpcs.iter_mut().skip(1).enumerate() {
        *draft = draft.clone().rpc(["Get", "Put", "List"][nth / 2 % 3]);
    }
    check_many("methods of one service", &rpcs, None);
    let mut plain = of(12, 10, 8, same);
    for draft in &mut plain {
        draft.0.target = None;
    }
    check_many("for nobody knows what", &plain, None);
    let mut root = of(6, 10, 8, same);
    root.remove(0);
    check_many("its request's span is lost", &root, Some([1, 6]));
}

/// Scenario: calls whose ends are as far off as a clock can be.
/// Guarantees: they are no sequence, and nothing overflows.
#[test]
fn hostile_times_are_no_sequence() {
    let mut spans = request(&[("/p/1", 0, 2); 6]);
    let times = [(1, u64::MAX), (u64::MAX - 2_000_000, u64::MAX), (0, u64::MAX), (0, 0)];
    for (draft, (start_ns, end_ns)) in spans.iter_mut().skip(1).zip(times.iter().cycle()) {
        (draft.0.start_unix_ns, draft.0.end_unix_ns) = (*start_ns, *end_ns);
    }
    assert_eq!(sums(batch(spans)).sequences, BTreeMap::new());
}

/// Scenario: the same through proxies, whose spans come before those of the applications: the proxy of
/// `a` let the request in, or did not; and six requests of one trace that make one call each.
/// Guarantees: N+1 is told of the proxies' spans alone, once, where they know whose calls they are, and
/// else with the application's; what others repeat is not `a`'s.
#[test]
fn proxies_tell_before_applications() {
    let mut early = vec![server("a", 1, 200, 0, 200).by(Emitter::Proxy).http("/o").status(200)];
    let mut late = vec![server("a", 2, 1, 1, 199).http("/o").status(200)];
    for id in 10..16 {
        let start = u64::from(id) * 10;
        let from_proxy = client("a", id + 20, id, start + 1, start + 8).by(Emitter::Proxy);
        early.push(from_proxy.http("/p").status(200).to("b:1"));
        early.push(
            server("b", id + 40, id + 20, start + 2, start + 7).by(Emitter::Proxy).http("/p"),
        );
        late.push(client("a", id, 2, start, start + 9).http("/p").status(200));
    }
    let many = |arrivals: Arrivals| Sums::of(&told(arrivals)).sequences.get("a > b").copied();
    let at = |at_s: f64, spans: &[Draft]| (at_s, batch(spans.iter().cloned()));
    assert_eq!(many(vec![at(0.0, &early)]), Some([1, 6]));
    assert_eq!(many(vec![at(0.0, &early), at(4.0, &late)]), Some([1, 6]));
    assert_eq!(many(vec![at(0.0, &early[1..])]), None);
    assert_eq!(many(vec![at(0.0, &early[1..]), at(4.0, &late)]), Some([1, 6]));
    let mut each = Vec::new();
    for id in 10..16 {
        let start = u64::from(id) * 10;
        each.push(server("a", id + 60, 200, start, start + 9).by(Emitter::Proxy).http("/o"));
        let from_proxy = client("a", id + 20, id, start + 1, start + 8).by(Emitter::Proxy);
        each.push(from_proxy.http("/p").status(200).to("b:1"));
        each.push(
            server("b", id + 40, id + 20, start + 2, start + 7).by(Emitter::Proxy).http("/p"),
        );
    }
    assert_eq!(many(vec![at(0.0, &each)]), None);
}
