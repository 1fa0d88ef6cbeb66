//! Whatever comes in: nothing panics, everything has a bound, the same gives the same.

use super::{compiled, files, routes, text_of};
use fusebox_proto::policy::*;
use proptest::prelude::*;

/// All that can be done with a text.
fn exercise(text: &str) {
    for profile in [Profile::Fusebox, Profile::IstioCompat] {
        let Ok((documents, _)) = read("input", text) else { return };
        let written = write(&documents);
        let (again, _) = read("input", &written).expect("what was written can be read");
        assert_eq!(documents, again, "{written}");
        assert!(diff(&documents, &again).is_empty());
        let compiled = compile(&documents, profile);
        match (&compiled, compile(&again, profile)) {
            (Ok((first, _)), Ok((second, _))) => assert_eq!(*first, second),
            (Err(first), Err(second)) => assert_eq!(first.len(), second.len()),
            (first, second) => panic!("{first:?}\n{second:?}"),
        }
        if let Ok((policy, _)) = compiled {
            policy.routes("shop", "inventory");
            policy.destination("shop", "inventory");
        }
    }
}

/// Values that fields of every type get.
const VALUES: [&str; 22] = [
    "~",
    "true",
    "\"true\"",
    "0",
    "1",
    "-1",
    "99999999999999999999",
    "1.5",
    "1e400",
    "\"\"",
    "v1",
    "5s",
    "1h1h1h",
    "[]",
    "{}",
    "[~]",
    "[[[]]]",
    "{a: b}",
    "[{}, {}]",
    "\"*\"",
    "\"(((\"",
    "\"\\u202e\\n\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Scenario: any text.
    /// Guarantees: no panic; what is accepted can be written and read again.
    #[test]
    fn any_text(text in "\\PC{0,200}") {
        exercise(&text);
    }

    /// Scenario: text made of what YAML and our documents are made of.
    /// Guarantees: as for any text.
    #[test]
    fn yaml_like_text(parts in prop::collection::vec(prop::sample::select(vec![
        "a", ": ", "\n", "- ", "  ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "!!str ", "'", "\"", "|", ">",
        "#", "---", "...", "? ", "%", "\t", "apiVersion: networking.istio.io/v1\n", "kind: VirtualService\n",
        "metadata: {name: a}\n", "spec:\n", "hosts: [a]\n", "\u{feff}", "\0", "\r\n", "é",
    ]), 0..60)) {
        exercise(&parts.concat());
    }

    /// Scenario: a valid file in which values of lines are replaced and lines are lost.
    /// Guarantees: as for any text: every field copes with a value of any type.
    #[test]
    fn changed_documents(
        seed in prop::sample::select(files("valid")),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(VALUES.to_vec())), 1..4),
        lost in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut lines: Vec<String> = text_of(&seed).lines().map(ToOwned::to_owned).collect();
        for (at, value) in changes {
            let line = at.get(&lines).clone();
            let index = at.index(lines.len());
            lines[index] = match line.split_once(": ") {
                Some((key, _)) => format!("{key}: {value}"),
                None => format!("{line} {value}"),
            };
        }
        if let Some(lost) = lost {
            let index = lost.index(lines.len());
            lines.remove(index);
        }
        exercise(&lines.join("\n"));
    }

    /// Scenario: any weights, picked at evenly spaced points.
    /// Guarantees: each destination gets its share, to one point; weight 0 gets none.
    #[test]
    fn weights(weights in prop::collection::vec(0u32..=1_000_000, 2..6)) {
        prop_assume!(weights.iter().any(|&weight| weight != 0));
        let list: Vec<String> = weights.iter().enumerate()
            .map(|(index, weight)| format!("{{destination: {{host: h{index}}}, weight: {weight}}}")).collect();
        let policy = compiled(&super::service(&format!("route: [{}]", list.join(", "))));
        let Action::Forward(destinations) = &routes(&policy).http[0].action else { panic!("it forwards") };
        let points = 10_000;
        let mut counts = vec![0u32; weights.len()];
        for point in 0..points {
            let host = &destinations.pick(f64::from(point) / f64::from(points)).destination.host;
            counts[host[1..].parse::<usize>().unwrap()] += 1;
        }
        let sum: u32 = weights.iter().sum();
        for (weight, count) in weights.iter().zip(counts) {
            let share = f64::from(*weight) / f64::from(sum) * f64::from(points);
            prop_assert!((f64::from(count) - share).abs() <= 1.0, "{count} of {share}");
            prop_assert!(*weight != 0 || count == 0);
        }
    }
}

