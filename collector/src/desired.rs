//! What operators want of edges, and how far the proxies are with it.
//!
//! A *wish* is the newest command of an edge. Its revision is the Unix time in ms, or one more
//! than the last: so a collector that lost its memory is never behind what it issued before, and
//! what a proxy holds beyond that, it says when it connects. A proxy that connects gets the wish
//! with the time that is left of it. Nothing here renews a lease: it ends at its time, in the
//! proxies, whether or not this collector lives.

use crate::engine::{ConnectionId, Proxies, Proxy};
use fusebox_proto::command::{Ack, AckResult, Command, HeldLease, TTL_MAX, TTL_MIN, Verb};
use fusebox_proto::{Edge, Now, ProxyId};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// A request is answered after so long, with what there is.
pub(crate) const ANSWER_AFTER: Duration = Duration::from_secs(1);
/// More wishes than this are not kept; the oldest goes.
const WISHES_MAX: usize = 4_096;
/// So many requests are remembered by their id.
const REQUESTS_MAX: usize = 256;
/// A command is issued again under a higher revision at most so often.
const REISSUES_MAX: u8 = 3;

/// All wishes, and the requests they came from.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    wishes: BTreeMap<Edge, Wish>,
    revision_last: u64,
    requests: VecDeque<Request>,
    pushes: VecDeque<(ConnectionId, Command)>,
    finished: VecDeque<String>,
    dropped: u64,
}

/// The newest command of an edge.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// As it was issued.
    pub(crate) command: Command,
    /// When it was issued.
    pub(crate) issued: Now,
    /// When its lease ends, on both clocks; for a reset, when no proxy can hold the old lease any
    /// more.
    pub(crate) ends: Now,
    /// How far each proxy is.
    pub(crate) progress: BTreeMap<ProxyId, Progress>,
    reissues: u8,
}

/// How far a proxy is with a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It was sent.
    Pending,
    /// It is in force.
    Applied {
        /// Since when.
        at: Now,
    },
    /// The proxy refused it, with the reason.
    Rejected(String),
}

/// A request that is answered, or will be.
#[derive(Debug)]
struct Request {
    id: String,
    edges: Vec<Edge>,
    answer_at: Option<Instant>,
}

/// One order of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    /// On which edge.
    pub(crate) edge: Edge,
    /// What.
    pub(crate) verb: Verb,
}

impl Wish {
    /// Whether it is a lease that is in force now.
    pub(crate) fn is_lease(&self, now: Now) -> bool {
        matches!(self.command.verb, Verb::Trip { .. }) && now.instant < self.ends.instant
    }

    /// Proxies in which it is in force.
    pub(crate) fn applied(&self) -> u64 {
        self.progress.values().filter(|p| matches!(p, Progress::Applied { .. })).count() as u64
    }

    /// When the last proxy acknowledged; `None` while one has not, or there is none.
    pub(crate) fn completed(&self) -> Option<Now> {
        let at = |progress: &Progress| match progress {
            Progress::Applied { at } => Some(*at),
            _ => None,
        };
        self.progress.values().map(at).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    fn is_pending(&self) -> bool {
        self.progress.values().any(|progress| *progress == Progress::Pending)
    }

    /// The command with the time that is left of its lease; `None` where that is too short.
    fn left(&self, now: Now) -> Option<Command> {
        let mut command = self.command.clone();
        if let Verb::Trip { ttl, .. } = &mut command.verb {
            *ttl = self.ends.instant.saturating_duration_since(now.instant);
            if *ttl < TTL_MIN {
                return None;
            }
        }
        Some(command)
    }
}

impl Desired {
    /// The wish of an edge, while it matters.
    pub(crate) fn get(&self, edge: &Edge) -> Option<&Wish> {
        self.wishes.get(edge)
    }

    /// All wishes, by edge.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Edge, &Wish)> {
        self.wishes.iter()
    }

