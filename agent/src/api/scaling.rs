//! Scaling for whoever stands beside the node: the routes, and the texts of `skerry-agent scale`.
//!
//! Answers are what the centre gets too, in the envelope of Prometheus's API: `{"status": "success", "data": […]}`.

use super::push::is_of_a_page;
use crate::query::Scales;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};
use skerry_promapi::{Params, Refusal};
use skerry_wire::{SCALING_TEXT_BYTES_MAX, ScalingAsk};
use std::fmt::Write;

pub(super) fn router(scales: Scales) -> Router {
    Router::new()
        .route("/api/v1/scaling", get(async |State(scales): State<Scales>| answer(&scales, ScalingAsk::List).await))
        .route(
            "/api/v1/scaling/recommend",
            get(async |State(scales): State<Scales>| answer(&scales, ScalingAsk::Recommend).await),
        )
        .route(
            "/api/v1/workloads",
            get(async |State(scales): State<Scales>| answer(&scales, ScalingAsk::Workloads).await),
        )
        .route("/api/v1/scaling/explain", get(explain).post(explain_text))
        .layer(DefaultBodyLimit::max(SCALING_TEXT_BYTES_MAX))
        .with_state(scales)
}

async fn explain(State(scales): State<Scales>, RawQuery(query): RawQuery) -> Response {
    match param(query, "policy") {
        Some(policy) => answer(&scales, ScalingAsk::Explain { policy }).await,
        None => refused(&Refusal { status: 400, kind: "bad_data", text: "?policy=NAME is expected".into() }),
    }
}

/// It changes nothing, and asks programs that this node allows how they are: not for pages in a browser.
async fn explain_text(
    State(scales): State<Scales>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if is_of_a_page(&headers) {
        return (StatusCode::FORBIDDEN, "questions of web pages are not taken\n").into_response();
    }
    let file = param(query, "file").unwrap_or_else(|| "policy.yaml".into());
    match String::from_utf8(body.into()) {
        Ok(text) => answer(&scales, ScalingAsk::Try { file, text }).await,
        Err(_) => refused(&Refusal { status: 400, kind: "bad_data", text: format!("{file} is no UTF-8") }),
    }
}

fn param(query: Option<String>, name: &str) -> Option<String> {
    Params::decode(query.unwrap_or_default().as_bytes(), &[]).first(name).map(str::to_owned)
}

