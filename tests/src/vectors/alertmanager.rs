//! Alertmanager's cases: configs, routes, groups, inhibition, notices, matchers, time intervals.

use super::Report;
use super::json::{expected_error, same, text, texts};
use serde_json::Value;
use skerry_alerting::manager::config::Config;
use skerry_alerting::manager::inhibit::{InhibitRule, Inhibitor, SourceRule};
use skerry_alerting::manager::matcher::{self, Matcher, Op};
use skerry_alerting::manager::nflog::{AlertSet, Entry, needs_notice};
use skerry_alerting::manager::{GroupBy, Route, TimeInterval};
use skerry_model::{Fingerprint, Labels, UnixMillis};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// A file of the time zone database.
fn zone(name: &str) -> Option<Vec<u8>> {
    let is_plain = !name.starts_with('/') && !name.contains("..");
    is_plain.then(|| std::fs::read(Path::new("/usr/share/zoneinfo").join(name)).ok()).flatten()
}

/// Whether a config is taken. Where it names receivers and lists none, being about routes alone, they are added.
pub(super) fn config(name: &str, text: &str) -> Result<(), String> {
    parsed(name, text).map(drop)
}

fn parsed(name: &str, text: &str) -> Result<Config, String> {
    let mut text = text.to_owned();
    if !text.lines().any(|line| line.starts_with("receivers:")) {
        let named =
            text.lines().filter_map(|line| line.trim_start().trim_start_matches("- ").strip_prefix("receiver:"));
        let names: BTreeSet<&str> = named.map(|name| name.trim().trim_matches(['"', '\''])).collect();
        let names: Vec<String> = names.iter().map(|name| format!("  - name: '{name}'\n")).collect();
        text = format!("{text}\nreceivers:\n{}", names.concat());
    }
    Config::parse(name, &text, &zone).map_err(|faults| faults.to_string())
}

/// The routes of labels, and what holds on them.
pub(super) fn routing(path: &Path, case: &Value) -> Result<(), String> {
    let named = text(case, "config")?;
    let config = if named.contains('\n') {
        parsed("config", named)?
    } else {
        let file = path.parent().unwrap_or(Path::new("")).join(named);
        let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        parsed(named, &text)?
    };
    let routes = config.routes().matches(&labels(&case["labels"])?);
    let expect = &case["expect"];
    if expect.get("receivers").is_some() {
        let found: Vec<&str> = routes.iter().map(|route| &*route.receiver).collect();
        same("receivers", &found, &texts(expect, "receivers")?)?;
    }
    if expect.get("route_keys").is_some() {
        let found: Vec<&str> = routes.iter().map(|route| &*route.key).collect();
        same("route keys", &found, &texts(expect, "route_keys")?)?;
    }
    if let Some(expected) = expect["routes"].as_array() {
        same("number of routes", &routes.len(), &expected.len())?;
        for (found, expected) in routes.iter().zip(expected) {
            route(found, expected)?;
        }
    }
    let fields = ["receivers", "route_keys", "routes"];
    if fields.iter().all(|field| expect.get(field).is_none()) { Err("nothing is expected".into()) } else { Ok(()) }
}

/// Compares one route with what is said of it.
fn route(found: &Route, expected: &Value) -> Result<(), String> {
    for (field, value) in expected.as_object().into_iter().flatten() {
        let seconds =
            |span: Duration| same(field, &span, &Duration::from_secs_f64(value.as_f64().unwrap_or(-1.0).max(0.0)));
        match field.as_str() {
            "receiver" => same(field, &Some(&*found.receiver), &value.as_str())?,
            "group_by_all" => same(field, &Some(found.group_by.all), &value.as_bool())?,
            "group_wait_s" => seconds(found.group_wait)?,
            "group_interval_s" => seconds(found.group_interval)?,
            "repeat_interval_s" => seconds(found.repeat_interval)?,
            "group_by" => {
                let found: BTreeSet<&str> = found.group_by.labels.iter().map(AsRef::as_ref).collect();
                same(field, &found, &texts(expected, field)?.into_iter().collect())?;
            }
            _ => return Err(format!("{field} of a route is not known")),
        }
    }
    Ok(())
}