    /// Edges on which a lease is in force in at least one proxy.
    pub(crate) fn leased(&self, now: Now) -> impl Iterator<Item = &Edge> {
        let is_in_force = move |wish: &Wish| wish.is_lease(now) && 0 < wish.applied();
        self.iter().filter(move |(_, wish)| is_in_force(wish)).map(|(edge, _)| edge)
    }

    /// The edges of a request that was made before.
    pub(crate) fn request(&self, id: &str) -> Option<&[Edge]> {
        self.requests.iter().find(|request| request.id == id).map(|request| &request.edges[..])
    }

    /// Issues the orders of a new request. It is finished when all proxies have answered, or after
    /// [`ANSWER_AFTER`]. A request that was made before is not issued again; if it has finished it
    /// finishes once more.
    pub(crate) fn issue(
        &mut self,
        now: Now,
        proxies: &Proxies,
        request_id: &str,
        orders: Vec<Order>,
        (by, reason): (&str, &str),
    ) {
        if let Some(request) = self.requests.iter().find(|request| request.id == request_id) {
            if request.answer_at.is_none() {
                self.finished.push_back(request_id.to_owned());
            }
            return;
        }
        let mut edges = Vec::new();
        for Order { edge, verb } in orders {
            let command = Command {
                id: request_id.to_owned(),
                revision: self.next_revision(now),
                destination: edge.destination.clone(),
                verb,
                by: by.to_owned(),
                reason: reason.to_owned(),
            };
            self.wish(now, proxies, &edge, command, None);
            edges.push(edge);
        }
        if REQUESTS_MAX <= self.requests.len() {
            self.requests.pop_front();
        }
        let answer_at = Some(now.instant + ANSWER_AFTER);
        self.requests.push_back(Request { id: request_id.to_owned(), edges, answer_at });
        self.finish(now);
    }

    fn next_revision(&mut self, now: Now) -> u64 {
        self.revision_last = self.revision_last.saturating_add(1).max(now.unix_ms);
        self.revision_last
    }

    /// Makes `command` the wish of `edge`, and sends it to all proxies that enforce it, but for
    /// the one that holds it already.
    fn wish(
        &mut self,
        now: Now,
        proxies: &Proxies,
        edge: &Edge,
        command: Command,
        holder: Option<&ProxyId>,
    ) {
        let before = self.wishes.get(edge).map(|wish| wish.ends);
        let ends = match command.verb {
            Verb::Trip { ttl, .. } => now.plus(ttl),
            Verb::Reset { .. } => before.unwrap_or(now).max(now.plus(TTL_MAX)),
        };
        let mut progress = BTreeMap::new();
        for proxy in proxies.enforcing(edge) {
            let Some(connection) = proxy.connection else { continue };
            let id = &proxy.hello.proxy;
            if holder == Some(id) {
                progress.insert(id.clone(), Progress::Applied { at: now });
            } else {
                progress.insert(id.clone(), Progress::Pending);
                self.pushes.push_back((connection, command.clone()));
            }
        }
        let wish = Wish { command, issued: now, ends, progress, reissues: 0 };
        self.wishes.insert(edge.clone(), wish);
        if WISHES_MAX < self.wishes.len()
            && let Some(oldest) = self.iter().min_by_key(|(_, wish)| wish.issued).map(|(e, _)| e)
        {
            let oldest = oldest.clone();
            self.wishes.remove(&oldest);
            self.dropped += 1;
        }
    }

    /// Wishes that were forgotten before their time since the start, for want of room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// A proxy connected: it may hold more than we know, or less than we wish.
    pub(crate) fn connected(&mut self, now: Now, proxies: &Proxies, proxy: &Proxy) {
        let source = &proxy.hello.service;
        for held in &proxy.hello.held {
            self.revision_last = self.revision_last.max(held.command.revision);
            let edge = Edge::new(source.clone(), held.command.destination.clone());
            let known = self.wishes.get(&edge).map_or(0, |wish| wish.command.revision);
            if known < held.command.revision {
                self.adopt(now, proxies, &edge, held, &proxy.hello.proxy);
            }
        }
        let Some(connection) = proxy.connection else { return };
        let id = &proxy.hello.proxy;
        for (edge, wish) in self.wishes.iter_mut().filter(|(edge, _)| proxy.enforces(edge)) {
            let held = proxy.hello.held.iter().find(|h| h.command.destination == edge.destination);
            let revision_held = held.map(|held| held.command.revision);
            if revision_held == Some(wish.command.revision) {
                wish.progress.insert(id.clone(), Progress::Applied { at: now });
                continue;
            }
            let is_reset = matches!(wish.command.verb, Verb::Reset { .. });
            if is_reset && held.is_none() {
                continue;
            }
            if let Some(command) = wish.left(now) {
                wish.progress.insert(id.clone(), Progress::Pending);
                self.pushes.push_back((connection, command));
            }
        }
        self.finish(now);
    }

