//! The ingress gateway that a proxy is: listeners that come and go with the policy.
//!
//! ```text
//! policy ── wants ──▶ [Want] ── changes ──▶ open: bind, accept on every worker
//!           (pure)              (pure)      keep: swap the plan
//!                                           close: accept no more, finish what is in flight
//! ```
//!
//! A push that wants a port which cannot be bound is rejected whole, with the reason. Where there is
//! nobody to tell (a policy of the disk or of a file, at the start) the other ports serve, and that
//! one is tried again and again; `/config` says how each stands. A port for TLS has no listener as
//! long as there are no certificates: plain text in its place would be a promise broken in silence.
//!
//! Requests are those of any caller, so what strangers have no say in is taken out of them
//! ([`Callers`]); their hosts are those of the routes that are bound to this gateway, and every other
//! one is answered 404.

mod listener;
mod want;

pub(crate) use listener::Doors;

use crate::config::ingress::Ingress as Config;
use crate::drain::Drain;
use crate::outbound::{Callers, Common};
use crate::policy::plan::{HostRules, Plan, RulesOf, Target};
use crate::takeover::Estate;
use fusebox_proto::Now;
use fusebox_proto::policy::{HostMap, Policy};
use fusebox_proto::text::visible;
use listener::Listener;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
pub(crate) use want::Want;
use want::{Changes, Key};

/// The flag under which its sockets go to a successor.
const FLAG: &str = "--ingress";

/// How often a port is tried again that could not be bound.
const RETRY: Duration = Duration::from_millis(250);

/// An ingress gateway.
#[derive(Debug)]
pub(crate) struct Ingress {
    pub(crate) config: Config,
    /// The proxy's own, by which `Gateway`s select it.
    labels: BTreeMap<String, String>,
    callers: Callers,
    /// Where requests belong that go nowhere.
    nobody: Target,
    common: Arc<Common>,
    /// The end of the proxy.
    drain: Arc<Drain>,
    /// What is in flight when a listener closes may take this long.
    drain_timeout: Duration,
    state: Mutex<State>,
    /// There may be a port to try again.
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// `None` before the workers are there, and once they end.
    doors: Option<Doors>,
    /// In order.
    ports: Vec<Port>,
    /// Bound for the policy that comes into force next.
    bound: BTreeMap<Key, Vec<TcpListener>>,
    /// Addresses of listeners that close, until their sockets have.
    closing: Vec<(SocketAddr, Weak<()>)>,
}

/// A port of the gateway.
#[derive(Debug)]
struct Port {
    want: Want,
    plan: Arc<Plan>,
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    /// It is to have no listener.
    Closed,
    /// It is about to have one.
    New,
    /// It could have none so far, and why.
    Failed(String),
    Open(Listener),
}

/// What a new gateway needs of its proxy.
pub(crate) struct Parts {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) trusted_hops: u8,
    pub(crate) nobody: Target,
    pub(crate) common: Arc<Common>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) drain_timeout: Duration,
}

