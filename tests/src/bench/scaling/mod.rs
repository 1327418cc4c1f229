//! Scaling: what a round costs, and how loads are met beside the plain formula of Kubernetes's autoscaler.
//!
//! Curves are replayed second by second against the model of a service, which is the same for all. Plain is the formula
//! with Kubernetes's defaults, written down apart ([`plain`](self)); with neither triggers nor a forecast Skerry decides the
//! same in every round, which a test holds it to. Over- and under-provisioning are replica-hours above and below what the
//! load needs at the target; the model's figures say nothing of real services.

pub mod curves;
mod plain;
mod replay;
mod round;
mod service;

use super::{Limit, Report};
use curves::{CURVES, Curve, HELD_OUT, RECORDED};
use replay::{Outcome, first, plain, replay, skerry};

/// Forecasts from the second day on.
const FORECAST: &str = "forecast: {minHistory: 1d}";
/// By weeks, from the second on.
const WEEKLY: &str = "forecast: {season: 7d, minHistory: 7d}";
/// What somebody writes down who knows when shifts begin and how many replicas they need on most days.
const SCHEDULE: &str = "triggers:
- type: schedule
  leadSeconds: 45
  peaks:
  - {at: 0 6 * * *, lasts: 8h, desiredReplicas: 11}
  - {at: 0 14 * * *, lasts: 8h, desiredReplicas: 17}
behavior: {scaleDown: {stabilizationWindowSeconds: 60}}
";
/// The same for the begin of shifts alone, from which metrics take over.
const BEGINS: &str = "triggers:
- type: schedule
  leadSeconds: 45
  peaks:
  - {at: 0 6 * * *, lasts: 15m, desiredReplicas: 12}
  - {at: 0 14 * * *, lasts: 15m, desiredReplicas: 18}
";

/// Runs all of it; `short` leaves out the curves of days and weeks.
///
/// # Errors
/// If a curve or a policy cannot be read.
pub fn run(short: bool, say: &dyn Fn(&str)) -> anyhow::Result<Report> {
    let mut report = Report::default();
    say("100 policies a round");
    round::run(if short { 40 } else { 240 }, &mut report)?;
    let both = format!("{BEGINS}{FORECAST}");
    let tuned = CURVES.iter().map(|curve| (curve, ""));
    let held_out = HELD_OUT.iter().map(|curve| (curve, "held_out_"));
    for ((name, _, hours, _), prefix) in tuned.chain(held_out) {
        if short && *hours > 24 {
            continue;
        }
        say(&format!("the curve {name}"));
        let curve = Curve::read(name)?;
        let plain = replay(&curve, &mut plain(first(&curve)), &mut |_| ());
        note(&mut |figure, value| report.peer(&format!("plain_{prefix}{name}_{figure}"), value), plain);
        let kinds: &[(&str, &str)] = match *name {
            "diurnal_shifts" => &[
                ("forecast", FORECAST),
                ("schedule", SCHEDULE),
                ("schedule_begins", BEGINS),
                ("schedule_and_forecast", &both),
            ],
            "diurnal_week" | "office_week" | RECORDED => &[("forecast", FORECAST), ("forecast_7d", WEEKLY)],
            _ => &[("forecast", FORECAST)],
        };
        for (kind, keys) in kinds {
            let ours = replay(&curve, &mut skerry(keys)?, &mut |_| ());
            let full = format!("{prefix}{name}_{kind}");
            note(&mut |figure, value| report.figure(&format!("{full}_{figure}"), value), ours);
            for (figure, ours, plain) in [
                ("under", ours.under, plain.under),
                ("over", ours.over, plain.over),
                ("off", ours.under + ours.over, plain.under + plain.over),
                ("late", ours.late, plain.late),
                ("actions", ours.actions, plain.actions),
            ] {
                let part = if plain > 0.0 { ours / plain } else { 1.0 };
                let full = format!("{full}_{figure}_part_of_plain");
                match limit(name, figure) {
                    Some(most) => report.limited(&full, part, Limit::Max(most)),
                    None => report.figure(&full, part),
                }
            }
        }
    }
    Ok(report)
}

/// The most of a figure as part of plain's. Days that repeat are to be met better: in what is off in sum, and in what makes
/// users wait, which are replicas that are missing on smooth days, and late requests where load jumps. All other curves
/// are to be met no worse in anything.
fn limit(curve: &str, figure: &str) -> Option<f64> {
    match (curve, figure) {
        ("diurnal" | "diurnal_week", "under" | "off") => Some(0.95),
        ("diurnal_shifts", "late") => Some(0.5),
        ("diurnal_shifts", "off") => Some(1.0),
        ("diurnal" | "diurnal_week" | "diurnal_shifts", _) => None,
        (held_out, figure) if HELD_OUT.iter().any(|curve| curve.0 == held_out) => {
            ["under", "off"].contains(&figure).then_some(0.95)
        }
        _ => Some(1.0),
    }
}

fn note(figure: &mut dyn FnMut(&str, f64), outcome: Outcome) {
    figure("over_replica_hours", outcome.over / 3600.0);
    figure("under_replica_hours", outcome.under / 3600.0);
    figure("actions", outcome.actions);
    figure("late_percent", outcome.late * 100.0);
}