    /// A proxy holds a lease that this collector has never heard of, because it started later:
    /// it becomes the wish, for the other proxies too.
    fn adopt(
        &mut self,
        now: Now,
        proxies: &Proxies,
        edge: &Edge,
        held: &HeldLease,
        holder: &ProxyId,
    ) {
        let is_lease = matches!(held.command.verb, Verb::Trip { ttl, .. } if TTL_MIN <= ttl);
        if is_lease {
            self.wish(now, proxies, edge, held.command.clone(), Some(holder));
        } else {
            // Only its ramp is left; nothing to pass on.
            self.wishes.remove(edge);
        }
    }

    /// A proxy answered. Gives the verb of the command, if it is the newest of its edge.
    pub(crate) fn acked(
        &mut self,
        now: Now,
        proxies: &Proxies,
        proxy: &Proxy,
        ack: &Ack,
    ) -> Option<Verb> {
        let edge = Edge::new(proxy.hello.service.clone(), ack.destination.clone());
        let wish = self.wishes.get_mut(&edge)?;
        if wish.command.revision != ack.revision {
            return None;
        }
        let verb = wish.left(now).map(|command| command.verb);
        match &ack.result {
            AckResult::Applied => {
                wish.progress.insert(proxy.hello.proxy.clone(), Progress::Applied { at: now });
            }
            AckResult::Rejected { reason } => {
                let reason = fusebox_proto::text::visible(reason).into_owned();
                wish.progress.insert(proxy.hello.proxy.clone(), Progress::Rejected(reason));
            }
            AckResult::Superseded { revision } => {
                self.revision_last = self.revision_last.max(*revision);
                let reissues = wish.reissues + 1;
                if let Some(mut command) = wish.left(now)
                    && reissues <= REISSUES_MAX
                {
                    command.revision = self.next_revision(now);
                    self.wish(now, proxies, &edge, command, None);
                    if let Some(wish) = self.wishes.get_mut(&edge) {
                        wish.reissues = reissues;
                    }
                }
            }
        }
        self.finish(now);
        verb
    }

    /// A proxy's stream ended: nobody waits for its answer any more.
    pub(crate) fn gone(&mut self, now: Now, proxy: &ProxyId) {
        for wish in self.wishes.values_mut() {
            wish.progress.remove(proxy);
        }
        self.finish(now);
    }

    /// When something ends by itself.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.requests.iter().filter_map(|request| request.answer_at).min()
    }

    /// Lets time pass: answers requests that waited long enough, forgets wishes that ended.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.finish(now);
        self.wishes.retain(|_, wish| now.instant < wish.ends.instant);
    }

    fn finish(&mut self, now: Now) {
        for request in &mut self.requests {
            let Some(answer_at) = request.answer_at else { continue };
            let is_pending = |edge| self.wishes.get(edge).is_some_and(Wish::is_pending);
            if answer_at <= now.instant || !request.edges.iter().any(is_pending) {
                request.answer_at = None;
                self.finished.push_back(request.id.clone());
            }
        }
    }

    /// The next command to send.
    pub(crate) fn poll_push(&mut self) -> Option<(ConnectionId, Command)> {
        self.pushes.pop_front()
    }

    /// The next request that is to be answered.
    pub(crate) fn poll_finished(&mut self) -> Option<String> {
        self.finished.pop_front()
    }
}
