//! What a receiver's answer means, by the rules of Alertmanager: success ends it, overload and the server's own faults
//! are worth another try, what the server calls our fault is not.

use super::Outcome;
use serde_json::Value;
use skerry_model::UnixMillis;
use std::time::Duration;

/// Longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Most characters of a receiver's words that are repeated.
const WORDS_MAX: usize = 300;
/// Longest answer that is read, in bytes: enough for the words, and for what chats answer.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Judges an answer: `kind` is that of the integration, `retry_after` the header of this name, `body` as much of the
/// answer as was read, at most [`ANSWER_BYTES_MAX`].
#[must_use]
pub fn judge_http(kind: &str, status: u16, retry_after: Option<&str>, body: &[u8], now: UnixMillis) -> Outcome {
    let words = words(body);
    let error = if words.is_empty() { format!("HTTP {status}") } else { format!("HTTP {status}: {words}") };
    let json = || serde_json::from_slice::<Value>(body).ok().filter(Value::is_object);
    let is_limited = |at: &str| {
        let after = retry_after.and_then(|text| pause(text, now));
        let said = json().and_then(|answer| answer.pointer(at)?.as_f64());
        // Discord and Telegram say it in their answers, more exactly.
        let said = said.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        after.max(said).map(|pause| pause.min(RETRY_AFTER_MAX))
    };
    match status {
        200..=299 => match kind {
            "slack" => slack(json(), &words),
            "telegram" | "pushover" => refused(json(), &error),
            "msteams" => teams(&words),
            _ => Outcome::Sent,
        },
        300..=399 => Outcome::failed(format!("{error}; the redirect is not followed")),
        429 => {
            let at = if kind == "telegram" { "/parameters/retry_after" } else { "/retry_after" };
            Outcome::Retry { error, after: is_limited(at) }
        }
        // The first version of PagerDuty's API said so when it was called too often.
        403 if kind == "pagerduty" => Outcome::retry(error),
        500..=599 => Outcome::Retry { error, after: retry_after.and_then(|text| pause(text, now)) },
        _ => Outcome::failed(error),
    }
}

/// A text with its addresses cut behind the host: what follows is often the secret itself.
#[must_use]
pub fn without_paths(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let behind = at + "://".len();
        let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '<' | '>');
        let url = rest[behind..].find(ends).map_or(rest.len(), |length| behind + length);
        let authority = rest[behind..url].find(['/', '?', '#']).map_or(url, |length| behind + length);
        // A user and password may stand before the host.
        let host = rest[behind..authority].rfind('@').map_or(behind, |length| behind + length + 1);
        out.push_str(&rest[..behind]);
        out.push_str(&rest[host..authority]);
        rest = &rest[url..];
    }
    out + rest
}

/// Slack answers 200 also where it took nothing: webhooks by a text other than `ok`, the API by `"ok": false`.
fn slack(answer: Option<Value>, words: &str) -> Outcome {
    match answer {
        Some(answer) => match answer.get("ok").and_then(Value::as_bool) {
            Some(false) => {
                let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
                let text = format!("Slack refused it: {error}");
                if error == "ratelimited" { Outcome::retry(text) } else { Outcome::failed(text) }
            }
            _ => Outcome::Sent,
        },
        None if words.is_empty() || words == "ok" => Outcome::Sent,
        None => Outcome::failed(format!("Slack refused it: {words}")),
    }
}

/// Telegram has `"ok": false`, Pushover a `status` other than 1.
fn refused(answer: Option<Value>, error: &str) -> Outcome {
    let Some(answer) = answer else { return Outcome::Sent };
    let is_refused = answer.get("ok") == Some(&Value::Bool(false))
        || answer.get("status").and_then(Value::as_i64).is_some_and(|status| status != 1);
    if is_refused { Outcome::failed(error) } else { Outcome::Sent }
}

/// Connectors of Teams answer 200 with what the service behind them said.
fn teams(words: &str) -> Outcome {
    if !words.contains("Webhook message delivery failed") {
        return Outcome::Sent;
    }
    let is_busy = ["error 429", "error 5"].iter().any(|text| words.contains(text));
    let text = format!("Teams refused it: {words}");
    if is_busy { Outcome::retry(text) } else { Outcome::failed(text) }
}

/// The pause that a `Retry-After` asks for: seconds, or a date.
fn pause(text: &str, now: UnixMillis) -> Option<Duration> {
    let text = text.trim();
    let pause = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?;
            UnixMillis(at.timestamp().as_millisecond()).since(now)
        }
    };
    Some(pause.min(RETRY_AFTER_MAX))
}

