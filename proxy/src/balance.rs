//! Which endpoint gets the next attempt.
//!
//! One [`Balance`] has the members of one destination (a host, a subset of it, a port). It knows of
//! each how many attempts are out, how long answers took lately and how often they failed, and it
//! is told which ones are ejected.
//!
//! The default is the less loaded of two chosen at random, which is as good as asking all of them
//! and keeps proxies from running to the same one. *Load* is the attempts out, times the latency
//! (peak EWMA: it follows a rise at once and a fall slowly), times a penalty for failures: an
//! endpoint that fails at once is quick and idle, and would else draw all traffic to itself. Where
//! the latency of one of the two is not known, attempts and penalty decide alone.
//!
//! Where members have weights that differ, each of the two is chosen as often as its weight says (and
//! so may be the same one), what is out on a member counts by its weight, and latency is nothing: any
//! small difference in it would undo the weights. Idle, and under a load that follows the weights, the
//! two look alike, and shares are those of the weights; a member with more out than it is meant to
//! carry, as one that is slow has, gets less. (As in Envoy, which divides the weight by the attempts
//! out, and goes round by turns.)
//!
//! Ejected endpoints get nothing, unless so few are left that they would be overrun: below the
//! panic threshold ejections are ignored, as in Envoy. A retry avoids the endpoints that its request
//! tried before, where there are others: Envoy's `previous_hosts`, whose bounded number of draws is
//! exact here.
//!
//! Pure: chance enters as points, 0…1.

mod estimate;
mod shares;

use crate::breaker::Outcome;
use estimate::Estimate;
use fusebox_proto::policy::Balancer;
use shares::Shares;
use std::time::{Duration, Instant};

/// An endpoint of this process. The shell gives each a number of its own when it first sees it, and
/// never gives it to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u64);

/// Members of one destination and their load.
#[derive(Debug)]
pub struct Balance {
    by: Balancer,
    /// With less than this share of members left, ejections are ignored. 0: never.
    panic_percent: u8,
    /// In order of their ids.
    members: Vec<Member>,
    /// Places in `members` of those that may be chosen.
    usable: Vec<usize>,
    /// Of these; `None`: they share alike.
    shares: Option<Shares>,
    /// Of round robin.
    turn: usize,
}

#[derive(Debug)]
struct Member {
    id: EndpointId,
    /// Its part of the attempts, beside those of the others. At least 1.
    weight: u32,
    /// What an attempt that is out on it counts: less on a member of more weight; 1 on the average.
    load_each: f64,
    /// Turns that it is owed, as multiples of the sum of weights.
    credit: i64,
    is_ejected: bool,
    in_flight: u32,
    estimate: Estimate,
}

/// Why there is nobody to send an attempt to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoEndpoint {
    /// There are no members.
    Empty,
    /// All are ejected, and there is no panic threshold.
    AllEjected,
}

/// A member as an admin page shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemberStatus {
    /// Which one.
    pub id: EndpointId,
    /// Whether it is ejected.
    pub is_ejected: bool,
    /// Attempts out.
    pub in_flight: u32,
    /// Latency as it counts for the balance. `None`: no answer yet.
    pub latency: Option<Duration>,
    /// Share of failures as it counts for the balance, 0…1.
    pub failing: f64,
}

impl Balance {
    /// No members yet.
    pub const fn new(by: Balancer, panic_percent: u8) -> Self {
        Self { by, panic_percent, members: Vec::new(), usable: Vec::new(), shares: None, turn: 0 }
    }

    /// Follows a change of policy.
    pub fn set_policy(&mut self, by: Balancer, panic_percent: u8) {
        (self.by, self.panic_percent) = (by, panic_percent);
        self.find_usable();
    }