/// What names a group.
pub(super) fn grouping(_: &Path, case: &Value) -> Result<(), String> {
    let names = texts(case, "group_by")?.into_iter().map(Box::from).collect();
    let by = GroupBy { all: case["group_by_all"].as_bool().unwrap_or(false), labels: names };
    same("group labels", &by.of(&labels(&case["labels"])?), &labels(&case["expect_group_labels"])?)
}

/// Whether an alert is held back by others.
pub(super) fn inhibition(_: &Path, case: &Value) -> Result<(), String> {
    let list = |field: &str| case[field].as_array().cloned().unwrap_or_default();
    let mut rules = Vec::new();
    for rule in list("rules") {
        let equal = texts(&rule, "equal")?.into_iter().map(Box::from).collect();
        let sources = vec![SourceRule { matchers: matchers(&rule, "source_matchers")?, equal }];
        let target = matchers(&rule, "target_matchers")?;
        rules.push(InhibitRule { sources, target, ..InhibitRule::default() });
    }
    let mut inhibitor = Inhibitor::new(rules);
    let mut firing = AlertSet::new();
    for alert in list("alerts") {
        let labels = labels(&alert["labels"])?;
        let id = Fingerprint::of(&labels);
        inhibitor.fires(id, &labels);
        if text(&alert, "state")? == "resolved" {
            inhibitor.ends(id, &labels);
        } else {
            firing.insert(id);
        }
    }
    let target = labels(&case["target"])?;
    let found = match case["self_inhibition_check"].as_bool() {
        Some(false) => inhibitor.has_equal(&target),
        _ => !inhibitor.inhibiting(&target, &|id| firing.contains(&id)).is_empty(),
    };
    same("inhibited", &Some(found), &case["expect_inhibited"].as_bool())
}

