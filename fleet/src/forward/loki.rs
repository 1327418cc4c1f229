//! Loki's push API: `POST /loki/api/v1/push` with `logproto.PushRequest` as a snappy block.
//!
//! Loki keeps one of two entries of a stream that are equal in time and line, so what is sent again is there once.
//!
//! Sources: Loki's HTTP API reference, and `push.proto` of its repository for the numbers of the fields.

use super::core::Fate;
use super::http::{self, path_or};
use super::record::Entry;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::http::{Answer, Form};
use axum::http::{HeaderName, HeaderValue, header};
use skerry_model::{Labels, UnixMillis};
use skerry_remote::protobuf::{put_bytes, put_int64};
use std::collections::{BTreeMap, HashMap};

const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How records appear in Loki.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose they are, where Loki has many tenants.
    pub tenant: Option<HeaderValue>,
    /// Labels that name the stream; all where it is empty. The others become structured metadata.
    pub labels: Vec<String>,
    /// Labels that every stream is given.
    pub external: BTreeMap<String, String>,
    /// Whether fields are sent.
    pub metadata: bool,
}

impl Options {
    pub(super) fn form(&self, endpoint: &Endpoint) -> Form {
        let mut headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
            (header::CONTENT_ENCODING, HeaderValue::from_static("snappy")),
        ];
        if let Some(tenant) = &self.tenant {
            headers.push((HeaderName::from_static("x-scope-orgid"), tenant.clone()));
        }
        Form { path: path_or(endpoint, "/loki/api/v1/push"), headers, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    pub(super) fn body(&self, entries: &[&Entry]) -> Vec<u8> {
        skerry_remote::pack(&self.message(entries))
    }

    /// Entries by stream, in the order in which streams and entries come.
    fn message(&self, entries: &[&Entry]) -> Vec<u8> {
        let mut streams: Vec<(String, Vec<u8>)> = Vec::new();
        let mut known: HashMap<*const Labels, usize> = HashMap::new();
        for entry in entries {
            // Records of one block share their labels; those of others may have the same text.
            let at = *known.entry(std::sync::Arc::as_ptr(&entry.labels)).or_insert_with(|| {
                let name = self.stream(&entry.labels);
                streams.iter().position(|(known, _)| *known == name).unwrap_or_else(|| {
                    streams.push((name, Vec::new()));
                    streams.len() - 1
                })
            });
            put_bytes(&mut streams[at].1, 2, &self.entry(entry));
        }
        let mut message = Vec::new();
        for (name, entries) in streams {
            let mut stream = Vec::with_capacity(entries.len() + name.len() + 8);
            put_bytes(&mut stream, 1, name.as_bytes());
            stream.extend_from_slice(&entries);
            put_bytes(&mut message, 1, &stream);
        }
        message
    }

    fn entry(&self, entry: &Entry) -> Vec<u8> {
        let nanos = entry.nanos();
        let mut time = Vec::new();
        put_int64(&mut time, 1, nanos.div_euclid(1_000_000_000));
        put_int64(&mut time, 2, nanos.rem_euclid(1_000_000_000));
        let mut out = Vec::with_capacity(entry.bytes() + 32);
        put_bytes(&mut out, 1, &time);
        put_bytes(&mut out, 2, entry.text().as_bytes());
        if self.metadata {
            let beside = entry.labels.iter().filter(|(name, _)| !self.names_stream(name));
            for (name, value) in beside.chain(entry.fields.iter()) {
                let mut pair = Vec::new();
                put_bytes(&mut pair, 1, label_name(name).as_bytes());
                put_bytes(&mut pair, 2, value.as_bytes());
                put_bytes(&mut out, 3, &pair);
            }
        }
        out
    }

    fn names_stream(&self, name: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|own| own == name)
    }

    /// A stream's labels as Loki's selectors write them.
    fn stream(&self, labels: &Labels) -> String {
        let mut pairs: BTreeMap<String, &str> =
            labels.iter().filter(|(name, _)| self.names_stream(name)).map(|(n, v)| (label_name(n), v)).collect();
        pairs.extend(self.external.iter().map(|(name, value)| (name.clone(), value.as_str())));
        if pairs.is_empty() {
            // Loki refuses streams without labels, and they would be gone for good.
            pairs.insert("node".into(), labels.value("node"));
        }
        let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
        format!("{{{}}}", pairs.join(", "))
    }
}

/// A name as Loki takes it: letters, digits and underscores, no digit first.
fn label_name(name: &str) -> String {
    let fit = |(at, c): (usize, char)| match c {
        'a'..='z' | 'A'..='Z' | '_' => c,
        '0'..='9' if at > 0 => c,
        _ => '_',
    };
    name.chars().enumerate().map(fit).collect()
}

