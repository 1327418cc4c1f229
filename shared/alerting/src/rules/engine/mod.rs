//! All groups with the state of their alerts: when they are due, and what their evaluations give.
//!
//! ```text
//! slots ── due ──> Turn ── evaluation: rule after rule ──> Round
//!                            ├ overlay: what earlier rules wrote
//!                            ├ rule: results to series or alerts;  alerts: their state machine
//!                            └ restore: state of before a restart
//! ```

mod alerts;
mod evaluation;
mod group;
mod overlay;
mod restore;
mod rule;
mod slots;
#[cfg(test)]
mod tests;

use super::{GroupStatus, Need, Round, RuleFile, Settings, Turn};
use crate::Now;
use evaluation::{Gone, Turning};
use group::Group;
use skerry_model::{Labels, Mono, Sample, UnixMillis, stale_nan};
use skerry_promql::{Matcher, Read, Selected, Source, SourceError};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// How far the wall clock may run apart from the monotonic one between two looks before it counts as set.
const CLOCK_STEP_MS: i64 = 2_000;
/// How many intervals the series of a group that is gone go on, so that a renamed one can take them over.
const LEAVING_INTERVALS: u32 = 2;

/// All groups with the state of their alerts.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    groups: Vec<Group>,
    leaving: Vec<Leaving>,
    /// The last moment that was heard of.
    clock: Now,
}

/// Series and alerts of a group that is gone.
#[derive(Debug)]
struct Leaving {
    file: Arc<str>,
    name: Arc<str>,
    at: UnixMillis,
    series: Vec<Labels>,
    gone: Vec<Gone>,
}

impl Leaving {
    fn of(mut group: Group, turning: &Turning<'_>) -> Self {
        let interval = group.slots.interval();
        let mut gone = std::mem::take(&mut group.gone);
        let mut series = std::mem::take(&mut group.leaving);
        for rule in group.rules {
            gone.extend(Gone::of(&rule, turning, interval));
            series.extend(rule.wrote);
        }
        let at = turning.at + interval.saturating_mul(LEAVING_INTERVALS);
        Self { file: group.file, name: group.name, at, series, gone }
    }
}

/// A source for what needs none.
struct Nowhere;

impl Source for Nowhere {
    fn select(&self, _: &[Matcher], _: UnixMillis, _: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        Ok(Vec::new())
    }
}

impl Engine {
    /// Groups of these files, each with its name (of which none stands twice). State of groups that `previous` had goes
    /// on; without one, state is taken up again from the source.
    #[must_use]
    pub fn new(files: Vec<(String, RuleFile)>, settings: Settings, previous: Option<Self>, now: Now) -> Self {
        let mut groups = Vec::new();
        for (file, content) in files {
            let file: Arc<str> = file.into();
            groups.extend(content.groups.into_iter().map(|spec| Group::new(&file, spec, &settings, now.wall)));
        }
        let mut engine = Self { settings, groups, leaving: Vec::new(), clock: now };
        if let Some(previous) = previous {
            engine.take_over(previous, now);
        }
        engine
    }

    fn take_over(&mut self, mut previous: Self, now: Now) {
        previous.tick(now);
        let settings = &previous.settings;
        let turning = Turning { at: now.wall, now, source: &Nowhere, settings };
        let mut old: Vec<Option<Group>> = previous.groups.into_iter().map(Some).collect();
        let mut leaving = previous.leaving;
        for group in &mut self.groups {
            let same = old.iter_mut().find(|old| old.as_ref().is_some_and(|old| group.is(&old.file, &old.name)));
            match same.and_then(Option::take) {
                Some(old) => group.take_over(old, &turning),
                // What the engine had it hands over: there is nothing to take up from the source.
                None => group.restores_in = 0,
            }
            let back: Vec<Leaving> = leaving.extract_if(.., |left| group.is(&left.file, &left.name)).collect();
            for back in back {
                group.leaving.extend(back.series);
                group.gone.extend(back.gone);
            }
        }
        leaving.extend(old.into_iter().flatten().map(|old| Leaving::of(old, &turning)));
        self.leaving = leaving;
    }

    /// Hears of the time. When the wall clock was set, everything that is held moves with it, so that no alert comes to
    /// fire by it: what counts is how long a condition has been met.
    fn tick(&mut self, now: Now) {
        let wall = now.wall.0.saturating_sub(self.clock.wall.0);
        let mono = i64::try_from(now.mono.0).unwrap_or(i64::MAX) - i64::try_from(self.clock.mono.0).unwrap_or(i64::MAX);
        let step = wall.saturating_sub(mono);
        if step.abs() > CLOCK_STEP_MS {
            self.groups.iter_mut().for_each(|group| group.shift(step, now.wall));
            self.leaving.iter_mut().for_each(|left| left.at.0 = left.at.0.saturating_add(step));
        }
        self.clock = now;
    }

