//! OpenTelemetry's log export over HTTP: `POST /v1/logs` with `ExportLogsServiceRequest` as protobuf.
//!
//! OTLP has no names for records: what is sent again after a lost answer is there twice, one batch at most.
//!
//! Sources: the OTLP specification, `logs.proto`, `common.proto`, `resource.proto` for the numbers of the fields, and
//! the log data model for severities.

use super::core::Fate;
use super::http::{self, path_or};
use super::record::Entry;
use crate::outgoing::endpoint::Endpoint;
use crate::outgoing::http::{Answer, Form};
use axum::http::{HeaderValue, header};
use skerry_model::{Labels, Level, UnixMillis};
use skerry_remote::protobuf::{Fields, put_bytes, put_fixed64, put_int64};
use std::collections::HashMap;
use std::sync::Arc;

const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How records appear.
#[derive(Debug, Clone, Default)]
pub struct Options {}

impl Options {
    pub(super) fn form(&self, endpoint: &Endpoint) -> Form {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))];
        Form { path: path_or(endpoint, "/v1/logs"), headers, answer_bytes_max: ANSWER_BYTES_MAX }
    }

    /// Records by what they come from, in the order in which that first comes.
    pub(super) fn body(&self, entries: &[&Entry]) -> Vec<u8> {
        let mut resources: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut known: HashMap<*const Labels, usize> = HashMap::new();
        for entry in entries {
            // Labels that differ in the level alone are one resource.
            let at = *known.entry(Arc::as_ptr(&entry.labels)).or_insert_with(|| {
                let resource = resource(entry);
                resources.iter().position(|(known, _)| *known == resource).unwrap_or_else(|| {
                    resources.push((resource, Vec::new()));
                    resources.len() - 1
                })
            });
            put_bytes(&mut resources[at].1, 2, &record(entry));
        }
        let mut scope = Vec::new();
        put_bytes(&mut scope, 1, b"skerry");
        let mut body = Vec::new();
        for (resource, records) in resources {
            let mut scope_logs = Vec::with_capacity(records.len() + 16);
            put_bytes(&mut scope_logs, 1, &scope);
            scope_logs.extend_from_slice(&records);
            let mut resource_logs = Vec::with_capacity(scope_logs.len() + resource.len() + 16);
            put_bytes(&mut resource_logs, 1, &resource);
            put_bytes(&mut resource_logs, 2, &scope_logs);
            put_bytes(&mut body, 1, &resource_logs);
        }
        body
    }

    /// Judges an answer. A collector that took all but some says so with success; those are not to be sent again.
    pub(super) fn judge(&self, answer: &Answer, now: UnixMillis) -> Fate {
        match http::judge(answer, now) {
            Fate::Taken => match partial(&answer.body) {
                Some((refused, why)) if refused > 0 => Fate::AllBut { refused, why },
                _ => Fate::Taken,
            },
            other => other,
        }
    }
}

/// What a label is called there.
fn attribute(name: &str) -> &str {
    match name {
        "node" => "host.name",
        "container" => "container.name",
        "container_id" => "container.id",
        "image" => "container.image.name",
        "namespace" => "k8s.namespace.name",
        "pod" => "k8s.pod.name",
        "filename" => "log.file.path",
        "stream" => "log.iostream",
        name => name,
    }
}

fn resource(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    let service = Some(entry.service()).filter(|name| !name.is_empty()).unwrap_or("unknown_service");
    put_attribute(&mut out, 1, "service.name", service);
    // The severity is each record's own.
    for (name, value) in entry.labels.iter().filter(|(name, _)| *name != "level") {
        put_attribute(&mut out, 1, attribute(name), value);
    }
    out
}

