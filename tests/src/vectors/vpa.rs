//! The VPA recommender's cases: histograms, their options and checkpoints, estimators, want of memory.

use super::json::{only, same, text};
use super::{Report, oom};
use serde_json::Value;
use skerry_model::UnixMillis;
use skerry_scaling::vpa::{
    Aggregate, Amounts, Bounds, Checkpoint, Histogram, Options, at_least, confidence, percentile, with_confidence,
    with_margin,
};
use std::time::Duration;

/// Judges one case.
type Judge = fn(&Value) -> Result<(), String>;

/// Lists of cases by their key.
const KINDS: [(&str, Judge); 6] = [
    ("capping", capping),
    ("histograms", histogram),
    ("options", options),
    ("checkpoint_save", save),
    ("checkpoint_load", load),
    ("estimators", estimator),
];

/// Runs the cases of a key, where it is one of the recommender's. Says whether it is.
pub(super) fn run(key: &str, value: &Value, report: &mut Report) -> bool {
    let known = KINDS.iter().find(|kind| kind.0 == key);
    let cases = match known {
        Some(_) => value,
        None if key == "oom" => &value["cases"],
        None => return false,
    };
    for (n, case) in cases.as_array().into_iter().flatten().enumerate() {
        let name = case["name"].as_str().unwrap_or_default();
        let judged = known.map_or_else(|| oom::oom(value, case), |(_, judge)| judge(case));
        report.add(format!("{key}[{n}] {name}").trim_end(), judged);
    }
    true
}

pub(super) fn number(case: &Value, field: &str) -> Result<f64, String> {
    case[field].as_f64().ok_or_else(|| format!("field {field} has no number"))
}

fn close(what: &str, found: f64, expected: f64, relative: f64) -> Result<(), String> {
    let is_close = (found - expected).abs() <= relative * expected.abs().max(1e-9);
    if is_close { Ok(()) } else { Err(format!("{what}: expected {expected}, got {found}")) }
}

pub(super) fn seconds(at: f64) -> UnixMillis {
    // As upstream's tests, some time after 1970.
    UnixMillis(1_234_567_890_000 + (at * 1000.0).round() as i64)
}

fn read_options(value: &Value) -> Result<Options, String> {
    only("the options", value, &["type", "max", "bucket", "first", "ratio", "epsilon"])?;
    let (max, epsilon) = (number(value, "max")?, number(value, "epsilon")?);
    let options = match text(value, "type")? {
        "linear" => Options::linear(max, number(value, "bucket")?, epsilon),
        "exponential" => Options::exponential(max, number(value, "first")?, number(value, "ratio")?, epsilon),
        other => return Err(format!("options of type {other:?} are not known")),
    };
    options.ok_or_else(|| "the options are refused".into())
}

/// Fields of a case of histograms.
const OF_HISTOGRAMS: [&str; 7] =
    ["options", "half_life_s", "samples", "merged_samples", "expect_percentiles", "expect_empty", "expect_weights"];

fn histogram(case: &Value) -> Result<(), String> {
    only("the case", case, &OF_HISTOGRAMS)?;
    let options = read_options(&case["options"])?;
    let empty = match case["half_life_s"].as_f64() {
        Some(half_life) => Histogram::decaying(options, Duration::from_secs_f64(half_life.max(0.0))),
        None => Histogram::new(options),
    };
    let mut own = with_samples(empty.clone(), &case["samples"])?;
    if case["merged_samples"].is_array() {
        own.merge(&with_samples(empty, &case["merged_samples"])?);
    }
    let checks = case["expect_percentiles"].as_array().map_or(&[][..], Vec::as_slice);
    for check in checks {
        let share = number(check, "p")?;
        close(&format!("percentile {share}"), own.percentile(share), number(check, "value")?, 1e-9)?;
    }
    if let Some(expected) = case["expect_empty"].as_bool() {
        same("is empty", &own.is_empty(), &expected)?;
    }
    let weights = case["expect_weights"].as_object();
    for (bucket, weight) in weights.into_iter().flatten() {
        let found = own.buckets().find(|(at, _)| at.to_string() == *bucket).map_or(0.0, |(_, weight)| weight);
        close(&format!("share of {bucket}"), found / own.total(), weight.as_f64().unwrap_or(f64::NAN), 1e-9)?;
    }
    let is_judged = !checks.is_empty() || case["expect_empty"].is_boolean() || weights.is_some();
    if is_judged { Ok(()) } else { Err("nothing is expected".into()) }
}

