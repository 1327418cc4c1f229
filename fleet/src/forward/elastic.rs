//! Elasticsearch's and OpenSearch's bulk API: pairs of JSON lines, the action and the document.
//!
//! Documents have names of their own (`_id`: node, epoch, number, place), so what is sent again meets a conflict and is
//! there once. Their keys are those of the Elastic Common Schema where it has one.

use super::core::{Fate, Item};
use super::http;
use super::record::Entry;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::http::{Answer, Form};
use axum::http::{HeaderValue, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use skerry_model::{Level, UnixMillis};

/// An item's answer has about 400 bytes where it fails; what was not asked for is left out.
const ANSWER_BYTES_MAX: usize = 8 << 20;
const PATH: &str = "/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";

/// How records appear.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the index or data stream, with strftime's signs for the record's time in UTC.
    pub index: String,
    /// What is done.
    pub op: Op,
}

/// What is done with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// Add it where there is none of its name; what data streams want.
    #[default]
    Create,
    /// Add or replace it.
    Index,
}

impl Options {
    pub(super) fn form(&self, endpoint: &Endpoint) -> Form {
        let base = endpoint.url.path().trim_end_matches('/');
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))];
        Form { path: Some(format!("{base}{PATH}")), headers, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    pub(super) fn body(&self, entries: &[&Entry]) -> Vec<u8> {
        let mut body = Vec::with_capacity(entries.iter().map(|entry| entry.bytes() * 2 + 256).sum());
        for entry in entries {
            let op = match self.op {
                Op::Create => "create",
                Op::Index => "index",
            };
            let action = json!({op: {"_index": index(&self.index, entry.at), "_id": entry.id()}});
            for line in [action, document(entry)] {
                body.extend_from_slice(line.to_string().as_bytes());
                body.push(b'\n');
            }
        }
        body
    }
}

/// An index's name at a time; a time that no calendar has counts as the epoch.
pub(super) fn index(pattern: &str, at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at.0).unwrap_or_default().strftime(pattern).to_string()
}

/// A record as a document.
pub(super) fn document(entry: &Entry) -> Value {
    let moment = jiff::Timestamp::from_millisecond(entry.at.0).unwrap_or_default();
    let mut log = Map::new();
    if entry.level != Level::Unknown {
        log.insert("level".into(), entry.level.as_str().into());
    }
    let file = entry.labels.value("filename");
    if !file.is_empty() {
        log.insert("file".into(), json!({"path": file}));
    }
    let mut document = json!({
        "@timestamp": format!("{moment:.3}"),
        "message": entry.text(),
        "host": {"name": entry.node.as_str()},
        "event": {"sequence": entry.index},
        "labels": pairs(&entry.labels),
    });
    let parts = [
        ("log", Value::Object(log)),
        ("service", named("name", entry.service())),
        ("container", named("name", entry.labels.value("container"))),
        ("trace", named("id", entry.fields.value("trace_id"))),
        ("span", named("id", entry.fields.value("span_id"))),
        ("fields", pairs(&entry.fields)),
    ];
    for (key, part) in parts {
        if part.as_object().is_some_and(|part| !part.is_empty()) {
            document[key] = part;
        }
    }
    document
}

fn named(key: &str, value: &str) -> Value {
    if value.is_empty() { json!({}) } else { json!({key: value}) }
}

/// Labels as an object; a dot in a name would make a tree of it, which may collide with another name.
fn pairs(labels: &skerry_model::Labels) -> Value {
    labels.iter().map(|(name, value)| (name.replace('.', "_"), Value::from(value))).collect::<Map<_, _>>().into()
}

#[derive(Deserialize)]
struct Bulk {
    #[serde(default)]
    items: Vec<Map<String, Value>>,
}

/// Judges an answer: each document has a fate of its own.
pub(super) fn judge(answer: &Answer, records: usize, now: UnixMillis) -> Fate {
    if !(200..=299).contains(&answer.status) {
        return http::judge(answer, now);
    }
    let items: Vec<Item> = match serde_json::from_slice::<Bulk>(&answer.body) {
        Ok(bulk) => bulk.items.iter().filter_map(|item| item.values().next()).map(fate).collect(),
        Err(_) => Vec::new(),
    };
    if items.len() != records {
        let why = format!("the answer tells of {} documents, {records} were sent: is it a bulk API?", items.len());
        return Fate::Retry { after: None, why };
    }
    Fate::Each(items)
}

fn fate(item: &Value) -> Item {
    let status = item["status"].as_u64().unwrap_or(0);
    let kind = item["error"]["type"].as_str().unwrap_or_default();
    let reason = item["error"]["reason"].as_str().unwrap_or_default();
    let why = || format!("status {status}: {kind}: {}", reason.chars().take(200).collect::<String>());
    // Said of the index or the action, not of the document.
    let is_config = kind == "invalid_index_name_exception" || reason.contains("op_type");
    match status {
        200..=299 => Item::Taken,
        409 => Item::Repeated,
        400 if !is_config => Item::Refused(why()),
        413 => Item::Refused(why()),
        _ => Item::Again(why()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::entry;
    use crate::forward::http::tests::answer;

    #[test]
    fn documents_have_names_and_the_schema_s_keys() {
        let options = Options { index: "skerry-%Y.%m.%d".into(), op: Op::Create };
        let body = String::from_utf8(options.body(&[&entry(0, b"a \"b\"\n\xff"), &entry(1, b"")])).unwrap();
        let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0], json!({"create": {"_index": "skerry-2027.01.15", "_id": "pi-abc-4-0"}}));
        assert_eq!(
            lines[1],
            json!({
                "@timestamp": "2027-01-15T08:00:00.123Z",
                "message": "a \"b\"\n\u{fffd}",
                "host": {"name": "pi"},
                "event": {"sequence": 0},
                "log": {"level": "warn", "file": {"path": "/v/a.log"}},
                "service": {"name": "web"},
                "container": {"name": "web"},
                "trace": {"id": "0102030405060708090a0b0c0d0e0f10"},
                "labels": {"source": "app", "container": "web", "node": "pi", "level": "warn", "filename": "/v/a.log"},
                "fields": {"pid": "7", "trace_id": "0102030405060708090a0b0c0d0e0f10"},
            })
        );
        assert!(body.ends_with('\n'));
    }

    #[test]
    fn each_document_has_a_fate_of_its_own() {
        let body = r#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}},{"create":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"busy"}}},{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"no long"}}},{"create":{"status":403,"error":{"type":"cluster_block_exception","reason":"read-only"}}},{"create":{"status":400,"error":{"type":"illegal_argument_exception","reason":"only write ops with an op_type of create are allowed in data streams"}}}]}"#;
        let Fate::Each(items) = judge(&answer(200, body), 6, UnixMillis(0)) else { panic!("each has one") };
        let told: Vec<&str> = items
            .iter()
            .map(|item| match item {
                Item::Taken => "taken",
                Item::Repeated => "repeated",
                Item::Again(_) => "again",
                Item::Refused(_) => "refused",
            })
            .collect();
        assert_eq!(told, ["taken", "repeated", "again", "refused", "again", "again"]);
        for odd in ["", "{}", "<html>", r#"{"items":[{"create":{"status":201}}]}"#] {
            assert!(matches!(judge(&answer(200, odd), 2, UnixMillis(0)), Fate::Retry { .. }), "{odd}");
        }
        assert!(matches!(judge(&answer(413, ""), 2, UnixMillis(0)), Fate::TooLarge { .. }));
        assert!(matches!(judge(&answer(403, ""), 2, UnixMillis(0)), Fate::Retry { .. }));
    }
}