fn record(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::with_capacity(entry.bytes() + 64);
    put_fixed64(&mut out, 1, u64::try_from(entry.nanos()).unwrap_or(0));
    put_int64(&mut out, 2, severity(entry.level));
    if entry.level != Level::Unknown {
        put_bytes(&mut out, 3, entry.level.as_str().as_bytes());
    }
    let mut body = Vec::with_capacity(entry.line.len() + 8);
    // Bytes that are no text stay what they are.
    let kind = if std::str::from_utf8(&entry.line).is_ok() { 1 } else { 7 };
    put_bytes(&mut body, kind, &entry.line);
    put_bytes(&mut out, 5, &body);
    put_fields(&mut out, &entry.fields);
    let observed = entry.received.0.saturating_mul(1_000_000);
    put_fixed64(&mut out, 11, u64::try_from(observed).unwrap_or(0));
    out
}

/// Fields as attributes, and trace and span as what they are.
fn put_fields(out: &mut Vec<u8>, fields: &Labels) {
    for (name, value) in fields.iter() {
        match (name, value.len(), hex(value)) {
            ("trace_id", 32, Some(bytes)) => put_bytes(out, 9, &bytes),
            ("span_id", 16, Some(bytes)) => put_bytes(out, 10, &bytes),
            _ => put_attribute(out, 6, name, value),
        }
    }
}

fn put_attribute(out: &mut Vec<u8>, field: u64, name: &str, value: &str) {
    let (mut any, mut pair) = (Vec::new(), Vec::new());
    put_bytes(&mut any, 1, value.as_bytes());
    put_bytes(&mut pair, 1, name.as_bytes());
    put_bytes(&mut pair, 2, &any);
    put_bytes(out, field, &pair);
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The first number of a range of four.
const fn severity(level: Level) -> i64 {
    match level {
        Level::Unknown => 0,
        Level::Trace => 1,
        Level::Debug => 5,
        Level::Info => 9,
        Level::Warn => 13,
        Level::Error => 17,
        Level::Fatal => 21,
    }
}

/// How many records an `ExportLogsServiceResponse` says were not taken, and why.
fn partial(body: &[u8]) -> Option<(u64, String)> {
    let (mut refused, mut why) = (0, String::new());
    let mut fields = Fields::of(body);
    while let Some((number, value)) = fields.next().ok()? {
        if number != 1 {
            continue;
        }
        let mut inner = Fields::of(value.bytes("partial_success").ok()?);
        while let Some((number, value)) = inner.next().ok()? {
            match number {
                1 => refused = u64::try_from(value.int64("rejected_log_records").ok()?).unwrap_or(0),
                2 => why = value.text("error_message").ok()?.chars().take(300).collect(),
                _ => {}
            }
        }
    }
    Some((refused, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::fixture::entry;
    use crate::forward::http::tests::answer;

    /// These bytes were decoded with the classes of the Python package opentelemetry-proto, which the OpenTelemetry
    /// project makes of its schema: one resource with five attributes, two records, the second's body as bytes.
    #[test]
    fn an_export_is_the_bytes_that_were_checked() {
        let mut plain = entry(1, b"bytes \xff");
        plain.fields = Labels::default();
        let body = Options::default().body(&[&entry(0, b"hello"), &plain]);
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, include_str!("otlp_golden.txt").trim());
    }

    #[test]
    fn what_was_not_taken_is_told() {
        let judged = |body: Vec<u8>| {
            let told = Answer { body, ..answer(200, "") };
            Options::default().judge(&told, UnixMillis(0))
        };
        assert_eq!(judged(Vec::new()), Fate::Taken);
        let (mut partial, mut body) = (Vec::new(), Vec::new());
        put_int64(&mut partial, 1, 3);
        put_bytes(&mut partial, 2, b"too old");
        put_bytes(&mut body, 1, &partial);
        assert_eq!(judged(body), Fate::AllBut { refused: 3, why: "too old".into() });
        // A warning alone, and what is no message.
        let mut body = Vec::new();
        put_bytes(&mut body, 1, &{
            let mut warning = Vec::new();
            put_bytes(&mut warning, 2, b"soon");
            warning
        });
        assert_eq!(judged(body), Fate::Taken);
        assert_eq!(judged(b"{}".to_vec()), Fate::Taken);
        assert!(matches!(Options::default().judge(&answer(400, ""), UnixMillis(0)), Fate::Refused { .. }));
        assert!(matches!(Options::default().judge(&answer(503, ""), UnixMillis(0)), Fate::Retry { .. }));
    }
}
