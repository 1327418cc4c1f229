//! What happens to containers, as it happens.

use super::call::{Call, escaped};
use super::engine::Engine;
use super::{EngineError, answer};
use serde_json::{Value, json};
use skerry_model::UnixMillis;
use std::time::Duration;

/// Longest line of JSON.
const LINE_BYTES_MAX: usize = 256 << 10;
/// How long one stream is listened to. Then it ends, so that a runtime that says nothing for ever is noticed.
const STREAM_MAX: Duration = Duration::from_secs(3600);

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container's id.
    pub id: String,
    /// `create`, `start`, `die`, `oom`, `stop`, `destroy`, `health_status: healthy`, …
    pub action: String,
    /// When.
    pub at: UnixMillis,
    /// Its labels, `name`, `image`, and with `die` `exitCode`.
    pub attributes: Vec<(String, String)>,
}

impl Engine {
    /// Hands over what happens to containers with all of these labels, from `since` on where it is given, until the stream
    /// ends: the runtime stops, an hour is over, or `sink` says false. Whoever drops the future ends it too. Where `actions`
    /// are given, the runtime is asked for these alone.
    ///
    /// # Errors
    /// [`EngineError`]; an hour that is over is none.
    pub async fn events(
        &self,
        since: Option<UnixMillis>,
        labels: &[(&str, &str)],
        actions: &[&str],
        sink: &mut (dyn FnMut(Event) -> bool + Send),
    ) -> Result<(), EngineError> {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") })
            .collect();
        let mut filters = json!({ "type": ["container"] });
        if !labels.is_empty() {
            filters["label"] = labels.into();
        }
        if !actions.is_empty() {
            filters["event"] = actions.into();
        }
        let mut path = format!("/events?filters={}", escaped(&filters.to_string()));
        if let Some(at) = since {
            path = format!("{path}&since={}.{:03}", at.0.div_euclid(1000), at.0.rem_euclid(1000));
        }
        let (mut lines, mut wants_more) = (Lines::default(), true);
        let mut each = |line: &Value| {
            if let Some(event) = Event::read(line) {
                wants_more = sink(event);
            }
            if wants_more { Ok(()) } else { Err(String::new()) }
        };
        let call = Call::get(path, STREAM_MAX, usize::MAX);
        let outcome = self.stream(call, &mut |chunk| lines.feed(chunk, &mut each)).await;
        match outcome {
            Ok(_) | Err(EngineError::Timeout { .. }) => Ok(()),
            Err(_) if !wants_more => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Event {
    fn read(line: &Value) -> Option<Self> {
        let nanos = line["timeNano"].as_i64();
        let millis = nanos.map_or_else(|| line["time"].as_i64().unwrap_or(0).saturating_mul(1000), |n| n / 1_000_000);
        Some(Self {
            id: line["Actor"]["ID"].as_str().or_else(|| line["id"].as_str())?.to_owned(),
            action: line["Action"].as_str().or_else(|| line["status"].as_str())?.to_owned(),
            at: UnixMillis(millis),
            attributes: answer::labels(&line["Actor"]["Attributes"]),
        })
    }
}

/// Lines of JSON that come in pieces.
#[derive(Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Takes the next piece.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        each: &mut dyn FnMut(&Value) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut chunk = chunk;
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            self.keep(&chunk[..end])?;
            chunk = &chunk[end + 1..];
            self.end(each)?;
        }
        self.keep(chunk)
    }

    /// Takes what stands without an end of line. A line that is no JSON is passed over.
    pub(super) fn end(&mut self, each: &mut dyn FnMut(&Value) -> Result<(), String>) -> Result<(), String> {
        let line = std::mem::take(&mut self.rest);
        match serde_json::from_slice(&line) {
            Ok(value) => each(&value),
            Err(_) => Ok(()),
        }
    }

    fn keep(&mut self, piece: &[u8]) -> Result<(), String> {
        if self.rest.len() + piece.len() > LINE_BYTES_MAX {
            return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
        }
        self.rest.extend_from_slice(piece);
        Ok(())
    }
}
