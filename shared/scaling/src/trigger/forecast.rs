//! What the days before tell of the next minutes.
//!
//! What metrics ask for is averaged by time of day (or week) into a profile. A forecast is the profile's value at the later
//! time, times what today is beside the profile so far, a day with half the load has half the peak, and moved by what the
//! last minutes were beside that: a holiday is seen within the half hour. So the days before tell how load will change, and
//! the last minutes from where. Each forecast is compared with what came, and so is a flat one that knows the last minutes
//! and no profile. Only where those with the profile were clearly better does the floor follow them; load that does not
//! repeat is scaled as without a forecast.
//!
//! The floor moves in few large steps: up only once it would be short, then as far as the next quarter of an hour needs;
//! down only when all of that needs less.

mod packed;

use super::{Floor, Zones, lead, timezone};
use crate::Now;
use jiff::Timestamp;
use skerry_yaml::values::{Checks, Mapping};
use std::collections::VecDeque;
use std::time::Duration;

const DAY_MS: i64 = 86_400_000;
/// Slots of a day are five minutes, those of a week fifteen: a profile has 288 or 672 of them.
const DAY_SLOT_MS: i64 = 300_000;
const WEEK_SLOT_MS: i64 = 900_000;
/// A slot's value in steps of 1/16 replica, so up to 4,095 replicas.
const STEPS: f64 = 16.0;
/// Longest lead with a step, in slots that they span.
const SLOTS_AHEAD_MAX: usize = 16;
const LEAD_MAX: Duration = Duration::from_secs(3600);
const HISTORY_MAX: Duration = Duration::from_secs(90 * 86_400);
/// Weight of the newest season in the profile, once there are more than three.
const NEWEST: f64 = 0.3;
/// How far beyond the lead a step of the floor reaches.
const HOLD: Duration = Duration::from_secs(900);
/// Time constant of the last minutes' level.
const LEVEL_MS: i64 = 900_000;
/// What a slot leaves of the weight of those before it, in today's ratio and in the errors: three hours, and a day and more.
const RATIO_DECAY: f64 = 0.9;
const ERROR_DECAY: f64 = 0.995;
/// Today counts as at least and at most so much of the profile.
const RATIO: std::ops::RangeInclusive<f64> = 0.25..=4.0;
/// Forecasts are followed while their error is below this part of that of flat ones.
const ERROR_MAX: f64 = 0.8;
/// Comparisons before forecasts are followed.
const COMPARED_MIN: u16 = 24;
/// So much of a replica more is forecast without one more being asked for, since metrics have a tolerance too; and so much
/// less than that has to be forecast before one less is. Both are a part of the floor where that is more: the larger it is,
/// the less a replica matters. These three, [`HOLD`] and [`LEVEL_MS`] were chosen on the tuning curves of `cargo
/// bench-skerry scaling`; what it says of the others is what to expect.
const ROUNDED_DOWN: f64 = 0.45;
const KEPT: f64 = 0.3;
const PART_KEPT: f64 = 0.05;
/// Moments before 2020 are of a clock that is not set.
const SET_MS: i64 = 1_577_836_800_000;

/// How long the largest number counts against shrinking where forecasts are trusted: the floor knows what comes, and the
/// usual five minutes guard against what nobody knows.
pub const TRUSTED_WINDOW: Duration = Duration::from_secs(60);

/// How to forecast: key `forecast` of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Season {
    /// Load repeats each week; else each day.
    pub is_weekly: bool,
    /// How far ahead the floor rises.
    pub lead: Duration,
    /// Without so much history nothing is forecast.
    pub min_history: Duration,
    /// The zone whose days and weeks count; `""` for UTC.
    pub timezone: String,
}