async fn answer(scales: &Scales, ask: ScalingAsk) -> Response {
    match scales(ask).await {
        Ok(texts) => {
            let body = format!("{{\"status\":\"success\",\"data\":[{}]}}", texts.join(","));
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(refusal) => refused(&refusal),
    }
}

fn refused(Refusal { status, kind, text }: &Refusal) -> Response {
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = json!({"status": "error", "errorType": kind, "error": text}).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Policies as text: the body of `/api/v1/scaling`.
///
/// # Errors
/// What the agent said instead.
pub fn list_text(body: &[u8]) -> Result<String, String> {
    let policies = data(body)?;
    if policies.is_empty() {
        return Ok("no policies\n".into());
    }
    let number = |value: &Value| value.as_u64().map_or_else(|| "-".into(), |number| number.to_string());
    let mut rows =
        vec![["POLICY", "TARGET", "NOW", "WANTED", "MIN", "MAX", "PENDING", "METRICS", "STATE"].map(str::to_owned)];
    for one in &policies {
        let metrics: Vec<String> = items(&one["metrics"])
            .filter(|metric| !word(&metric["target"]).is_empty())
            .map(|metric| format!("{}/{}", or(&word(&metric["current"]), "?"), word(&metric["target"])))
            .collect();
        rows.push([
            word(&one["policy"]),
            word(&one["target"]),
            number(&one["current"]),
            number(&one["desired"]),
            number(&one["min"]),
            number(&one["max"]),
            number(&one["pending"]),
            or(&metrics.join(", "), "-"),
            state(one),
        ]);
    }
    Ok(table(&rows))
}

/// Recommendations as text: the body of `/api/v1/scaling/recommend`. Amounts as Kubernetes writes them, with the range that
/// is as well.
///
/// # Errors
/// What the agent said instead.
pub fn recommended_text(body: &[u8]) -> Result<String, String> {
    let all = data(body)?;
    if all.is_empty() {
        return Ok("nothing is known of containers yet\n".into());
    }
    let amount = |of: &Value, unit: u64, suffix: &str| {
        let [target, lower, upper] =
            ["target", "lower", "upper"].map(|key| of[key].as_u64().map(|amount| amount.div_ceil(unit)));
        let shown = |amount: Option<u64>| amount.map_or_else(|| "-".into(), |amount| format!("{amount}{suffix}"));
        format!("{} ({} to {})", shown(target), shown(lower), shown(upper))
    };
    let mut rows = vec![["TARGET", "CONTAINER", "CPU", "MEMORY", "MODE", "POLICY"].map(str::to_owned)];
    for one in &all {
        let (target, container) = (word(&one["target"]), word(&one["container"]));
        let (cpu, memory) = (amount(&one["cpu"], 1, "m"), amount(&one["memory"], 1 << 20, "Mi"));
        rows.push([target, container, cpu, memory, word(&one["mode"]), or(&word(&one["policy"]), "-")]);
    }
    Ok(table(&rows))
}

/// Workloads as text: the body of `/api/v1/workloads`.
///
/// # Errors
/// What the agent said instead.
pub fn workloads_text(body: &[u8]) -> Result<String, String> {
    let all = data(body)?;
    let mut out = String::new();
    if all.is_empty() {
        out.push_str("no workloads\n");
    }
    let shown = |value: &Value| if value.is_string() { word(value) } else { value.to_string() };
    for one in &all {
        let [name, ready, wanted, updated, condition, message] =
            ["workload", "ready", "wanted", "updated", "condition", "message"].map(|key| shown(&one[key]));
        let scaled = match one["declared"].as_u64() {
            Some(declared) if one["wanted"] != declared => format!(" (declared {declared})"),
            _ => String::new(),
        };
        // Writing to a text does not fail.
        let _ = writeln!(out, "{name}  {ready}/{wanted} ready{scaled}, {updated} updated  {condition}: {message}");
        for container in one["containers"].as_array().into_iter().flatten() {
            let [name, image, state, reason, restarts, message] =
                ["name", "image", "state", "reason", "restarts", "message"].map(|key| shown(&container[key]));
            let ready = if container["ready"] == true { "ready" } else { "not ready" };
            let left = container["starts_in_ms"].as_u64().map(|ms| format!(", again in {} s", ms.div_ceil(1000)));
            let why = [reason, message].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ");
            let why = if why.is_empty() { why } else { format!("  {why}") };
            let _ = writeln!(
                out,
                "  {name}  {image}  {state}, {ready}, {restarts} restarts{}{why}",
                left.unwrap_or_default()
            );
        }
    }
    Ok(out)
}

fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// What is wrong, or else that nothing is.
fn state(policy: &Value) -> String {
    if policy["paused"] == true {
        return "paused".into();
    }
    let is_wrong = |condition: &&Value| match word(&condition["kind"]).as_str() {
        "ScalingLimited" => condition["status"] == "True",
        _ => condition["status"] == "False",
    };
    let reasons: Vec<String> =
        items(&policy["conditions"]).filter(is_wrong).map(|condition| word(&condition["reason"])).collect();
    if items(&policy["conditions"]).next().is_none() { "new".into() } else { or(&reasons.join(","), "ok") }
}

/// Explanations as text: the body of `/api/v1/scaling/explain`.
///
/// # Errors
/// What the agent said instead.
pub fn explain_texts(body: &[u8]) -> Result<String, String> {
    let texts: Vec<String> = data(body)?.iter().map(|one| plain(one["text"].as_str().unwrap_or_default())).collect();
    Ok(texts.join("\n"))
}

/// What an answer holds.
///
/// # Errors
/// What the agent said instead.
pub fn data(body: &[u8]) -> Result<Vec<Value>, String> {
    let mut answer: Value = serde_json::from_slice(body).map_err(|error| format!("the agent's answer: {error}"))?;
    match (answer["data"].take(), answer["error"].as_str()) {
        (Value::Array(data), None) => Ok(data),
        (_, error) => Err(error.unwrap_or("the agent's answer has no data").to_owned()),
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn or(text: &str, other: &str) -> String {
    if text.is_empty() { other } else { text }.to_owned()
}

fn word(value: &Value) -> String {
    plain(value.as_str().unwrap_or_default()).replace('\n', " ")
}

/// What a text holds moves no cursor.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_a_table() {
        let body = br#"{"status":"success","data":[
            {"policy":"web","target":"Exec//bin/x","paused":false,"min":1,"max":5,"current":2,"desired":4,"pending":1,
             "metrics":[{"metric":"External q","current":"7","target":"2 on average","replicas":4},{"metric":"trigger","target":""},
                        {"metric":"Resource cpu","current":"","target":"50%","error":"no"}],
             "conditions":[{"kind":"AbleToScale","status":"True","reason":"ReadyForNewScale"},
                           {"kind":"ScalingLimited","status":"True","reason":"TooManyReplicas"}]},
            {"policy":"b\u001b","target":"t","paused":true,"min":0,"max":1,"pending":0}]}"#;
        let text = list_text(body).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[1],
            ["web", "Exec//bin/x", "2", "4", "1", "5", "1", "7/2 on average, ?/50%", "TooManyReplicas"]
        );
        assert_eq!(lines[2], ["b", "t", "-", "-", "0", "1", "0", "-", "paused"]);
        assert_eq!(list_text(b"{\"data\":[]}").unwrap(), "no policies\n");
        assert_eq!(list_text(br#"{"status":"error","error":"no"}"#), Err("no".into()));
        assert!(list_text(b"x").is_err());
    }

    #[test]
    fn recommendations_are_a_table() {
        let body =
            br#"{"data":[{"target":"Container/web","container":"web\u001b","policy":null,"mode":"Off","samples":9,
            "cpu":{"target":250,"lower":25,"upper":900},"memory":{"target":262144001,"lower":1048576,"upper":null}}]}"#;
        let text = recommended_text(body).unwrap();
        let row = text.lines().nth(1).unwrap();
        assert!(row.starts_with("Container/web  web "), "{text}");
        assert!(row.contains("250m (25m to 900m)") && row.contains("251Mi (1Mi to -)"), "{text}");
        assert!(recommended_text(b"{\"data\":[]}").unwrap().starts_with("nothing"));
    }
}
