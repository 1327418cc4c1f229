//! What a notice is about, as Alertmanager's templates and webhooks know it.

use super::json::Json;
use skerry_model::{Alert, Fingerprint, Labels, UnixMillis};

/// One alert of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertView {
    /// Whether it fires; else it has ended.
    pub is_firing: bool,
    /// Who it is.
    pub labels: Labels,
    /// What people are told.
    pub annotations: Labels,
    /// Since when it fires.
    pub starts_at: UnixMillis,
    /// When it ended; `None` while it fires.
    pub ends_at: Option<UnixMillis>,
    /// Where its expression can be looked at; may be empty.
    pub generator_url: String,
    /// Its name among others.
    pub fingerprint: Fingerprint,
}

/// A group of alerts for one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Data {
    /// The receiver's name as it stands in the config.
    pub receiver: String,
    /// The alerts, in the order that was given.
    pub alerts: Vec<AlertView>,
    /// What the group is made by.
    pub group_labels: Labels,
    /// Labels that all alerts have with the same value.
    pub common_labels: Labels,
    /// Annotations that all alerts have with the same value.
    pub common_annotations: Labels,
    /// How the place that sends this can be reached.
    pub external_url: String,
    /// The group's name among all groups.
    pub group_key: String,
}

impl Data {
    /// Of the alerts of a group as they are at `now`.
    #[must_use]
    pub fn new(
        receiver: &str,
        group_labels: Labels,
        alerts: &[Alert],
        external_url: &str,
        group_key: &str,
        now: UnixMillis,
    ) -> Self {
        let view = |alert: &Alert| {
            let is_firing = !alert.is_resolved(now);
            AlertView {
                is_firing,
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.starts_at,
                ends_at: (!is_firing).then_some(alert.ends_at),
                generator_url: alert.generator_url.clone(),
                fingerprint: alert.fingerprint(),
            }
        };
        Self {
            receiver: receiver.to_owned(),
            alerts: alerts.iter().map(view).collect(),
            group_labels,
            common_labels: common(alerts, |alert| &alert.labels),
            common_annotations: common(alerts, |alert| &alert.annotations),
            external_url: external_url.to_owned(),
            group_key: group_key.to_owned(),
        }
    }

    /// Whether any alert fires.
    #[must_use]
    pub fn is_firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.is_firing)
    }

    /// `firing` or `resolved`.
    #[must_use]
    pub fn status(&self) -> &'static str {
        status(self.is_firing())
    }

    /// The receiver's name with what regular expressions take for their own escaped: so Alertmanager hands it to
    /// templates and webhooks, for links that filter by it.
    #[must_use]
    pub fn quoted_receiver(&self) -> String {
        let mut quoted = String::with_capacity(self.receiver.len());
        for c in self.receiver.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted
    }

    /// The message of Alertmanager's webhooks, version 4, with at most `alerts_max` alerts (0: all).
    #[must_use]
    pub fn webhook_json(&self, alerts_max: usize) -> Vec<u8> {
        let shown = if alerts_max == 0 { self.alerts.len() } else { alerts_max.min(self.alerts.len()) };
        let mut json = Json::object();
        json.text("receiver", &self.quoted_receiver());
        json.text("status", self.status());
        json.open_list("alerts");
        for alert in &self.alerts[..shown] {
            json.open_item();
            json.text("status", status(alert.is_firing));
            json.labels("labels", &alert.labels);
            json.labels("annotations", &alert.annotations);
            json.text("startsAt", &rfc3339(Some(alert.starts_at)));
            json.text("endsAt", &rfc3339(alert.ends_at));
            json.text("generatorURL", &alert.generator_url);
            json.text("fingerprint", &alert.fingerprint.to_string());
            json.close();
        }
        json.close();
        json.labels("groupLabels", &self.group_labels);
        json.labels("commonLabels", &self.common_labels);
        json.labels("commonAnnotations", &self.common_annotations);
        json.text("externalURL", &self.external_url);
        json.text("version", "4");
        json.text("groupKey", &self.group_key);
        json.raw("truncatedAlerts", &(self.alerts.len() - shown).to_string());
        json.finish()
    }
}

/// `firing` or `resolved`.
pub(super) const fn status(is_firing: bool) -> &'static str {
    if is_firing { "firing" } else { "resolved" }
}

/// Pairs that all have.
fn common(alerts: &[Alert], of: impl Fn(&Alert) -> &Labels) -> Labels {
    let Some((first, rest)) = alerts.split_first() else { return Labels::default() };
    let all = of(first).iter().filter(|(name, value)| rest.iter().all(|alert| of(alert).value(name) == *value));
    // A subset of a label set is one.
    Labels::new(all).unwrap_or_default()
}

/// The moment as Go's JSON writes it; none is its zero time.
pub(super) fn rfc3339(at: Option<UnixMillis>) -> String {
    let Some(at) = at.and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok()) else {
        return "0001-01-01T00:00:00Z".to_owned();
    };
    at.to_string()
}
