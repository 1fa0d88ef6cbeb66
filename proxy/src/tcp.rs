//! Connections that speak no HTTP, or not yet.
//!
//! ```text
//! accept ─▶ listen ─┬─ HTTP ──────────────────────────────▶ entrance
//!                   ├─ opaque ─▶ open ─────────────┬──────▶ Session::run
//!                   └─ silent ─▶ open ─▶ who speaks first? ─ HTTP after all ─▶ entrance
//! ```
//!
//! What a caller says first is read, told apart ([`crate::sniff`]), and handed on with the
//! connection. A caller that says nothing may wait for its server (SMTP, some databases): it gets a
//! connection to one, and whoever speaks first decides. Once a server behind the listener has
//! answered a request, the port speaks HTTP: nothing is told apart any more, what is no HTTP is
//! refused, and silent callers cost no connection.

use crate::access_log::{LogRing, Logging, Side};
use crate::connection::Terms;
use crate::drain::Drain;
use crate::entrance::Entrance;
use crate::forwarded::Peer;
use crate::pool::RawPlace;
use crate::sniff::client_hello::{self, ServerName};
use crate::sniff::{Guess, guess};
use crate::tunnel::{self, Bounds, Carried};
use crate::upgrade::Held;
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A caller that has said nothing for so long may wait for its server to speak. Clients of
/// client-first protocols speak within microseconds of connecting, or are pools that speak when
/// they are used; those pay with a server's connection that is held, not with time.
const SILENCE: Duration = Duration::from_millis(100);
/// A caller that stops in the middle of what tells its protocol apart.
const PATIENCE: Duration = Duration::from_secs(5);
/// Silent callers of one listener that hold a connection before it is known what its port speaks.
const SILENT_MAX: usize = 64;
/// What is read at once, before it is told apart.
const READ_LEN: usize = 4 * 1024;
/// How long a session may be silent where no policy says otherwise. Envoy's and Istio's: pools of
/// database connections are silent for long.
pub(crate) const IDLE_DEFAULT: Duration = Duration::from_hours(1);

/// What a port speaks, as far as it is known.
#[derive(Debug)]
pub(crate) struct Speaks {
    known: AtomicU8,
    silent: Arc<Semaphore>,
}

const UNKNOWN: u8 = 0;
const OPAQUE: u8 = 1;
const HTTP: u8 = 2;

impl Default for Speaks {
    fn default() -> Self {
        Self { known: AtomicU8::new(UNKNOWN), silent: Arc::new(Semaphore::new(SILENT_MAX)) }
    }
}

impl Speaks {
    /// Of a port that speaks HTTP alone.
    pub(crate) fn of_http() -> Self {
        Self { known: AtomicU8::new(HTTP), ..Self::default() }
    }

    /// A server answered a request.
    pub(crate) fn http(&self) {
        if self.known.load(Relaxed) != HTTP {
            self.known.store(HTTP, Relaxed);
        }
    }

    /// A session of something else began.
    fn opaque(&self) {
        let _ = self.known.compare_exchange(UNKNOWN, OPAQUE, Relaxed, Relaxed);
    }

    fn is(&self, known: u8) -> bool {
        self.known.load(Relaxed) == known
    }
}

/// What is behind a listener.
pub(crate) trait Behind: Send + Sync {
    /// What it speaks.
    fn speaks(&self) -> &Speaks;

    /// Whether a route asks for the server's name in TLS.
    fn asks_server_name(&self) -> bool;

    /// Where lines go, if somebody wants them, and which side it is.
    fn log(&self) -> (Option<&Arc<LogRing>>, Side);

    /// Opens a session for a caller that named this server; `None`: refused, or no connection.
    /// Either is counted, and told to its line in the log.
    fn open(
        &self,
        server_name: Option<&str>,
        line: Option<&mut Logging>,
    ) -> impl Future<Output = Option<Session>> + Send;
}

/// Serves one connection: what is HTTP at its `entrance`, all else as a session to what is behind.
pub(crate) async fn serve(
    behind: &impl Behind,
    stream: TcpStream,
    terms: Terms,
    entrance: Entrance,
) {
    // In a place of its own: what it needs is not needed while HTTP is served.
    let peer = Arc::new(Peer::new(stream.peer_addr().ok()));
    let told = Box::pin(tell(behind, stream, &peer, &terms.drain)).await;
    if let Told::Http(stream, ahead) = told {
        entrance.serve(peer, stream, ahead, terms).await;
    }
}

/// What a connection turned out to be.
enum Told {
    /// HTTP; these bytes were read ahead.
    Http(TcpStream, Bytes),
    /// Something that was served to its end, or a caller that left.
    Over,
}

enum First {
    Http,
    Opaque,
    /// With leave to hold a connection where one is needed.
    Silent(Option<OwnedSemaphorePermit>),
    Gone,
}

