//! Windows, rates and bounds, and what is kept of what was scaled.

use super::hpa::{NOW, count, seconds, since};
use super::json::{only, same, text};
use serde_json::Value;
use skerry_scaling::hpa::Limit;
use skerry_scaling::hpa::rates::{Bounds, Change, Changes, limit, within};
use skerry_scaling::hpa::windows::{Recommendation, Windows, stabilize};
use skerry_scaling::policy::{Behavior, Rate, RateKind, Rules, Select};
use std::time::Duration;

/// Windows: with both directions, or the one window against shrinking of old.
pub(super) fn windows(_: &Value, case: &Value) -> Result<(), String> {
    let fields = ["recommendations", "current", "desired_in", "scaleUp_window_s", "scaleDown_window_s", "expect"];
    only("the case", case, &fields)?;
    let list = case["recommendations"].as_array().map_or(&[][..], Vec::as_slice);
    let log =
        list.iter().map(|one| Ok(Recommendation { replicas: count(one, "replicas")?, at: since(one, "seconds_ago") }));
    let mut log = log.collect::<Result<Vec<_>, String>>()?;
    let is_old = case.get("current").is_none();
    let windows = match is_old {
        true => Windows { up: Duration::ZERO, down: Duration::from_secs(300) },
        false => Windows {
            up: seconds(&case["scaleUp_window_s"]).ok_or("scaleUp_window_s is expected")?,
            down: seconds(&case["scaleDown_window_s"]).ok_or("scaleDown_window_s is expected")?,
        },
    };
    let current = if is_old { u32::MAX } else { count(case, "current")? };
    let found = stabilize(&mut log, windows, current, count(case, "desired_in")?, NOW);
    let expect = &case["expect"];
    only("what is expected", expect, &["replicas", "log_length", "stored_recommendations"])?;
    same("replicas", &found, &count(expect, "replicas")?)?;
    if let Some(wanted) = expect["log_length"].as_u64() {
        same("length", &(log.len() as u64), &wanted)?;
    }
    match expect["stored_recommendations"].as_array() {
        Some(wanted) => {
            let found: Vec<u64> = log.iter().map(|one| u64::from(one.replicas)).collect();
            same("stored", &found, &wanted.iter().filter_map(Value::as_u64).collect())
        }
        None => Ok(()),
    }
}

fn rules(given: &Value) -> Result<Rules, String> {
    only("the rules", given, &["policies", "selectPolicy", "stabilizationWindowSeconds"])?;
    let select = match given["selectPolicy"].as_str() {
        None | Some("Max") => Select::Max,
        Some("Min") => Select::Min,
        Some("Disabled") => Select::Disabled,
        Some(other) => return Err(format!("selectPolicy {other} is not known")),
    };
    let rates = given["policies"].as_array().into_iter().flatten().map(|rate| {
        only("a policy", rate, &["type", "value", "periodSeconds"])?;
        let kind = match text(rate, "type")? {
            "Pods" => RateKind::Pods,
            "Percent" => RateKind::Percent,
            other => return Err(format!("type {other} is not known")),
        };
        let period = seconds(&rate["periodSeconds"]).ok_or("periodSeconds is expected")?;
        Ok(Rate { kind, value: count(rate, "value")?, period })
    });
    let window = seconds(&given["stabilizationWindowSeconds"]);
    Ok(Rules { window, select, rates: rates.collect::<Result<_, String>>()?, tolerance_ppm: None })
}

fn changes(list: &Value) -> Result<Vec<Change>, String> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|one| Ok(Change { by: count(one, "change")?, at: since(one, "seconds_ago") })).collect()
}

/// Fields of a case of rates.
const OF_RATES: [&str; 9] = [
    "minReplicas",
    "maxReplicas",
    "current",
    "desired_in",
    "scaleUp",
    "scaleDown",
    "scale_up_events",
    "scale_down_events",
    "expect",
];

/// Rates and bounds.
pub(super) fn rate(document: &Value, case: &Value) -> Result<(), String> {
    only("the case", case, &OF_RATES)?;
    let side = |field: &str| {
        let own = &case[field];
        rules(if own.is_null() { &document["defaults"][field] } else { own })
    };
    let mut behavior = Behavior { up: side("scaleUp")?, down: side("scaleDown")? };
    let default = Behavior::default();
    for (rules, default) in [(&mut behavior.up, default.up), (&mut behavior.down, default.down)] {
        if rules.rates.is_empty() && rules.select != Select::Disabled {
            rules.rates = default.rates;
        }
    }
    let made = Changes { up: changes(&case["scale_up_events"])?, down: changes(&case["scale_down_events"])? };
    let bounds = Bounds { min: count(case, "minReplicas")?, max: count(case, "maxReplicas")? };
    let (current, desired) = (count(case, "current")?, count(case, "desired_in")?);
    let (found, by) = limit(current, desired, bounds, &behavior, &made, NOW);
    let expect = &case["expect"];
    only("what is expected", expect, &["replicas", "reason"])?;
    same("replicas", &found, &count(expect, "replicas")?)?;
    same("reason", &by.map_or("DesiredWithinRange", Limit::as_str), &text(expect, "reason")?)
}

/// What is kept of what was scaled, in both directions.
pub(super) fn events(_: &Value, case: &Value) -> Result<(), String> {
    only("the case", case, &["replica_change", "previous_events", "rules", "expect"])?;
    let before = changes(&case["previous_events"])?;
    let given = &case["rules"];
    // Without rules nothing looks back, and nothing is kept.
    let nothing = Rules { window: None, select: Select::Disabled, rates: Vec::new(), tolerance_ppm: None };
    let rules = if given.is_null() { nothing } else { rules(given)? };
    let longest = rules.rates.iter().map(|rate| rate.period).max();
    let behavior = Behavior { up: rules.clone(), down: rules };
    let by = count(case, "replica_change")?;
    let expect = &case["expect"];
    only("what is expected", expect, &["change_in_last_60s", "stored_events"])?;
    let recent = expect["change_in_last_60s"].as_i64().ok_or("change_in_last_60s is expected")?;
    let stored = expect["stored_events"].as_array().ok_or("stored_events are expected")?;
    let stored: Vec<(u64, bool)> =
        stored.iter().map(|one| (one["change"].as_u64().unwrap_or(0), one["outdated"] == true)).collect();
    for is_up in [true, false] {
        let mut made = Changes::default();
        *(if is_up { &mut made.up } else { &mut made.down }) = before.clone();
        let (from, to) = if is_up { (10, 10 + by) } else { (10 + by, 10) };
        let list = |made: &Changes| if is_up { made.up.clone() } else { made.down.clone() };
        same("recent", &within(&list(&made), Duration::from_secs(60), NOW), &recent)?;
        made.note(from, to, &behavior, NOW);
        let is_outdated = |change: &Change| longest.is_some_and(|longest| change.at + longest < NOW);
        let found: Vec<(u64, bool)> =
            list(&made).iter().map(|change| (u64::from(change.by), is_outdated(change))).collect();
        same("stored", &found, &stored)?;
    }
    Ok(())
}