    /// Follows a change of the endpoints. Those that stay keep what is known of them. `turn` is
    /// any number: where round robin begins, so that not all proxies begin at the same one.
    pub fn set_members(&mut self, now: Instant, ids: &[EndpointId], turn: usize) {
        let mut known = std::mem::take(&mut self.members);
        self.members = ids
            .iter()
            .map(|&id| match known.iter().position(|member| member.id == id) {
                Some(at) => known.swap_remove(at),
                None => Member::new(now, id),
            })
            .collect();
        self.members.sort_by_key(|member| member.id);
        self.members.dedup_by_key(|member| member.id);
        self.turn = turn;
        self.weigh();
    }

    /// Follows a change of weights, which are 1 until they are told. Those of others stay.
    pub fn set_weights(&mut self, weights: &[(EndpointId, u32)]) {
        for &(id, weight) in weights {
            if let Some(at) = self.find(id) {
                self.members[at].weight = weight.max(1);
            }
        }
        self.weigh();
    }

    /// Follows an ejection, or its end.
    pub fn set_ejected(&mut self, id: EndpointId, is_ejected: bool) {
        if let Some(at) = self.find(id) {
            self.members[at].is_ejected = is_ejected;
            self.find_usable();
        }
    }

    /// Chooses a member for an attempt, and counts the attempt until it is
    /// [`released`](Self::released). Those in `tried` are avoided where there are others.
    ///
    /// # Errors
    /// Nobody may be chosen.
    pub fn pick(
        &mut self,
        now: Instant,
        tried: &[EndpointId],
        points: [f64; 2],
    ) -> Result<EndpointId, NoEndpoint> {
        let untried = self.untried(tried);
        let of_untried = untried.as_deref().and_then(|among| self.shares(among));
        let (among, shares) = match &untried {
            Some(among) => (&among[..], of_untried.as_ref()),
            None => (&self.usable[..], self.shares.as_ref()),
        };
        if among.is_empty() {
            let is_empty = self.members.is_empty();
            return Err(if is_empty { NoEndpoint::Empty } else { NoEndpoint::AllEjected });
        }
        let at = match (self.by, shares) {
            (Balancer::LeastRequest, None) => self.less_loaded(now, among, points),
            (Balancer::LeastRequest, Some(shares)) => {
                let [one, other] = points.map(|point| among[shares.at(point)]);
                let busy = |at: usize| self.members[at].busy(now);
                if busy(other) < busy(one) { other } else { one }
            }
            (Balancer::Random, None) => among[index(points[0], among.len())],
            (Balancer::Random, Some(shares)) => among[shares.at(points[0])],
            (Balancer::RoundRobin, None) => among[self.turn % among.len()],
            (Balancer::RoundRobin, Some(_)) => by_turns(&mut self.members, among),
        };
        self.turn = self.turn.wrapping_add(1);
        let member = &mut self.members[at];
        member.in_flight += 1;
        Ok(member.id)
    }

    /// Learns what came of an attempt. `latency` is to the head of the answer, or to whatever came
    /// instead of one.
    pub fn observed(&mut self, now: Instant, id: EndpointId, outcome: Outcome, latency: Duration) {
        if let Some(at) = self.find(id) {
            let estimate = &mut self.members[at].estimate;
            match outcome {
                Outcome::Success => estimate.succeeded(now, latency),
                Outcome::Failure => estimate.failed(now, latency),
                Outcome::Cancelled => estimate.given_up(now, latency),
            }
        }
    }

    /// An attempt is over, which [`pick`](Self::pick) chose `id` for: exactly once for each.
    pub fn released(&mut self, id: EndpointId) {
        if let Some(at) = self.find(id) {
            let member = &mut self.members[at];
            // A member that left and came back does not know of attempts from before.
            member.in_flight = member.in_flight.saturating_sub(1);
        }
    }

    /// Whether so few members are left that ejections are ignored.
    pub fn is_panicking(&self) -> bool {
        let left = self.members.iter().filter(|member| !member.is_ejected).count();
        is_panicking(left, self.members.len(), self.panic_percent)
    }

