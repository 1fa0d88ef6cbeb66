//! What tells two attempts of one request from two requests.

use super::arrivals::Arrivals;
use super::table::Key;
use foldhash::quality::FixedState;
use fusebox_proto::report::Protocol;
use fusebox_proto::trace::TraceContext;
use std::hash::{BuildHasher, Hasher};

/// The digest of a body is made of this many first bytes at most.
pub const BODY_PREFIX_LEN_MAX: usize = 4 * 1024;

/// The head of one attempt that an application sends.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its trace context; an invalid `traceparent` is none.
    pub trace: Option<TraceContext>,
    /// `GET`, `POST`, …
    pub method: &'a str,
    /// `Host` or `:authority`.
    pub authority: &'a str,
    /// Path with query, as sent.
    pub path_and_query: &'a str,
    /// `Idempotency-Key`, if there is one.
    pub idempotency_key: Option<&'a [u8]>,
    /// `grpc-previous-rpc-attempts`; 0 where absent.
    pub grpc_previous_attempts: u32,
    /// What is known of the body.
    pub body: BodyDigest,
    /// What the bytes are.
    pub protocol: Protocol,
    /// When traces came in at this proxy; `None` where nothing does.
    pub arrivals: Option<&'a Arrivals>,
}

/// What is known of a request body before it is forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyDigest {
    /// There is none.
    #[default]
    Empty,
    /// Digest of its first bytes, from [`BodyDigest::of`].
    Known(u64),
    /// It streams, and waiting for its first bytes could wait for ever. Such a request is never
    /// taken for a *probable* retry.
    Unknown,
}

impl BodyDigest {
    /// The digest of a body that begins with `prefix`: its first [`BODY_PREFIX_LEN_MAX`] bytes, or
    /// all if it has fewer. `seed` is the process's own.
    pub fn of(seed: u64, prefix: &[u8]) -> Self {
        if prefix.is_empty() {
            return Self::Empty;
        }
        let mut hasher = FixedState::with_seed(seed).build_hasher();
        hasher.write(&prefix[..prefix.len().min(BODY_PREFIX_LEN_MAX)]);
        Self::Known(hasher.finish())
    }
}

/// The keys of a request, narrow and wide. Attempts that share one may be attempts of one request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys {
    /// Same idempotency key, or same parent span: repetitions are certain.
    pub(super) narrow: Option<Key>,
    /// Same trace: repetitions are probable.
    pub(super) wide: Option<Key>,
}

impl Keys {
    /// Those that there are.
    pub(super) fn both(self) -> impl Iterator<Item = Key> {
        self.narrow.into_iter().chain(self.wide)
    }
}

/// Makes keys. A hash of 64 bits under a secret seed: two of the few thousand requests that an edge
/// remembers share one by accident once in a million years, and nobody can make them.
#[derive(Debug)]
pub(super) struct Hash(FixedState);

impl Hash {
    pub(super) fn new(seed: u64) -> Self {
        Self(FixedState::with_seed(seed))
    }

    /// The key of a trace.
    pub(super) fn trace(&self, context: &TraceContext) -> Key {
        Key::of(self.0.hash_one(context.trace_id))
    }

    /// The keys of a request. An idempotency key says by itself which request it is; without it a
    /// request is known by what it asks for and by who asks: the caller's span, or anything in the
    /// same trace. The wide key needs the body: two POSTs that cannot be told apart are not the
    /// same.
    pub(super) fn request(&self, head: &RequestHead<'_>) -> Keys {
        let target = (head.method, head.authority, head.path_and_query);
        if let Some(idempotency_key) = head.idempotency_key {
            let key = Key::of(self.0.hash_one((0_u8, target, idempotency_key)));
            return Keys { narrow: Some(key), wide: None };
        }
        let Some(context) = head.trace else {
            return Keys::default();
        };
        let wide = self.0.hash_one((1_u8, target, head.body, context.trace_id));
        let narrow = self.0.hash_one((2_u8, wide, context.parent_id));
        Keys {
            narrow: Some(Key::of(narrow)),
            wide: (head.body != BodyDigest::Unknown).then(|| Key::of(wide)),
        }
    }
}