impl Ingress {
    /// Without ports; they come with [`Self::follow`], and open with [`Self::start`].
    pub(crate) fn new(config: Config, parts: Parts) -> Self {
        let Parts { labels, trusted_hops, nobody, common, drain, drain_timeout } = parts;
        Self {
            config,
            labels,
            callers: Callers::Outside { trusted_hops },
            nobody,
            common,
            drain,
            drain_timeout,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The ports that `policy` wants.
    pub(crate) fn wants(&self, policy: &Policy) -> Vec<Want> {
        want::wants(policy, &self.config, &self.labels)
    }

    /// Binds what `policy` wants beyond what is open, for [`Self::follow`].
    ///
    /// # Errors
    /// Which port cannot be bound, and why; then nothing has changed. One that could not be bound
    /// before is no obstacle, and neither is one whose address a closing listener of ours has.
    pub(crate) fn prepare(&self, policy: &Policy) -> Result<(), String> {
        let wants = self.wants(policy);
        let mut state = self.state.lock();
        let Changes { open, .. } = want::changes(&state.open(), &wants);
        let known = |key: &Key| state.ports.iter().any(|port| port.want.key() == Some(*key));
        let new: Vec<Key> = open.into_iter().filter(|key| !known(key)).collect();
        let mut bound = BTreeMap::new();
        for key in new {
            let (port, listen) = key;
            let Some(doors) = &state.doors else { break };
            match doors.bind(listen) {
                Ok(sockets) => _ = bound.insert(key, sockets),
                Err(error) if state.is_ours(listen, &error) => (),
                Err(error) => return Err(cannot(port, listen, &error)),
            }
        }
        state.bound = bound;
        Ok(())
    }

    /// Follows a policy, whose plans are here: closes, keeps and opens listeners.
    pub(crate) fn follow(&self, wants: Vec<Want>, hosts: Vec<HostMap<HostRules>>) {
        let mut state = self.state.lock();
        let Changes { close, .. } = want::changes(&state.open(), &wants);
        let is_over = |port: &mut Port| port.want.key().is_some_and(|key| close.contains(&key));
        let over: Vec<Port> = state.ports.extract_if(.., is_over).collect();
        for port in over {
            self.close(&mut state, port);
        }
        let mut before = std::mem::take(&mut state.ports);
        for (want, hosts) in wants.into_iter().zip(hosts) {
            let plan = Arc::new(self.plan(hosts));
            let key = want.key();
            let kept = before.iter().position(|port| {
                port.want.key() == key && (key.is_some() || port.want.port == want.port)
            });
            let kept = kept.map(|at| before.swap_remove(at));
            let was_said = kept.as_ref().is_some_and(|port| port.want.listen == want.listen);
            let standing = match (&want.listen, kept.map(|port| port.standing)) {
                (Err(why), _) => {
                    if !was_said {
                        tracing::warn!("ingress port {} {why}", want.told());
                    }
                    Standing::Closed
                }
                (Ok(_), Some(standing)) => standing,
                (Ok(_), None) => Standing::New,
            };
            if let Standing::Open(listener) = &standing {
                listener.follow(&plan);
            }
            state.ports.push(Port { want, plan, standing });
        }
        let mut bound = std::mem::take(&mut state.bound);
        self.open(&mut state, |key, doors| match bound.remove(&key) {
            Some(sockets) => Ok(sockets),
            None => doors.bind(key.1),
        });
        self.changed.notify_one();
    }

    fn close(&self, state: &mut State, port: Port) {
        if let Standing::Open(listener) = port.standing {
            tracing::info!("ingress port {} closes", port.want.told());
            let at = listener.at();
            state.closing.push((at, listener.close(Now::read().instant, self.drain_timeout)));
        }
    }

    /// Opens, on the workers of `doors`, all ports that are wanted; sockets come from `bind`.
    pub(crate) fn start(
        &self,
        doors: Doors,
        mut bind: impl FnMut(&'static str, SocketAddr) -> io::Result<Vec<TcpListener>>,
    ) {
        let mut state = self.state.lock();
        state.doors = Some(doors);
        if state.ports.is_empty() {
            let name = visible(&self.config.gateway);
            tracing::warn!("no policy describes the ingress gateway {name} yet: no port is open");
        }
        self.open(&mut state, |(_, listen), _| bind(FLAG, listen));
    }

    /// Tries to open what is not.
    fn open(
        &self,
        state: &mut State,
        mut bind: impl FnMut(Key, &Doors) -> io::Result<Vec<TcpListener>>,
    ) {
        let State { doors: Some(doors), ports, closing, .. } = state else { return };
        closing.retain(|(_, socket)| 0 < socket.strong_count());
        if self.drain.is_draining() {
            return;
        }
        for port in ports {
            let (before, Some(key)) = (
                match &port.standing {
                    Standing::New => "",
                    Standing::Failed(before) => before,
                    Standing::Closed | Standing::Open(_) => continue,
                },
                port.want.key(),
            ) else {
                continue;
            };
            let opening = bind(key, doors)
                .and_then(|sockets| Listener::open(self, key.0, &port.plan, sockets, doors));
            port.standing = match opening {
                Ok(listener) => {
                    let told = port.want.told();
                    tracing::info!("ingress port {told} listens on {}", listener.at());
                    Standing::Open(listener)
                }
                Err(error) => {
                    let why = cannot(key.0, key.1, &error);
                    if why != before {
                        tracing::warn!("{why}; it is tried again and again");
                    }
                    Standing::Failed(why)
                }
            };
        }
    }

    /// Tries again what could not be opened, until `closing`.
    pub(crate) async fn run(&self, closing: CancellationToken) {
        loop {
            let has_failed = {
                let state = self.state.lock();
                let is_shut =
                    |it: &Port| matches!(it.standing, Standing::New | Standing::Failed(_));
                state.ports.iter().any(is_shut)
            };
            tokio::select! {
                () = tokio::time::sleep(RETRY), if has_failed => {
                    self.open(&mut self.state.lock(), |key, doors| doors.bind(key.1));
                }
                () = self.changed.notified() => (),
                () = self.drain.began() => break,
                () = closing.cancelled() => return,
            }
        }
        self.let_go();
        closing.cancelled().await;
    }

    /// Opens nothing any more. A successor that took over has handles of its own; ours would keep the
    /// ports open.
    fn let_go(&self) {
        let mut state = self.state.lock();
        state.doors = None;
        for port in &mut state.ports {
            if let Standing::Open(listener) = &mut port.standing {
                listener.let_go();
            }
        }
    }

    fn plan(&self, hosts: HostMap<HostRules>) -> Plan {
        let direct = self.nobody.clone();
        Plan { direct, retries: None, rules: RulesOf::Hosts(hosts), tcp: None }
    }

    /// Adds its sockets to what a successor gets.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(crate) fn leave(&self, estate: &mut Estate) -> io::Result<()> {
        for port in &self.state.lock().ports {
            if let (Standing::Open(listener), Ok(listen)) = (&port.standing, &port.want.listen) {
                estate.add(FLAG, *listen, listener.sockets())?;
            }
        }
        Ok(())
    }

    /// How each port stands: its number, and whether it is open.
    pub(crate) fn ports(&self) -> Vec<(u16, bool)> {
        let state = self.state.lock();
        let is_open = |port: &Port| matches!(port.standing, Standing::Open(_));
        state.ports.iter().map(|port| (port.want.port, is_open(port))).collect()
    }

    /// Ports that should be open and are not, with the reason.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let state = self.state.lock();
        let reason = |port: &Port| match &port.standing {
            Standing::Failed(why) => Some(why.clone()),
            // The policy's own reasons everybody can read there; those of this proxy nobody.
            Standing::Closed if port.want.routes.hosts().next().is_some() => {
                let why = port.want.listen.as_ref().err()?;
                Some(format!("ingress port {} {why}", port.want.port))
            }
            Standing::New | Standing::Closed | Standing::Open(_) => None,
        };
        state.ports.iter().filter_map(reason).collect()
    }

    /// For `/config`.
    pub(crate) fn page(&self) -> Value {
        let state = self.state.lock();
        let elsewhere = self.config.ports.iter();
        let elsewhere: BTreeMap<_, _> =
            elsewhere.map(|(port, listen)| (port.to_string(), listen.to_string())).collect();
        json!({
            "gateway": self.config.gateway,
            "address": self.config.address.to_string(),
            "elsewhere": elsewhere,
            "ports": state.ports.iter().map(Port::page).collect::<Vec<_>>(),
        })
    }
}

impl State {
    fn open(&self) -> BTreeSet<Key> {
        let open = self.ports.iter().filter(|port| matches!(port.standing, Standing::Open(_)));
        open.filter_map(|port| port.want.key()).collect()
    }

