//! Peaks of memory, and containers that were killed for want of it.

use super::json::{only, same, text};
use super::vpa::{number, seconds};
use serde_json::Value;
use skerry_scaling::vpa::{Aggregate, Histogram, Instance, Options};
use std::time::Duration;

/// Steps of one container, each with what it does to the histogram: that is done to a second one, and both are compared.
pub(super) fn oom(all: &Value, case: &Value) -> Result<(), String> {
    only("the case", case, &["steps"])?;
    let unit = match text(all, "unit")? {
        "Mi" => f64::from(1 << 20),
        other => return Err(format!("unit {other:?} is not known")),
    };
    let window = number(all, "window_s")?;
    let options = Options::linear(39_900.0 * unit, 100.0 * unit, 1e-9).ok_or("options")?;
    let empty = Histogram::decaying(options, Duration::from_secs(86_400));
    let (mut used, mut instance) = (Aggregate { memory: empty.clone(), ..Aggregate::default() }, Instance::default());
    let mut expected = empty;
    for (n, step) in case["steps"].as_array().ok_or("steps are expected")?.iter().enumerate() {
        let [Some(kind), Some(effect)] = [step[0].as_str(), step[3].as_str()] else {
            return Err(format!("step {n} has another form"));
        };
        let [Some(at), Some(value)] = [step[1].as_f64(), step[2].as_f64()] else {
            return Err(format!("step {n} has another form"));
        };
        let (at, bytes) = (seconds(at), (value * unit) as u64);
        let taken = match kind {
            "mem" => used.add_memory(&mut instance, bytes, at),
            "oom" => used.add_oom(&mut instance, bytes, at).is_ok(),
            other => return Err(format!("a step {other:?} is not known")),
        };
        same(&format!("step {n} is an error"), &!taken, &(effect == "error"))?;
        if !["error", "no change"].contains(&effect) {
            act(effect, unit, window, &mut expected)?;
        }
        let weights = |of: &Histogram| of.buckets().filter(|(_, weight)| *weight > 1e-6).collect::<Vec<_>>();
        same(&format!("after step {n} ({effect})"), &weights(&used.memory), &weights(&expected))?;
    }
    Ok(())
}

/// `sub 1200 @W1, add 2400 @W1`; of several with one window the last has it.
fn act(effect: &str, unit: f64, window: f64, on: &mut Histogram) -> Result<(), String> {
    let unknown = || format!("the effect {effect:?} is not known");
    let end = effect.rsplit_once("@W").ok_or_else(unknown)?.1;
    for part in effect.split(", ") {
        let words: Vec<&str> = part.split(' ').collect();
        let ([verb, value] | [verb, value, _]) = words[..] else { return Err(unknown()) };
        let nth: f64 =
            words.get(2).and_then(|word| word.strip_prefix("@W")).unwrap_or(end).parse().map_err(|_| unknown())?;
        let (value, at) = (value.parse::<f64>().map_err(|_| unknown())? * unit, seconds(nth * window));
        match verb {
            "add" => on.add(value, 1.0, at),
            "sub" => on.subtract(value, 1.0, at),
            _ => return Err(unknown()),
        }
    }
    Ok(())
}
