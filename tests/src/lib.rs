//! One world with all of Fusebox, and what each layer of tests proves.
//!
//! | layer | where | proves | does not prove |
//! |---|---|---|---|
//! | cores | beside the code | a rule, in virtual time | that a shell obeys it |
//! | simulation | `sim/` | proxies, collector and console agree over a bad network | sockets, HTTP |
//! | end to end | `e2e/` | the three binaries do what the contract says | that others' clients behave alike |
//! | demo | `demo/` | storms are found and stopped, lookalikes are left alone, in figures | other systems |
//! | real parts | `real/` | real SDKs, libraries and proxies see the same | figures |
//! | tidy | `tidy.rs` | layout, sizes, words | sense |
//!
//! This library is what the layers share: the binaries as processes, scripted upstreams, a plain
//! HTTP client, and waiting for a condition instead of for time.

pub mod client;
pub mod eventually;
pub mod mesh;
pub mod parts;
pub mod process;
pub mod terminal;
pub mod upstream;

/// Whether the environment asks for more tests: `FUSEBOX_LONG=1`, `FUSEBOX_REAL=1`.
pub fn is_asked_for(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// What must be seen of a real incident: one list, also for the collector's own tests.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Its name.
    pub name: String,
    /// Within how many places the service at fault must be; `None`: nobody may be accused.
    pub rank_max: Option<usize>,
}

/// The bars of all real incidents.
///
/// # Panics
/// If the list is not one.
pub fn bars() -> Vec<Bar> {
    let list = include_str!("../../collector/tests/incidents.json");
    let list: Vec<serde_json::Value> = serde_json::from_str(list).expect("a list");
    let bar = |bar: serde_json::Value| Bar {
        name: bar["name"].as_str().expect("a name").to_owned(),
        rank_max: bar["rank_max"].as_u64().map(|places| places as usize),
    };
    list.into_iter().map(bar).collect()
}

/// Real incidents beside the checkout, with the truth of each; `None` where they are not, and says so.
pub fn incidents() -> Option<std::path::PathBuf> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = folder.join("../../shared/data/incidents");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {} is not beside the checkout", folder.display());
    None
}
