//! Looks a name up, wherever it is known.

use super::exchange::exchange;
use super::machine::{Files, Machine};
use super::message::{Ask, Kind, Records, Service};
use super::{Answer, Failure, Found, Source, Tally, Wanted, is_name, schedule, services};
use crate::config::ENDPOINTS_MAX;
use fusebox_proto::Now;
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long one name may take, with everything that is asked for it.
const LOOK_UP_MAX: Duration = Duration::from_secs(20);
/// How long the system's resolver may take.
const SYSTEM_PATIENCE: Duration = Duration::from_secs(5);
/// What has no TTL is looked up again after this time; files are read again.
const NO_TTL: Duration = Duration::from_secs(5);
/// Targets of one name that are asked for at once.
const TARGETS_AT_ONCE: usize = 8;

/// The name servers, and what the machine knows itself.
#[derive(Debug)]
pub(crate) struct Resolver {
    servers: Vec<SocketAddr>,
    files: Files,
    /// The server that answered last is asked first: one that is dead costs its patience once.
    answered_by: AtomicUsize,
    /// As of then.
    machine: Mutex<Option<(Instant, Arc<Machine>)>>,
}

impl Resolver {
    /// Asks `servers`; none: those of `/etc/resolv.conf`, and beyond them the system.
    pub(crate) fn new(servers: Vec<SocketAddr>) -> Self {
        let answered_by = AtomicUsize::new(0);
        Self { servers, files: Files::default(), answered_by, machine: Mutex::default() }
    }

    /// What `name` stands for, which is `NAME:PORT` or `srv:NAME`.
    pub(crate) async fn look_up(&self, name: &str, tally: &Tally) -> Result<Answer, Failure> {
        let look = async {
            match Wanted::of(name) {
                Some(Wanted::Host(host, port)) => self.host(host, port, tally).await,
                Some(Wanted::Service(service)) => self.service(service, tally).await,
                None => Err(Failure::NoName),
            }
        };
        let answer = timeout(LOOK_UP_MAX, look).await;
        let mut answer = answer.unwrap_or(Err(Failure::TooLate(LOOK_UP_MAX)));
        let counter = if answer.is_ok() { &tally.answered } else { &tally.failed };
        counter.fetch_add(1, Relaxed);
        if let Ok(answer) = &mut answer {
            let beyond = answer.found.len().saturating_sub(ENDPOINTS_MAX);
            answer.found.truncate(ENDPOINTS_MAX);
            tally.addresses_dropped.fetch_add(beyond as u64, Relaxed);
        }
        answer
    }

    async fn host(&self, host: &str, port: u16, tally: &Tally) -> Result<Answer, Failure> {
        if let Ok(ip) = host.parse() {
            return Ok(answer(&[ip], port, schedule::WAIT_MAX, Source::Literal));
        }
        let machine = self.machine().await;
        let listed = machine.listed(host);
        if !listed.is_empty() {
            return Ok(answer(&listed, port, NO_TTL, Source::Hosts));
        }
        // RFC 6761: of localhost no name server is asked.
        let is_local = ends_with_label(host, "localhost");
        let asking = Asking { machine: &machine, answered_by: &self.answered_by, tally };
        let mut failure = Failure::NoSuchName;
        for candidate in machine.candidates(host).iter().filter(|_| !is_local) {
            match asking.addresses(candidate).await {
                Ok((found, ttl)) => return Ok(answer(&found, port, ttl, Source::Dns)),
                Err(Failure::NoSuchName) => (),
                Err(why @ (Failure::NoAddresses | Failure::NoServers)) => failure = why,
                // A server that cannot tell now is no reason to take another name's addresses.
                Err(why) => return Err(why),
            }
        }
        if is_local || machine.is_system_asked {
            return system(host, port).await;
        }
        Err(failure)
    }

    async fn service(&self, name: &str, tally: &Tally) -> Result<Answer, Failure> {
        let machine = self.machine().await;
        let asking = Asking { machine: &machine, answered_by: &self.answered_by, tally };
        let mut failure = Failure::NoSuchName;
        for candidate in machine.candidates(name) {
            match asking.query(&candidate, Kind::Srv).await {
                Ok(records) if records.services.is_empty() => failure = Failure::NoAddresses,
                Ok(records) => return asking.targets(records).await,
                Err(Failure::NoSuchName) => (),
                Err(why) => return Err(why),
            }
        }
        Err(failure)
    }

    async fn machine(&self) -> Arc<Machine> {
        let now = Now::read().instant;
        let mut known = self.machine.lock().await;
        if let Some((at, machine)) = &*known
            && now.saturating_duration_since(*at) < NO_TTL
        {
            return Arc::clone(machine);
        }
        let machine = Arc::new(Machine::read(&self.files, &self.servers).await);
        *known = Some((now, Arc::clone(&machine)));
        machine
    }
}

/// One look-up.
#[derive(Clone, Copy)]
struct Asking<'a> {
    machine: &'a Machine,
    answered_by: &'a AtomicUsize,
    tally: &'a Tally,
}

