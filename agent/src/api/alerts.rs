//! Alerts for whoever stands beside the node: the text of `skerry-agent alerts`, made of what Prometheus's and
//! Alertmanager's APIs tell everybody.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write;

type Texts = BTreeMap<String, String>;

/// The answer of `/api/v1/alerts`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Debug, Deserialize)]
struct Data {
    alerts: Vec<Waiting>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Waiting {
    labels: Texts,
    #[serde(default)]
    annotations: Texts,
    state: String,
    active_at: String,
}

/// An entry of `/api/v2/alerts`, as far as it is shown.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Routed {
    labels: Texts,
    #[serde(default)]
    annotations: Texts,
    starts_at: String,
    status: Status,
    receivers: Vec<Receiver>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    silenced_by: Vec<String>,
    #[serde(default)]
    inhibited_by: Vec<String>,
    #[serde(default)]
    muted_by: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Receiver {
    name: String,
}

/// Alerts as text, those that fire first. `waiting` is the body of `/api/v1/alerts`, `routed` that of `/api/v2/alerts`.
///
/// # Errors
/// Where they are no such answers.
pub fn text(waiting: &[u8], routed: &[u8]) -> serde_json::Result<String> {
    let waiting: Answer = serde_json::from_slice(waiting)?;
    let routed: Vec<Routed> = serde_json::from_slice(routed)?;
    let mut rows: Vec<[String; 5]> = Vec::new();
    for Routed { labels, starts_at, status, receivers, .. } in &routed {
        let state = match status {
            Status { silenced_by, .. } if !silenced_by.is_empty() => "silenced",
            Status { inhibited_by, .. } if !inhibited_by.is_empty() => "inhibited",
            Status { muted_by, .. } if !muted_by.is_empty() => "muted",
            _ => "FIRING",
        };
        let receivers: Vec<&str> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
        rows.push([state.to_owned(), name(labels), second(starts_at), others(labels), receivers.join(",")]);
    }
    let pending = || waiting.data.alerts.iter().filter(|alert| alert.state == "pending");
    for Waiting { labels, active_at, .. } in pending() {
        rows.push(["pending".into(), name(labels), second(active_at), others(labels), String::new()]);
    }
    if rows.is_empty() {
        return Ok("no alerts\n".to_owned());
    }
    let said = routed.iter().map(|alert| &alert.annotations).chain(pending().map(|alert| &alert.annotations));
    let said = said.map(|texts| texts.get("summary").or_else(|| texts.get("description")).cloned().unwrap_or_default());
    let head = ["STATE", "ALERT", "SINCE (UTC)", "LABELS", "RECEIVERS"].map(str::to_owned);
    let width = |at: usize| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 5] = std::array::from_fn(width);
    let mut text = String::new();
    let line = |row: &[String; 5]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let _ = writeln!(text, "{}", line(&head));
    for (row, said) in rows.iter().zip(said) {
        let _ = writeln!(text, "{}", line(row));
        if !said.is_empty() {
            let _ = writeln!(text, "  {}", harmless(&said));
        }
    }
    Ok(text)
}

fn name(labels: &Texts) -> String {
    harmless(labels.get("alertname").map_or("", String::as_str))
}

fn others(labels: &Texts) -> String {
    let others = labels.iter().filter(|(name, _)| *name != "alertname");
    others.map(|(name, value)| format!("{name}={}", harmless(value))).collect::<Vec<_>>().join(",")
}

/// A time without its fractions.
fn second(at: &str) -> String {
    at.chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

/// What a text holds moves no cursor.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fires_stands_first_with_what_it_says() {
        let waiting = br#"{"status":"success","data":{"alerts":[
            {"labels":{"alertname":"Hot","a":"b"},"annotations":{},"state":"firing","activeAt":"2026-01-01T00:00:00Z","value":"1e+00"},
            {"labels":{"alertname":"Warm"},"annotations":{},"state":"pending","activeAt":"2026-01-01T00:00:10.5Z","value":"1e+00"}]}}"#;
        let routed = br#"[{"labels":{"alertname":"Hot","a":"b\u001b"},"annotations":{"summary":"too hot"},"startsAt":"2026-01-01T00:00:05.123Z",
            "endsAt":"2026-01-01T00:05:05Z","status":{"state":"active","silencedBy":[],"inhibitedBy":[],"mutedBy":[]},"receivers":[{"name":"site"}]},
            {"labels":{"alertname":"Dark"},"annotations":{},"startsAt":"2026-01-01T00:00:05Z",
            "status":{"state":"suppressed","silencedBy":["1"],"inhibitedBy":[]},"receivers":[]}]"#;
        let expected = "\
STATE      ALERT  SINCE (UTC)          LABELS  RECEIVERS
FIRING     Hot    2026-01-01 00:00:05  a=b     site
  too hot
silenced   Dark   2026-01-01 00:00:05
pending    Warm   2026-01-01 00:00:10
";
        let shown = text(waiting, routed).unwrap();
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), expected.split_whitespace().collect::<Vec<_>>());
        assert!(shown.starts_with("STATE "), "{shown}");
        assert_eq!(text(br#"{"data":{"alerts":[]}}"#, b"[]").unwrap(), "no alerts\n");
        assert!(text(b"{}", b"[]").is_err());
    }
}
