//! Replicas by time: cron, calendar, known peaks, and what the days before tell.
//!
//! A trigger never takes replicas away: it raises the floor below what metrics ask for. The floor of a policy is the highest
//! of all that ask at this moment; where none does, its `minReplicas` stands.
//!
//! ```yaml
//! triggers:
//! - type: cron          # As KEDA has it: from each start to the next end.
//!   metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: "4"}
//! - type: calendar      # Days of a calendar, and what Alertmanager's time intervals can say.
//!   timezone: Europe/Berlin
//!   dates: [2026-11-27, "12-20:12-24"]
//!   times: [{start_time: "09:00", end_time: "20:00"}]
//!   desiredReplicas: 6
//! - type: schedule      # Known peaks; the floor rises ahead of each.
//!   timezone: Europe/Berlin
//!   leadSeconds: 300
//!   peaks: [{at: 0 9 * * 1-5, lasts: 2h, desiredReplicas: 8}]
//! forecast: {season: 1d, leadSeconds: 120, minHistory: 2d}
//! ```
//!
//! Settings of a trigger stand beside its type, or under `metadata` as in KEDA.
//!
//! Invariants:
//! - Whether a trigger asks depends on the moment and the time zone alone, so that a restart changes nothing. What was
//!   learnt from the days before is the exception, and can be written down.
//! - Hours that a clock change leaves out or doubles never leave a trigger on or off for a day.

mod calendar;
mod cron;
mod forecast;
mod zones;

pub use forecast::{Forecast, Season, TRUSTED_WINDOW};
pub use zones::{ReadZone, Zones};

use crate::Now;
use calendar::Calendar;
use cron::Cron;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use skerry_yaml::values::{Checks, Mapping};
use std::time::Duration;

/// Most triggers of a policy.
const TRIGGERS_MAX: usize = 32;
/// Most peaks of a schedule.
const PEAKS_MAX: usize = 64;
/// Most replicas that can be asked for; a policy's `maxReplicas` bounds them too.
const REPLICAS_MAX: i64 = 100_000;
/// Longest that a floor can rise ahead, and a peak last: a day, and a week.
const LEAD_SECONDS_MAX: i64 = 86_400;
const PEAK_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Longest name of a trigger or a zone.
const NAME_BYTES_MAX: usize = 64;

/// What a trigger or the forecast asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// Least replicas; 0 where it cannot say, which `why` explains.
    pub replicas: u32,
    /// Which trigger it is and when it is on, as a clause: `cron from 0 8 * * 1-5 to 0 18 * * 1-5, Europe/Berlin`.
    pub why: String,
    /// Nobody asked for this number: it is a forecast's.
    pub is_guess: bool,
}

