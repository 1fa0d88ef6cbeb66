//! What some capture files hold, in the order in which it happened.

use crate::capture::{self, Part, ProxySaid, ReadError, Said, Told};
use crate::decode::MOVED_NS;
use fusebox_proto::view::Stamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::{ControlFlow, Range};
use std::path::Path;

/// What is held at once, as protobuf: some two million spans.
const HELD_LEN_MAX: usize = 768 * 1024 * 1024;
/// Streams of one file are numbered from here times its number, so that files do not share any.
const STREAMS_OF_FILE: u64 = 1 << 32;

/// Why files cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// One of them is no capture.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They hold more than can be held at once.
    #[error(
        "{}: up to here the files hold more than the {HELD_LEN_MAX} bytes of spans that are \
         replayed at once; give a part of them",
        path.display()
    )]
    Full {
        /// Where it became too much.
        path: std::path::PathBuf,
    },
    /// There is nothing in them that has a time.
    #[error(
        "there are no spans with a start and an end, and no reports of proxies, to be replayed"
    )]
    Empty,
}

/// The time that is covered, and by how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// When the first span began, or the first proxy spoke.
    pub from: Stamp,
    /// When the last span ended, or the last proxy spoke.
    pub to: Stamp,
    /// How many spans.
    pub spans: u64,
    /// Of how many traces.
    pub traces: u64,
    /// Messages of proxies.
    pub proxy_messages: u64,
}

/// All that happens in some files.
#[derive(Debug, Default)]
pub struct Recording {
    senders: Vec<Sender>,
    items: Vec<Item>,
    window: Window,
    told: Told,
}

/// What the spans of one resource and scope have in common.
#[derive(Clone, Debug, PartialEq)]
struct Sender {
    resource: Option<Resource>,
    resource_schema: String,
    scope: Option<InstrumentationScope>,
    schema: String,
}

/// Something that happens.
#[derive(Debug)]
pub(super) struct Item {
    /// When, ns since the Unix epoch: the end of a span.
    pub(super) at_unix_ns: u64,
    /// What.
    pub(super) what: What,
}

/// See [`Item`].
#[derive(Debug)]
pub(super) enum What {
    /// A span ended.
    Span {
        /// Which resource and scope.
        sender: u32,
        /// Its trace, as sent.
        trace: [u8; 16],
        /// When it began, ns since the Unix epoch.
        start_unix_ns: u64,
        /// All of it, as protobuf.
        bytes: Box<[u8]>,
    },
    /// A proxy spoke, or left.
    Proxy {
        /// Which stream.
        stream: u64,
        /// What it said.
        said: Said,
    },
}