fn with_samples(mut own: Histogram, samples: &Value) -> Result<Histogram, String> {
    for sample in samples.as_array().into_iter().flatten() {
        only("a sample", sample, &["value", "weight", "at_s", "op"])?;
        let (value, weight, at) = (number(sample, "value")?, number(sample, "weight")?, number(sample, "at_s")?);
        match sample["op"].as_str() {
            None | Some("add") => own.add(value, weight, seconds(at)),
            Some("subtract") => own.subtract(value, weight, seconds(at)),
            Some(other) => return Err(format!("op {other} is not known")),
        }
    }
    Ok(own)
}

fn options(case: &Value) -> Result<(), String> {
    only("the case", case, &["options", "num_buckets", "bucket_start", "find_bucket"])?;
    let own = read_options(&case["options"])?;
    same("number of buckets", &Some(u64::from(own.count())), &case["num_buckets"].as_u64())?;
    for (bucket, start) in case["bucket_start"].as_object().into_iter().flatten() {
        let bucket: u16 = bucket.parse().map_err(|_| format!("{bucket:?} is no bucket"))?;
        close(&format!("start of {bucket}"), own.start(bucket), start.as_f64().unwrap_or(f64::NAN), 1e-9)?;
    }
    for pair in case["find_bucket"].as_array().into_iter().flatten() {
        let value = pair[0].as_f64().ok_or("a value is expected")?;
        same(&format!("bucket of {value}"), &Some(u64::from(own.find(value))), &pair[1].as_u64())?;
    }
    Ok(())
}

/// Ten buckets, one for each whole number.
fn ten() -> Result<Histogram, String> {
    Options::linear(9.0, 1.0, 0.001).map(Histogram::new).ok_or_else(|| "ten buckets".into())
}

fn save(case: &Value) -> Result<(), String> {
    only("the case", case, &["samples", "total", "weights"])?;
    let mut own = ten()?;
    for sample in case["samples"].as_array().into_iter().flatten() {
        let number = |at: usize| sample[at].as_f64().ok_or("samples are value and weight");
        own.add(number(0)?, number(1)?, seconds(0.0));
    }
    let found = own.checkpoint();
    close("total", found.total, number(case, "total")?, 1e-9)?;
    let found: Vec<(String, u64)> =
        found.weights.iter().map(|(at, weight)| (at.to_string(), (*weight).into())).collect();
    let weights = case["weights"].as_object().ok_or("weights are expected")?.iter();
    let weights: Vec<(String, u64)> = weights.map(|(at, weight)| (at.clone(), weight.as_u64().unwrap_or(0))).collect();
    same("weights", &found, &weights)
}

fn load(case: &Value) -> Result<(), String> {
    only("the case", case, &["checkpoint", "expect", "expect_error"])?;
    let loaded = read_checkpoint(&case["checkpoint"]).and_then(|checkpoint| {
        let mut own = ten()?;
        own.restore(&checkpoint).map_err(|error| error.to_string())?;
        Ok(own)
    });
    match (loaded, case["expect_error"].as_bool() == Some(true)) {
        (Ok(_), true) => Err("is taken, should fail".into()),
        (Err(_), true) => Ok(()),
        (Err(error), false) => Err(format!("fails: {error}")),
        (Ok(own), false) => {
            let expected = case["expect"].as_object().ok_or("weights are expected")?;
            same("number of buckets", &own.buckets().count(), &expected.len())?;
            for (bucket, weight) in own.buckets() {
                let weight_expected = expected.get(&bucket.to_string()).and_then(Value::as_f64).unwrap_or(f64::NAN);
                close(&format!("weight of {bucket}"), weight, weight_expected, 1e-9)?;
            }
            Ok(())
        }
    }
}

/// A checkpoint as upstream writes it: buckets may be any whole number.
fn read_checkpoint(value: &Value) -> Result<Checkpoint, String> {
    let fields = value.as_object().ok_or("no checkpoint")?;
    let mut weights = Vec::new();
    for (bucket, weight) in fields["weights"].as_object().into_iter().flatten() {
        let bucket: u16 = bucket.parse().map_err(|_| format!("{bucket:?} is no bucket"))?;
        let weight = weight.as_u64().and_then(|weight| u32::try_from(weight).ok());
        weights.push((bucket, weight.ok_or("a weight is a whole number from zero on")?));
    }
    Ok(Checkpoint { reference: None, total: number(value, "total")?, weights })
}