/// What a policy's metrics asked for, by time of day or week. At most 3 KiB in memory and written down.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forecast {
    /// Averages by slot of the season; empty before the first note.
    profile: Vec<Slot>,
    /// Of the first note.
    since_ms: i64,
    /// The slot that is being filled, by number since 1970 in local time.
    slot: i64,
    sum: f64,
    count: u32,
    /// The last hours and the profile's, as decaying averages.
    today: f64,
    usual: f64,
    /// The last minutes' level, how far they were beside the profile times the ratio, and of when the last note is; anew
    /// after a restart.
    level: f64,
    beside: f64,
    noted_ms: i64,
    /// Errors of forecasts and of flat ones, as decaying sums, and how many were compared.
    error: f64,
    flat_error: f64,
    compared: u16,
    /// The last floor, so that noise about a whole number does not move it.
    asked: u32,
    /// Forecasts whose time has not come.
    open: VecDeque<Open>,
}

/// A slot of the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Slot {
    /// The average, in steps.
    steps: u16,
    /// Seasons that it was filled in, at most 255.
    seen: u8,
}

/// A forecast for a slot, and a flat one.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Open {
    slot: i64,
    forecast: f32,
    flat: f32,
}

impl Season {
    /// Takes the key `forecast`; `None` where it is not there or not enabled.
    pub(super) fn read(spec: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Self> {
        let mut node = spec.child("forecast", checks)?;
        let is_enabled = node.flag("enabled", checks).unwrap_or(true);
        let is_weekly = match node.text("season", checks).as_deref() {
            None | Some("1d") => false,
            Some("7d" | "1w") => true,
            Some(_) => {
                checks.fault(&node.at("season"), "1d or 7d is expected");
                false
            }
        };
        let lead = lead(&mut node, checks);
        if lead > LEAD_MAX {
            checks.fault(&node.at("leadSeconds"), "a forecast is for the next hour at most: up to 3600 is expected");
        }
        let seasons = if is_weekly { 14 } else { 2 };
        let min_history = node.span("minHistory", checks).unwrap_or(Duration::from_secs(seasons * 86_400));
        if min_history > HISTORY_MAX {
            checks.fault(&node.at("minHistory"), "at most 90d is expected");
        }
        let timezone = timezone(&mut node, checks);
        node.finish(checks);
        is_enabled.then_some(Self { is_weekly, lead, min_history, timezone })
    }

    fn slot_ms(&self) -> i64 {
        if self.is_weekly { WEEK_SLOT_MS } else { DAY_SLOT_MS }
    }

    fn slots(&self) -> i64 {
        if self.is_weekly { 7 * DAY_MS / WEEK_SLOT_MS } else { DAY_MS / DAY_SLOT_MS }
    }

    /// Milliseconds since 1970 by the local clock.
    fn local_ms(&self, now: Now, zones: &Zones) -> Option<i64> {
        let at = Timestamp::from_millisecond(now.wall.0).ok().filter(|_| now.wall.0 >= SET_MS)?;
        let offset = zones.zone(&self.timezone).ok()?.to_offset(at);
        Some(now.wall.0 + i64::from(offset.seconds()) * 1000)
    }

    /// Slots that the lead and a step reach over.
    fn slots_ahead(&self) -> i64 {
        let ahead_ms = i64::try_from((self.lead + HOLD).as_millis()).unwrap_or(i64::MAX);
        (ahead_ms.saturating_add(self.slot_ms() - 1) / self.slot_ms()).clamp(1, SLOTS_AHEAD_MAX as i64)
    }
}

impl Forecast {
    /// Notes what metrics ask for now, in thousandths of a replica: usage over target times replicas, before tolerance,
    /// windows, floors and bounds. Nothing is noted for a round whose metrics could not be read. Call it each round.
    ///
    /// Moments of a clock that is not set, and of a zone that nobody knows, are passed over.
    pub fn note(&mut self, season: &Season, now: Now, demand_milli: u64, zones: &Zones) {
        let Some(local_ms) = season.local_ms(now, zones) else { return };
        let slots = usize::try_from(season.slots()).unwrap_or_default();
        if self.profile.len() != slots {
            *self = Self { profile: vec![Slot::default(); slots], since_ms: now.wall.0, ..Self::default() };
        }
        let slot = local_ms / season.slot_ms();
        if slot != self.slot {
            self.close(season);
            (self.slot, self.sum, self.count) = (slot, 0.0, 0);
        }
        self.asked = self.floor(season, now, zones).map_or(0, |floor| floor.replicas);
        let demand = demand_milli as f64 / 1000.0;
        self.sum += demand;
        self.count = self.count.saturating_add(1);
        // After a gap of the time constant only what is now counts.
        let weight = now.wall.0.saturating_sub(self.noted_ms).clamp(0, LEVEL_MS) as f64 / LEVEL_MS as f64;
        self.noted_ms = now.wall.0;
        self.level += weight * (demand - self.level);
        if let Some(usual) = self.usual_at(season, local_ms) {
            self.beside += weight * (demand - usual * self.ratio() - self.beside);
        }
    }