/// The beginning of an answer, on one line.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * WORDS_MAX)]);
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.trim().chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    enum Means {
        Sent,
        Retry(Option<u64>),
        Failed,
    }

    fn judged(kind: &str, status: u16, after: Option<&str>, body: &str) -> Means {
        // 2026-11-21T04:00:00Z
        match judge_http(kind, status, after, body.as_bytes(), UnixMillis(1_795_233_600_000)) {
            Outcome::Sent => Means::Sent,
            Outcome::Retry { after, .. } => Means::Retry(after.map(|after| after.as_secs())),
            Outcome::Failed { .. } => Means::Failed,
        }
    }

    #[test]
    fn answers_are_judged_by_kind() {
        use Means::{Failed, Retry, Sent};
        let cases: &[(&str, u16, Option<&str>, &str, Means)] = &[
            ("webhook", 200, None, "whatever", Sent),
            ("webhook", 204, None, "", Sent),
            ("webhook", 302, None, "", Failed),
            ("webhook", 400, None, "", Failed),
            ("webhook", 403, None, "", Failed),
            ("webhook", 429, Some("7"), "", Retry(Some(7))),
            ("webhook", 500, None, "", Retry(None)),
            ("webhook", 503, Some("99999999"), "", Retry(Some(3600))),
            ("webhook", 503, Some("Sat, 21 Nov 2026 04:00:30 GMT"), "", Retry(Some(30))),
            ("webhook", 503, Some("soon"), "", Retry(None)),
            ("slack", 200, None, "ok", Sent),
            ("slack", 200, None, r#"{"ok":true}"#, Sent),
            ("slack", 200, None, r#"{"ok":false,"error":"channel_not_found"}"#, Failed),
            ("slack", 200, None, r#"{"ok":false,"error":"ratelimited"}"#, Retry(None)),
            ("slack", 200, None, "invalid_payload", Failed),
            ("slack", 404, None, "no_service", Failed),
            ("slack", 429, Some("3"), "", Retry(Some(3))),
            ("pagerduty", 202, None, r#"{"status":"success"}"#, Sent),
            ("pagerduty", 400, None, r#"{"status":"invalid event"}"#, Failed),
            ("pagerduty", 403, None, "", Retry(None)),
            ("pagerduty", 429, None, "", Retry(None)),
            ("telegram", 200, None, r#"{"ok":true,"result":{}}"#, Sent),
            ("telegram", 200, None, r#"{"ok":false}"#, Failed),
            ("telegram", 400, None, r#"{"ok":false,"description":"chat not found"}"#, Failed),
            ("telegram", 429, None, r#"{"ok":false,"parameters":{"retry_after":12}}"#, Retry(Some(12))),
            ("pushover", 200, None, r#"{"status":1}"#, Sent),
            ("pushover", 200, None, r#"{"status":0}"#, Failed),
            ("pushover", 400, None, r#"{"user":"invalid","status":0}"#, Failed),
            ("pushover", 500, None, "", Retry(None)),
            ("discord", 204, None, "", Sent),
            ("discord", 429, None, r#"{"retry_after":4.5}"#, Retry(Some(4))),
            ("opsgenie", 202, None, "", Sent),
            ("opsgenie", 422, None, "", Failed),
            ("msteams", 200, None, "1", Sent),
            ("msteams", 200, None, "Webhook message delivery failed with error: HTTP error 429", Retry(None)),
            ("msteams", 200, None, "Webhook message delivery failed with error: HTTP error 400", Failed),
            ("msteamsv2", 202, None, "", Sent),
        ];
        for (kind, status, after, body, expected) in cases {
            assert_eq!(&judged(kind, *status, *after, body), expected, "{kind} {status} {after:?} {body}");
        }
    }

    #[test]
    fn addresses_lose_what_may_be_secret() {
        for (text, expected) in [
            ("http://h:1/bot:S/x did not answer", "http://h:1 did not answer"),
            ("\"https://u:S@h?S\" is no address: https://i", "\"https://h\" is no address: https://i"),
            ("plain a://", "plain a://"),
            ("://", "://"),
        ] {
            assert_eq!(without_paths(text), expected);
        }
    }

    #[test]
    fn words_of_receivers_are_bounded_and_on_one_line() {
        let long = format!("a\nb\u{1b}[31m{}", "x".repeat(100_000));
        let Outcome::Failed { error } = judge_http("webhook", 400, None, long.as_bytes(), UnixMillis(0)) else {
            panic!("it is final")
        };
        assert!(error.starts_with("HTTP 400: a b [31m") && error.len() < 400, "{error}");
        let half = [b'x', 0xff, 0xc3];
        assert!(judge_http("webhook", 400, None, &half, UnixMillis(0)).error().is_some());
    }
}
