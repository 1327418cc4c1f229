//! What is scraped, for people: the page `/targets` and the text of `skerry-agent targets`, both made from what the API
//! tells everybody.

use crate::vitals::Vitals;
use axum::extract::State;
use axum::response::Html;
use serde::Deserialize;
use skerry_promapi::{Health, Target, Targets};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The answer of `/api/v1/targets`, as far as it is shown.
#[derive(Debug, Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    active_targets: Vec<Shown>,
    dropped_target_counts: BTreeMap<String, usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: String,
}

/// The targets as text: a block for each job and a line for each target, a failing one with its reason below.
///
/// # Errors
/// Where `body` is no answer of `/api/v1/targets`.
pub fn text(body: &[u8]) -> serde_json::Result<String> {
    let Answer { data } = serde_json::from_slice(body)?;
    let mut text = String::new();
    let mut pool = None;
    for target in &data.active_targets {
        if pool != Some(&target.scrape_pool) {
            let dropped = data.dropped_target_counts.get(&target.scrape_pool).copied().unwrap_or(0);
            let also = if dropped > 0 { format!(" ({dropped} more dropped by relabelling)") } else { String::new() };
            let _ = writeln!(text, "{}{also}", target.scrape_pool);
            pool = Some(&target.scrape_pool);
        }
        let labels: Vec<String> = target.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        let Shown { health, scrape_url, last_scrape, last_scrape_duration, .. } = target;
        let when = if health == "unknown" {
            "not scraped yet".to_owned()
        } else {
            format!("{last_scrape} in {:.0} ms", last_scrape_duration * 1000.0)
        };
        let _ = writeln!(text, "  {health:<7} {scrape_url}  {when}  {{{}}}", labels.join(","));
        if !target.last_error.is_empty() {
            let _ = writeln!(text, "          {}", target.last_error);
        }
    }
    if text.is_empty() {
        text.push_str("nothing is scraped: jobs stand in the section `scrape` of the agent's config\n");
    }
    Ok(text)
}

/// The page.
pub(super) async fn page(State(vitals): State<Vitals>) -> Html<String> {
    Html(html(&vitals.targets.targets()))
}

fn html(targets: &Targets) -> String {
    let mut page = String::from(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Targets</title><style>body{font-family:sans-serif;margin:2em}\
        table{border-collapse:collapse}td,th{border:1px solid #999;padding:.3em .6em;text-align:left;vertical-align:top}\
        .down{background:#fdd}.up{background:#dfd}</style><h1>Targets</h1>",
    );
    let _ = write!(page, "<p>{} active", targets.active.len());
    for (pool, count) in targets.dropped_counts.iter().filter(|(_, count)| **count > 0) {
        let _ = write!(page, "; job {}: {count} dropped by relabelling", escaped(pool));
    }
    page.push_str("</p><table><tr><th>Job<th>Target<th>State<th>Labels<th>Last scrape<th>Took<th>Error</tr>");
    for target in &targets.active {
        let Target { pool, labels, url, health, last_error, last_scrape, last_took, .. } = target;
        let state = match health {
            Health::Unknown => "unknown",
            Health::Up => "up",
            Health::Down => "down",
        };
        let at = last_scrape.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok());
        let at = at.map_or_else(String::new, |at| at.to_string());
        let (pool, url, labels) = (escaped(pool), escaped(url), escaped(&labels.to_string()));
        let _ = write!(
            page,
            "<tr class={state}><td>{pool}<td>{url}<td>{state}<td>{labels}<td>{at}<td>{} ms<td>{}</tr>",
            last_took.as_millis(),
            escaped(last_error)
        );
    }
    page.push_str("</table>");
    page
}

/// What targets and files say is text on a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{Labels, UnixMillis};
    use std::time::Duration;

    #[test]
    fn what_targets_say_is_text() {
        let target = Target {
            pool: "j".into(),
            discovered: Labels::default(),
            labels: Labels::new([("a", "<b>")]).unwrap(),
            url: "http://h/?a=1&b=2".into(),
            health: Health::Down,
            last_error: "line 1: <script>".into(),
            last_scrape: Some(UnixMillis(0)),
            last_took: Duration::from_millis(7),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
        };
        let page = html(&Targets { active: vec![target], ..Targets::default() });
        assert!(page.contains("a=&quot;&lt;b&gt;&quot;") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("<tr class=down>") && page.contains("<td>1970-01-01T00:00:00Z<td>7 ms"), "{page}");
    }

    #[test]
    fn the_text_names_jobs_targets_and_errors() {
        let body = r#"{"status":"success","data":{"activeTargets":[{"labels":{"job":"j","instance":"h:1"},"scrapePool":"j",
            "scrapeUrl":"http://h:1/metrics","lastError":"refused","lastScrape":"2026-01-01T00:00:00Z",
            "lastScrapeDuration":0.0021,"health":"down"}],"droppedTargets":[],"droppedTargetCounts":{"j":2}}}"#;
        let expected = "j (2 more dropped by relabelling)\n  down    http://h:1/metrics  2026-01-01T00:00:00Z in 2 ms  \
            {instance=\"h:1\",job=\"j\"}\n          refused\n";
        assert_eq!(text(body.as_bytes()).unwrap(), expected);
        let nothing = r#"{"data":{"activeTargets":[],"droppedTargetCounts":{}}}"#;
        assert!(text(nothing.as_bytes()).unwrap().contains("nothing is scraped"));
    }
}
