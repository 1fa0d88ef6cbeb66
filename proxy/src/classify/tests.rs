use super::*;
use fusebox_proto::Now;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::{SpanId, TraceContext, TraceId};
use std::collections::VecDeque;

/// An edge with the attempts that are in flight on it, and what was recognised so far.
struct Life {
    now: Now,
    classifier: Classifier,
    arrivals: Arrivals,
    trace: u64,
    span: u64,
    in_flight: VecDeque<(char, Attempt)>,
    log: String,
}

/// What a letter of the script asks for: lower case under one span, as urllib3 and gRPC libraries
/// repeat; upper case under a new span each time, as tenacity, axios-retry and got do.
fn head(letter: char, trace: TraceContext) -> RequestHead<'static> {
    let get = RequestHead {
        trace: Some(trace),
        method: "GET",
        authority: "inventory",
        path_and_query: "/stock?sku=1",
        idempotency_key: None,
        grpc_previous_attempts: 0,
        body: BodyDigest::Empty,
        protocol: Protocol::Http1,
        arrivals: None,
    };
    let post = RequestHead { method: "POST", path_and_query: "/reserve", ..get };
    match letter.to_ascii_lowercase() {
        'a' => get,
        'b' => RequestHead { path_and_query: "/stock?sku=2", ..get },
        'd' => RequestHead { authority: "inventory-canary", ..get },
        'e' => RequestHead { method: "HEAD", ..get },
        'p' => RequestHead { body: BodyDigest::of(7, b"{\"sku\":1}"), ..post },
        'q' => RequestHead { body: BodyDigest::of(7, b"{\"sku\":2}"), ..post },
        's' => RequestHead { body: BodyDigest::Unknown, ..post },
        'i' => RequestHead { idempotency_key: Some(b"key-1"), trace: None, ..post },
        'j' => RequestHead { idempotency_key: Some(b"key-2"), trace: None, ..post },
        'k' => RequestHead { idempotency_key: Some(b"key-1"), ..post },
        'g' => RequestHead { protocol: Protocol::Grpc, grpc_previous_attempts: 2, ..post },
        'n' => RequestHead { trace: None, ..get },
        'm' => RequestHead { trace: None, grpc_previous_attempts: 1, ..post },
        other => panic!("{other:?} is no request"),
    }
}

fn context(trace: u64, span: u64) -> TraceContext {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&trace.to_be_bytes());
    TraceContext {
        trace_id: TraceId::from_bytes(&id).unwrap(),
        parent_id: SpanId::from_bytes(&span.to_be_bytes()).unwrap(),
        flags: 1,
    }
}