impl Recording {
    /// Reads files of any format that captures have.
    ///
    /// # Errors
    /// If one of them cannot be read, or they hold too much, or nothing.
    pub fn load<'f>(paths: impl IntoIterator<Item = &'f Path>) -> Result<Self, LoadError> {
        let mut loading = Loading::default();
        for (number, path) in paths.into_iter().enumerate() {
            loading.file(number as u64, path)?;
        }
        loading.finish()
    }

    /// What it covers.
    pub const fn window(&self) -> Window {
        self.window
    }

    /// What was read of the files, beside what is in the window.
    pub const fn told(&self) -> Told {
        self.told
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The items from `next` on that happen before `until_unix_ns`.
    pub(super) fn range(&self, next: usize, until_unix_ns: u64) -> Range<usize> {
        let rest = &self.items[next..];
        next..next + rest.partition_point(|item| item.at_unix_ns < until_unix_ns)
    }

    /// The spans of these items as the fewest requests' parts, each moved as is said.
    pub(super) fn request(
        &self,
        items: impl IntoIterator<Item = (usize, Move)>,
    ) -> ExportTraceServiceRequest {
        let mut spans: BTreeMap<u32, Vec<Span>> = BTreeMap::new();
        for (at, by) in items {
            let What::Span { sender, bytes, .. } = &self.items[at].what else { continue };
            let mut span = Span::decode(&**bytes).expect("it was written by us");
            by.apply(&mut span);
            spans.entry(*sender).or_default().push(span);
        }
        let resource_spans = spans.into_iter().map(|(sender, spans)| {
            let Sender { resource, resource_schema, scope, schema } =
                self.senders[sender as usize].clone();
            let scope_spans = vec![ScopeSpans { scope, spans, schema_url: schema }];
            ResourceSpans { resource, scope_spans, schema_url: resource_schema }
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    }
}

/// How a span is moved in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Move {
    /// By so many ns.
    pub(super) by_ns: i64,
    /// So many ns of that are because time goes faster or slower than it did; they are told, because
    /// who compares minutes must know how many it were.
    /// `None` where time goes as fast as it did.
    pub(super) warped_ns: Option<i64>,
}

impl Move {
    /// Moves all that has a time in a span.
    fn apply(self, span: &mut Span) {
        let ns = self.by_ns;
        span.start_time_unix_nano = span.start_time_unix_nano.saturating_add_signed(ns);
        span.end_time_unix_nano = span.end_time_unix_nano.saturating_add_signed(ns);
        for event in span.events.iter_mut().filter(|event| event.time_unix_nano != 0) {
            event.time_unix_nano = event.time_unix_nano.saturating_add_signed(ns);
        }
        if let Some(warped_ns) = self.warped_ns {
            let value = Some(AnyValue { value: Some(Value::IntValue(warped_ns)) });
            span.attributes.push(KeyValue { key: MOVED_NS.into(), value, ..KeyValue::default() });
        }
    }
}

/// A recording that is being read.
#[derive(Default)]
struct Loading {
    recording: Recording,
    /// Senders by their protobuf.
    known: HashMap<Vec<u8>, u32>,
    traces: HashSet<[u8; 16], foldhash::fast::RandomState>,
    held_len: usize,
}

impl Loading {
    fn file(&mut self, number: u64, path: &Path) -> Result<(), LoadError> {
        let mut is_full = false;
        let told = capture::parts(path, &mut |part| {
            match part {
                Part::Traces(request) => self.traces(request),
                Part::Proxy(said) => self.proxy(number, said),
            }
            is_full = HELD_LEN_MAX < self.held_len;
            if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        self.recording.told.other += told.other;
        self.recording.told.truncated += told.truncated;
        if is_full { Err(LoadError::Full { path: path.to_owned() }) } else { Ok(()) }
    }

    fn traces(&mut self, request: ExportTraceServiceRequest) {
        for of_resource in request.resource_spans {
            let ResourceSpans { resource, scope_spans, schema_url } = of_resource;
            for ScopeSpans { scope, spans, schema_url: schema } in scope_spans {
                let resource = resource.clone();
                let sender = self.sender(Sender {
                    resource,
                    resource_schema: schema_url.clone(),
                    scope,
                    schema,
                });
                for span in &spans {
                    self.span(sender, span);
                }
            }
        }
    }

    fn sender(&mut self, sender: Sender) -> u32 {
        let Sender { resource, resource_schema, scope, schema } = &sender;
        let scope_spans = vec![ScopeSpans {
            scope: scope.clone(),
            spans: Vec::new(),
            schema_url: schema.clone(),
        }];
        let of_resource = ResourceSpans {
            resource: resource.clone(),
            scope_spans,
            schema_url: resource_schema.clone(),
        };
        let senders = &mut self.recording.senders;
        *self.known.entry(of_resource.encode_to_vec()).or_insert_with(|| {
            senders.push(sender);
            senders.len() as u32 - 1
        })
    }

    /// Takes a span, unless it has no trace or no time: nobody can tell when it happens.
    fn span(&mut self, sender: u32, span: &Span) {
        let Ok(trace) = <[u8; 16]>::try_from(span.trace_id.as_slice()) else {
            self.recording.told.rejected += 1;
            return;
        };
        let (start_unix_ns, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        if start_unix_ns == 0 || end == 0 {
            self.recording.told.rejected += 1;
            return;
        }
        self.traces.insert(trace);
        let bytes: Box<[u8]> = span.encode_to_vec().into();
        self.held_len += bytes.len() + size_of::<Item>();
        let what = What::Span { sender, trace, start_unix_ns, bytes };
        self.recording.items.push(Item { at_unix_ns: end.max(start_unix_ns), what });
    }

    fn proxy(&mut self, file: u64, said: ProxySaid) {
        let ProxySaid { at_unix_ns, stream, said } = said;
        // What it took on the wire is not known any more; a report of some edges is a few kB.
        self.held_len += size_of::<Item>() + 4_096;
        let stream = file * STREAMS_OF_FILE + stream % STREAMS_OF_FILE;
        self.recording.items.push(Item { at_unix_ns, what: What::Proxy { stream, said } });
    }

    fn finish(self) -> Result<Recording, LoadError> {
        let Self { mut recording, traces, .. } = self;
        // Stable: what happens at once stays in the order of the files.
        recording.items.sort_by_key(|item| item.at_unix_ns);
        let begins = |item: &Item| match &item.what {
            What::Span { start_unix_ns, .. } => *start_unix_ns,
            What::Proxy { .. } => item.at_unix_ns,
        };
        let items = &recording.items;
        let (Some(from), Some(last)) = (items.iter().map(begins).min(), items.last()) else {
            return Err(LoadError::Empty);
        };
        let is_span = |item: &&Item| matches!(item.what, What::Span { .. });
        let spans = items.iter().filter(is_span).count();
        recording.window = Window {
            from: Stamp(from / 1_000_000),
            to: Stamp(last.at_unix_ns.div_ceil(1_000_000)),
            spans: spans as u64,
            traces: traces.len() as u64,
            proxy_messages: (items.len() - spans) as u64,
        };
        Ok(recording)
    }
}
