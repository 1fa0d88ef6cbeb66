//! What a suggestion does: a lease on an edge, or other weights of subsets.

use crate::Invalid;
use crate::command::ActionKind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What a suggestion does. In JSON `"action": "mute-retries"`, or `"action": "shift"` with a
/// `"shift"` beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Words", into = "Words")]
pub enum Remedy {
    /// A lease on the edge.
    Trip(ActionKind),
    /// Other weights.
    Shift(Shift),
}

/// Weights of the subsets of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// As `fusebox shift` takes it.
    pub host: String,
    /// Of each subset that the rule sends to.
    pub weights: BTreeMap<String, u32>,
}

/// As it stands in JSON.
#[derive(Serialize, Deserialize)]
struct Words {
    action: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shift: Option<Shift>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    MuteRetries,
    Cap,
    Shed,
    Open,
    Shift,
}

impl From<Remedy> for Words {
    fn from(remedy: Remedy) -> Self {
        let (action, shift) = match remedy {
            Remedy::Trip(ActionKind::MuteRetries) => (Word::MuteRetries, None),
            Remedy::Trip(ActionKind::Cap) => (Word::Cap, None),
            Remedy::Trip(ActionKind::Shed) => (Word::Shed, None),
            Remedy::Trip(ActionKind::Open) => (Word::Open, None),
            Remedy::Shift(shift) => (Word::Shift, Some(shift)),
        };
        Self { action, shift }
    }
}

impl TryFrom<Words> for Remedy {
    type Error = Invalid;

    fn try_from(words: Words) -> Result<Self, Invalid> {
        Ok(Self::Trip(match words.action {
            Word::MuteRetries => ActionKind::MuteRetries,
            Word::Cap => ActionKind::Cap,
            Word::Shed => ActionKind::Shed,
            Word::Open => ActionKind::Open,
            Word::Shift => {
                let missing = || Invalid::new("shift", "is missing");
                return words.shift.map(Self::Shift).ok_or_else(missing);
            }
        }))
    }
}

impl Remedy {
    /// `mute-retries`, `cap`, `shed`, `open`, `shift`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Trip(kind) => kind.as_str(),
            Self::Shift(_) => "shift",
        }
    }
}

impl From<ActionKind> for Remedy {
    fn from(kind: ActionKind) -> Self {
        Self::Trip(kind)
    }
}

impl PartialEq<ActionKind> for Remedy {
    fn eq(&self, kind: &ActionKind) -> bool {
        matches!(self, Self::Trip(own) if own == kind)
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As on the command line after `fusebox shift`: `inventory v1=100 v2=0`.
impl fmt::Display for Shift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.weights.iter().try_for_each(|(subset, weight)| write!(f, " {subset}={weight}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::SuggestedAction;

    /// Scenario: suggestions of both kinds, written as JSON and read again; a shift without weights.
    /// Guarantees: `action` is one word as in the contract; a shift has its weights beside it, and
    /// one that has none is refused.
    #[test]
    fn suggestions_read_as_they_are_written() {
        let check = |action: Remedy, expected: &str| {
            let (source, destination) = ("payment".to_owned(), "inventory".to_owned());
            let (ttl_s, tier, predicted) = (0, 1, String::new());
            let all = SuggestedAction { action, source, destination, ttl_s, tier, predicted };
            let json = serde_json::to_string(&all).expect("writes");
            assert!(json.starts_with(expected), "{json}");
            assert_eq!(serde_json::from_str::<SuggestedAction>(&json).expect("reads"), all);
        };
        check(ActionKind::MuteRetries.into(), r#"{"action":"mute-retries","source":"payment""#);
        let weights = BTreeMap::from([("v1".to_owned(), 100), ("v2".to_owned(), 0)]);
        let shift = Shift { host: "inventory".to_owned(), weights };
        assert_eq!(shift.to_string(), "inventory v1=100 v2=0");
        let expected =
            r#"{"action":"shift","shift":{"host":"inventory","weights":{"v1":100,"v2":0}}"#;
        check(Remedy::Shift(shift), expected);
        let empty = r#"{"action":"shift"}"#;
        assert!(serde_json::from_str::<Remedy>(empty).is_err(), "a shift to nowhere");
    }
}
