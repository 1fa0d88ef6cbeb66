//! What operators want of edges, and how far the proxies are with it.
//!
//! A *wish* is the newest command of an edge. Its revision is the Unix time in ms, or one more
//! than the last: so a collector that lost its memory is never behind what it issued before, and
//! what a proxy holds beyond that, it says when it connects. A proxy that connects gets the wish
//! with the time that is left of it. Nothing here renews a lease: it ends at its time, in the
//! proxies, whether or not this collector lives. Where there is a history, wishes are in it, and
//! the next process begins with those whose time is not over.

mod requests;

pub(crate) use requests::{Finished, Requests};

use crate::engine::{ConnectionId, Proxies, Proxy};
use crate::record::{Record, Restored, WishRecord};
use fusebox_proto::command::{Ack, AckResult, Command, HeldLease, TTL_MAX, TTL_MIN, Verb};
use fusebox_proto::{Edge, Now, ProxyId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

/// More wishes than this are not kept; the oldest goes.
const WISHES_MAX: usize = 4_096;
/// A command is issued again under a higher revision at most so often.
const REISSUES_MAX: u8 = 3;

/// All wishes, and the requests they came from.
#[derive(Debug, Default)]
pub(crate) struct Desired {
    wishes: BTreeMap<Edge, Wish>,
    revision_last: u64,
    requests: Requests<Edge>,
    pushes: VecDeque<(ConnectionId, Command)>,
    /// Edges whose wish is not in the history as it is now.
    changed: BTreeSet<Edge>,
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
    /// What whoever ordered it should know; mostly empty.
    pub(crate) caution: String,
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

/// One order of a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Order {
    /// On which edge.
    pub(crate) edge: Edge,
    /// What.
    pub(crate) verb: Verb,
    /// What whoever orders it should know; mostly empty.
    pub(crate) caution: String,
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
        self.requests.subjects(id)
    }

    /// Why a request is not on disk; `None` where it is, or need not be.
    pub(crate) fn why_not_kept(&self, id: &str) -> Option<&str> {
        self.requests.why_not_kept(id)
    }

    /// Issues the orders of a new request. A request that was made before is not issued again; if
    /// it has been answered, it is answered once more. Whether it is new.
    pub(crate) fn issue(
        &mut self,
        now: Now,
        proxies: &Proxies,
        request_id: &str,
        orders: Vec<Order>,
        (by, reason): (&str, &str),
    ) -> bool {
        if self.requests.subjects(request_id).is_some() {
            self.requests.repeat(request_id);
            return false;
        }
        let mut edges = Vec::new();
        for Order { edge, verb, caution } in orders {
            let command = Command {
                id: request_id.to_owned(),
                revision: self.next_revision(now),
                destination: edge.destination.clone(),
                verb,
                by: by.to_owned(),
                reason: reason.to_owned(),
            };
            self.wish(now, proxies, &edge, command, None);
            if let Some(wish) = self.wishes.get_mut(&edge) {
                wish.caution = caution;
            }
            edges.push(edge);
        }
        self.requests.add(now, request_id, edges);
        true
    }

    /// A request is not answered before these records are on disk.
    pub(crate) fn keep(&mut self, now: Now, request_id: &str, numbers: RangeInclusive<u64>) {
        self.requests.keep(now, request_id, numbers);
    }

    /// Records are on disk, or are not.
    pub(crate) fn stored(&mut self, numbers: &RangeInclusive<u64>, result: &Result<(), Arc<str>>) {
        self.requests.stored(numbers, result);
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
        let caution = String::new();
        let wish = Wish { command, issued: now, ends, progress, caution, reissues: 0 };
        self.wishes.insert(edge.clone(), wish);
        self.note_change(edge);
        if WISHES_MAX < self.wishes.len()
            && let Some(oldest) = self.iter().min_by_key(|(_, wish)| wish.issued).map(|(e, _)| e)
        {
            let oldest = oldest.clone();
            self.wishes.remove(&oldest);
            self.note_change(&oldest);
            self.dropped += 1;
        }
    }

    fn note_change(&mut self, edge: &Edge) {
        // They pile up only while nothing can be written.
        if self.changed.len() < 2 * WISHES_MAX {
            self.changed.insert(edge.clone());
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
        self.gone(&proxy.hello.proxy);
        self.leads_on(now, proxy);
    }

    /// A proxy leads to more than before, or just connected: it gets the wishes that it has not got.
    pub(crate) fn leads_on(&mut self, now: Now, proxy: &Proxy) {
        let Some(connection) = proxy.connection else { return };
        let id = &proxy.hello.proxy;
        let own = self.wishes.iter_mut().filter(|(edge, _)| proxy.enforces(edge));
        for (edge, wish) in own.filter(|(_, wish)| !wish.progress.contains_key(id)) {
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
            self.note_change(edge);
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
                let caution = std::mem::take(&mut wish.caution);
                if let Some(mut command) = wish.left(now)
                    && reissues <= REISSUES_MAX
                {
                    command.revision = self.next_revision(now);
                    self.wish(now, proxies, &edge, command, None);
                    if let Some(wish) = self.wishes.get_mut(&edge) {
                        (wish.reissues, wish.caution) = (reissues, caution);
                    }
                }
            }
        }
        verb
    }

    /// A proxy's stream ended: nobody waits for its answer any more.
    pub(crate) fn gone(&mut self, proxy: &ProxyId) {
        for wish in self.wishes.values_mut() {
            wish.progress.remove(proxy);
        }
    }

    /// When something ends by itself.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.requests.poll_timeout()
    }

    /// Forgets wishes that ended, once nobody waits to hear of them.
    pub(crate) fn age(&mut self, now: Now) {
        let is_over = |(edge, wish): &(&Edge, &Wish)| {
            wish.ends.instant <= now.instant && !self.requests.await_answer(edge)
        };
        let over: Vec<Edge> = self.iter().filter(is_over).map(|(edge, _)| edge.clone()).collect();
        for edge in over {
            self.wishes.remove(&edge);
            self.note_change(&edge);
        }
    }

    /// Ends the waits of requests that are over, after whatever happened.
    pub(crate) fn finish(&mut self, now: Now) {
        let is_pending = |edge: &Edge| self.wishes.get(edge).is_some_and(Wish::is_pending);
        self.requests.finish(now, is_pending);
    }

    /// The next command to send.
    pub(crate) fn poll_push(&mut self) -> Option<(ConnectionId, Command)> {
        self.pushes.pop_front()
    }

    /// The next request that is to be answered.
    pub(crate) fn poll_finished(&mut self) -> Option<Finished> {
        self.requests.poll_finished()
    }
}

