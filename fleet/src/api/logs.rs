//! Log records: what is stored, and what is written right now.

use super::nodes::{existing, pairs};
use super::view::{LogList, LogView};
use super::{ApiError, Fleet};
use crate::ingest::{AskError, AskHandle};
use crate::mqtt::SendError;
use crate::store::{LogQuery, LogRow, Matcher};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use skerry_model::UnixMillis;
use skerry_wire::{AnswerPart, AskKind};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Records that one answer has at most, and where nothing is asked.
const RECORDS_MAX: usize = 10_000;
const RECORDS_DEFAULT: usize = 200;
/// How long a node follows its logs without being asked again.
const FOLLOW_SECS: u32 = 60;
/// How often it is asked again. A live view says nothing at all while no line is written, so this also notices a
/// reader that has gone.
const PROLONG_EVERY: Duration = Duration::from_secs(20);

/// Newest records of a node that meet the query: `from_ms`, `to_ms`, `limit`, `contains`, `label.NAME`.
pub(super) async fn read(
    State(fleet): State<Fleet>,
    Path(name): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<LogList>, ApiError> {
    let node = existing(&fleet, &name).await?.node;
    let mut asked = LogQuery {
        node,
        from: UnixMillis(i64::MIN),
        to: UnixMillis(i64::MAX),
        limit: RECORDS_DEFAULT,
        contains: None,
        matchers: Vec::new(),
        before: None,
    };
    let bad = |key: &str| {
        let message =
            format!("{key}: from_ms, to_ms and limit as whole numbers, contains, and label.NAME=VALUE are understood");
        ApiError::new(StatusCode::BAD_REQUEST, "query_invalid", message)
    };
    for (key, value) in &query {
        let number = || value.parse::<i64>().map_err(|_| bad(key));
        match key.as_str() {
            "from_ms" => asked.from = UnixMillis(number()?),
            "to_ms" => asked.to = UnixMillis(number()?),
            "limit" => asked.limit = usize::try_from(number()?).map_err(|_| bad(key))?.min(RECORDS_MAX),
            "contains" => asked.contains = Some(value.clone().into_bytes()),
            _ => match key.strip_prefix("label.") {
                Some(label) => asked.matchers.push(Matcher::equal(label, value)),
                None => return Err(bad(key)),
            },
        }
    }
    let found = fleet.store.logs(asked).await?;
    Ok(Json(LogList {
        records: found.rows.iter().map(view).collect(),
        more: found.more,
        damaged_blocks: found.damaged_blocks,
    }))
}

fn view(row: &LogRow) -> LogView {
    LogView {
        at_ms: row.record.at.0,
        labels: pairs(&row.record.labels),
        level: row.record.level.as_str().into(),
        line: String::from_utf8_lossy(&row.record.line).into_owned(),
        id: Some(format!("{:016x}-{}-{}", row.epoch.0, row.position.seq.0, row.position.index)),
    }
}

/// Lines as the node reads them, one JSON object to a line, until either side ends it. Nothing of it is stored, and
/// nothing of it takes part in the durable path.
pub(super) async fn follow(State(fleet): State<Fleet>, Path(name): Path<String>) -> Result<Response, ApiError> {
    let node = existing(&fleet, &name).await?.node;
    let asked = fleet.asks.ask(&node, AskKind::FollowLogs { for_secs: FOLLOW_SECS }).await;
    let handle = asked.map_err(|error| match error {
        AskError::Unsent { source: SendError::NotConnected, .. } => {
            let message = format!(
                "node '{name}' is not connected, so nothing can be followed; without -f the stored lines are shown"
            );
            ApiError::new(StatusCode::CONFLICT, "node_gone", message)
        }
        error => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "follow_failed", error.to_string()),
    })?;
    let state = Follow { handle, ready: VecDeque::new(), prolong_at: Instant::now() + PROLONG_EVERY };
    let stream = futures_util::stream::unfold(state, |mut state| async move {
        let chunk = state.next().await?;
        Some((Ok::<_, Infallible>(chunk), state))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response())
}

struct Follow {
    handle: AskHandle,
    ready: VecDeque<Bytes>,
    prolong_at: Instant,
}

impl Follow {
    /// The next piece of the answer; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(chunk);
            }
            tokio::select! {
                part = self.handle.next() => match part? {
                    AnswerPart::Lines { lines, skipped } => {
                        let mut text = String::new();
                        if skipped > 0 {
                            text.push_str(&format!("{{\"skipped\":{skipped}}}\n"));
                        }
                        for line in lines {
                            let view = LogView {
                                at_ms: line.at.0,
                                labels: pairs(&line.labels),
                                level: line.level.as_str().into(),
                                line: line.line,
                                id: None,
                            };
                            // A view of texts and numbers has a JSON form.
                            text.push_str(&serde_json::to_string(&view).unwrap_or_default());
                            text.push('\n');
                        }
                        self.ready.push_back(Bytes::from(text));
                    }
                    _ => return None,
                },
                () = sleep_until(self.prolong_at) => {
                    self.prolong_at += PROLONG_EVERY;
                    if self.handle.prolong().await.is_err() {
                        return None;
                    }
                    // An empty line is no record, and finds out whether somebody still reads.
                    self.ready.push_back(Bytes::from_static(b"\n"));
                }
            }
        }
    }
}