/// Fields of a case of estimators that has no samples.
const OF_ESTIMATORS: [&str; 14] = [
    "base_cpu",
    "base_mem",
    "min_cpu",
    "min_mem",
    "multiplier",
    "exponent",
    "samples_count",
    "lifespan_s",
    "interval_s",
    "confidence",
    "fraction",
    "expect_cpu_milli",
    "expect_cpu",
    "expect_mem",
];

fn estimator(case: &Value) -> Result<(), String> {
    if case.get("p").is_some() {
        return of_samples(case);
    }
    // However it is named: `margin`, `margin_fraction`.
    let margin = case.as_object().into_iter().flatten().find(|(field, _)| field.contains("margin"));
    let margin = margin.map_or("fraction", |(field, _)| field.as_str());
    only("the case", case, &[&OF_ESTIMATORS[..], &[margin]].concat())?;
    // Amounts are thousandths of a core and bytes.
    let amount = |cpu: &str, memory: &str| Amounts {
        cpu_milli: (case[cpu].as_f64().unwrap_or(0.0) * 1000.0).round() as u64,
        memory: case[memory].as_f64().unwrap_or(0.0).round() as u64,
    };
    let mut found = amount("base_cpu", "base_mem");
    if let Some(margin) = case[margin].as_f64() {
        found = with_margin(found, margin);
    }
    if let Some(multiplier) = case["multiplier"].as_f64() {
        let samples = case["samples_count"].as_u64().unwrap_or(0);
        let sampled = (samples > 0).then(|| (seconds(0.0), seconds(case["lifespan_s"].as_f64().unwrap_or(0.0))));
        let used = Aggregate { samples, sampled, ..Aggregate::default() };
        let sure = confidence(&used, Duration::from_secs_f64(case["interval_s"].as_f64().unwrap_or(86_400.0)));
        if let Some(expected) = case["confidence"].as_f64() {
            close("confidence", sure, expected, 1e-9)?;
        }
        found = with_confidence(found, multiplier, number(case, "exponent")?, sure);
    }
    found = at_least(found, amount("min_cpu", "min_mem"));
    let expected = [
        ("expect_cpu_milli", found.cpu_milli as f64),
        ("expect_cpu", found.cpu_milli as f64 / 1000.0),
        ("expect_mem", found.memory as f64),
    ];
    let known = || expected.iter().filter_map(|(field, found)| Some((field, *found, case[*field].as_f64()?)));
    if known().next().is_none() {
        return Err("nothing is expected".into());
    }
    known().try_for_each(|(field, found, expected)| close(field, found, expected, 1e-9))
}

/// What is recommended, within the bounds of a policy.
fn capping(case: &Value) -> Result<(), String> {
    only("the case", case, &["amounts", "min_allowed", "max_allowed", "expect"])?;
    let amount = |of: &str, field: &str| case[of][field].as_u64();
    for of in ["amounts", "min_allowed", "max_allowed", "expect"] {
        only(of, &case[of], &["cpu_milli", "memory"])?;
    }
    let both = |of: &str| {
        let (cpu, memory) = (amount(of, "cpu_milli"), amount(of, "memory"));
        cpu.zip(memory).map(|(cpu_milli, memory)| Amounts { cpu_milli, memory }).ok_or(format!("{of} lacks an amount"))
    };
    let bounds = Bounds {
        cpu_min: amount("min_allowed", "cpu_milli"),
        cpu_max: amount("max_allowed", "cpu_milli"),
        memory_min: amount("min_allowed", "memory"),
        memory_max: amount("max_allowed", "memory"),
    };
    same("amounts", &bounds.hold(both("amounts")?), &both("expect")?)
}

fn of_samples(case: &Value) -> Result<(), String> {
    only("the case", case, &["samples", "p", "expect", "rel_tol", "resource"])?;
    let mut used = Aggregate::default();
    let is_cpu = text(case, "resource")? == "cpu_cores";
    for sample in case["samples"].as_array().into_iter().flatten() {
        let histogram = if is_cpu { &mut used.cpu } else { &mut used.memory };
        histogram.add(sample.as_f64().ok_or("samples are numbers")?, 1.0, seconds(0.0));
    }
    let found = percentile(&used, number(case, "p")?);
    let found = if is_cpu { found.cpu_milli as f64 / 1000.0 } else { found.memory as f64 };
    close("percentile", found, number(case, "expect")?, case["rel_tol"].as_f64().unwrap_or(1e-9))
}
