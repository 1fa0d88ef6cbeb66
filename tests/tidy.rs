//! What a reviewer would see first, as tests: layout, sizes, dependencies, words.
//!
//! There is nothing in CI that is not here: `cargo test` is the only command.

use proc_macro2::Span;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

/// Lines of a file without its inline tests. 300 is the aim; past this it is two things.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
const CRATES: [&str; 6] = ["proto", "proxy", "collector", "tui", "demo", "tests"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").into()
}

/// A Rust file of the workspace, hand-written.
struct Source {
    /// Relative to the workspace.
    path: PathBuf,
    text: String,
    parsed: OnceCell<syn::File>,
}

impl Source {
    /// Parsed where someone asks: that takes longer than all else here.
    fn syntax(&self) -> &syn::File {
        let parse = || syn::parse_file(&self.text);
        self.parsed
            .get_or_init(|| parse().unwrap_or_else(|e| panic!("{}: {e}", self.path.display())))
    }
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    for name in CRATES {
        walk(&root().join(name), &mut paths);
    }
    paths.sort();
    let rust = paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    rust.filter(|path| !path.components().any(|part| part.as_os_str() == "generated"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("source files are UTF-8");
            let path = path.strip_prefix(root()).expect("below it").into();
            Source { path, text, parsed: OnceCell::new() }
        })
        .collect()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            walk(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// All complaints at once: a list is fixed in one go.
#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn is_test_item(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

fn lines(span: Span) -> usize {
    span.end().line - span.start().line + 1
}

/// Scenario: every hand-written file.
/// Guarantees: none has outgrown one thing.
#[test]
fn files_are_one_thing() {
    let complaints: Vec<String> = sources()
        .iter()
        .filter_map(|source| {
            let inline: usize = (source.syntax().items.iter())
                .filter_map(|item| match item {
                    syn::Item::Mod(module) if is_test_item(&module.attrs) => Some(module),
                    _ => None,
                })
                .map(|module| lines(module.span()))
                .sum();
            let count = source.text.lines().count() - inline;
            (FILE_LINES_MAX < count).then(|| format!("{}: {count} lines", source.path.display()))
        })
        .collect();
    assert_none(&complaints);
}

#[derive(Default)]
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let start = signature.span().start().line;
        let end = block.span().end().line;
        self.0.push((signature.ident.to_string(), start, end - start + 1));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

/// Scenario: every function, tests too.
/// Guarantees: each can be read without scrolling.
#[test]
fn functions_fit_a_screen() {
    let mut complaints = Vec::new();
    for source in sources() {
        let mut functions = Functions::default();
        functions.visit_file(source.syntax());
        for (name, line, count) in functions.0 {
            if FUNCTION_LINES_MAX < count {
                complaints.push(format!("{}:{line} {name}: {count}", source.path.display()));
            }
        }
    }
    assert_none(&complaints);
}

/// Scenario: words that say that something is unfinished or switched off.
/// Guarantees: they are not in the tree.
#[test]
fn nothing_is_left_unfinished() {
    // Spelled in two parts, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("allow(", "dead_code"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            for word in words.iter().filter(|word| line.contains(**word)) {
                complaints.push(format!("{}:{}: {word}", source.path.display(), number + 1));
            }
        }
    }
    assert_none(&complaints);
}

#[derive(Default)]
struct Tests(Vec<(String, usize, String)>);

impl Tests {
    fn add(&mut self, attributes: &[syn::Attribute], signature: &syn::Signature) {
        let is_test = attributes.iter().any(|attribute| {
            attribute.path().segments.last().is_some_and(|segment| segment.ident == "test")
        });
        if !is_test {
            return;
        }
        let doc = attributes.iter().filter(|attribute| attribute.path().is_ident("doc"));
        let doc: String = doc.map(quote).collect();
        self.0.push((signature.ident.to_string(), signature.span().start().line, doc));
    }
}

fn quote(attribute: &syn::Attribute) -> String {
    match &attribute.meta {
        syn::Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => text.value() + "\n",
        _ => String::new(),
    }
}

impl<'ast> Visit<'ast> for Tests {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.attrs, &item.sig);
        syn::visit::visit_item_fn(self, item);
    }

    // The body of `proptest! { ... }` is tokens to syn; its functions are items all the same.
    fn visit_macro(&mut self, mac: &'ast syn::Macro) {
        if mac.path.segments.last().is_some_and(|segment| segment.ident == "proptest") {
            for (attributes, signature) in proptest_functions(mac) {
                self.add(&attributes, &signature);
            }
        }
    }
}

