//! The scenarios that come with the demo, and those of one's own.

use crate::scenario::{Scenario, ScenarioError};
use std::path::Path;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        /// Name and text of each, in the order in which they are listed.
        const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../scenarios/", $name, ".toml")))),*];
    };
}

built_in!(
    "calm",
    "retry-storm",
    "layered-retries",
    "metastable",
    "slow-leaf",
    "slow-self",
    "n-plus-one",
    "surge",
    "polling",
    "batch",
    "hedging",
    "canary",
    "dead-collector",
);

/// A scenario that cannot be found or used.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither a name nor a file.
    #[error("{wanted}: no scenario of this name ({}) and no file: {source}", names().join(", "))]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Why it cannot be read as a file.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
}

/// Names of the scenarios that come with the demo.
pub fn names() -> Vec<&'static str> {
    BUILT_IN.iter().map(|(name, _)| *name).collect()
}

/// The scenarios that come with the demo.
pub fn built_in() -> Vec<Scenario> {
    let parsed = BUILT_IN.iter().map(|(name, text)| Scenario::parse(name, text));
    parsed.map(|scenario| scenario.expect("a test parses each of them")).collect()
}

/// The scenario of this name, or in this file.
///
/// # Errors
/// If there is neither, or the file is wrong.
pub fn find(name_or_file: &str) -> Result<Scenario, FindError> {
    if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_file) {
        return Ok(Scenario::parse(name, text)?);
    }
    let text = std::fs::read_to_string(Path::new(name_or_file))
        .map_err(|source| FindError::Unknown { wanted: name_or_file.to_owned(), source })?;
    Ok(Scenario::parse(name_or_file, &text)?)
}
