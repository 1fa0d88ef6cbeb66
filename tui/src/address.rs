//! How to reach a collector's console service. The dashboard and the command line share it.

use anyhow::Context as _;
use fusebox_proto::wire::MESSAGE_LEN_MAX;
use fusebox_proto::wire::v1::console_client::ConsoleClient;
use std::time::Duration;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Nobody waits longer for a connection that does not come.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A connection that does not answer pings for this long is dead.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_WITHIN: Duration = Duration::from_secs(3);

/// A control address, with the token that it wants.
#[derive(Clone, Debug)]
pub struct Address {
    endpoint: Endpoint,
    token: Option<MetadataValue<Ascii>>,
}

/// A console service that is shown the token.
pub type Client = ConsoleClient<InterceptedService<Channel, Authorise>>;

impl Address {
    /// The address of a URL such as `http://127.0.0.1:4319`.
    ///
    /// # Errors
    /// If it is no URL, or no header can carry the token.
    pub fn new(url: &str, token: Option<&str>) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .with_context(|| {
                format!("--collector {url}: is not a URL such as http://127.0.0.1:4319")
            })?
            .connect_timeout(CONNECT_WITHIN)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_WITHIN)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        let token = token.map(|token| {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
            value.set_sensitive(true);
            anyhow::Ok(value)
        });
        let token = token.transpose().context("the token has characters that no header carries")?;
        Ok(Self { endpoint, token })
    }

    /// A client on a connection that is made now; why it is not, in the words of the system.
    ///
    /// # Errors
    /// If nobody answers there.
    pub async fn connect(&self) -> Result<Client, String> {
        match self.endpoint.connect().await {
            Ok(channel) => Ok(self.client(channel)),
            Err(error) => Err(innermost(&error)),
        }
    }

    /// A client on a connection that is made, and made again, when it is needed.
    pub fn connect_lazy(&self) -> Client {
        self.client(self.endpoint.connect_lazy())
    }

    fn client(&self, channel: Channel) -> Client {
        let authorise = Authorise { token: self.token.clone() };
        ConsoleClient::with_interceptor(channel, authorise)
            .max_decoding_message_size(MESSAGE_LEN_MAX)
    }
}

/// Puts the token on every call.
#[derive(Clone, Debug)]
pub struct Authorise {
    token: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Authorise {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// The cause at the bottom of an error: what the operating system said.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    fusebox_proto::text::visible(&at.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: addresses and tokens as people mistype them.
    /// Guarantees: what cannot work is refused at the start, with what is allowed.
    #[test]
    fn nonsense_is_refused_at_the_start() {
        assert!(Address::new("http://127.0.0.1:4319", Some("secret")).is_ok());
        let error = Address::new("not a url", None).unwrap_err().to_string();
        assert!(error.contains("http://127.0.0.1:4319"), "{error}");
        assert!(Address::new("http://127.0.0.1:4319", Some("a\nb")).is_err());
    }

    /// Scenario: an address with a token is printed, as a log or a panic would.
    /// Guarantees: the token is not in it.
    #[test]
    fn a_token_is_never_printed() {
        let address = Address::new("http://127.0.0.1:4319", Some("s3cret-s3cret")).unwrap();
        assert!(!format!("{address:?}").contains("s3cret"));
    }
}
