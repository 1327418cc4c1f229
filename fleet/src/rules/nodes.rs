//! What the fleet knows of each node, as series that rules and queries read like any others.
//!
//! All have the label `node` and the labels that the admins signed for it. They speak of approved nodes alone; a node
//! that is revoked or forgotten ends them.

use super::contact::{CONNECTED, Contact, Outages};
use skerry_model::{Labels, NodeId, Span, StreamName, UnixMillis};
use skerry_promapi::{with_node, with_signed};
use skerry_seal::Revision;
use skerry_wire::{Backlog, ConfigState};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// The signed label that says how long a node is normally silent at most, such as `24h`.
pub const CONTACT_LABEL: &str = "contact_interval";

/// Name and meaning of every series, for the reference.
pub const REFERENCE: &[(&str, &str)] = &[
    ("skerry_fleet_node_connected", "1 while the node holds a connection, else 0"),
    ("skerry_fleet_node_last_contact_timestamp_seconds", "when the node was heard last, by the fleet's clock"),
    (
        "skerry_fleet_node_silent_seconds",
        "how long the node has been silent; time at which the fleet server itself did not run does not count",
    ),
    (
        "skerry_fleet_node_contact_interval_seconds",
        "how long the node is normally silent at most: the signed label contact_interval, else as learnt, else 200",
    ),
    ("skerry_fleet_node_certificate_expiry_timestamp_seconds", "until when its certificate lasts"),
    ("skerry_fleet_node_backlog", "numbers that it holds unacknowledged, by stream, as it said last"),
    ("skerry_fleet_node_backlog_age_seconds", "age of the oldest of them when it said so, by stream"),
    ("skerry_fleet_node_clock_offset_seconds", "by how much its clock was ahead of the fleet's when it told its time"),
    ("skerry_fleet_node_time_untrusted", "1 where the node itself does not trust its clock, else 0"),
    (
        "skerry_fleet_node_config_drift_seconds",
        "for how long a newer signed revision than the one it runs has been here, by config stream; 0 in step",
    ),
    ("skerry_fleet_node_losses_total", "entries of its loss ledger"),
    ("skerry_fleet_node_quarantined_total", "numbers whose content could not be read and was kept aside"),
];

/// What is known of a node at a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// What the admins signed for it.
    pub(super) signed: BTreeMap<String, String>,
    /// Whether it holds a connection.
    pub(super) connected: bool,
    /// When it was heard last; before that, when it was given its certificate.
    pub(super) last: Option<UnixMillis>,
    /// Until when its certificate lasts.
    pub(super) cert_not_after: Option<UnixMillis>,
    /// What waits on it, and its own time when it said so.
    pub(super) backlog: Option<(UnixMillis, Vec<Backlog>)>,
    /// Whether it trusts its clock.
    pub(super) time_trusted: Option<bool>,
    /// For how long a newer revision has been here, by stream.
    pub(super) drift: Vec<(StreamName, Duration)>,
    /// Entries of its loss ledger.
    pub(super) losses: u64,
    /// Numbers in quarantine.
    pub(super) quarantined: u64,
}

