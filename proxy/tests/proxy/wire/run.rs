//! The corpus through a proxy, and the verdict on each case.

use super::case::{Case, Verdict, mark, numbered};
use super::corpus;
use super::frames::{self, Frame};
use super::origin::{Origin, Seen};
use super::strict::Message;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Cases under way at once.
const CONCURRENCY: usize = 48;
/// A proxy that still waits for more after this long is told that there is none. Too short would
/// only end a case early that cannot be served anyway.
const QUIET: Duration = Duration::from_millis(150);
/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was wrong, case by case.
#[derive(Debug)]
pub(crate) struct Report {
    cases: Vec<Case>,
    /// Numbers of cases; one past the last for what cannot be told whose it is.
    pub(crate) faults: Vec<(usize, String)>,
}

/// Where a proxy listens, which need not be one place for both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doors {
    pub(crate) http1: SocketAddr,
    pub(crate) http2: SocketAddr,
}

impl From<SocketAddr> for Doors {
    fn from(both: SocketAddr) -> Self {
        Self { http1: both, http2: both }
    }
}

/// What a client got.
struct Got {
    bytes: Vec<u8>,
    /// The connection ended when the client had nothing more to say.
    has_ended: bool,
    /// The answer to the clean request on a connection of its own.
    clean: Vec<u8>,
}

impl Report {
    /// Sends all cases to `proxy`, and judges what reached `origin` behind it.
    pub(crate) async fn of(proxy: impl Into<Doors>, origin: &Origin) -> Self {
        let proxy = proxy.into();
        let cases = corpus::all();
        let got: Vec<(usize, Got)> = futures_util::stream::iter(cases.iter().enumerate())
            .map(async |(number, case)| (number, send(proxy, case, number).await))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let mut report = Self { cases, faults: Vec::new() };
        report.arrived(origin.take());
        for (number, got) in got {
            report.answered(number, &got);
        }
        report.faults.sort();
        report
    }

    /// All cases.
    pub(crate) fn cases(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter()
    }

    /// Cases with faults by class.
    pub(crate) fn by_class(&self) -> BTreeMap<&'static str, usize> {
        let mut classes: BTreeMap<_, _> = self.cases.iter().map(|case| (case.class, 0)).collect();
        let mut numbers: Vec<usize> = self.faults.iter().map(|(number, _)| *number).collect();
        numbers.dedup();
        for case in numbers.iter().filter_map(|&number| self.cases.get(number)) {
            *classes.entry(case.class).or_default() += 1;
        }
        classes
    }

    fn fault(&mut self, number: usize, what: impl Into<String>) {
        self.faults.push((number, what.into()));
    }

    fn arrived(&mut self, seen: Seen) {
        for (what, bytes) in seen.violations {
            let text = String::from_utf8_lossy(&bytes);
            let own = marks(&what).chain(marks(&text)).next();
            let number = own.and_then(|mark| mark[1..5].parse().ok());
            let start = text.find('/').unwrap_or(0).saturating_sub(8);
            let text: String = text.chars().skip(start).take(160).collect();
            self.fault(number.unwrap_or(self.cases.len()), format!("{what} arrived: {text:?}"));
        }
        let mut main = vec![0; self.cases.len()];
        let mut next = main.clone();
        for message in seen.messages {
            let target = &message.target;
            let number = target.get(1..5).and_then(|digits| digits.parse::<usize>().ok());
            let Some(number) = number.filter(|&number| number < self.cases.len()) else {
                // The one target without a mark.
                if target != "*" {
                    self.fault(self.cases.len(), format!("arrived: {message:?}"));
                }
                continue;
            };
            match target.get(6..10) {
                Some("main") => {
                    main[number] += 1;
                    self.compare(number, &message);
                }
                Some("next") => next[number] += 1,
                Some("clea") => (),
                _ => self.fault(number, format!("arrived: {message:?}")),
            }
        }
        for (number, (main, next)) in main.into_iter().zip(next).enumerate() {
            let case = &self.cases[number];
            let has_next = case.bytes.windows(11).any(|bytes| bytes == b"/0000/next ");
            let is_served = case.verdict == Verdict::Served;
            if 1 < main || 1 < next || (is_served && (main, next) != (1, has_next.into())) {
                self.fault(number, format!("arrived {main} times, the one behind it {next} times"));
            }
        }
    }

    /// A request in question that arrived, with what it may be.
    fn compare(&mut self, number: usize, message: &Message) {
        let case = &self.cases[number];
        let has = |name: &&&str| !message.all(name).is_empty();
        let lost = case.lost.iter().find(has).copied();
        let kept = case.kept.iter().find(|name| !has(name)).copied();
        let is_body = case.may_have(&message.body, number);
        if case.verdict == Verdict::Refused {
            self.fault(number, format!("arrived: {message:?}"));
        } else if !is_body {
            let body = String::from_utf8_lossy(&message.body).into_owned();
            self.fault(number, format!("arrived with the body {body:?}"));
        }
        if let Some(name) = lost {
            self.fault(number, format!("arrived with {name}"));
        }
        if let Some(name) = kept {
            self.fault(number, format!("arrived without {name}"));
        }
    }

    fn answered(&mut self, number: usize, got: &Got) {
        let text = String::from_utf8_lossy(&got.bytes).into_owned();
        let own = mark(number);
        for other in marks(&text) {
            let answer = other.strip_prefix(&*own);
            if !answer.is_some_and(|name| matches!(name, "main" | "next")) {
                self.fault(number, format!("answered with {other}"));
            }
        }
        if self.cases[number].verdict == Verdict::Served && !self.is_head(number) {
            let has_main = text.contains(&format!("{own}main"));
            if !has_main {
                self.fault(number, format!("not answered: {text:?}"));
            }
        }
        if !got.has_ended {
            self.fault(number, "the connection stays open for a client that has left");
        }
        let clean = String::from_utf8_lossy(&got.clean);
        if !clean.starts_with("HTTP/1.1 200") || !clean.ends_with(&format!("{own}clea")) {
            self.fault(number, format!("then a clean request was answered {clean:?}"));
        }
    }

    fn is_head(&self, number: usize) -> bool {
        self.cases[number].bytes.starts_with(b"HEAD")
    }
}