/// Tells what a connection speaks; what is no HTTP is served here.
async fn tell(
    behind: &impl Behind,
    mut stream: TcpStream,
    peer: &Arc<Peer>,
    drain: &Drain,
) -> Told {
    let speaks = behind.speaks();
    if speaks.is(HTTP) {
        return Told::Http(stream, Bytes::new());
    }
    let mut ahead = BytesMut::new();
    let first = tokio::select! {
        first = listen(behind, &mut stream, &mut ahead) => first,
        () = drain.began() => First::Gone,
    };
    match first {
        First::Http => Told::Http(stream, ahead.freeze()),
        First::Gone => Told::Over,
        First::Opaque => {
            speaks.opaque();
            let name = server_name(behind, &mut stream, &mut ahead).await;
            let mut line = line(behind, peer, name.as_deref());
            if let Some(session) = behind.open(name.as_deref(), line.as_mut()).await {
                session.run(stream, &ahead, line).await;
            }
            Told::Over
        }
        First::Silent(permit) => {
            let mut line = line(behind, peer, None);
            let Some(session) = behind.open(None, line.as_mut()).await else {
                return Told::Over;
            };
            let speaking = who_speaks(&mut stream, &session.server, &mut ahead, session.bounds);
            let is_http = tokio::select! {
                is_http = speaking => is_http,
                () = drain.began() => None,
            };
            drop(permit);
            match is_http {
                None => session.close(),
                Some(true) => {
                    session.close();
                    if let Some(line) = line {
                        line.forget();
                    }
                    return Told::Http(stream, ahead.freeze());
                }
                Some(false) => {
                    speaks.opaque();
                    session.run(stream, &ahead, line).await;
                }
            }
            Told::Over
        }
    }
}

/// The line of a session, if there is a log.
fn line(behind: &impl Behind, peer: &Arc<Peer>, server_name: Option<&str>) -> Option<Logging> {
    let (ring, side) = behind.log();
    Logging::session(ring, side, peer, server_name)
}

/// Reads until it is clear what a caller speaks.
async fn listen(behind: &impl Behind, stream: &mut TcpStream, ahead: &mut BytesMut) -> First {
    let speaks = behind.speaks();
    let mut patience = match () {
        // A client of TLS speaks first, and what it says decides where it goes.
        () if behind.asks_server_name() => PATIENCE,
        () if speaks.is(OPAQUE) => Duration::ZERO,
        () => SILENCE,
    };
    loop {
        match tokio::time::timeout(patience, read(stream, ahead)).await {
            Ok(false) => return First::Gone,
            Ok(true) => match guess(ahead) {
                Guess::Http => return First::Http,
                Guess::Opaque => return First::Opaque,
                Guess::Unsure => patience = PATIENCE,
            },
            // The HTTP parser knows what to do with half a line.
            Err(_) if !ahead.is_empty() => return First::Http,
            Err(_) if speaks.is(HTTP) => return First::Http,
            Err(_) if speaks.is(OPAQUE) => return First::Silent(None),
            Err(_) => match Arc::clone(&speaks.silent).try_acquire_owned() {
                Ok(permit) => return First::Silent(Some(permit)),
                // Too many hold one: it is left to the care for silent connections.
                Err(_) => return First::Http,
            },
        }
    }
}

/// `Some(true)`: the caller, and it is HTTP; `Some(false)`: the server, or a caller that speaks
/// something else; `None`: nobody.
async fn who_speaks(
    stream: &mut TcpStream,
    server: &TcpStream,
    ahead: &mut BytesMut,
    bounds: Bounds,
) -> Option<bool> {
    let mut patience = bounds.idle.unwrap_or(Duration::MAX);
    loop {
        tokio::select! {
            biased;
            readable = server.readable(), if ahead.is_empty() => {
                return readable.is_ok().then_some(false);
            }
            read = tokio::time::timeout(patience, read(stream, ahead)) => match read {
                // It may have ended its words, and still listen.
                Ok(false) => return Some(false),
                Ok(true) => match guess(ahead) {
                    Guess::Http => return Some(true),
                    Guess::Opaque => return Some(false),
                    Guess::Unsure => patience = PATIENCE,
                },
                Err(_) => return (!ahead.is_empty()).then_some(true),
            },
        }
    }
}

/// The server that a TLS client names, where a route asks for it.
async fn server_name(
    behind: &impl Behind,
    stream: &mut TcpStream,
    ahead: &mut BytesMut,
) -> Option<String> {
    if !behind.asks_server_name() {
        return None;
    }
    let reading = async {
        loop {
            match client_hello::server_name(ahead) {
                ServerName::Named(name) => return Some(name),
                ServerName::Unsure if read(stream, ahead).await => (),
                ServerName::Unsure | ServerName::None => return None,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.ok().flatten()
}

/// Reads what is there; `false` at the end.
async fn read(stream: &mut TcpStream, ahead: &mut BytesMut) -> bool {
    ahead.reserve(READ_LEN);
    matches!(stream.read_buf(ahead).await, Ok(1..))
}

/// A caller's connection and one of its server, with nothing but bytes between them.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) server: TcpStream,
    pub(crate) place: RawPlace,
    pub(crate) bounds: Bounds,
    /// What counts it, given back by being dropped.
    pub(crate) held: Box<dyn Held + Sync>,
}

impl Session {
    /// Carries bytes until both sides have ended, or one has broken off. `ahead` was read of the
    /// caller's already.
    async fn run(mut self, caller: TcpStream, ahead: &[u8], line: Option<Logging>) {
        let carried = match self.server.write_all(ahead).await {
            Ok(()) => tunnel::copy(caller, &mut self.server, self.bounds).await,
            Err(_) => Carried { bytes: 0, is_complete: false },
        };
        if let Some(mut line) = line {
            line.carried(carried);
        }
        self.close();
    }

    fn close(self) {
        let Self { server, place, held, .. } = self;
        drop((server, held));
        place.free();
    }
}