/// A node's label sets, made once.
#[derive(Debug, Default)]
pub(super) struct Shown {
    signed: BTreeMap<String, String>,
    series: HashMap<(&'static str, String), Labels>,
}

/// The series of a node at `now`.
pub(super) fn rows(
    node: &NodeId,
    facts: &Facts,
    contact: Option<&Contact>,
    outages: &Outages,
    now: UnixMillis,
    shown: &mut Shown,
) -> Vec<(Labels, f64)> {
    if shown.signed != facts.signed {
        *shown = Shown { signed: facts.signed.clone(), series: HashMap::new() };
    }
    let mut rows = Vec::with_capacity(16);
    let mut row = |name: &'static str, stream: &str, value: f64| {
        let key = (name, stream.to_owned());
        let labels = shown.series.entry(key).or_insert_with(|| labels(name, stream, node, &facts.signed)).clone();
        rows.push((labels, value));
    };
    row("skerry_fleet_node_connected", "", flag(facts.connected));
    if let Some(last) = facts.last {
        row("skerry_fleet_node_last_contact_timestamp_seconds", "", last.as_secs_f64());
        let silent = outages.listened(last, now);
        row("skerry_fleet_node_silent_seconds", "", silent.as_secs_f64());
    }
    let interval = expected(&facts.signed, contact);
    row("skerry_fleet_node_contact_interval_seconds", "", interval.as_secs_f64());
    if let Some(until) = facts.cert_not_after {
        row("skerry_fleet_node_certificate_expiry_timestamp_seconds", "", until.as_secs_f64());
    }
    if let Some((at, backlog)) = &facts.backlog {
        for waits in backlog {
            let stream = waits.stream.as_str();
            row("skerry_fleet_node_backlog", stream, waits.waiting as f64);
            let age = waits.oldest.filter(|_| waits.waiting > 0).map_or(Duration::ZERO, |oldest| at.since(oldest));
            row("skerry_fleet_node_backlog_age_seconds", stream, age.as_secs_f64());
        }
    }
    if let Some(offset_ms) = contact.and_then(|contact| contact.offset_ms) {
        row("skerry_fleet_node_clock_offset_seconds", "", UnixMillis(offset_ms).as_secs_f64());
    }
    if let Some(trusted) = facts.time_trusted {
        row("skerry_fleet_node_time_untrusted", "", flag(!trusted));
    }
    for (stream, behind) in &facts.drift {
        row("skerry_fleet_node_config_drift_seconds", &stream.to_string(), behind.as_secs_f64());
    }
    row("skerry_fleet_node_losses_total", "", facts.losses as f64);
    row("skerry_fleet_node_quarantined_total", "", facts.quarantined as f64);
    rows
}