    /// What is to run now so that it is there when load comes; `None` where history is too short or forecasts were not
    /// clearly better than none.
    #[must_use]
    pub fn floor(&self, season: &Season, now: Now, zones: &Zones) -> Option<Floor> {
        let local_ms = season.local_ms(now, zones)?;
        if !self.is_trusted(season, now) {
            return None;
        }
        let demand = self.most(season, local_ms, season.lead)?;
        let later = self.most(season, local_ms, season.lead + HOLD)?;
        let asked = f64::from(self.asked);
        let is_short = demand > asked + ROUNDED_DOWN.max(asked * PART_KEPT);
        let is_ample = later < asked - 1.0 + ROUNDED_DOWN - KEPT.max(asked * PART_KEPT);
        let wanted = (later - ROUNDED_DOWN).ceil().max(0.0);
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a slot holds some thousands")]
        let replicas = if is_short || is_ample { wanted } else { asked } as u32;
        let why = format!("forecast: {demand:.1} in {} s, as in the days before", season.lead.as_secs());
        Some(Floor { replicas, why, is_guess: true })
    }

    /// The most that is forecast from a local time on, for so long.
    fn most(&self, season: &Season, local_ms: i64, span: Duration) -> Option<f64> {
        // Straight lines between the middles of slots are highest at an end or at a middle.
        let span_ms = i64::try_from(span.as_millis()).ok()?;
        let half = season.slot_ms() / 2;
        let first = (local_ms + half).div_euclid(season.slot_ms());
        let middles = (0..SLOTS_AHEAD_MAX as i64).map(|n| (first + n) * season.slot_ms() + half);
        let moments = [local_ms, local_ms + span_ms].into_iter().chain(middles.filter(|at| *at < local_ms + span_ms));
        let usual = moments.map(|at| self.usual_at(season, at)).collect::<Option<Vec<f64>>>()?;
        Some(self.expected(usual.into_iter().fold(0.0, f64::max)))
    }

    /// How long the largest number counts against shrinking where the policy does not say: as usual, or
    /// [`TRUSTED_WINDOW`] where the floor follows forecasts. For `Controller::downscale_stabilization` of this round.
    #[must_use]
    pub fn stabilization(&self, season: Option<&Season>, now: Now, usual: Duration) -> Duration {
        let is_trusted = season.is_some_and(|season| self.is_trusted(season, now));
        if is_trusted { usual.min(TRUSTED_WINDOW) } else { usual }
    }

    /// Whether history is long enough, and forecasts were clearly better than flat ones.
    fn is_trusted(&self, season: &Season, now: Now) -> bool {
        let min_history_ms = i64::try_from(season.min_history.as_millis()).unwrap_or(i64::MAX);
        let is_known = now.wall.0.saturating_sub(self.since_ms) >= min_history_ms;
        is_known && self.compared >= COMPARED_MIN && self.error < ERROR_MAX * self.flat_error
    }

