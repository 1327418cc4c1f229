//! The page of alerts: what fires, what is silenced, what was.

use crate::alerts::v2::{RoutedAlert, SilenceView, moment, short};
use crate::alerts::{HistoryQuery, HistoryView};
use crate::api::{ApiError, Fleet, history_of};
use crate::clock::{ago, utc};
use askama::Template;
use axum::http::StatusCode;
use serde::de::DeserializeOwned;
use skerry_model::UnixMillis;
use std::collections::BTreeMap;

/// Alerts that a page shows; the others are counted.
const SHOWN_MAX: usize = 500;
/// Episodes that it shows.
const HISTORY_SHOWN: usize = 200;

/// The page.
#[derive(Template)]
#[template(path = "alerts.html")]
pub(super) struct AlertsPage {
    firing: Vec<AlertLine>,
    held: Vec<AlertLine>,
    silences: Vec<SilenceLine>,
    history: Vec<HistoryLine>,
    firing_count: usize,
    held_count: usize,
    at: String,
}

/// An alert.
struct AlertLine {
    name: String,
    node: String,
    severity: String,
    labels: String,
    summary: String,
    since: String,
    told: String,
    held_by: String,
}

/// A silence.
struct SilenceLine {
    matchers: String,
    state: String,
    until: String,
    by: String,
    comment: String,
}

/// An episode.
struct HistoryLine {
    began: String,
    ended: String,
    name: String,
    node: String,
    labels: String,
    told: String,
    summary: String,
}

impl AlertsPage {
    /// Asks for everything that stands on it.
    pub(super) async fn load(fleet: &Fleet) -> Result<Self, ApiError> {
        let now = (fleet.wall)();
        let mut alerts: Vec<RoutedAlert> = get(fleet, "/alerts").await?;
        let silences: Vec<SilenceView> = get(fleet, "/silences").await?;
        let query = HistoryQuery { limit: HISTORY_SHOWN, ..HistoryQuery::default() };
        let history = history_of(fleet, query).await?.alerts;
        alerts.sort_by(|a, b| b.starts_at.cmp(&a.starts_at));
        let (held, firing): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|alert| alert.status.state == "suppressed");
        let lines =
            |alerts: &[RoutedAlert]| alerts.iter().take(SHOWN_MAX).map(|alert| AlertLine::new(alert, now)).collect();
        Ok(Self {
            firing: lines(&firing),
            held: lines(&held),
            silences: silences.iter().filter(|silence| silence.state() != "expired").map(SilenceLine::new).collect(),
            history: history.into_iter().map(HistoryLine::new).collect(),
            firing_count: firing.len(),
            held_count: held.len(),
            at: utc(now),
        })
    }
}

async fn get<T: DeserializeOwned>(fleet: &Fleet, path: &str) -> Result<T, ApiError> {
    let busy = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "alerts are not to be had now; try again");
    let answer = fleet.alerts.get(path, "").await.filter(|answer| answer.status == 200).ok_or_else(busy)?;
    serde_json::from_slice(&answer.body).map_err(|error| ApiError::internal(&error))
}

fn label(labels: &BTreeMap<String, String>, name: &str) -> String {
    labels.get(name).cloned().unwrap_or_default()
}

fn summary(annotations: &BTreeMap<String, String>) -> String {
    let found = ["summary", "description", "message"].into_iter().find_map(|name| annotations.get(name));
    found.cloned().unwrap_or_default()
}

impl AlertLine {
    fn new(alert: &RoutedAlert, now: UnixMillis) -> Self {
        let held = alert.status.silenced_by.iter().map(|id| format!("silence {id}"));
        let held = held.chain(alert.status.inhibited_by.iter().map(|id| format!("alert {id}")));
        Self {
            name: label(&alert.labels, "alertname"),
            node: label(&alert.labels, "node"),
            severity: label(&alert.labels, "severity"),
            labels: short(&alert.labels),
            summary: summary(&alert.annotations),
            since: moment(&alert.starts_at).map(|at| ago(now, at)).unwrap_or_default(),
            told: alert.receivers.iter().map(|receiver| receiver.name.as_str()).collect::<Vec<_>>().join(", "),
            held_by: held.collect::<Vec<_>>().join(", "),
        }
    }
}

impl SilenceLine {
    fn new(silence: &SilenceView) -> Self {
        Self {
            matchers: silence.text(),
            state: silence.state().to_owned(),
            until: moment(&silence.ends_at).map(utc).unwrap_or_default(),
            by: silence.created_by.clone(),
            comment: silence.comment.clone(),
        }
    }
}

impl HistoryLine {
    fn new(alert: HistoryView) -> Self {
        let by_node = alert.told_by_node.iter().map(|name| format!("{name} (on site)"));
        let told: Vec<String> = alert.told.iter().cloned().chain(by_node).collect();
        let told = if told.is_empty() && alert.offline { "nobody: offline".to_owned() } else { told.join(", ") };
        Self {
            began: utc(UnixMillis(alert.starts_ms)),
            ended: alert.ends_ms.map_or_else(|| "fires".into(), |at| utc(UnixMillis(at))),
            node: label(&alert.labels, "node"),
            labels: short(&alert.labels),
            summary: summary(&alert.annotations),
            name: alert.name,
            told,
        }
    }
}