/// The test functions in a `proptest!` block, whose parameters (`x in strategy`) syn cannot parse:
/// everything between parentheses is dropped first.
fn proptest_functions(mac: &syn::Macro) -> Vec<(Vec<syn::Attribute>, syn::Signature)> {
    let emptied: proc_macro2::TokenStream = (mac.tokens.clone().into_iter())
        .map(|token| match token {
            proc_macro2::TokenTree::Group(group)
                if group.delimiter() == proc_macro2::Delimiter::Parenthesis =>
            {
                let empty = proc_macro2::TokenStream::new();
                let mut emptied =
                    proc_macro2::Group::new(proc_macro2::Delimiter::Parenthesis, empty);
                emptied.set_span(group.span());
                proc_macro2::TokenTree::Group(emptied)
            }
            other => other,
        })
        .collect();
    let parsed: Result<syn::File, _> = syn::parse2(emptied);
    let functions = parsed.map(|file| file.items).unwrap_or_default().into_iter();
    functions
        .filter_map(|item| match item {
            syn::Item::Fn(function) => Some((function.attrs, function.sig)),
            _ => None,
        })
        .collect()
}

/// Scenario: every test.
/// Guarantees: it says what happens and what that proves.
#[test]
fn tests_say_what_they_prove() {
    let mut complaints = Vec::new();
    for source in sources() {
        let mut tests = Tests::default();
        tests.visit_file(source.syntax());
        for (name, line, doc) in tests.0 {
            if !doc.contains("Scenario:") || !doc.contains("Guarantees:") {
                complaints.push(format!("{}:{line} {name}", source.path.display()));
            }
        }
    }
    assert_none(&complaints);
}

/// Scenario: the manifests.
/// Guarantees: proxy, collector and console know the shared words and not each other; the demo may
/// see proxy and collector; only the package of the console's binary sees collector and demo.
#[test]
fn crates_depend_on_each_other_as_a_diamond() {
    let allowed: [(&str, &[&str]); 5] = [
        ("proto", &[]),
        ("proxy", &["fusebox-proto"]),
        ("collector", &["fusebox-proto"]),
        ("demo", &["fusebox-proto", "fusebox-proxy", "fusebox-collector"]),
        ("tui", &["fusebox-proto", "fusebox-collector", "fusebox-demo"]),
    ];
    for (name, allowed) in allowed {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        let ours: BTreeSet<&str> = (manifest.lines())
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|dependency| dependency.starts_with("fusebox") && *dependency != "fusebox")
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        assert!(ours.is_subset(&allowed), "{name} depends on {ours:?}; allowed: {allowed:?}");
    }
}

/// Scenario: the imports of the console's library.
/// Guarantees: only the binary's own modules use collector and demo, so that the dashboard stays a
/// client of the wire.
#[test]
fn the_dashboard_is_a_client_of_the_wire() {
    let binary = [
        "tui/src/main.rs",
        "tui/src/embedded.rs",
        "tui/src/demo.rs",
        "tui/src/diagnose.rs",
        "tui/src/diagnose/tests.rs",
        "tui/src/replay.rs",
        "tui/src/replay/asked.rs",
        "tui/src/replay/headless.rs",
        "tui/src/replay/line.rs",
        "tui/src/replay/otlp.rs",
        "tui/src/replay/send.rs",
        "tui/src/replay/watched.rs",
        "tui/src/replay/words.rs",
        "tui/src/replay/words/tests.rs",
    ];
    let complaints: Vec<String> = (sources().iter())
        .filter(|source| source.path.starts_with("tui"))
        .filter(|source| !binary.iter().any(|path| source.path == Path::new(path)))
        .filter(|source| !source.path.starts_with("tui/tests"))
        .filter(|source| {
            ["fusebox_collector::", "fusebox_demo::", "fusebox_proxy::"]
                .iter()
                .any(|name| source.text.contains(name))
        })
        .map(|source| source.path.display().to_string())
        .collect();
    assert_none(&complaints);
}

