//! Documents: what a policy consists of, how files are cut into them, how sets of them are merged.

use super::at::At;
use super::emit::emit;
use super::finding::{Finding, Severity, refuses};
use super::kind::{Kind, kind_of};
use super::request::SourceFile;
use super::sink::{Limits, Sink};
use super::yaml::{self, DOCUMENTS_MAX, FILE_BYTES_MAX, NODES_MAX, Node, Value};
use crate::text;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What was accepted with what there is to say about it, or why nothing was.
pub type Outcome<T> = Result<(T, Vec<Finding>), Vec<Finding>>;

/// Longer names of documents and namespaces are refused, as in Kubernetes.
const NAME_LEN_MAX: usize = 253;

/// One document of a policy.
#[derive(Clone, Debug)]
pub struct Document {
    kind: Kind,
    namespace: Arc<str>,
    name: Arc<str>,
    file: Arc<str>,
    /// `apiVersion`, `kind`, `metadata` (name, namespace, labels, annotations), `spec`.
    pub(super) node: Arc<Node>,
}

/// Equal where they say the same, wherever that is written.
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl Document {
    /// What it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// `metadata.namespace`; empty where it has none.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `metadata.name`; empty for an `IstioOperator` without one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that it was read from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The line of that file where it begins, from 1.
    pub fn line(&self) -> u32 {
        self.node.line
    }

    /// Kind, namespace and name: a set has one document of each.
    pub fn key(&self) -> (Kind, &str, &str) {
        (self.kind, &self.namespace, &self.name)
    }

    /// Its canonical text: YAML in block style, without comments, status and what an API server
    /// adds. Reading it gives an equal document.
    pub fn text(&self) -> String {
        emit(&self.node)
    }

    pub(super) fn sink(&self, limits: &Rc<Limits>) -> Sink {
        Sink::new(self.to_string(), &self.file, limits)
    }
}

/// `DestinationRule/shop/payment`, `DestinationRule/payment`, `IstioOperator`.
impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        let parts = [&self.namespace, &self.name].into_iter().filter(|part| !part.is_empty());
        parts.into_iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

/// Cuts a file into documents: several YAML documents, JSON, `kind: List`. What is not traffic
/// policy (a `Deployment`) is named and left out.
///
/// # Errors
/// If something is no YAML, or says not what it is. The findings name file, line and document.
pub fn read(file: &str, text: &str) -> Outcome<Vec<Document>> {
    let file = text::visible(file);
    let nodes = yaml::parse(text).map_err(|error| {
        let finding = Finding::new(Severity::Error, "", "", &error.message);
        vec![finding.resting_on(&format!("{file}:{}", error.line))]
    })?;
    let file = file.as_ref().into();
    let limits = Rc::default();
    let mut reader = Reader { file, documents: Vec::new(), findings: Vec::new(), limits };
    for (index, node) in nodes.iter().enumerate() {
        reader.document(node, &format!("document {}", index + 1));
    }
    let Reader { documents, mut findings, limits, .. } = reader;
    findings.extend(limits.left_out());
    if refuses(&findings, false) { Err(findings) } else { Ok((documents, findings)) }
}

/// As [`read`], of several files.
///
/// # Errors
/// If something in one of them is wrong; what there is to say of the others is said, too.
pub fn read_all(files: &[SourceFile]) -> Outcome<Vec<Document>> {
    let (mut documents, mut findings) = (Vec::new(), Vec::new());
    for SourceFile { name, text } in files {
        match read(name, text) {
            Ok((more, said)) => {
                documents.extend(more);
                findings.extend(said);
            }
            Err(said) => findings.extend(said),
        }
    }
    if refuses(&findings, false) { Err(findings) } else { Ok((documents, findings)) }
}

/// The documents of `base` with those of `new`: a document replaces the one of the same kind,
/// namespace and name, in its place; the others follow in their order.
///
/// # Errors
/// If `new` has a document twice, or the set gets too large to be read again as one text
/// ([`DOCUMENTS_MAX`](super::DOCUMENTS_MAX), [`FILE_BYTES_MAX`](super::FILE_BYTES_MAX),
/// [`NODES_MAX`](super::NODES_MAX)).
pub fn merge(base: &[Document], new: &[Document]) -> Result<Vec<Document>, Vec<Finding>> {
    let mut places = std::collections::HashMap::new();
    let mut twice = Vec::new();
    for document in new {
        if let Some(first) = places.insert(document.key(), document) {
            let message =
                format!("is there twice; the other one is at {}:{}", first.file, first.line());
            twice.push(about(document, Severity::Error, &message));
        }
    }
    if !twice.is_empty() {
        return Err(twice);
    }
    let mut merged: Vec<Document> =
        (base.iter()).map(|old| places.remove(&old.key()).unwrap_or(old).clone()).collect();
    merged.extend(new.iter().filter(|document| places.contains_key(&document.key())).cloned());
    let nodes: usize = merged.iter().map(|document| document.node.count()).sum();
    for (what, size, size_max) in [
        ("documents", merged.len(), DOCUMENTS_MAX),
        ("nodes", nodes, NODES_MAX),
        ("bytes", write(&merged).len(), FILE_BYTES_MAX),
    ] {
        if size_max < size {
            let message = format!("the whole set has {size} {what}; at most {size_max}");
            return Err(vec![Finding::new(Severity::Error, "", "", &message)]);
        }
    }
    Ok(merged)
}