// What outlives the process.
impl Desired {
    /// Begins with what an earlier process wished, as far as its time is not over, and above the
    /// revisions that it issued. No proxy has any of it, as far as is known.
    pub(crate) fn restore(&mut self, now: Now, restored: &Restored) {
        self.revision_last = restored.revision;
        for record in &restored.wishes {
            self.revision_last = self.revision_last.max(record.command.revision);
            let ends = restored.ends(record, now);
            if ends.instant <= now.instant || WISHES_MAX <= self.wishes.len() {
                continue;
            }
            let wish = Wish {
                command: record.command.clone(),
                issued: Now { unix_ms: record.issued_unix_ms, ..now },
                ends,
                progress: BTreeMap::new(),
                caution: String::new(),
                reissues: 0,
            };
            self.wishes.insert(record.edge.clone(), wish);
        }
    }

    /// The highest revision that was issued, or heard of.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision_last
    }

    /// All wishes are to be written once more.
    pub(crate) fn change_all(&mut self) {
        self.changed.extend(self.wishes.keys().cloned());
    }

    /// What changed since the last call.
    pub(crate) fn take_changed(&mut self) -> Vec<Record> {
        let changed = std::mem::take(&mut self.changed);
        let record = |edge: Edge| match self.wishes.get(&edge) {
            Some(wish) => Record::Wish(WishRecord {
                edge,
                command: wish.command.clone(),
                issued_unix_ms: wish.issued.unix_ms,
                ends_unix_ms: wish.ends.unix_ms,
            }),
            None => Record::Unwished(edge),
        };
        changed.into_iter().map(record).collect()
    }
}
