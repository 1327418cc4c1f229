//! `/alerts` and `/alerts/groups`.

use super::query::{Filter, Query};
use super::{Response, time};
use crate::Now;
use crate::manager::matcher::Matcher;
use crate::manager::{AlertStatus, Manager};
use serde::Deserializer;
use serde::de::{SeqAccess, Visitor};
use serde_json::{Map, Value, json};
use skerry_model::{Alert, Labels, UnixMillis};
use std::sync::Arc;

/// Most problems that one answer tells.
const PROBLEMS_MAX: usize = 20;

/// Which alerts are asked for.
struct Wanted {
    filter: Filter,
    receiver: Option<Matcher>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn read(query: &Query) -> Result<Self, Response> {
        let flag = |name| query.flag(name).map_err(|problem| Response::fault(422, 601, &problem));
        let bad = |problem: String| Response::text(400, &problem);
        // Every alert was processed here: the flag is looked at and says nothing.
        flag("unprocessed")?;
        Ok(Self {
            active: flag("active")?,
            silenced: flag("silenced")?,
            inhibited: flag("inhibited")?,
            muted: flag("muted")?,
            filter: query.filter().map_err(bad)?,
            receiver: query.receiver().map_err(bad)?,
        })
    }

    fn has(&self, alert: &AlertStatus) -> bool {
        let labels = &alert.alert.labels;
        (self.active || alert.state() != "active")
            && (self.silenced || alert.silenced_by.is_empty())
            && (self.inhibited || alert.inhibited_by.is_empty())
            && (self.muted || alert.muted_by.is_empty())
            && self.filter.holds(|name| Some(labels.value(name)).filter(|value| !value.is_empty()))
    }

    fn has_receiver(&self, receivers: &[Arc<str>]) -> bool {
        self.receiver.as_ref().is_none_or(|wanted| receivers.iter().any(|name| wanted.matches(name)))
    }
}

/// `GET /alerts`: those that fire, by fingerprint.
pub(super) fn list(manager: &Manager, query: &Query, now: Now) -> Response {
    let wanted = match Wanted::read(query) {
        Ok(wanted) => wanted,
        Err(response) => return response,
    };
    let alerts = manager.each_alert(now);
    let alerts = alerts.filter(|alert| wanted.has(alert) && wanted.has_receiver(&alert.receivers));
    Response::list(alerts.map(|alert| shown(&alert)))
}

/// `GET /alerts/groups`.
pub(super) fn groups(manager: &Manager, query: &Query, now: Now) -> Response {
    let wanted = match Wanted::read(query) {
        Ok(wanted) => wanted,
        Err(response) => return response,
    };
    let groups = manager.groups(now).into_iter();
    let groups = groups.filter(|group| wanted.has_receiver(std::slice::from_ref(&group.receiver)));
    Response::list(groups.filter_map(|group| {
        let alerts: Vec<Value> = group.alerts.iter().filter(|alert| wanted.has(alert)).map(shown).collect();
        (!alerts.is_empty()).then(|| {
            json!({
                "alerts": alerts, "labels": map(&group.labels), "receiver": { "name": &*group.receiver },
            })
        })
    }))
}

fn shown(status: &AlertStatus) -> Value {
    let alert = &status.alert;
    let receivers: Vec<Value> = status.receivers.iter().map(|name| json!({ "name": &**name })).collect();
    let inhibited_by: Vec<String> = status.inhibited_by.iter().map(ToString::to_string).collect();
    json!({
        "annotations": map(&alert.annotations),
        "endsAt": time::text(alert.ends_at),
        "fingerprint": status.fingerprint.to_string(),
        "receivers": receivers,
        "startsAt": time::text(alert.starts_at),
        "status": {
            "inhibitedBy": inhibited_by, "mutedBy": status.muted_by, "silencedBy": status.silenced_by,
            "state": status.state(),
        },
        "updatedAt": time::text(alert.updated_at),
        "generatorURL": alert.generator_url,
        "labels": map(&alert.labels),
    })
}

fn map(labels: &Labels) -> Map<String, Value> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// `POST /alerts`: takes what can be taken, and says what is wrong with the rest.
///
/// The body is read twice, alert by alert: once to refuse it whole where its shape is wrong, once to take it in. So it
/// costs no more memory than one alert beside it.
pub(super) fn add(manager: &mut Manager, body: &[u8], now: Now) -> Response {
    let (mut at, mut fault) = (0, None);
    let read = each(body, &mut |item| {
        if let (None, Err(Fault::Shape(problem))) = (&fault, alert(&item, now.wall)) {
            fault = Some(format!("{at}.{problem}"));
        }
        at += 1;
    });
    if let Err(error) = read {
        return Response::fault(400, 400, &format!("parsing alerts body from \"\" failed, because {error}"));
    }
    if let Some(problem) = fault {
        return Response::fault(422, 602, &problem);
    }
    let mut problems = Vec::new();
    // It was read before.
    let _ = each(body, &mut |item| match alert(&item, now.wall) {
        Ok(alert) => problems.extend(manager.receive(vec![alert], now)),
        Err(Fault::Shape(problem) | Fault::Content(problem)) => {
            manager.note_invalid();
            problems.push(problem);
        }
    });
    problems.truncate(PROBLEMS_MAX);
    if problems.is_empty() { Response::empty() } else { Response::text(400, &problems.join("; ")) }
}

/// Hands over the items of a JSON list one by one.
fn each(body: &[u8], take: &mut dyn FnMut(Value)) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader.deserialize_seq(Items(take))?;
    reader.end()
}

struct Items<'a>(&'a mut dyn FnMut(Value));

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of alerts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

enum Fault {
    /// The whole body is refused.
    Shape(String),
    /// This alert is.
    Content(String),
}

fn alert(value: &Value, now: UnixMillis) -> Result<Alert, Fault> {
    let shape = |problem: &str| Fault::Shape(problem.to_owned());
    let labels = |key: &str| -> Result<Labels, Fault> {
        let pairs = match value.get(key) {
            None | Some(Value::Null) => return Ok(Labels::default()),
            Some(Value::Object(map)) => map.iter(),
            Some(_) => return Err(shape(&format!("{key} in body must be of type object"))),
        };
        let pairs: Option<Vec<(&str, &str)>> =
            pairs.map(|(name, value)| Some((name.as_str(), value.as_str()?))).collect();
        let pairs = pairs.ok_or_else(|| shape(&format!("{key} in body must be a map of strings")))?;
        Labels::new(pairs).map_err(|error| Fault::Content(format!("invalid label set: {error}")))
    };
    let moment = |key: &str| match value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()) {
        None => Ok(UnixMillis(0)),
        Some(text) => {
            time::parse(text).ok_or_else(|| shape(&format!("{key} in body must be of type date-time: {text:?}")))
        }
    };
    if value.get("labels").is_none() {
        return Err(shape("labels in body is required"));
    }
    let generator_url = value.get("generatorURL").and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Alert {
        labels: labels("labels")?,
        annotations: labels("annotations")?,
        starts_at: moment("startsAt")?,
        ends_at: moment("endsAt")?,
        is_timeout: false,
        generator_url,
        updated_at: now,
    })
}