/// All `/0000/name` of a text.
fn marks(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('/').filter_map(|(at, _)| {
        let mark = text.get(at..at + 10)?;
        let is_mark = mark.as_bytes()[5] == b'/'
            && mark[1..5].bytes().all(|byte| byte.is_ascii_digit())
            && mark[6..].bytes().all(|byte| byte.is_ascii_lowercase());
        is_mark.then_some(mark)
    })
}

async fn send(proxy: Doors, case: &Case, number: usize) -> Got {
    let door = if case.is_http2 { proxy.http2 } else { proxy.http1 };
    let (bytes, has_ended) = exchange(door, case, &numbered(&case.bytes, number)).await;
    let mark = mark(number);
    let request = format!("GET {mark}clea HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(proxy.http1).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut clean = Vec::new();
    // What is not there by then is a fault of its own.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut clean)).await;
    Got { bytes, has_ended, clean }
}

/// Sends `bytes`, and reads until the other side closes or has nothing more to say. Says whether it
/// does at last.
async fn exchange(proxy: SocketAddr, case: &Case, bytes: &[u8]) -> (Vec<u8>, bool) {
    let stream = TcpStream::connect(proxy).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    let writing = async {
        // It may close before it has read all.
        let _ = timeout(PATIENCE, to.write_all(bytes)).await;
        to
    };
    let reading = async {
        let mut got = Vec::new();
        let patience = if case.verdict == Verdict::Served { PATIENCE } else { QUIET };
        loop {
            match timeout(patience, from.read_buf(&mut got)).await {
                Ok(Ok(0) | Err(_)) => return (got, true),
                Ok(Ok(_)) if case.is_http2 && is_over(&got) => return (got, true),
                Ok(Ok(_)) => (),
                Err(_quiet) => return (got, false),
            }
        }
    };
    let (mut to, (mut got, is_over)) = tokio::join!(writing, reading);
    if is_over {
        return (got, true);
    }
    // It may be closed by now; a reset is an end, too.
    let _ = to.shutdown().await;
    let has_ended = timeout(PATIENCE, from.read_to_end(&mut got)).await.is_ok();
    (got, has_ended)
}

/// Whether the only stream, or the connection, has ended.
fn is_over(bytes: &[u8]) -> bool {
    let mut bytes = bytes.to_vec();
    while let Some(frame) = Frame::take(&mut bytes) {
        let is_end =
            matches!(frame.kind, frames::DATA | frames::HEADERS) && frame.has(frames::END_STREAM);
        if matches!(frame.kind, frames::RST_STREAM | frames::GOAWAY) || is_end {
            return true;
        }
    }
    false
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.by_class();
        writeln!(f, "{} of {} cases", faults.values().sum::<usize>(), self.cases.len())?;
        for (number, what) in &self.faults {
            match self.cases.get(*number) {
                Some(case) => writeln!(f, "{number} {}, {}: {what}", case.class, case.name)?,
                None => writeln!(f, "of no case: {what}")?,
            }
        }
        Ok(())
    }
}