    /// The slot is full: takes it into the profile, and compares what was forecast for it.
    fn close(&mut self, season: &Season) {
        if self.count == 0 {
            return;
        }
        let load = self.sum / f64::from(self.count);
        let (now, slot) = (self.slot, self.slot);
        self.open.retain(|open| open.slot >= now);
        if let Some(open) = self.open.iter().find(|open| open.slot == now) {
            // One crowd speaks no louder than what is usual, or it would be heard for days.
            let most = self.usual(slot).unwrap_or_default() + 1.0;
            let error = |forecast: f32| (f64::from(forecast) - load).abs().min(most);
            self.error = self.error * ERROR_DECAY + error(open.forecast);
            self.flat_error = self.flat_error * ERROR_DECAY + error(open.flat);
            self.compared = self.compared.saturating_add(1);
        }
        if let Some(usual) = self.usual(slot) {
            let mix = |average: f64, value: f64| {
                if self.usual > 0.0 { average * RATIO_DECAY + value * (1.0 - RATIO_DECAY) } else { value }
            };
            (self.today, self.usual) = (mix(self.today, load), mix(self.usual, usual));
        }
        self.learn(slot, load);
        let later = slot + season.slots_ahead();
        if let Some(usual) = self.usual(later)
            && self.open.len() <= SLOTS_AHEAD_MAX
        {
            #[expect(clippy::cast_possible_truncation, reason = "for errors")]
            let (forecast, flat) = (self.expected(usual) as f32, self.level as f32);
            self.open.push_back(Open { slot: later, forecast, flat });
        }
    }

    /// Takes a slot's average into the profile; what is far above it counts as twice what was usual, so that one crowd does
    /// not make a peak of each day to come.
    fn learn(&mut self, slot: i64, load: f64) {
        let Some(entry) = self.entry(slot) else { return };
        let mut kept = self.profile[entry];
        let old = f64::from(kept.steps) / STEPS;
        let load = if kept.seen >= 2 { load.min(old * 2.0 + 1.0) } else { load };
        kept.seen = kept.seen.saturating_add(1);
        let weight = (1.0 / f64::from(kept.seen)).max(NEWEST);
        let steps = (old + weight * (load - old)) * STEPS;
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "it is cut to the range")]
        let steps = steps.round().clamp(0.0, f64::from(u16::MAX)) as u16;
        kept.steps = steps;
        self.profile[entry] = kept;
    }

    /// What is usual in a slot, where it was filled once.
    fn usual(&self, slot: i64) -> Option<f64> {
        let slot = self.profile[self.entry(slot)?];
        (slot.seen > 0).then(|| f64::from(slot.steps) / STEPS)
    }

    /// What is usual at a local time, by the two slots whose middles it lies between.
    fn usual_at(&self, season: &Season, local_ms: i64) -> Option<f64> {
        let from_middle = local_ms - season.slot_ms() / 2;
        let (slot, rest) = (from_middle.div_euclid(season.slot_ms()), from_middle.rem_euclid(season.slot_ms()));
        let part = rest as f64 / season.slot_ms() as f64;
        Some(self.usual(slot)? * (1.0 - part) + self.usual(slot + 1)? * part)
    }

    fn entry(&self, slot: i64) -> Option<usize> {
        let slots = i64::try_from(self.profile.len()).ok().filter(|slots| *slots > 0)?;
        usize::try_from(slot.rem_euclid(slots)).ok()
    }

    /// What is usual, as today and the last minutes are.
    fn expected(&self, usual: f64) -> f64 {
        (usual * self.ratio() + self.beside).max(0.0)
    }

    /// Today beside the profile.
    fn ratio(&self) -> f64 {
        if self.usual > 0.0 { (self.today / self.usual).clamp(*RATIO.start(), *RATIO.end()) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests;