impl Asking<'_> {
    /// Asks one server after the other, and again.
    async fn query(&self, name: &str, kind: Kind) -> Result<Records, Failure> {
        let machine = self.machine;
        if !is_name(name) {
            return Err(Failure::NoName);
        }
        let mut failure = Failure::NoServers;
        for _ in 0..machine.attempts() {
            let first = self.answered_by.load(Relaxed) % machine.servers.len().max(1);
            let order = (first..machine.servers.len()).chain(0..first);
            for (at, server) in order.map(|at| (at, machine.servers[at])) {
                let ask = Ask { id: rand::random(), name, kind };
                let (patience, is_tcp_only) = (machine.timeout(), machine.is_tcp_only());
                match exchange(server, &ask, patience, is_tcp_only, self.tally).await {
                    Err(why) if why != Failure::NoSuchName => failure = why,
                    told => {
                        self.answered_by.store(at, Relaxed);
                        return told;
                    }
                }
            }
        }
        Err(failure)
    }

    /// Addresses of both kinds. One kind is enough where the other cannot be told.
    async fn addresses(&self, name: &str) -> Result<(Vec<IpAddr>, Duration), Failure> {
        let ipv6 = async {
            if self.machine.wants_ipv6() {
                self.query(name, Kind::Aaaa).await
            } else {
                Ok(Records { ttl_s: u32::MAX, ..Records::default() })
            }
        };
        let (ipv4, ipv6) = self.both(self.query(name, Kind::A), ipv6).await;
        let (mut found, mut ttl_s) = (Vec::new(), u32::MAX);
        for records in [&ipv4, &ipv6].into_iter().flatten() {
            if !records.addresses.is_empty() {
                found.extend(&records.addresses);
                ttl_s = ttl_s.min(records.ttl_s);
            }
        }
        if !found.is_empty() {
            return Ok((found, seconds(ttl_s)));
        }
        match (ipv4, ipv6) {
            (Ok(_), Ok(_)) => Err(Failure::NoAddresses),
            (Err(Failure::NoSuchName) | Ok(_), Err(why)) | (Err(why), _) => Err(why),
        }
    }

    /// Both answers. Once one has addresses, the other has no more time than one server gets: some drop
    /// questions of a kind that they do not know.
    async fn both(
        &self,
        ipv4: impl Future<Output = Result<Records, Failure>>,
        ipv6: impl Future<Output = Result<Records, Failure>>,
    ) -> (Result<Records, Failure>, Result<Records, Failure>) {
        let (ipv4, ipv6) = (pin!(ipv4), pin!(ipv6));
        match select(ipv4, ipv6).await {
            Either::Left((first, rest)) => {
                let second = self.no_longer(&first, rest).await;
                (first, second)
            }
            Either::Right((first, rest)) => {
                let second = self.no_longer(&first, rest).await;
                (second, first)
            }
        }
    }

    async fn no_longer(
        &self,
        first: &Result<Records, Failure>,
        rest: impl Future<Output = Result<Records, Failure>>,
    ) -> Result<Records, Failure> {
        if first.as_ref().is_ok_and(|records| !records.addresses.is_empty()) {
            let patience = self.machine.timeout();
            return timeout(patience, rest).await.unwrap_or(Err(Failure::TooLate(patience)));
        }
        rest.await
    }

    /// The servers of the best priority that resolves.
    async fn targets(&self, records: Records) -> Result<Answer, Failure> {
        let ttl = seconds(records.ttl_s);
        let Some((groups, dropped)) = services::by_priority(records.services) else {
            return Ok(Answer { found: Vec::new(), ttl, source: Source::Dns });
        };
        self.tally.targets_dropped.fetch_add(dropped as u64, Relaxed);
        let mut failure = Failure::NoAddresses;
        for group in groups {
            let asking = *self;
            let targets = stream::iter(group).map(|service| async move {
                let found = asking.target(&service).await;
                (service, found)
            });
            let targets: Vec<_> = targets.buffer_unordered(TARGETS_AT_ONCE).collect().await;
            let (mut known, mut ttl) = (Vec::new(), ttl);
            for (service, found) in targets {
                match found {
                    Ok((addresses, holds)) => {
                        ttl = ttl.min(holds);
                        known.push((service.weight, service.port, addresses));
                    }
                    Err(why) => failure = why,
                }
            }
            if !known.is_empty() {
                return Ok(Answer { found: services::weighed(&known), ttl, source: Source::Dns });
            }
        }
        Err(failure)
    }

    async fn target(&self, service: &Service) -> Result<(Vec<IpAddr>, Duration), Failure> {
        match &service.known {
            Some((addresses, ttl_s)) => Ok((addresses.clone(), seconds(*ttl_s))),
            None => self.addresses(service.target.trim_end_matches('.')).await,
        }
    }
}

async fn system(host: &str, port: u16) -> Result<Answer, Failure> {
    let looked = timeout(SYSTEM_PATIENCE, tokio::net::lookup_host((host, port))).await;
    let found = looked.map_err(|_| Failure::TooLate(SYSTEM_PATIENCE))?;
    let found: Vec<_> = found
        .map_err(|error| Failure::System(error.to_string()))?
        .map(|address| address.ip())
        .collect();
    if found.is_empty() {
        return Err(Failure::NoAddresses);
    }
    Ok(answer(&found, port, NO_TTL, Source::System))
}

fn answer(found: &[IpAddr], port: u16, ttl: Duration, source: Source) -> Answer {
    let at = |ip: &IpAddr| Found { address: SocketAddr::new(*ip, port), weight: 1 };
    let mut found: Vec<_> = found.iter().map(at).collect();
    found.sort_unstable();
    found.dedup();
    Answer { found, ttl, source }
}

fn seconds(ttl_s: u32) -> Duration {
    Duration::from_secs(ttl_s.into())
}

fn ends_with_label(name: &str, label: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(label))
}

#[cfg(test)]
mod tests;