fn flag(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn labels(name: &str, stream: &str, node: &NodeId, signed: &BTreeMap<String, String>) -> Labels {
    let own = [("__name__", name), ("stream", stream)].into_iter().filter(|(_, value)| !value.is_empty());
    // Two short labels of our own are within every bound.
    let own = Labels::new(own).unwrap_or_default();
    with_signed(&with_node(&own, node), signed.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}

/// How long a node is normally silent at most.
fn expected(signed: &BTreeMap<String, String>, contact: Option<&Contact>) -> Duration {
    let told = signed.get(CONTACT_LABEL).and_then(|text| text.parse::<Span>().ok()).map(|span| span.0);
    told.filter(|span| !span.is_zero()).or_else(|| contact.map(Contact::expected)).unwrap_or(CONNECTED)
}

/// For how long newer revisions of its streams have been here than those that a node runs. `revisions` are those of each
/// stream with the time at which they came in.
pub(super) fn drift<'a>(
    streams: impl Iterator<Item = &'a StreamName>,
    assigned: UnixMillis,
    running: &[ConfigState],
    revisions: &HashMap<StreamName, Vec<(Revision, UnixMillis)>>,
    now: UnixMillis,
) -> Vec<(StreamName, Duration)> {
    let of = |stream: &StreamName| {
        let all = revisions.get(stream)?;
        let runs = running.iter().find(|config| config.stream == *stream);
        let runs = runs.map(|config| Revision::new(config.epoch, config.version));
        let newer = all.iter().filter(|(revision, _)| runs.is_none_or(|runs| runs < *revision));
        let since = newer.map(|(_, received)| *received).min().map(|since| since.max(assigned));
        Some((stream.clone(), since.map_or(Duration::ZERO, |since| now.since(since))))
    };
    streams.filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::node;
    use skerry_model::StreamKind;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn signed(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn value(rows: &[(Labels, f64)], name: &str, stream: &str) -> Option<f64> {
        let of = |labels: &Labels| labels.metric() == name && labels.value("stream") == stream;
        rows.iter().find(|(labels, _)| of(labels)).map(|(_, value)| *value)
    }

    #[test]
    fn a_node_is_shown_with_what_was_signed_for_it() {
        let facts = Facts {
            signed: signed(&[("site", "lab"), (CONTACT_LABEL, "24h")]),
            connected: true,
            last: Some(UnixMillis(NOW.0 - 5_000)),
            cert_not_after: Some(NOW),
            backlog: Some((
                NOW,
                vec![
                    Backlog { stream: StreamKind::Logs, waiting: 3, oldest: Some(UnixMillis(NOW.0 - 90_000)) },
                    Backlog { stream: StreamKind::Metrics, waiting: 0, oldest: Some(UnixMillis(0)) },
                ],
            )),
            time_trusted: Some(false),
            drift: vec![("group/edge".parse().unwrap(), Duration::from_secs(7))],
            losses: 2,
            quarantined: 1,
        };
        let mut contact = Contact::new(UnixMillis(NOW.0 - 5_000));
        contact.offset_ms = Some(-1_500);
        let mut shown = Shown::default();
        let rows = rows(&node("a"), &facts, Some(&contact), &Outages::default(), NOW, &mut shown);
        assert!(rows.iter().all(|(labels, _)| labels.value("node") == "a" && labels.value("site") == "lab"));
        let cases = [
            ("connected", "", 1.0),
            ("last_contact_timestamp_seconds", "", 1_799_999_995.0),
            ("silent_seconds", "", 5.0),
            ("contact_interval_seconds", "", 86_400.0),
            ("certificate_expiry_timestamp_seconds", "", 1_800_000_000.0),
            ("backlog", "logs", 3.0),
            ("backlog_age_seconds", "logs", 90.0),
            ("backlog_age_seconds", "metrics", 0.0),
            ("clock_offset_seconds", "", -1.5),
            ("time_untrusted", "", 1.0),
            ("config_drift_seconds", "group/edge", 7.0),
            ("losses_total", "", 2.0),
            ("quarantined_total", "", 1.0),
        ];
        for (name, stream, expected) in cases {
            assert_eq!(value(&rows, &format!("skerry_fleet_node_{name}"), stream), Some(expected), "{name} {stream}");
        }
        // Every series stands in the reference, and the other way round.
        let mut names: Vec<&str> = rows.iter().map(|(labels, _)| labels.metric()).collect();
        names.sort_unstable();
        names.dedup();
        let mut told: Vec<&str> = REFERENCE.iter().map(|(name, _)| *name).collect();
        told.sort_unstable();
        assert_eq!(names, told);
    }

    #[test]
    fn drift_counts_from_the_first_revision_that_the_node_lacks() {
        let stream: StreamName = "group/edge".parse().unwrap();
        let at = |secs: i64| UnixMillis(NOW.0 - secs * 1000);
        let revisions = HashMap::from([(
            stream.clone(),
            vec![(Revision::new(1, 1), at(900)), (Revision::new(1, 2), at(600)), (Revision::new(1, 3), at(30))],
        )]);
        let runs = |version| vec![ConfigState { stream: stream.clone(), epoch: 1, version }];
        for (running, assigned, behind) in
            [(runs(3), 1000, 0), (runs(2), 1000, 30), (runs(1), 1000, 600), (vec![], 1000, 900), (vec![], 50, 50)]
        {
            let found = drift([&stream].into_iter(), at(assigned), &running, &revisions, NOW);
            assert_eq!(found, [(stream.clone(), Duration::from_secs(behind))], "{running:?}");
        }
        // A stream of which nothing was ever signed is in step.
        let other = "group/other".parse().unwrap();
        assert!(drift([&other].into_iter(), at(0), &[], &revisions, NOW).is_empty());
    }

    #[test]
    fn a_label_that_is_no_span_is_passed_over() {
        for (label, secs) in [("1d", 86_400), ("90m", 5400), ("often", 200), ("0s", 200)] {
            assert_eq!(expected(&signed(&[(CONTACT_LABEL, label)]), None).as_secs(), secs, "{label}");
        }
    }
}