/// The canonical text of a whole set: what is stored and pushed, and what [`read`] takes.
pub fn write(documents: &[Document]) -> String {
    let texts = documents.iter().flat_map(|document| ["---\n".to_owned(), document.text()]);
    texts.collect()
}

/// A finding about a whole document.
pub(super) fn about(document: &Document, severity: Severity, message: &str) -> Finding {
    let finding = Finding::new(severity, &document.to_string(), "", message);
    finding.resting_on(&format!("{}:{}", document.file, document.line()))
}

struct Reader {
    file: Arc<str>,
    documents: Vec<Document>,
    findings: Vec<Finding>,
    limits: Rc<Limits>,
}

impl Reader {
    /// Until a document has said what it is, it is called `label`.
    fn document(&mut self, node: &Node, label: &str) {
        let sink = Sink::new(label.to_owned(), &self.file, &self.limits);
        let at = At::root(node, &sink);
        if let Some(items) = items_of_list(node) {
            if let Value::List(items) = &items.value {
                for (index, item) in items.iter().enumerate() {
                    self.document(item, &format!("{label}, item {}", index + 1));
                }
            } else {
                at.error("has items that are no list");
            }
            return self.findings.extend(sink.into_findings());
        }
        let document = header(at);
        self.findings.extend(sink.into_findings());
        let Some(mut document) = document else { return };
        document.file = Arc::clone(&self.file);
        let sink = document.sink(&self.limits);
        document.node = Arc::new(cleaned(At::root(node, &sink)));
        self.findings.extend(sink.into_findings());
        self.documents.push(document);
    }
}

/// The `items` of a `List`, or of a `DestinationRuleList` and the like.
fn items_of_list(node: &Node) -> Option<&Node> {
    let Value::Text(kind) = &node.get("kind")?.value else { return None };
    node.get("items").filter(|_| kind.ends_with("List"))
}

/// What a document says that it is; `None` if it is wrong or has no meaning here.
fn header(at: At<'_>) -> Option<Document> {
    let fields = at.object()?;
    let api_version = fields.required("apiVersion")?.text()?;
    let kind = fields.required("kind")?.text()?;
    let metadata = fields.object("metadata");
    let text =
        |name| metadata.as_ref().and_then(|metadata| metadata.text(name)).unwrap_or_default();
    let (namespace, name) = (text("namespace"), text("name"));
    let kind = kind_of(&fields, api_version, kind, metadata.as_ref())?;
    let is_named = !name.is_empty() || kind == Kind::IstioOperator;
    if !is_named {
        fields.at().error(format!("is a {kind} without metadata.name, which is required"));
    }
    let mut is_valid = is_named;
    for (field, value) in [("namespace", namespace), ("name", name)] {
        if !is_name(value) {
            is_valid = false;
            let message = format!(
                "has metadata.{field} {value}; allowed are lower-case letters, digits, - and ., \
                 at most {NAME_LEN_MAX}"
            );
            fields.at().error(message);
        }
    }
    let document = Document {
        kind,
        namespace: namespace.into(),
        name: name.into(),
        file: "".into(),
        node: Arc::new(Node { line: at.node.line, value: Value::Null }),
    };
    is_valid.then_some(document)
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
}

/// What an API server adds to `metadata`; no setting of anybody.
const SERVER_METADATA: [&str; 10] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "uid",
];

/// The document without what is not policy; complains about what should not be there at all.
fn cleaned(at: At<'_>) -> Node {
    let mut entries = Vec::new();
    let Some(fields) = at.object() else { return at.node.clone() };
    for name in ["apiVersion", "kind"] {
        entries.extend(fields.get(name).map(|at| (name.into(), at.node.clone())));
    }
    if let Some(metadata) = fields.object("metadata") {
        let mut kept: Vec<(Box<str>, Node)> = Vec::new();
        for name in ["name", "namespace", "labels"] {
            kept.extend(metadata.get(name).map(|at| (name.into(), at.node.clone())));
        }
        if let Some(annotations) = metadata.get("annotations") {
            let kubectl = |key: &str| key.starts_with("kubectl.kubernetes.io/");
            let own = annotations.entries().filter(|(key, _)| !kubectl(key));
            let own: Vec<_> = own.map(|(key, at)| (key.into(), at.node.clone())).collect();
            if !own.is_empty() {
                let line = annotations.node.line;
                kept.push(("annotations".into(), Node { line, value: Value::Map(own) }));
            }
        }
        for name in SERVER_METADATA.into_iter().chain(["selfLink"]) {
            metadata.get(name);
        }
        let line = metadata.at().node.line;
        metadata.finish(&[]);
        entries.push(("metadata".into(), Node { line, value: Value::Map(kept) }));
    }
    fields.get("status");
    if let Some(spec) = fields.required("spec") {
        entries.push(("spec".into(), spec.node.clone()));
    }
    fields.finish(&[]);
    Node { line: at.node.line, value: Value::Map(entries) }
}