    /// All members, in order of their ids.
    pub fn status(&self, now: Instant) -> impl Iterator<Item = MemberStatus> {
        self.members.iter().map(move |member| MemberStatus {
            id: member.id,
            is_ejected: member.is_ejected,
            in_flight: member.in_flight,
            latency: member.estimate.latency_us(now).map(|us| Duration::from_secs_f64(us / 1e6)),
            failing: member.estimate.failing(now),
        })
    }

    /// `None`: nothing is to be avoided, or there is nothing else.
    fn untried(&self, tried: &[EndpointId]) -> Option<Vec<usize>> {
        if tried.is_empty() {
            return None;
        }
        let usable = self.usable.iter().copied();
        let untried: Vec<_> = usable.filter(|&at| !tried.contains(&self.members[at].id)).collect();
        (!untried.is_empty()).then_some(untried)
    }

    fn less_loaded(&self, now: Instant, among: &[usize], points: [f64; 2]) -> usize {
        let [only] = among else {
            let one = index(points[0], among.len());
            let step = 1 + index(points[1], among.len() - 1);
            let (one, other) = (among[one], among[(one + step) % among.len()]);
            let is_less = self.members[other].is_less_loaded(&self.members[one], now);
            return if is_less { other } else { one };
        };
        *only
    }

    fn shares(&self, among: &[usize]) -> Option<Shares> {
        Shares::new(among.iter().map(|&at| self.members[at].weight))
    }

    /// Members or weights are others.
    fn weigh(&mut self) {
        let sum: u64 = self.members.iter().map(|member| u64::from(member.weight)).sum();
        let average = sum as f64 / self.members.len().max(1) as f64;
        for member in &mut self.members {
            (member.load_each, member.credit) = (average / f64::from(member.weight), 0);
        }
        self.find_usable();
    }

    fn find(&self, id: EndpointId) -> Option<usize> {
        self.members.binary_search_by_key(&id, |member| member.id).ok()
    }

    fn find_usable(&mut self) {
        let ignores_ejections = self.is_panicking();
        let usable = self.members.iter().enumerate();
        let usable = usable.filter(|(_, member)| ignores_ejections || !member.is_ejected);
        self.usable = usable.map(|(at, _)| at).collect();
        self.shares = self.shares(&self.usable);
    }
}

impl Member {
    const fn new(now: Instant, id: EndpointId) -> Self {
        let estimate = Estimate::new(now);
        let (weight, load_each) = (1, 1.0);
        Self { id, weight, load_each, credit: 0, is_ejected: false, in_flight: 0, estimate }
    }

    fn is_less_loaded(&self, other: &Self, now: Instant) -> bool {
        let latencies = (self.estimate.latency_us(now), other.estimate.latency_us(now));
        let (own, its) = match latencies {
            (Some(own), Some(its)) => (own, its),
            _ => (1.0, 1.0),
        };
        self.busy(now) * own < other.busy(now) * its
    }

    /// Its load, as far as that does not depend on how long it takes.
    fn busy(&self, now: Instant) -> f64 {
        (f64::from(self.in_flight) * self.load_each + 1.0) * self.estimate.penalty(now)
    }
}

/// The next one by turns, in which each comes as often as its weight says and as evenly as can be:
/// nginx' smooth weighted round robin.
fn by_turns(members: &mut [Member], among: &[usize]) -> usize {
    let (mut sum, mut next) = (0, among[0]);
    for &at in among {
        let weight = i64::from(members[at].weight);
        members[at].credit += weight;
        sum += weight;
        if members[next].credit < members[at].credit {
            next = at;
        }
    }
    members[next].credit -= sum;
    next
}

/// Whether fewer than `panic_percent` of `all` are `left`, as Envoy counts it.
pub const fn is_panicking(left: usize, all: usize, panic_percent: u8) -> bool {
    100 * left < panic_percent as usize * all
}

/// The place that `point`, 0…1, falls on among `len`.
fn index(point: f64, len: usize) -> usize {
    // The cast saturates: NaN and what lies below 0 count as 0.
    ((point * len as f64) as usize).min(len - 1)
}

#[cfg(test)]
mod tests;