impl Life {
    fn new() -> Self {
        let now = Now::read();
        Self {
            now,
            classifier: Classifier::new(now.instant, 42),
            arrivals: Arrivals::new(now.instant, 43),
            trace: 1,
            span: 1_000,
            in_flight: VecDeque::new(),
            log: String::new(),
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(Duration::from_millis(ms));
    }

    fn classify(&mut self, letter: char) -> Attempt {
        self.span += 1;
        let span = if letter.is_ascii_uppercase() { self.span } else { u64::from(letter as u32) };
        let arrivals = Some(&self.arrivals);
        let head = RequestHead { arrivals, ..head(letter, context(self.trace, span)) };
        let attempt = self.classifier.classify(self.now.instant, &head);
        self.log.push(match attempt.class() {
            Class::First => '1',
            Class::Unclassified => '?',
            Class::Retry { grade: Grade::Certain, .. } => 'c',
            Class::Retry { grade: Grade::Probable, .. } => 'p',
            Class::Hedge => 'h',
        });
        attempt
    }

    fn start(&mut self, letter: char) {
        let attempt = self.classify(letter);
        self.classifier.forwarded(&attempt);
        self.in_flight.push_back((letter, attempt));
    }

    fn end(&mut self, letter: char, how: char) {
        let at = self.in_flight.iter().position(|(l, _)| *l == letter).expect("it is in flight");
        let (_, attempt) = self.in_flight.remove(at).expect("it is there");
        let end = match how {
            '+' => End::Answered,
            '-' => End::Failed { status: 503 },
            '!' => End::GivenUp,
            other => panic!("{other:?} is no end"),
        };
        let insight = self.classifier.ended(self.now.instant, attempt, end);
        self.log.extend(insight.is_hedge_loser.then_some('L'));
        self.log.extend((0..insight.hedge_losers_before).map(|_| 'W'));
        self.log.extend(insight.hedge_was_retry.map(|grade| match grade {
            Grade::Certain => 'C',
            Grade::Probable => 'P',
        }));
    }

    /// One word of a script; see [`run`].
    fn word(&mut self, word: &str) {
        let chars: Vec<char> = word.chars().collect();
        match chars[..] {
            ['T'] => self.trace += 1,
            ['>'] => self.arrivals.came_in(self.now.instant, &context(self.trace, 9)),
            ['<'] => self.arrivals.came_in(self.now.instant, &context(self.trace + 1_000, 9)),
            [letter] => self.start(letter),
            [letter, 'x'] => {
                let attempt = self.classify(letter);
                self.classifier.refused(attempt, 503);
                self.pass(5);
            }
            [letter, 'w'] => {
                let attempt = self.classify(letter);
                self.classifier.forwarded(&attempt);
                self.classifier.withdrawn(self.now.instant, attempt, 503);
                self.pass(5);
            }
            [letter, how] if letter.is_ascii_alphabetic() => {
                self.start(letter);
                self.pass(5);
                self.end(letter, how);
                self.pass(5);
            }
            [how @ ('+' | '-' | '!'), letter] => self.end(letter, how),
            _ => {
                let (ms, s) = (word.strip_suffix("ms"), word.strip_suffix('s'));
                let ms = ms.map_or_else(
                    || s.map(|s| s.parse::<u64>().unwrap() * 1_000),
                    |ms| Some(ms.parse().unwrap()),
                );
                self.pass(ms.expect("a word of the script language"));
            }
        }
    }
}

/// Runs a script of words against a fresh classifier and returns what it recognised, a letter for
/// each attempt: `1` first, `c` certain retry, `p` probable retry, `h` hedge, `?` nothing to tell
/// by.
///
/// `a-` an attempt at request `a` (see [`head`]) that fails after 5 ms, `a+` that succeeds, `a!`
/// whose caller gives up, `ax` that is refused, `aw` that is withdrawn; `a` one that stays in
/// flight, `+a`, `-a`, `!a` its end; `T` a new trace; `>` the trace comes in at this proxy, `<` another one; `3s`, `7ms`
/// time passes. An end that shows
/// something adds `L` (a hedge loser), `W` (a winner, for each loser given up before), `C` or `P`
/// (its hedge was a retry).
fn run(script: &str) -> String {
    let mut life = Life::new();
    script.split_whitespace().for_each(|word| life.word(word));
    life.log
}

fn check(script: &str, expected: &str) {
    assert_eq!(run(script), expected, "{script}");
}

/// Scenario: the shapes in which client libraries repeat a failed or timed-out request.
/// Guarantees: the same span is certain, a new span in the same trace is probable.
#[test]
fn libraries_that_repeat_are_recognised() {
    check("a- a- a+", "1cc"); // urllib3's Retry, gRPC libraries
    check("A- A- A+", "1pp"); // tenacity, axios-retry, got
    check("a! a! a+", "1cc");
    check("A! A! A+", "1pp");
    check("p- p+", "1c");
    check("P- P+", "1p");
    check("A- a- a- A- a- a-", "1pcpcc"); // a loop around a library
    check("A- 9s A- 9s A+", "1pp"); // with back-off
}

/// Scenario: what an application says itself.
/// Guarantees: an idempotency key and gRPC's own count are certain without any trace; the key names
/// one request in whatever trace, and different keys are different requests.
#[test]
fn what_the_caller_says_is_believed() {
    check("i- i- i+", "1cc");
    check("i- j- i+ j+", "11cc");
    check("k- T k+", "1c");
    check("i- k+", "1c");
    check("m+ m+", "cc");
    check("g- g+", "cc");
}

/// Scenario: requests that come one after another and are not each other's retry.
/// Guarantees: other paths, bodies, methods, hosts and traces are other requests.
#[test]
fn siblings_are_not_retries() {
    check("A- B- A+ B+", "11pp");
    check("a- b- d- e-", "1111"); // N+1, even while it fails
    check("A- B- D- E-", "1111");
    check("p- q- P- Q-", "11pp");
    check("P- Q- P+ Q+", "11pp");
    check("a- T a- T a-", "111");
    check("A- T A- T A-", "111");
}

/// Scenario: three layers of three: the same order comes in again and again in one trace, and each
/// time the library makes three attempts. Some callers give up above before their callee does.
/// Guarantees: with each arrival the count begins at a first attempt; within one nothing changes,
/// however soon attempts fail; another trace's arrival means nothing, nor does one of long ago.
#[test]
fn what_is_asked_anew_is_first() {
    check("> A- A- A- > A- A- A- > A- A- A+", "1pp1pp1pp");
    check("> 1ms A 1ms -A A 1ms -A A", "1pp");
    check("> P- P- > P- P-", "1p1p");
    check("> A- B- > B- A- B- A-", "1111pp");
    check("A- A- A-", "1pp"); // nothing comes in here
    check("> A- < A- < A- T > A-", "1pp1");
    // The trace came in for something else before the failure: that asks for nothing.
    check("> A 3ms > 3ms -A A- A-", "1pp");
    // The caller above was heard from again before the end of the attempt that it gave up.
    check("> A 50ms > 1ms !A A- A-", "11p");
    check("> A! A 50ms > A- A- +A", "1p1p");
    check("> A 50ms > A 50ms A", "11h");
    // Refused, and withdrawn.
    check("> Ax Ax Ax > Ax Ax", "1pp1p");
    check("> A- Ax > A- Ax", "1p1p");
    check("> Aw Aw > Aw Aw", "1p1p");
    // Certain is certain.
    check("> a- a- > a- a-", "1ccc");
    check("> g- g- > g-", "ccc");
    check("> 11s A- A-", "1p");
}

/// Scenario: more traces come in than are remembered, and one comes in long before it matters.
/// Guarantees: the newest are known, to the microsecond; what is unknown changes no verdict.
#[test]
fn arrivals_are_bounded() {
    let start = Now::read();
    let arrivals = Arrivals::new(start.instant, 7);
    let many = 4 * ARRIVALS_MAX as u64;
    let at = |trace: u64| start.plus(Duration::from_micros(trace)).instant;
    for trace in 1..=many {
        arrivals.came_in(at(trace), &context(trace, 1));
    }
    let last = |trace: u64, now: u64| arrivals.last(at(now), &context(trace, 2));
    assert_eq!(last(many, many), Some(at(many)));
    assert_eq!(last(many, many + 9_999_999), Some(at(many)));
    assert_eq!(last(many, many + 10_000_000), None);
    let known = (1..=many).filter(|&trace| last(trace, many).is_some()).count();
    assert!((ARRIVALS_MAX / 2..=ARRIVALS_MAX).contains(&known), "{known}");
    assert!((1..=many).all(|trace| last(trace, many).is_none_or(|it| it == at(trace))));
}

/// Scenario: the same request again after it went well: polling, fan-out, a redirect and its
/// target, a 401 and the same with credentials.
/// Guarantees: an answer that nobody repeats a request for makes the next attempt first.
#[test]
fn after_a_success_the_next_is_first() {
    check("a+ a+ a+", "111");
    check("A+ A+ A+", "111");
    check("p+ p+", "11");
    check("a+ 1s a+ 1s a- 1s a+ 1s a+", "111c1");
    check("i+ i+", "11");
    check("A- A+ A+", "1p1");
}

/// Scenario: nothing to recognise by.
/// Guarantees: no trace context: not told apart, and said so; a streaming body: only certain.
#[test]
fn without_evidence_nothing_is_claimed() {
    check("n- n- n+", "???");
    check("S- S- S+", "111");
    check("s- s+", "1c");
}

/// Scenario: a long pause, and refusals in it.
/// Guarantees: 10 s after the last forwarded attempt ended the next is first; refusals never renew.
#[test]
fn after_ten_seconds_the_next_is_first() {
    check("a- 9989ms a-", "1c");
    check("a- 9995ms a-", "11");
    check("A- 9995ms A-", "11");
    check("a 30s !a a-", "1c"); // a caller's patience of 30 s
    check("a- ax 5s ax 4s ax 2s a-", "1ccc1");
    check("A- Ax 5s Ax 4s Ax 2s A-", "1ppp1");
    check("a 11s a", "11");
    check("a 6s ax 5s a", "1h1");
}

/// Scenario: a first attempt is refused, and the library repeats it.
/// Guarantees: the repetition is a retry; so is the next; each failure invites one retry, and 10 s
/// after the first refusal the request may try again.
#[test]
fn the_retry_of_a_refused_attempt_is_a_retry() {
    check("ax ax ax", "1cc");
    check("Ax Ax Ax", "1pp");
    check("ax a+ a+", "1c1");
    check("ax a- a-", "1cc");
    check("ax 5s ax 5s ax", "1c1");
    check("aw aw a+ a+", "1cc1");
    check("Aw Aw A+ A+", "1pp1");
    check("nx nx", "??");
    check("a- aw 6s aw 6s a+", "1cc1");
}

/// Scenario: hedged requests.
/// Guarantees: overlap is a hedge; who is given up because another succeeded is a loser, whether
/// the winner ended before or after it; where none wins, all were given up.
#[test]
fn overlap_is_a_hedge() {
    check("A 50ms A 9ms +A !A A+", "1hL1");
    check("A 50ms A 9ms !A +A A+", "1hW1");
    check("a 50ms a 9ms +a !a a+", "1hL1");
    check("A 50ms A 50ms A 9ms !A !A +A", "1hhWW");
    check("A 50ms A 9ms !A !A A+", "1hp");
    check("A 50ms A 9ms -A A", "1hp");
    check("p 50ms q 9ms +p !q", "11");
    check("A 50ms A 9ms +A 20s !A A+", "1hL1");
}

/// Scenario: a caller gives up and repeats at once, and the repetition is seen first.
/// Guarantees: within 2 ms it is corrected into a retry; later it stays a hedge.
#[test]
fn a_retry_may_overtake_the_end_of_its_attempt() {
    check("a 50ms a 1ms !a +a", "1hC");
    check("A 50ms A 1ms !A +A", "1hP");
    check("a 50ms a 3ms !a +a", "1hW");
}

/// Scenario: ten identical calls at once, which fail and are each repeated; five succeed.
/// Guarantees: each failure invites one retry and not more; a success withdraws invitations.
#[test]
fn a_failure_invites_one_retry() {
    check("A A A -A -A -A A A A A", "1hhppph");
    check("A A A -A -A +A A+", "1hh1");
    check("a- a a", "1ch");
}

/// Scenario: traces that go on and on, or ask for many things.
/// Guarantees: after 60 s or 64 keys only certain retries count; other traces are not affected.
#[test]
fn long_and_large_traces_count_only_as_certain() {
    let polling = "A+ 9s ".repeat(7);
    check(&format!("{polling}A- A- a- a- T A- A-"), "1111111111c1p");
    let mut life = Life::new();
    let paths: Vec<String> = (0..70).map(|n| format!("/item/{n}")).collect();
    let mut classes = Vec::new();
    for path in &paths {
        for _ in 0..2 {
            life.span += 1;
            let context = context(1, life.span);
            let head = RequestHead { path_and_query: path, ..head('a', context) };
            let attempt = life.classifier.classify(life.now.instant, &head);
            classes.push(matches!(attempt.class(), Class::Retry { .. }));
            life.classifier.forwarded(&attempt);
            let failed = End::Failed { status: 500 };
            let _ = life.classifier.ended(life.now.instant, attempt, failed);
        }
    }
    let retries: Vec<usize> = (0..140).filter(|&n| classes[n]).collect();
    assert_eq!(retries, (0..64).map(|n| 2 * n + 1).collect::<Vec<_>>());
}

/// Scenario: what a retry repeats.
/// Guarantees: the status of the failed attempt, `timeout` where the caller gave up, our 503 where
/// it was refused; a refused retry leaves that as it is; and each attempt knows its number.
#[test]
fn a_retry_knows_what_it_repeats() {
    let check = |script: &str, original: Original, of_refused: bool, resend_count: u16| {
        let mut life = Life::new();
        script.split_whitespace().for_each(|word| life.word(word));
        let attempt = life.classify('a');
        let Class::Retry { original: o, of_refused: r, .. } = attempt.class() else {
            panic!("{script}: {:?}", attempt.class());
        };
        assert_eq!(
            (o, r, attempt.resend_count()),
            (original, of_refused, resend_count),
            "{script}"
        );
    };
    check("a-", Original::Status(503), false, 1);
    check("a!", Original::Timeout, false, 1);
    check("a- a!", Original::Timeout, false, 2);
    check("a! ax ax", Original::Timeout, false, 1);
    check("ax", Original::Status(503), true, 0);
    check("ax ax", Original::Status(503), true, 0);
    check("ax a!", Original::Timeout, false, 1);
    check("A- A- A- a!", Original::Timeout, false, 4);
    check("> A- A- > A- a!", Original::Timeout, false, 2);
    check("a! aw", Original::Timeout, false, 1);
    assert_eq!(Original::Timeout.to_string(), "timeout");
    assert_eq!(Original::Status(503).to_string(), "503");
}

/// Scenario: a storm of more failing requests than an edge remembers.
/// Guarantees: what is forgotten is first and counted, the newest are still known.
#[test]
fn what_is_forgotten_is_first() {
    let mut life = Life::new();
    let many = 40_000;
    let fail = |life: &mut Life, trace: u64| {
        let attempt = life.classifier.classify(life.now.instant, &head('a', context(trace, 1)));
        life.classifier.forwarded(&attempt);
        let class = attempt.class();
        let _ = life.classifier.ended(life.now.instant, attempt, End::Failed { status: 503 });
        class
    };
    for trace in 1..=many {
        assert_eq!(fail(&mut life, trace), Class::First);
        life.now = life.now.plus(Duration::from_micros(10));
    }
    assert!(many < life.classifier.forgotten());
    assert_eq!(fail(&mut life, 1), Class::First);
    assert!(matches!(fail(&mut life, many), Class::Retry { .. }));
}

/// Scenario: requests that succeed, by the million.
/// Guarantees: nothing of them is kept, nothing is forgotten before its time.
#[test]
fn success_leaves_nothing_behind() {
    let mut life = Life::new();
    for trace in 1..=50_000 {
        let attempt = life.classifier.classify(life.now.instant, &head('a', context(trace, 1)));
        life.classifier.forwarded(&attempt);
        let _ = life.classifier.ended(life.now.instant, attempt, End::Answered);
    }
    assert_eq!(life.classifier.forgotten(), 0);
}
