//! Log lines for people: the text of `skerry-agent logs`, made of what Loki's API tells everybody.

use async_tungstenite::tokio::client_async;
use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use serde::Deserialize;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Why lines cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The answer is another one than expected.
    #[error("the agent's answer has another form than expected")]
    Form(#[from] serde_json::Error),
    /// The agent is not reached.
    #[error("connect to {address}; is the agent running?")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The live view was refused, or broke off.
    #[error("the live view: {0}")]
    Live(String),
}

#[derive(Deserialize)]
struct Answer {
    data: Streams,
}

#[derive(Deserialize)]
struct Streams {
    #[serde(alias = "result")]
    streams: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    values: Vec<(String, String)>,
}

/// The entries of an answer of `query_range` as text, oldest first; with `is_raw` without their times.
///
/// # Errors
/// [`ShowError::Form`], also where the query makes numbers.
pub fn logs_text(body: &[u8], is_raw: bool) -> Result<String, ShowError> {
    Ok(text(serde_json::from_slice::<Answer>(body)?.data, is_raw))
}

fn text(answer: Streams, is_raw: bool) -> String {
    let mut entries: Vec<(i64, String)> = Vec::new();
    for (at, line) in answer.streams.into_iter().flat_map(|stream| stream.values) {
        entries.push((at.parse().unwrap_or_default(), line));
    }
    entries.sort_by_key(|(at, _)| *at);
    let mut text = String::new();
    for (nanos, line) in entries {
        if !is_raw {
            let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
            text.push_str(&format!("{at:.3}  "));
        }
        // What a line holds moves no cursor.
        text.extend(line.chars().map(|c| if c.is_control() && c != '\t' && !is_raw { ' ' } else { c }));
        text.push('\n');
    }
    text
}

/// Shows entries as they are read, until the agent ends it. `query` is percent-encoded.
///
/// # Errors
/// [`ShowError`], also of `show`.
pub async fn follow_logs(
    address: SocketAddr,
    query: &str,
    is_raw: bool,
    mut show: impl FnMut(&str) -> Result<(), String>,
) -> Result<(), ShowError> {
    let live = |error: &dyn std::fmt::Display| ShowError::Live(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(|source| ShowError::Connect { address, source })?;
    let url = format!("ws://{address}/loki/api/v1/tail?{query}");
    let (mut socket, _) = client_async(url, stream).await.map_err(|error| live(&error))?;
    while let Some(message) = socket.next().await {
        match message.map_err(|error| live(&error))? {
            Message::Text(message) => {
                show(&text(serde_json::from_str(&message)?, is_raw)).map_err(ShowError::Live)?;
            }
            Message::Close(_) => break,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_by_time_with_what_they_hold_made_harmless() {
        let body = r#"{"status":"success","data":{"resultType":"streams","result":[
            {"stream":{"a":"b"},"values":[["2000000000","two"],["1000000000","one\u001b[2J"]]},
            {"stream":{},"values":[["1500000000","between"]]}]}}"#;
        let expected =
            "1970-01-01T00:00:01.000Z  one [2J\n1970-01-01T00:00:01.500Z  between\n1970-01-01T00:00:02.000Z  two\n";
        assert_eq!(logs_text(body.as_bytes(), false).unwrap(), expected);
        assert_eq!(logs_text(body.as_bytes(), true).unwrap(), "one\u{1b}[2J\nbetween\ntwo\n");
        let numbers = r#"{"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"2"]}]}}"#;
        assert_eq!(logs_text(numbers.as_bytes(), true).unwrap(), "");
    }
}
