//! A name server that tests script: records as in a zone file, and misbehaviour by name.

use simple_dns::rdata::{A, AAAA, CNAME, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// What is wrong with the answers about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// There are none.
    Silent,
    /// This code.
    Code(RCODE),
    /// Datagrams hold nothing, and say that there is more.
    Truncated,
    /// Before the right one come some with another id, another question, and as a question; all with
    /// another address.
    Lied,
    /// The right id, and then noise.
    Noise,
    /// A header that counts more than there is.
    Overcounted,
}

/// It runs until it is dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// Questions, as they came.
    asked: Arc<Mutex<Vec<String>>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Script {
    records: Vec<ResourceRecord<'static>>,
    manners: BTreeMap<String, Manner>,
    has_additional: bool,
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl NameServer {
    /// With these records, a line each: `NAME TTL TYPE DATA...`, of type `A`, `AAAA`, `CNAME` or `SRV`.
    pub(crate) async fn start(zone: &str) -> Self {
        let (datagrams, streams) = loop {
            let datagrams = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The other kind of the port may be taken.
            if let Ok(streams) = TcpListener::bind(datagrams.local_addr().unwrap()).await {
                break (datagrams, streams);
            }
        };
        let address = datagrams.local_addr().unwrap();
        let (script, asked) = (Arc::<Mutex<Script>>::default(), Arc::default());
        let (own, tell) = (Arc::clone(&script), Arc::clone(&asked));
        let by_datagram = tokio::spawn(async move {
            let mut bytes = [0; 512];
            loop {
                let (len, from) = datagrams.recv_from(&mut bytes).await.unwrap();
                for answer in answers(&own, &bytes[..len], false, &tell) {
                    datagrams.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let (own, tell) = (Arc::clone(&script), Arc::clone(&asked));
        let by_stream = tokio::spawn(async move {
            loop {
                let (mut stream, _) = streams.accept().await.unwrap();
                let Ok(len) = stream.read_u16().await else { continue };
                let mut bytes = vec![0; len.into()];
                stream.read_exact(&mut bytes).await.unwrap();
                for answer in answers(&own, &bytes, true, &tell) {
                    stream.write_u16(answer.len() as u16).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        let server = Self { address, script, asked, tasks: [by_datagram, by_stream] };
        server.zone(zone);
        server
    }

    /// From now on with these records.
    pub(crate) fn zone(&self, zone: &str) {
        let lines = zone.lines().map(str::trim).filter(|line| !line.is_empty());
        self.script.lock().unwrap().records = lines.map(record).collect();
    }

    /// From now on it is like that about `name`.
    pub(crate) fn behave(&self, name: &str, manner: Option<Manner>) {
        let manners = &mut self.script.lock().unwrap().manners;
        manners.remove(name);
        manners.extend(manner.map(|manner| (name.to_owned(), manner)));
    }

    /// Addresses of the targets of services are told with them.
    pub(crate) fn tell_additional(&self) {
        self.script.lock().unwrap().has_additional = true;
    }

    /// Questions until now, `NAME TYPE` each, those by TCP with `TCP`.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn record(line: &str) -> ResourceRecord<'static> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let name = |text: &str| Name::new(text).unwrap().into_owned();
    let data = match words[2..] {
        ["A", ip] => RData::A(A::from(ip.parse::<Ipv4Addr>().unwrap())),
        ["AAAA", ip] => RData::AAAA(AAAA::from(ip.parse::<Ipv6Addr>().unwrap())),
        ["CNAME", other] => RData::CNAME(CNAME(name(other))),
        ["SRV", priority, weight, port, target] => RData::SRV(SRV {
            priority: priority.parse().unwrap(),
            weight: weight.parse().unwrap(),
            port: port.parse().unwrap(),
            target: name(target),
        }),
        _ => panic!("{line}"),
    };
    ResourceRecord::new(name(words[0]), CLASS::IN, words[1].parse().unwrap(), data)
}

fn answers(
    script: &Mutex<Script>,
    bytes: &[u8],
    is_tcp: bool,
    tell: &Mutex<Vec<String>>,
) -> Vec<Vec<u8>> {
    let query = Packet::parse(bytes).unwrap();
    let question = &query.questions[0];
    let (name, QTYPE::TYPE(kind)) = (question.qname.to_string(), question.qtype) else {
        panic!("{question:?}")
    };
    let way = if is_tcp { " TCP" } else { "" };
    tell.lock().unwrap().push(format!("{name} {kind:?}{way}"));
    let script = script.lock().unwrap();
    let right = script.answer(&query, kind);
    let message = |packet: &Packet<'_>| packet.build_bytes_vec_compressed().unwrap();
    let empty = |flags: PacketFlag, code: RCODE| {
        let mut packet = query.clone().into_reply();
        packet.set_flags(flags);
        *packet.rcode_mut() = code;
        message(&packet)
    };
    match script.manners.get(&name) {
        None => vec![message(&right)],
        Some(Manner::Silent) => Vec::new(),
        Some(Manner::Code(code)) => vec![empty(PacketFlag::empty(), *code)],
        Some(Manner::Truncated) if is_tcp => vec![message(&right)],
        Some(Manner::Truncated) => vec![empty(PacketFlag::TRUNCATION, RCODE::NoError)],
        Some(Manner::Lied) => {
            let mut lie = right.clone();
            let forged = record(&format!("{name} 60 A 127.66.66.66"));
            lie.answers = vec![forged];
            let mut other_id = lie.clone();
            other_id.set_id(query.id().wrapping_add(1));
            let mut other_question = lie.clone();
            other_question.questions[0].qname = Name::new("other.example").unwrap();
            let mut no_answer = lie;
            no_answer.remove_flags(PacketFlag::RESPONSE);
            [other_id, other_question, no_answer, right].iter().map(message).collect()
        }
        Some(Manner::Noise) => {
            let header = [&bytes[..2], &[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]].concat();
            vec![[&header[..], &[0xff; 64]].concat()]
        }
        Some(Manner::Overcounted) => {
            vec![[&bytes[..2], &[0x81, 0x80], &[0xff; 8]].concat()]
        }
    }
}

impl Script {
    fn answer<'a>(&'a self, query: &Packet<'a>, kind: TYPE) -> Packet<'a> {
        let mut packet = query.clone().into_reply();
        let mut owner = query.questions[0].qname.clone();
        let mut is_known = false;
        // Also a chain without an end has one here.
        for _ in 0..20 {
            let own: Vec<_> = self.records.iter().filter(|record| record.name == owner).collect();
            is_known |= !own.is_empty();
            let of = |kind| own.iter().copied().filter(move |one| one.rdata.type_code() == kind);
            packet.answers.extend(of(kind).cloned());
            let Some(alias) = of(TYPE::CNAME).next() else { break };
            packet.answers.push(alias.clone());
            let RData::CNAME(CNAME(next)) = &alias.rdata else { break };
            owner = next.clone();
        }
        if !is_known {
            *packet.rcode_mut() = RCODE::NameError;
        }
        for service in packet.answers.clone() {
            if let RData::SRV(service) = service.rdata
                && self.has_additional
            {
                let own = self.records.iter().filter(|record| record.name == service.target);
                packet.additional_records.extend(own.cloned());
            }
        }
        packet
    }
}
