//! Messages of DNS: a question out, an answer in, and what in it counts.

use super::Failure;
use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord, TYPE};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names that lead to others, one after the other; servers hold no longer chains.
const ALIASES_MAX: usize = 8;
/// A header, and the least that a question and a record take.
const HEADER_LEN: usize = 12;
const QUESTION_LEN_MIN: usize = 5;
const RECORD_LEN_MIN: usize = 11;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services.
    Srv,
}

impl Kind {
    const fn wire(self) -> TYPE {
        match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Srv => TYPE::SRV,
        }
    }
}

/// What is asked: a name, from the root on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    /// Chosen by chance, against forged answers.
    pub(super) id: u16,
    /// Without escapes: it [is a name](super::is_name).
    pub(super) name: &'a str,
    /// What of it.
    pub(super) kind: Kind,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Not the answer to what was asked.
    Foreign,
    /// There is more of it than fits into a datagram.
    Truncated,
    /// Ours, and wrong.
    Malformed,
    /// The name does not exist.
    NoSuchName,
    /// The server cannot tell, by this code.
    Refused(&'static str),
    /// What there is, which may be nothing.
    Records(Records),
}

/// What there is of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Records {
    /// If addresses were asked for.
    pub(super) addresses: Vec<IpAddr>,
    /// If services were asked for.
    pub(super) services: Vec<Service>,
    /// The smallest TTL of all that was used, s.
    pub(super) ttl_s: u32,
}

/// One `SRV` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// The lowest is the best.
    pub(super) priority: u16,
    /// Of the traffic of its priority.
    pub(super) weight: u16,
    /// Where it listens.
    pub(super) port: u16,
    /// On which host; `.`: nowhere.
    pub(super) target: String,
    /// What else the message says of that host, and the smallest TTL of it.
    pub(super) known: Option<(Vec<IpAddr>, u32)>,
}

impl Ask<'_> {
    /// As it is sent.
    pub(super) fn message(&self) -> Result<Vec<u8>, Failure> {
        let name = Name::new(self.name).map_err(|_| Failure::NoName)?;
        let mut packet = Packet::new_query(self.id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let question = Question::new(name, self.kind.wire().into(), CLASS::IN.into(), false);
        packet.questions.push(question);
        packet.build_bytes_vec().map_err(|_| Failure::NoName)
    }

    /// What `bytes` are.
    pub(super) fn read(&self, bytes: &[u8]) -> Reply {
        let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Reply::Foreign };
        let is_response = header[2] & 0x80 != 0;
        if header[..2] != self.id.to_be_bytes() || !is_response {
            return Reply::Foreign;
        }
        // Of a message that is cut off, nothing else is certain.
        if header[2] & 0x02 != 0 {
            return Reply::Truncated;
        }
        if !has_room_for_what_it_counts(header, bytes.len()) {
            return Reply::Malformed;
        }
        let Ok(packet) = Packet::parse(bytes) else { return Reply::Malformed };
        let is_failure = !matches!(packet.rcode(), RCODE::NoError | RCODE::NameError);
        match &*packet.questions {
            [question] if self.is_meant(question) => (),
            // Who does not understand a question need not repeat it.
            [] if is_failure => (),
            _ => return Reply::Foreign,
        }
        match packet.rcode() {
            RCODE::NoError => Reply::Records(self.records(&packet)),
            RCODE::NameError => Reply::NoSuchName,
            RCODE::ServerFailure => Reply::Refused("SERVFAIL"),
            RCODE::Refused => Reply::Refused("REFUSED"),
            RCODE::FormatError => Reply::Refused("FORMERR"),
            RCODE::NotImplemented => Reply::Refused("NOTIMP"),
            _ => Reply::Refused("an error"),
        }
    }

    fn is_meant(&self, question: &Question<'_>) -> bool {
        let is_name = Name::new(self.name).is_ok_and(|name| name == question.qname);
        is_name && question.qtype == self.kind.wire().into()
    }

    fn records(&self, packet: &Packet<'_>) -> Records {
        let mut records = Records { ttl_s: u32::MAX, ..Records::default() };
        let Ok(mut owner) = Name::new(self.name) else { return records };
        for _ in 0..ALIASES_MAX {
            let alias = of(&packet.answers, &owner).find_map(|record| match &record.rdata {
                RData::CNAME(alias) => Some((record, alias.0.clone())),
                _ => None,
            });
            let Some((record, alias)) = alias else { break };
            records.ttl_s = records.ttl_s.min(ttl_s(record));
            owner = alias;
        }
        for record in of(&packet.answers, &owner).filter(|record| self.is_wanted(record)) {
            records.ttl_s = records.ttl_s.min(ttl_s(record));
            match &record.rdata {
                RData::SRV(service) => records.services.push(Service {
                    priority: service.priority,
                    weight: service.weight,
                    port: service.port,
                    target: host(&service.target),
                    known: beside(packet, &service.target),
                }),
                data => records.addresses.extend(address(data)),
            }
        }
        records
    }

    fn is_wanted(&self, record: &ResourceRecord<'_>) -> bool {
        record.rdata.type_code() == self.kind.wire()
    }
}

/// Counters of a header are believed before the message is read: memory is set aside by them.
fn has_room_for_what_it_counts(header: &[u8; HEADER_LEN], len: usize) -> bool {
    let count = |at: usize| usize::from(u16::from_be_bytes([header[at], header[at + 1]]));
    let records = count(6) + count(8) + count(10);
    HEADER_LEN + count(4) * QUESTION_LEN_MIN + records * RECORD_LEN_MIN <= len
}

fn of<'a, 'p>(
    records: &'a [ResourceRecord<'p>],
    owner: &'a Name<'p>,
) -> impl Iterator<Item = &'a ResourceRecord<'p>> {
    records.iter().filter(move |record| record.class == CLASS::IN && record.name == *owner)
}

/// Addresses of `target` among the additional records.
fn beside(packet: &Packet<'_>, target: &Name<'_>) -> Option<(Vec<IpAddr>, u32)> {
    let records = packet.additional_records.iter();
    let own = records.filter(|record| record.class == CLASS::IN && record.name == *target);
    let known: Vec<_> =
        own.filter_map(|record| Some((address(&record.rdata)?, ttl_s(record)))).collect();
    let ttl_s = known.iter().map(|(_, ttl_s)| *ttl_s).min()?;
    Some((known.into_iter().map(|(address, _)| address).collect(), ttl_s))
}

fn address(data: &RData<'_>) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(Ipv4Addr::from(a.address).into()),
        RData::AAAA(aaaa) => Some(Ipv6Addr::from(aaaa.address).into()),
        _ => None,
    }
}

/// `.` for the root.
fn host(name: &Name<'_>) -> String {
    if name.get_labels().is_empty() { ".".to_owned() } else { name.to_string() }
}

/// A TTL with its highest bit set is 0 (RFC 2181 §8).
fn ttl_s(record: &ResourceRecord<'_>) -> u32 {
    if i32::try_from(record.ttl).is_ok() { record.ttl } else { 0 }
}

#[cfg(test)]
mod tests;