    /// Whether a listener of ours has the address: it closes, or is about to.
    fn is_ours(&self, listen: SocketAddr, error: &io::Error) -> bool {
        let closing = self.closing.iter().filter(|(_, socket)| 0 < socket.strong_count());
        let open = self.ports.iter().filter_map(|port| match &port.standing {
            Standing::Open(listener) => Some(listener.at()),
            _ => None,
        });
        let mut own = closing.map(|(at, _)| *at).chain(open);
        error.kind() == io::ErrorKind::AddrInUse && own.any(|at| at == listen)
    }
}

impl Port {
    fn page(&self) -> Value {
        let (state, listen, reason) = match &self.standing {
            Standing::Open(listener) => ("open", Some(listener.at()), None),
            Standing::New => ("failed", None, Some("is about to open")),
            Standing::Failed(why) => ("failed", None, Some(why.as_str())),
            Standing::Closed => ("closed", None, self.want.listen.as_ref().err().map(|it| &**it)),
        };
        json!({
            "port": self.want.port,
            "name": &*self.want.name,
            "state": state,
            "listen": listen.map(|at| at.to_string()),
            "reason": reason,
            "hosts": self.want.routes.hosts().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

impl Want {
    /// `80 (http2)`.
    fn told(&self) -> String {
        let Self { port, name, .. } = self;
        if name.is_empty() { port.to_string() } else { format!("{port} ({})", visible(name)) }
    }
}

fn cannot(port: u16, listen: SocketAddr, error: &io::Error) -> String {
    format!(
        "ingress port {port} cannot listen on {listen}: {error}; --ingress-port {port}=IP:PORT lets \
         it listen elsewhere"
    )
}
