//! Why a request is not taken.

/// Why a request was refused whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No service of that name.
    #[error("no service is called {name:?}{}", hint(.candidates))]
    Unknown {
        /// As typed.
        name: String,
        /// Printed names that come close.
        candidates: Vec<String>,
    },
    /// Several services of that name.
    #[error("{name:?} is ambiguous{}", hint(.candidates))]
    Ambiguous {
        /// As typed.
        name: String,
        /// Printed names that it could mean.
        candidates: Vec<String>,
    },
    /// No rule routes this host.
    #[error("no rule routes {host:?}{}", hint(.candidates))]
    UnknownHost {
        /// As typed.
        host: String,
        /// Hosts that are routed.
        candidates: Vec<String>,
    },
    /// A value out of its range.
    #[error("{0}")]
    Invalid(#[from] fusebox_proto::Invalid),
}

fn hint(candidates: &[String]) -> String {
    if candidates.is_empty() {
        String::new()
    } else {
        format!("; there is {}", candidates.join(", "))
    }
}