fn matchers(rule: &Value, field: &str) -> Result<Vec<Matcher>, String> {
    let lists = texts(rule, field)?.into_iter().map(matcher::parse_all);
    Ok(lists.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Whether a receiver is told.
pub(super) fn dedup(_: &Path, case: &Value) -> Result<(), String> {
    let set = |value: &Value| -> AlertSet {
        value.as_array().into_iter().flatten().filter_map(Value::as_u64).map(Fingerprint).collect()
    };
    let logged = &case["nflog_entry"];
    let entry = Entry {
        firing: set(&logged["firing"]),
        resolved: set(&logged["resolved"]),
        owed: AlertSet::new(),
        failures: 0,
        told_at: UnixMillis(0),
        told_ms: 0,
        expires_ms: i64::MAX,
    };
    let age = match &logged["age_s"] {
        // Since 1970, which is longer than any interval.
        Value::String(epoch) if epoch == "epoch" => Duration::from_secs(50 * 365 * 86_400),
        age => Duration::from_secs_f64(age.as_f64().unwrap_or(0.0).max(0.0)),
    };
    let repeat = Duration::from_secs_f64(case["repeat_interval_s"].as_f64().unwrap_or(0.0).max(0.0));
    let sends_resolved = case["send_resolved"].as_bool().unwrap_or(false);
    let (firing, resolved) = (set(&case["firing"]), set(&case["resolved"]));
    let logged = (!logged.is_null()).then_some((&entry, age));
    let found = needs_notice(logged, &firing, &resolved, sends_resolved, repeat);
    same("told", &Some(found), &case["expect_notify"].as_bool())
}

/// Whether a matcher fits a value.
pub(super) fn matches(_: &Path, case: &Value) -> Result<(), String> {
    let op = text(case, "op")?;
    let matcher = Op::parse(op).ok_or_else(|| format!("{op:?} is no operator"));
    let matcher = matcher.and_then(|op| Matcher::new("name", op, text(case, "pattern")?));
    match (matcher, expected_error(case)) {
        (Ok(matcher), None) => same("match", &Some(matcher.matches(text(case, "value")?)), &case["expect"].as_bool()),
        (Ok(_), Some(wanted)) => Err(format!("should fail with {wanted:?}")),
        (Err(error), wanted) => failed(&error, wanted),
    }
}

/// A list of matchers in the classic syntax.
pub(super) fn parse_classic(_: &Path, case: &Value) -> Result<(), String> {
    let found = match (matcher::classic::parse_all(text(case, "input")?), expected_error(case)) {
        (Ok(found), None) => found,
        (Ok(found), Some(wanted)) => return Err(format!("gives {found:?}, should fail with {wanted:?}")),
        (Err(error), wanted) => return failed(&error, wanted),
    };
    let found: Vec<[&str; 3]> = found.iter().map(|found| [found.name(), found.op().text(), found.value()]).collect();
    let expected = case["expect"]["matchers"].as_array().ok_or("matchers are expected")?;
    let expected = expected.iter().map(|m| Ok([text(m, "name")?, text(m, "op")?, text(m, "value")?]));
    same("matchers", &found, &expected.collect::<Result<_, String>>()?)
}

/// Moments within an interval, and outside.
pub(super) fn contains(_: &Path, case: &Value) -> Result<(), String> {
    let interval = interval(text(case, "intervals_yaml")?)?;
    for (field, expected) in [("contains", true), ("excludes", false)] {
        for moment in texts(case, field)? {
            let at = instant(moment)?;
            same(moment, &interval.iter().any(|interval| interval.contains(at)), &expected)?;
        }
    }
    Ok(())
}

/// An interval that is none.
pub(super) fn invalid(_: &Path, case: &Value) -> Result<(), String> {
    let wanted = case["error"].as_str().or_else(|| expected_error(case)).ok_or("no error is expected")?;
    match interval(text(case, "yaml")?) {
        Ok(_) => Err(format!("is taken, should fail with {wanted:?}")),
        Err(error) => failed(&error, Some(wanted)),
    }
}

/// Which named intervals hold at moments.
pub(super) fn mutes(value: &Value, report: &mut Report) {
    for (n, case) in value["cases"].as_array().into_iter().flatten().enumerate() {
        let judge = || -> Result<(), String> {
            let now = instant(text(case, "now")?)?;
            let mut found = BTreeSet::new();
            for (name, yaml) in value["intervals"].as_object().ok_or("intervals are expected")? {
                let list = interval(yaml.as_str().ok_or("an interval has no text")?)?;
                if list.iter().any(|interval| interval.contains(now)) {
                    found.insert(name.as_str());
                }
            }
            same("muted by", &found, &texts(case, "muted_by")?.into_iter().collect())
        };
        report.add(format!("mutes[{n}] {}", case["now"].as_str().unwrap_or_default()), judge());
    }
}

/// One interval, or a list of them.
fn interval(yaml: &str) -> Result<Vec<TimeInterval>, String> {
    let is_list = yaml.trim_start().starts_with(['-', '[']);
    match is_list {
        true => TimeInterval::parse_list(yaml, &zone),
        false => TimeInterval::parse(yaml, &zone).map(|interval| vec![interval]),
    }
    .map_err(|faults| faults.to_string())
}

/// `2021-01-10T13:00Z`, or a time of day and a zone: `2024-01-01T00:00 Australia/Sydney`.
fn instant(moment: &str) -> Result<UnixMillis, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{moment:?}: {error}");
    let at = match moment.split_once(' ') {
        None => moment.parse::<jiff::Timestamp>().map_err(|error| wrong(&error))?,
        Some((civil, name)) => {
            let civil: jiff::civil::DateTime = civil.parse().map_err(|error| wrong(&error))?;
            let zone = match name {
                "UTC" => jiff::tz::TimeZone::UTC,
                _ => {
                    let data = zone(name).ok_or_else(|| wrong(&"the zone is not in /usr/share/zoneinfo"))?;
                    jiff::tz::TimeZone::tzif(name, &data).map_err(|error| wrong(&error))?
                }
            };
            civil.to_zoned(zone).map_err(|error| wrong(&error))?.timestamp()
        }
    };
    Ok(UnixMillis(at.as_millisecond()))
}

fn failed(error: &str, wanted: Option<&str>) -> Result<(), String> {
    match wanted {
        Some(wanted) if error.contains(wanted) => Ok(()),
        Some(wanted) => Err(format!("fails with {error:?}, not with {wanted:?}")),
        None => Err(format!("fails: {error}")),
    }
}

fn labels(value: &Value) -> Result<Labels, String> {
    let pairs = value.as_object().into_iter().flatten();
    let pairs = pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()));
    Labels::new(pairs).map_err(|error| error.to_string())
}
