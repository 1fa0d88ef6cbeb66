//! A request as it came from its caller.

use crate::body::RequestBody;
use http::request;

/// A request on its way through the proxy. It lives in a place of its own: it is large, and would else
/// be moved through every future that it passes.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// Its head, as the caller sent it until the gate has seen it.
    pub(crate) head: request::Parts,
    /// What comes behind it.
    pub(crate) body: RequestBody,
}