/// The pure cores: told the time, doing nothing but thinking.
const CORES: &[&str] = &[
    "proto/src",
    "proxy/src/breaker",
    "proxy/src/classify",
    "proxy/src/edge",
    "proxy/src/report_log",
    "proxy/src/backoff",
    "proxy/src/balance",
    "proxy/src/buckets",
    "proxy/src/outlier",
    "proxy/src/retry",
    "proxy/src/sniff",
    "proxy/src/upstream",
    "collector/src/decode",
    "collector/src/spans",
    "collector/src/pairing",
    "collector/src/graph",
    "collector/src/engine",
    "collector/src/store",
    "collector/src/detect",
    "collector/src/incident",
    "collector/src/desired",
    "collector/src/names",
    "collector/src/record",
    "collector/src/policy",
    "collector/src/snapshot",
    "tui/src/model",
    "tui/src/arrange",
    "tui/src/view",
    "tui/src/theme",
    "tui/src/keys",
];

/// Scenario: the files of the cores.
/// Guarantees: none does IO, spawns, locks or logs. (The clock is banned by clippy.)
#[test]
fn cores_only_think() {
    let words = [
        "tokio::",
        "std::net::Tcp",
        "std::net::Udp",
        "std::fs",
        "std::thread",
        "parking_lot",
        "std::sync::Mutex",
        "std::sync::RwLock",
        "tracing::",
        "println!",
        "eprintln!",
        "std::env::",
    ];
    let mut complaints = Vec::new();
    for source in sources() {
        let path = source.path.to_string_lossy().into_owned();
        let is_core = CORES
            .iter()
            .any(|core| path.strip_prefix(core).is_some_and(|rest| rest.starts_with(['/', '.'])));
        if !is_core {
            continue;
        }
        let code = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in words.iter().filter(|word| code.contains(**word)) {
            // Generated code lies below proto/src/wire and speaks tonic; nothing else may.
            complaints.push(format!("{path}: {word}"));
        }
    }
    assert_none(&complaints);
    for core in CORES {
        let exists = root().join(core).exists() || root().join(format!("{core}.rs")).exists();
        assert!(exists, "{core} is listed as a core and does not exist");
    }
}

/// Scenario: every Rust file below a `src` folder.
/// Guarantees: some `mod` names it: no file is dead.
#[test]
fn every_file_is_reached() {
    let sources = sources();
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.path.iter().nth(1) == Some("src".as_ref()))
    {
        let stem = source.path.file_stem().expect("a file").to_string_lossy().into_owned();
        if stem == "main" || stem == "lib" {
            continue;
        }
        let parent = source.path.parent().expect("below src");
        let declared = sources.iter().any(|other| {
            let is_parent = if parent.ends_with("src") {
                other.path.parent() == Some(parent)
            } else {
                other.path.with_extension("") == parent
            };
            is_parent && declares(other.syntax(), &stem)
        });
        if !declared {
            complaints.push(source.path.display().to_string());
        }
    }
    assert_none(&complaints);
}

fn declares(file: &syn::File, name: &str) -> bool {
    file.items.iter().any(
        |item| matches!(item, syn::Item::Mod(module) if module.ident == name && module.content.is_none()),
    )
}

/// Scenario: the manifest of the workspace.
/// Guarantees: the crates that the design requires are there, and each dependency is used by some
/// crate.
#[test]
fn dependencies_are_used() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let names: Vec<&str> = (manifest.lines())
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    for required in [
        "ratatui",
        "crossterm",
        "tokio",
        "tonic",
        "opentelemetry-proto",
        "hdrhistogram",
        "petgraph",
    ] {
        assert!(names.contains(&required), "{required} is missing");
    }
    let manifests: String = CRATES
        .iter()
        .map(|name| fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap())
        .collect();
    let complaints: Vec<String> = (names.iter())
        .filter(|name| {
            !manifests.contains(&format!("\n{name}.workspace"))
                && !manifests.contains(&format!("\n{name} = "))
        })
        .map(|name| format!("{name} is used by no crate"))
        .collect();
    assert_none(&complaints);
}

/// Scenario: the README.
/// Guarantees: its two commands stand in it, and every path that it names exists.
#[test]
fn the_readme_is_true() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(readme.contains(command), "{command}");
    }
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let complaints: Vec<String> = links
        .filter(|link| !link.contains("://") && !link.starts_with('#'))
        .filter(|link| !root().join(link).exists())
        .map(|link| format!("README.md names {link}, which does not exist"))
        .collect();
    assert_none(&complaints);
}
