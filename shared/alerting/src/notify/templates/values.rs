//! A notice as templates see it: Alertmanager's names of fields, types and methods.

use crate::notify::Data;
use crate::notify::data::{AlertView, status};
use jiff::Timestamp;
use skerry_model::{Labels, UnixMillis};
use skerry_template::{Map, Object, Time, Value};
use std::sync::Arc;

/// Seconds of Go's zero time, 0001-01-01T00:00:00Z: the end of an alert that fires.
const ZERO_TIME_S: i64 = -62_135_596_800;

/// Named fields.
#[derive(Debug)]
struct Record {
    type_name: &'static str,
    fields: Vec<(&'static str, Value)>,
}

impl Object for Record {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone())
    }
}

/// `KV`: texts by name, with methods.
#[derive(Debug)]
struct Kv(Arc<Map>);

impl Object for Kv {
    fn type_name(&self) -> &str {
        "template.KV"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "SortedPairs" => Some(Value::Object(Arc::new(self.pairs()))),
            // In the same order.
            "Names" | "Values" => self.pairs().field(name),
            _ => None,
        }
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        let ("Remove", [names]) = (name, args) else { return None };
        let Value::List(names) = names.plain() else { return Some(Err("Remove takes a list of names".into())) };
        let is_named = |name: &str| names.iter().any(|known| known.as_text() == Some(name));
        let rest = self.0.iter().filter(|(name, _)| !is_named(name)).cloned().collect();
        Some(Ok(Value::Object(Arc::new(Self(Arc::new(Map::new(rest, Value::from(""))))))))
    }

    fn plain(&self) -> Option<Value> {
        Some(Value::Map(self.0.clone()))
    }

    fn text(&self) -> Option<String> {
        self.pairs().text()
    }
}

impl Kv {
    /// Those of the label `alertname` first, then by name.
    fn pairs(&self) -> Pairs {
        let mut pairs: Vec<(Arc<str>, Value)> = self.0.iter().cloned().collect();
        if let Some(at) = pairs.iter().position(|(name, _)| &**name == "alertname") {
            pairs[..=at].rotate_right(1);
        }
        Pairs(pairs)
    }
}

/// `Pairs`: names with their texts.
#[derive(Debug)]
struct Pairs(Vec<(Arc<str>, Value)>);

impl Object for Pairs {
    fn type_name(&self) -> &str {
        "template.Pairs"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(match name {
            "Names" => self.0.iter().map(|(name, _)| Value::Text(name.clone())).collect::<Vec<_>>().into(),
            "Values" => self.0.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>().into(),
            "String" => self.text()?.into(),
            _ => return None,
        })
    }

    fn plain(&self) -> Option<Value> {
        let pair = |(name, value): &(Arc<str>, Value)| {
            let fields = vec![("Name", Value::Text(name.clone())), ("Value", value.clone())];
            Value::Object(Arc::new(Record { type_name: "template.Pair", fields }))
        };
        Some(self.0.iter().map(pair).collect::<Vec<_>>().into())
    }

    fn text(&self) -> Option<String> {
        let texts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={}", value.text())).collect();
        Some(texts.join(", "))
    }
}

/// `Alerts`: a list with those that fire and those that have ended.
#[derive(Debug)]
struct Alerts {
    all: Arc<[Value]>,
    firing: Value,
    resolved: Value,
}

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn field(&self, name: &str) -> Option<Value> {
        match name {
            "Firing" => Some(self.firing.clone()),
            "Resolved" => Some(self.resolved.clone()),
            _ => None,
        }
    }

    fn plain(&self) -> Option<Value> {
        Some(Value::List(self.all.clone()))
    }
}

fn kv(labels: &Labels) -> Value {
    Value::Object(Arc::new(Kv(Arc::new(Map::of_texts(labels.iter())))))
}

fn time(at: Option<UnixMillis>) -> Value {
    let found = at.and_then(|at| Time::of_millis(at.0));
    Value::Time(found.unwrap_or_else(|| Time {
        at: Timestamp::from_second(ZERO_TIME_S).unwrap_or_default(),
        zone: jiff::tz::TimeZone::UTC,
    }))
}

fn alert(alert: &AlertView) -> Value {
    let fields = vec![
        ("Status", status(alert.is_firing).into()),
        ("Labels", kv(&alert.labels)),
        ("Annotations", kv(&alert.annotations)),
        ("StartsAt", time(Some(alert.starts_at))),
        ("EndsAt", time(alert.ends_at)),
        ("GeneratorURL", alert.generator_url.as_str().into()),
        ("Fingerprint", alert.fingerprint.to_string().into()),
    ];
    Value::Object(Arc::new(Record { type_name: "template.Alert", fields }))
}

/// The whole notice.
pub(super) fn notice(data: &Data) -> Value {
    let all: Arc<[Value]> = data.alerts.iter().map(alert).collect();
    let those = |is_firing: bool| {
        let which = all.iter().zip(&data.alerts).filter(|(_, alert)| alert.is_firing == is_firing);
        which.map(|(value, _)| value.clone()).collect::<Vec<_>>().into()
    };
    let (firing, resolved) = (those(true), those(false));
    let fields = vec![
        ("Receiver", data.quoted_receiver().into()),
        ("Status", data.status().into()),
        ("Alerts", Value::Object(Arc::new(Alerts { all, firing, resolved }))),
        ("GroupLabels", kv(&data.group_labels)),
        ("CommonLabels", kv(&data.common_labels)),
        ("CommonAnnotations", kv(&data.common_annotations)),
        ("ExternalURL", data.external_url.as_str().into()),
        ("GroupKey", data.group_key.as_str().into()),
    ];
    Value::Object(Arc::new(Record { type_name: "template.Data", fields }))
}
