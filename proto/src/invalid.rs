//! The one parse error.

/// A value that does not parse: which one, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Invalid {
    /// Path of the field, such as `edges[2].latency_us`.
    pub field: String,
    /// What is wrong and what is allowed, lower case, no final dot.
    pub reason: String,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }

    /// The same error seen from one level up: `within("edges[2]")` puts that path in front.
    #[must_use]
    pub fn within(self, parent: impl std::fmt::Display) -> Self {
        Self { field: format!("{parent}.{}", self.field), reason: self.reason }
    }
}
