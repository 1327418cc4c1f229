//! Cases of what a policy may say, what it means where it says nothing, and how quantities are written.

use super::Report;
use super::json::{only, same, text, texts};
use serde_json::{Value, json};
use skerry_scaling::policy::{RateKind, Rules, ScalingPolicy, Select};
use skerry_scaling::quantity::Quantity;
use std::collections::BTreeSet;

/// Judges one case.
type Judge = fn(&Value) -> Result<(), String>;

/// By which field of a case it is told what it is.
const KINDS: [(&str, Judge); 2] = [("quantity", quantity), ("policy", policy)];

/// Judges a list of cases, where they are of one of these kinds.
pub(super) fn run(key: &str, value: &Value, report: &mut Report) -> bool {
    let cases = value.as_array().map_or(&[][..], Vec::as_slice);
    let judge = |case: &Value| KINDS.iter().find(|(field, _)| case.get(field).is_some()).map(|(_, judge)| *judge);
    if cases.first().and_then(judge).is_none() {
        return false;
    }
    for (n, case) in cases.iter().enumerate() {
        let name = case["name"].as_str().or(case["quantity"].as_str()).unwrap_or_default();
        let judged = judge(case).ok_or_else(|| "is of another kind than the first".to_owned());
        report.add(format!("{key}[{n}] {name}"), judged.and_then(|judge| judge(case)));
    }
    true
}

fn quantity(case: &Value) -> Result<(), String> {
    only("the case", case, &["quantity", "expect"])?;
    let (given, expect) = (text(case, "quantity")?, &case["expect"]);
    only("what is expected", expect, &["milli", "error"])?;
    match (given.parse::<Quantity>(), expect["error"] == true) {
        (Ok(found), false) => same("thousandths", &Some(found.milli), &expect["milli"].as_i64()),
        (Ok(found), true) => Err(format!("is taken for {found}, should fail")),
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(error.to_string()),
    }
}

/// Keys of all faults, or none; and what a policy without faults means.
fn policy(case: &Value) -> Result<(), String> {
    only("the case", case, &["policy", "expect"])?;
    let mut spec = case["policy"].clone();
    let fields = spec.as_object_mut().ok_or("a policy is expected")?;
    fields.entry("scaleTargetRef").or_insert_with(|| json!({"kind": "Container", "name": "web"}));
    let expect = &case["expect"];
    only("what is expected", expect, &["faults", "minReplicas", "metrics", "scaleUp", "scaleDown"])?;
    let policy = match ScalingPolicy::parse("web", &spec.to_string()) {
        Err(faults) => {
            let keys: BTreeSet<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
            return same("faults", &keys, &texts(expect, "faults")?.into_iter().collect());
        }
        Ok(policy) => policy,
    };
    same("faults", &Vec::new(), &texts(expect, "faults")?)?;
    if !expect["minReplicas"].is_null() {
        same("minReplicas", &Some(u64::from(policy.min_replicas)), &expect["minReplicas"].as_u64())?;
    }
    if !expect["metrics"].is_null() {
        let found: Vec<String> = policy.metrics.iter().map(|metric| format!("{metric}: {}", metric.target)).collect();
        same("metrics", &found.iter().map(String::as_str).collect(), &texts(expect, "metrics")?)?;
    }
    for (key, rules) in [("scaleUp", &policy.behavior.up), ("scaleDown", &policy.behavior.down)] {
        if !expect[key].is_null() {
            same(key, &shown(rules), &expect[key])?;
        }
    }
    Ok(())
}

/// Rules as Kubernetes writes them; a window and a tolerance that are the controller's are left out.
fn shown(rules: &Rules) -> Value {
    let select = match rules.select {
        Select::Max => "Max",
        Select::Min => "Min",
        Select::Disabled => "Disabled",
    };
    let kind = |kind| if kind == RateKind::Pods { "Pods" } else { "Percent" };
    let rates = rules
        .rates
        .iter()
        .map(|rate| json!({"type": kind(rate.kind), "value": rate.value, "periodSeconds": rate.period.as_secs()}));
    let mut shown = json!({"selectPolicy": select, "policies": rates.collect::<Vec<_>>()});
    if let Some(window) = rules.window {
        shown["stabilizationWindowSeconds"] = window.as_secs().into();
    }
    if let Some(ppm) = rules.tolerance_ppm {
        shown["tolerance_ppm"] = ppm.into();
    }
    shown
}