/// The triggers of a policy: keys `triggers` and `forecast` of its spec.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Triggers {
    triggers: Vec<Trigger>,
    forecast: Option<Season>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Trigger {
    /// Its name or type.
    name: String,
    timezone: String,
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Cron { start: Cron, end: Cron, replicas: u32 },
    Calendar { when: Calendar, replicas: u32 },
    Schedule { lead: Duration, peaks: Vec<Peak> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Peak {
    at: Cron,
    lasts: Duration,
    replicas: u32,
}

impl Triggers {
    /// Takes the keys `triggers` and `forecast` of a policy's spec.
    pub fn read(spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Self {
        let mut triggers = Vec::new();
        let items = spec.items("triggers", checks);
        if items.len() > TRIGGERS_MAX {
            checks.fault(&spec.at("triggers"), format!("at most {TRIGGERS_MAX} triggers are taken"));
        }
        for (key, item) in items.into_iter().take(TRIGGERS_MAX) {
            triggers.extend(Trigger::read(Mapping::new(Some(item), &key, checks), checks));
        }
        Self { triggers, forecast: Season::read(spec, checks) }
    }

    /// What those that are on ask for now, in the order they are written; without the forecast. One whose time zone nobody
    /// knows says so and asks for nothing.
    #[must_use]
    pub fn floors(&self, now: Now, zones: &Zones) -> Vec<Floor> {
        let Ok(at) = Timestamp::from_millisecond(now.wall.0) else { return Vec::new() };
        let floor = |trigger: &Trigger| match zones.zone(&trigger.timezone) {
            Ok(zone) => trigger.floor(at, &zone),
            Err(problem) => Some(Floor { replicas: 0, why: format!("{}: {problem}", trigger.name), is_guess: false }),
        };
        self.triggers.iter().filter_map(floor).collect()
    }

    /// How to forecast, where the policy says so.
    #[must_use]
    pub const fn forecast(&self) -> Option<&Season> {
        self.forecast.as_ref()
    }

    /// Whether there is none, and no forecast.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.triggers.is_empty() && self.forecast.is_none()
    }
}

impl Trigger {
    /// Takes its keys.
    fn read(mut node: Mapping<'_>, checks: &mut Checks<'_>) -> Option<Self> {
        let kind = node.text("type", checks).unwrap_or_default();
        let name = node.text("name", checks).filter(|name| name.len() <= NAME_BYTES_MAX);
        let name = name.map_or_else(|| kind.clone(), |name| format!("{kind} {name}"));
        if !["cron", "calendar", "schedule"].contains(&kind.as_str()) {
            // Its other keys are nobody's fault.
            let problem =
                "cron, calendar or schedule is expected; what KEDA reads from elsewhere is an External metric";
            checks.fault(&node.at("type"), problem);
            return None;
        }
        let mut inner = node.child("metadata", checks);
        let settings = inner.as_mut().unwrap_or(&mut node);
        let timezone = timezone(settings, checks);
        let read = match kind.as_str() {
            "cron" => read_cron(settings, checks),
            "calendar" => {
                let (when, replicas) = (Calendar::read(settings, checks), replicas(settings, checks));
                replicas.map(|replicas| Kind::Calendar { when, replicas })
            }
            _ => Some(read_schedule(settings, checks)),
        };
        for node in inner.into_iter().chain([node]) {
            node.finish(checks);
        }
        read.map(|kind| Self { name, timezone, kind })
    }

    fn floor(&self, at: Timestamp, zone: &TimeZone) -> Option<Floor> {
        let (replicas, when) = match &self.kind {
            Kind::Cron { start, end, replicas } => {
                // Of two that a clock change puts on one moment, the names of the times tell which was later.
                let started = start.latest(at, zone)?;
                end.latest(at, zone).is_none_or(|ended| ended <= started).then_some(())?;
                (*replicas, format!("from {start} to {end}"))
            }
            Kind::Calendar { when, replicas } => {
                when.contains(zone.to_datetime(at)).then_some(())?;
                (*replicas, "on".to_owned())
            }
            Kind::Schedule { lead, peaks } => {
                let until = at.saturating_add(SignedDuration::try_from(*lead).ok()?).ok()?;
                let is_on = |peak: &&Peak| {
                    let began = peak.at.latest(until, zone);
                    began
                        .is_some_and(|(began, _)| at.duration_since(began).as_millis() < peak.lasts.as_millis() as i128)
                };
                let peak = peaks.iter().filter(is_on).max_by_key(|peak| peak.replicas)?;
                (
                    peak.replicas,
                    format!("peak at {} for {} s, {} s ahead", peak.at, peak.lasts.as_secs(), lead.as_secs()),
                )
            }
        };
        let timezone = if self.timezone.is_empty() { "UTC" } else { &self.timezone };
        Some(Floor { replicas, why: format!("{} {when}, {timezone}", self.name), is_guess: false })
    }
}

fn read_cron(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Kind> {
    let (start, end) = (cron(node, "start", checks), cron(node, "end", checks));
    if start.is_some() && start == end {
        checks.fault(&node.at("end"), "it is the same as start");
    }
    let replicas = replicas(node, checks);
    Some(Kind::Cron { start: start?, end: end?, replicas: replicas? })
}

fn read_schedule(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Kind {
    let lead = lead(node, checks);
    let items = node.items("peaks", checks);
    if !(1..=PEAKS_MAX).contains(&items.len()) {
        checks.fault(&node.at("peaks"), format!("from 1 to {PEAKS_MAX} peaks are expected"));
    }
    let mut peaks = Vec::new();
    for (key, item) in items.into_iter().take(PEAKS_MAX) {
        let mut node = Mapping::new(Some(item), &key, checks);
        let at = cron(&mut node, "at", checks);
        let lasts = node.span("lasts", checks).filter(|lasts| !lasts.is_zero() && *lasts <= PEAK_MAX);
        if lasts.is_none() {
            checks.fault(&node.at("lasts"), "a span of time such as 30m or 2h, at most 7d, is expected");
        }
        let replicas = replicas(&mut node, checks);
        node.finish(checks);
        if let (Some(at), Some(lasts), Some(replicas)) = (at, lasts, replicas) {
            peaks.push(Peak { at, lasts, replicas });
        }
    }
    Kind::Schedule { lead, peaks }
}

fn cron(node: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Option<Cron> {
    let text = node.text(name, checks).unwrap_or_default();
    Cron::parse(&text).map_err(|problem| checks.fault(&node.at(name), problem)).ok()
}

fn replicas(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<u32> {
    if node.take("desiredReplicas").is_none() {
        checks.fault(&node.at("desiredReplicas"), "the number of replicas is expected");
    }
    let replicas = node.number("desiredReplicas", 0, REPLICAS_MAX, checks)?;
    u32::try_from(replicas).ok()
}

/// Key `leadSeconds`; two minutes: time for a container to start and be ready.
fn lead(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Duration {
    let lead = node.number("leadSeconds", 0, LEAD_SECONDS_MAX, checks).unwrap_or(120);
    Duration::from_secs(lead.unsigned_abs())
}

/// Key `timezone`. Whether it is known is seen on the node.
fn timezone(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> String {
    let name = node.text("timezone", checks).unwrap_or_default();
    if name.len() > NAME_BYTES_MAX {
        checks.fault(&node.at("timezone"), "the name of a time zone such as Europe/Berlin is expected");
        return String::new();
    }
    name
}

#[cfg(test)]
mod tests;