/// A value in the quotes of Go, which Loki reads labels with.
fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Judges an answer. Loki refuses what is too old, too far behind or too long with 400, and keeps the rest of the
/// request; to which entries that happened the halves tell, since those that it has are taken once more in silence.
pub(super) fn judge(answer: &Answer, now: UnixMillis) -> Fate {
    let words = answer.words();
    let why = format!("HTTP {}: {words}", answer.status);
    match answer.status {
        // Said of the whole tenant and not of an entry.
        400 if words.contains("structured metadata") && words.contains("disallowed") => {
            Fate::Retry { after: None, why: format!("{why}; set loki.structured_metadata: false") }
        }
        // A request that is too large for the way from the distributor on.
        500 if words.contains("message larger than max") => Fate::TooLarge { why },
        _ => http::judge(answer, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::entry;
    use crate::forward::http::tests::answer;
    use skerry_remote::protobuf::{Fields, Value};

    /// Fields of a message, one by one.
    pub(super) fn fields(message: &[u8]) -> Vec<(u64, Value<'_>)> {
        let (mut fields, mut found) = (Fields::of(message), Vec::new());
        while let Some(field) = fields.next().unwrap() {
            found.push(field);
        }
        found
    }

    fn text(value: Value<'_>) -> &str {
        value.text("a text").unwrap()
    }

    #[test]
    fn a_push_holds_streams_with_entries_and_metadata() {
        let options = Options { metadata: true, ..Options::default() };
        let (one, two) = (entry(0, b"first"), entry(2, b"bad \xff"));
        let mut other = entry(1, b"else");
        other.labels = std::sync::Arc::new(other.labels.with("source", "a\"b\\\n").unwrap());
        let body = options.body(&[&one, &other, &two]);
        let message = skerry_remote::unpack(&body, 1 << 20).unwrap();
        let streams = fields(&message);
        assert_eq!(streams.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 1]);
        let first = fields(streams[0].1.bytes("a stream").unwrap());
        assert_eq!(
            text(first[0].1),
            r#"{container="web", filename="/v/a.log", level="warn", node="pi", source="app"}"#
        );
        assert_eq!(first.len(), 3, "two entries, though they come from two blocks' worth of labels");
        let entry = fields(first[2].1.bytes("an entry").unwrap());
        let time = fields(entry[0].1.bytes("a time").unwrap());
        assert_eq!(time, [(1, Value::Varint(1_800_000_000)), (2, Value::Varint(123_000_002))]);
        assert_eq!(text(entry[1].1), "bad \u{fffd}");
        let pair = fields(entry[2].1.bytes("a pair").unwrap());
        assert_eq!((entry.len(), text(pair[0].1), text(pair[1].1)), (4, "pid", "7"));
        let second = fields(streams[1].1.bytes("a stream").unwrap());
        assert!(text(second[0].1).contains(r#"source="a\"b\\\n""#), "{}", text(second[0].1));
    }

    #[test]
    fn chosen_labels_name_the_stream_and_others_go_beside() {
        let external = [("env".to_owned(), "prod".to_owned())].into();
        let options = Options { labels: vec!["node".into(), "source".into()], external, metadata: true, tenant: None };
        let record = entry(0, b"x");
        assert_eq!(options.stream(&record.labels), r#"{env="prod", node="pi", source="app"}"#);
        let message = options.entry(&record);
        assert_eq!(fields(&message).len(), 2 + 3 + 2, "three labels and two fields");
        let bare = Options { metadata: false, ..options };
        assert_eq!(fields(&bare.entry(&record)).len(), 2);
        assert_eq!(label_name("9k8s.io/ä"), "_k8s_io__");
        let other = Options { labels: vec!["absent".into()], ..Options::default() };
        assert_eq!(other.stream(&record.labels), r#"{node="pi"}"#);
    }

    #[test]
    fn answers_are_judged() {
        let judged = |status, words| judge(&answer(status, words), UnixMillis(0));
        assert_eq!(judged(204, ""), Fate::Taken);
        assert!(matches!(judged(400, "entry too far behind"), Fate::Refused { .. }));
        assert!(matches!(judged(500, "grpc: received message larger than max"), Fate::TooLarge { .. }));
        let config = "stream '{}' includes structured metadata, but this feature is disallowed";
        assert!(matches!(judged(400, config), Fate::Retry { .. }));
        assert!(matches!(judged(401, "no org id"), Fate::Retry { .. }));
    }
}