    /// When [`Self::due`] has something; `None` where there are no groups.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        let slots = self.groups.iter().map(|group| group.next);
        let first = slots.chain(self.leaving.iter().map(|left| left.at)).min()?;
        Some(self.clock.mono + first.since(self.clock.wall))
    }

    /// Groups whose slot has come, by time and then in the order of their files. Slots before the last one are counted as
    /// missed.
    pub fn due(&mut self, now: Now) -> Vec<Turn> {
        self.tick(now);
        let mut turns = Vec::new();
        for group in &mut self.groups {
            let Some((at, missed)) = group.slots.reached(group.next, now.wall) else { continue };
            group.missed += missed;
            group.next = group.slots.next(at);
            turns.push(group.turn(at));
        }
        for left in self.leaving.iter().filter(|left| left.at <= now.wall) {
            turns.push(Turn { file: Arc::clone(&left.file), group: Arc::clone(&left.name), at: left.at });
        }
        turns.sort_by_key(|turn| turn.at);
        turns
    }

    /// The turn of the group at `index` (in the order of [`Self::groups`]) at any moment: for tests of rules.
    #[must_use]
    pub fn turn(&self, index: usize, at: UnixMillis) -> Option<Turn> {
        self.groups.get(index).map(|group| group.turn(at))
    }

    /// Evaluates one group at one moment. A turn of a group that is gone ends its series and alerts, once.
    pub fn evaluate(&mut self, turn: Turn, source: &dyn Source, now: Now) -> Round {
        let held = self.groups.iter().map(Group::held).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
        let limits = &self.settings.limits;
        let (alerts, series) = (limits.alerts_max.saturating_sub(held.0), limits.series_max.saturating_sub(held.1));
        let room = rule::Room { alerts, series };
        let turning = Turning { at: turn.at, now, source, settings: &self.settings };
        match self.groups.iter_mut().find(|group| group.is(&turn.file, &turn.group)) {
            Some(group) => group.evaluate(&turning, room),
            None => self.end(&turn, now),
        }
    }

    /// Ends what a group left behind, as far as no other has it.
    fn end(&mut self, turn: &Turn, now: Now) -> Round {
        let is_it = |left: &mut Leaving| left.file == turn.file && left.name == turn.group && left.at <= turn.at;
        let ended: Vec<Leaving> = self.leaving.extract_if(.., is_it).collect();
        let rules = || self.groups.iter().flat_map(|group| &group.rules);
        let written: HashSet<&Labels> = rules().flat_map(|rule| &rule.wrote).collect();
        let is_active = |labels: &Labels| rules().filter_map(rule::Rule::alerts).any(|alerts| alerts.is_active(labels));
        let mut round = Round::default();
        for left in ended {
            let series = left.series.into_iter().filter(|labels| !written.contains(labels));
            round.samples.extend(series.map(|labels| (labels, Sample { at: turn.at, value: stale_nan() })));
            let gone = left.gone.into_iter().filter(|gone| !is_active(&gone.labels));
            round.changes.extend(gone.map(|gone| gone.told(turn.at, now)));
        }
        round
    }

    /// What the rules read: each set of conditions once, with how far back it is needed at most. What reads at a moment of
    /// its own (`@ 1600000000`), and what templates ask for, is not among it.
    #[must_use]
    pub fn needs(&self) -> Vec<Need> {
        let mut needs: BTreeMap<String, Need> = BTreeMap::new();
        for (group, rule) in self.groups.iter().flat_map(|group| group.rules.iter().map(move |rule| (group, rule))) {
            for Read { matchers, back } in rule.query.reads(self.settings.limits.query) {
                let Some(back) = back else { continue };
                let back_ms = i64::try_from((back + group.offset).as_millis()).unwrap_or(i64::MAX);
                let key: Vec<String> =
                    matchers.iter().map(|m| format!("{:?}{:?}{:?}", m.label(), m.op(), m.value())).collect();
                let need = needs.entry(key.join(",")).or_insert(Need { matchers, back_ms });
                need.back_ms = need.back_ms.max(back_ms);
            }
        }
        needs.into_values().collect()
    }

    /// Groups with their rules and alerts, in the order of their files.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupStatus> {
        self.groups.iter().map(Group::shown).collect()
    }

    /// Whether all groups have taken up their state, each after its first two evaluations.
    #[must_use]
    pub fn restored(&self) -> bool {
        self.groups.iter().all(|group| group.restores_in == 0)
    }
}