/// Scenario: files that are as large, as deep or as repetitive as they can be.
/// Guarantees: each bound is named; nothing takes long or much.
#[test]
fn bounds() {
    let check = |text: String, part: &str| {
        let found = read("large.yaml", &text).expect_err("it is too large");
        assert!(found[0].message.contains(part), "{found:?}");
    };
    check("a".repeat(FILE_BYTES_MAX + 1), "bytes long; at most 4194304");
    check("---\n{a: b}\n".repeat(DOCUMENTS_MAX + 1), "more than 5000 documents");
    check("[".repeat(DEPTH_MAX + 1), "deeper than 32 levels");
    check("[".repeat(FILE_BYTES_MAX), "recursion limit exceeded");
    check(format!("[{}]", "a,".repeat(ENTRIES_MAX + 1)), "more than 4096 entries");
    check(format!("a: \"{}\"", "a".repeat(SCALAR_BYTES_MAX + 1)), "more than 65536 bytes");
    check(format!("{}: a", "a".repeat(KEY_BYTES_MAX + 1)), "key of more than 512 bytes");
    let list = format!("[{}]", "a,".repeat(4_000));
    check(
        format!("[{}]", format!("{list},").repeat(NODES_MAX / 4_000 + 1)),
        "more than 400000 nodes",
    );
    // An alias is counted as what it stands for, long texts as more than one node.
    let bomb = format!("- &a \"{}\"\n- [{}]\n", "a".repeat(60_000), "*a,".repeat(4_000));
    check(bomb, "more than 400000 nodes");
}

/// Scenario: more findings of one kind than anybody reads, an error behind them, too many regular
/// expressions.
/// Guarantees: what is left out is counted and weighs what it weighs; a set has a bound on them.
#[test]
fn bounds_of_a_set() {
    let rules = |rules: Vec<String>| {
        let texts = rules.iter().enumerate().map(|(index, rule)| {
            super::service(rule).replace("name: v", &format!("name: v{index}"))
        });
        compile(&super::documents(&texts.collect::<Vec<_>>().join("\n---\n")), Profile::Fusebox)
    };
    let unknown: Vec<String> = (0..30).map(|index| format!("field{index}: 1")).collect();
    let warned = format!("directResponse: {{status: 200}}, {}", unknown.join(", "));
    let (_, findings) = rules(vec![warned.clone(); 20]).expect("warnings only");
    assert_eq!(findings.len(), 501);
    assert!(findings[500].message.contains("more of warning are left out"), "{findings:?}");
    let mut wrong = vec![warned; 20];
    wrong.push("timeout: soon, directResponse: {status: 200}".to_owned());
    assert!(rules(wrong).is_err());

    let matches = "{uri: {regex: a}},".repeat(1_001);
    let many = vec![format!("match: [{matches}], directResponse: {{status: 200}}"); 2];
    let refused = rules(many).expect_err("2,002 regular expressions");
    assert!(refused.iter().any(|f| f.message.contains("one regular expression too many")));
}

/// Scenario: a policy in a proxy of several threads.
/// Guarantees: it can be shared.
#[test]
fn policies_are_shared_between_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Policy>();
    check::<Document>();
    check::<Finding>();
}

/// Scenario: a thousand documents of the size that people write.
/// Guarantees: the same policy each time; lookups find each host.
#[test]
fn a_thousand_documents() {
    let canary = include_str!("valid/founding-inventory-canary.yaml");
    let named = |index| canary.replace("inventory", &format!("inventory-{index}"));
    let text = (0..500).map(named).collect::<Vec<_>>().join("---\n");
    let documents = super::documents(&text);
    assert_eq!(documents.len(), 1_000);
    let (policy, _) = compile(&documents, Profile::Fusebox).unwrap();
    assert_eq!(policy, compile(&documents, Profile::Fusebox).unwrap().0);
    for index in 0..500 {
        assert!(policy.routes("", &format!("inventory-{index}")).is_some());
    }
}
