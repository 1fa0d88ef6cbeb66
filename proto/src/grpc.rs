//! What a gRPC status says of how a call ended: one reading for proxies and for spans, and one for
//! whoever speaks HTTP only.

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The server answered; also where it refused what the caller did wrong.
    Answered,
    /// The caller's patience ended: `CANCELLED`, `DEADLINE_EXCEEDED`.
    GivenUp,
    /// The server failed.
    Failed,
}

/// After OpenTelemetry's conventions for a server's errors: `UNKNOWN`, `UNIMPLEMENTED`, `INTERNAL`,
/// `UNAVAILABLE`, `DATA_LOSS` fail, and so does whatever no specification knows.
/// `RESOURCE_EXHAUSTED` does not: like HTTP's 429 it answers a caller that asks too much.
pub const fn ending(status: i64) -> Ending {
    match status {
        0 | 3 | 5..=11 | 16 => Ending::Answered,
        1 | 4 => Ending::GivenUp,
        _ => Ending::Failed,
    }
}

/// The HTTP status that a gRPC status counts as, as in Envoy.
pub const fn http_status(grpc_status: u16) -> u16 {
    match grpc_status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
