//! Whether two programs told the same.

use super::recorder::Webhook;
use anyhow::ensure;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// How far apart in time the same notice may come.
const APART: Duration = Duration::from_millis(1500);

/// Notices by the receiver's path and the group, in the order in which they came.
type Told<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Webhook>>;

fn told(webhooks: &[Webhook]) -> Told<'_> {
    let mut told = Told::new();
    for webhook in webhooks {
        let group = webhook.body["groupKey"].as_str().unwrap_or_default();
        told.entry((webhook.path.as_str(), group)).or_default().push(webhook);
    }
    told
}

/// A notice without what may differ: how many digits a time has.
fn essence(webhook: &Webhook) -> Value {
    let mut body = webhook.body.clone();
    if let Some(alerts) = body["alerts"].as_array_mut() {
        for alert in alerts {
            for key in ["startsAt", "endsAt"] {
                let text = alert[key].as_str().unwrap_or_default().trim_end_matches('Z').to_owned();
                let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
                alert[key] = Value::from(text);
            }
        }
    }
    body
}

/// Notices as lines for people.
#[must_use]
pub fn lines(webhooks: &[Webhook]) -> String {
    let mut text = String::new();
    for webhook in webhooks {
        let alerts = webhook.body["alerts"].as_array().map_or(&[][..], Vec::as_slice);
        let alert = |alert: &Value| format!("{} {}", alert["status"], alert["labels"]);
        let alerts: Vec<String> = alerts.iter().map(alert).collect();
        let (path, at, answered) = (&webhook.path, webhook.at.as_secs_f64(), webhook.answered);
        let _ = writeln!(
            text,
            "  {at:7.3} {path} {answered} {} {} [{}]",
            webhook.body["groupKey"],
            webhook.body["status"],
            alerts.join(", ")
        );
    }
    text
}

/// Compares what ours told with what theirs told: the same notices to each receiver about each group, in the same order,
/// to the letter, at about the same time. How many there were.
///
/// # Errors
/// With the first difference, and all that both told.
pub fn compare(ours: &[Webhook], theirs: &[Webhook]) -> anyhow::Result<usize> {
    let both = || format!("ours:\n{}theirs:\n{}", lines(ours), lines(theirs));
    let (our_groups, their_groups) = (told(ours), told(theirs));
    let names = |told: &Told<'_>| told.keys().map(|(path, group)| format!("{path} {group}")).collect::<Vec<_>>();
    ensure!(names(&our_groups) == names(&their_groups), "other groups were told\n{}", both());
    for ((key, ours), theirs) in our_groups.iter().zip(their_groups.values()) {
        ensure!(ours.len() == theirs.len(), "{key:?}: {} notices, theirs {}\n{}", ours.len(), theirs.len(), both());
        for (number, (our, their)) in ours.iter().zip(theirs).enumerate() {
            let (our_body, their_body) = (essence(our), essence(their));
            ensure!(our_body == their_body, "{key:?} {number}:\n{our_body:#}\ntheirs\n{their_body:#}\n{}", both());
            ensure!(our.answered == their.answered, "{key:?} {number}: answered differently\n{}", both());
            let apart = our.at.max(their.at) - our.at.min(their.at);
            ensure!(apart <= APART, "{key:?} {number}: {apart:?} apart\n{}", both());
        }
    }
    Ok(ours.len())
}
