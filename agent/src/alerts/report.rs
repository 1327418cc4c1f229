//! What the centre is told of alerts, and when: the rules of conduct of a node that is often alone.
//!
//! While the fleet is reached, the begin and the end of an alert become events at once. While it is not, a begin is held
//! back as state: an alert that ends before the link returns becomes a single event of history, which pages nobody, and
//! one that still fires then is sent as firing. An end needs no holding back: it stands in the stream of events behind
//! its begin, or makes history.
//!
//! This is a sans-IO core: what changes is taken from it with [`Report::take`] and stored in one transaction, state and
//! events together, so that a crash leaves neither an event twice nor one out.
//!
//! Invariants:
//! - Of each episode (an alert with one `starts_at`) the centre hears at most one begin and one end, or one history.
//! - What an earlier run had begun is not sent as firing before a rule of this run says that it fires.
//! - At most [`ALERTS_MAX`] alerts are followed and at most [`WAITING_MAX`] changes wait to be taken; what does
//!   not fit is booked as loss.

use crate::store::Change;
use serde::{Deserialize, Serialize};
use skerry_alerting::Now;
use skerry_model::{Alert, Fingerprint, LossEntry, LossReason, Mono, StreamKind, TimeRange, UnixMillis};
use skerry_wire::{AlertEvent, Event, EventKind, TOLD_MAX, codec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Before every key of its state.
pub const PREFIX: &str = "alerts/report/";
/// Most alerts that are followed.
pub const ALERTS_MAX: usize = 1000;
/// Most changes that wait to be taken.
pub const WAITING_MAX: usize = 2000;
/// Longest stored entry.
const ENTRY_BYTES_MAX: usize = 256 << 10;
/// Source of losses.
const SOURCE: &str = "alerts";

/// An alert that fires.
#[derive(Debug)]
struct Entry {
    /// As it is told; `ends_at` is open.
    event: AlertEvent,
    /// Its begin as the rules of this run say it: after a restart they may say a later one of the same episode.
    from: UnixMillis,
    /// Whether its begin was given out.
    is_sent: bool,
    /// Whether somebody said in this run that it fires.
    is_confirmed: bool,
    /// Unless somebody says again that it fires, it has ended by then.
    until: Mono,
}

/// As it lies in the state.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "a")]
    event: AlertEvent,
    #[serde(rename = "s")]
    is_sent: bool,
}

/// An alert's state with the event that made it so.
#[derive(Debug)]
struct Item {
    fingerprint: Fingerprint,
    state: Option<Vec<u8>>,
    event: Option<Event>,
}

/// What is to be stored, in one transaction.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// Keys of the state, oldest change first.
    pub changes: Vec<Change>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// The core. One per agent.
#[derive(Debug)]
pub struct Report {
    entries: BTreeMap<Fingerprint, Entry>,
    is_link_up: bool,
    /// What waits to be stored, oldest first.
    waiting: VecDeque<Item>,
    lost: u64,
    lost_at: Option<TimeRange>,
    began: UnixMillis,
}

impl Report {
    /// Takes up what an earlier run stored under [`PREFIX`]. Alerts of that run that nobody confirms within `grace` have
    /// ended. What cannot be read is left out.
    #[must_use]
    pub fn new(stored: &[(String, Vec<u8>)], grace: Duration, now: Now) -> Self {
        let entry = |(key, value): &(String, Vec<u8>)| {
            let fingerprint = key.strip_prefix(PREFIX)?.parse().ok()?;
            let Stored { event, is_sent } = codec::decode(value, ENTRY_BYTES_MAX).ok()?;
            let (from, until) = (event.starts_at, now.mono + grace);
            Some((fingerprint, Entry { event, from, is_sent, is_confirmed: false, until }))
        };
        Self {
            entries: stored.iter().filter_map(entry).take(ALERTS_MAX).collect(),
            is_link_up: false,
            waiting: VecDeque::new(),
            lost: 0,
            lost_at: None,
            began: now.wall,
        }
    }

    /// An alert as it is now, firing or ended, with its value where that is known, and the receivers that the node tells
    /// of it by itself.
    pub fn see(&mut self, alert: &Alert, value: Option<&str>, told: &[String], now: Now) {
        let fingerprint = alert.fingerprint();
        if alert.is_resolved(now.wall) {
            // One that began later is another episode than this end's.
            if self.entries.get(&fingerprint).is_some_and(|entry| entry.event.starts_at <= alert.ends_at) {
                self.end(fingerprint, alert.ends_at, now);
            }
            return;
        }
        let until = now.mono + Duration::from_millis(u64::try_from(alert.ends_at.0 - now.wall.0).unwrap_or(0));
        let is_same = |entry: &Entry| alert.starts_at <= entry.from || !entry.is_confirmed;
        match self.entries.get_mut(&fingerprint) {
            Some(entry) if is_same(entry) => {
                (entry.until, entry.from) = (until, alert.starts_at);
                let was_confirmed = std::mem::replace(&mut entry.is_confirmed, true);
                if entry.is_sent {
                    return;
                }
                entry.event.annotations.clone_from(&alert.annotations);
                if let Some(value) = value {
                    entry.event.value = value.to_owned();
                }
                entry.event.told = told.iter().take(TOLD_MAX).cloned().collect();
                if !was_confirmed && self.is_link_up {
                    self.send(fingerprint, now);
                }
                return;
            }
            Some(_) => self.end(fingerprint, alert.starts_at, now),
            None => {}
        }
        if self.entries.len() >= ALERTS_MAX {
            self.lose(now.wall);
            return;
        }
        let event = AlertEvent {
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: alert.starts_at,
            ends_at: None,
            value: value.unwrap_or_default().to_owned(),
            told: told.iter().take(TOLD_MAX).cloned().collect(),
            is_history: false,
        };
        let from = event.starts_at;
        self.entries.insert(fingerprint, Entry { event, from, is_sent: false, is_confirmed: true, until });
        if self.is_link_up {
            self.send(fingerprint, now);
        } else {
            self.keep(fingerprint, None, now);
        }
    }

    /// Whether the fleet is reached now. When it is again, what fires and was held back is sent.
    pub fn link(&mut self, is_up: bool, now: Now) {
        let was_up = std::mem::replace(&mut self.is_link_up, is_up);
        if is_up && !was_up {
            let held = |(_, entry): &(&Fingerprint, &Entry)| !entry.is_sent && entry.is_confirmed;
            let held: Vec<Fingerprint> =
                self.entries.iter().filter(held).map(|(fingerprint, _)| *fingerprint).collect();
            for fingerprint in held {
                self.send(fingerprint, now);
            }
        }
    }

    /// Ends what nobody said again in time.
    pub fn poll(&mut self, now: Now) {
        let over = |(_, entry): &(&Fingerprint, &Entry)| entry.until <= now.mono;
        let over: Vec<Fingerprint> = self.entries.iter().filter(over).map(|(fingerprint, _)| *fingerprint).collect();
        for fingerprint in over {
            let is_confirmed = self.entries.get(&fingerprint).is_some_and(|entry| entry.is_confirmed);
            // What ended while the agent was down ended before it began.
            let at = if is_confirmed { now.wall } else { self.began };
            self.end(fingerprint, at, now);
        }
    }

    /// Whether an alert is known to fire.
    #[must_use]
    pub fn follows(&self, alert: Fingerprint) -> bool {
        self.entries.contains_key(&alert)
    }

    /// An alert is over, as far as anybody knows.
    pub fn over(&mut self, alert: Fingerprint, now: Now) {
        self.end(alert, now.wall, now);
    }

    /// When [`Self::poll`] may have something to do.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        self.entries.values().map(|entry| entry.until).min()
    }

    /// Alerts that fire and are held back until the fleet is reached.
    #[must_use]
    pub fn held(&self) -> usize {
        self.entries.values().filter(|entry| !entry.is_sent).count()
    }

    /// Alerts that are followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.entries.len()
    }

    /// What is to be stored; nothing where all is.
    pub fn take(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for Item { fingerprint, state, event } in self.waiting.drain(..) {
            outcome.changes.push((format!("{PREFIX}{fingerprint}"), state));
            outcome.events.extend(event);
        }
        outcome
    }

    /// What had to be given up since this was asked last.
    pub fn loss(&mut self) -> Option<LossEntry> {
        let range = self.lost_at.take()?;
        let count = Some(std::mem::take(&mut self.lost));
        Some(LossEntry {
            stream: StreamKind::Events,
            reason: LossReason::Overload,
            count,
            range,
            source: SOURCE.into(),
        })
    }

    fn send(&mut self, fingerprint: Fingerprint, now: Now) {
        let Some(entry) = self.entries.get_mut(&fingerprint) else { return };
        entry.is_sent = true;
        let event = entry.event.clone();
        self.keep(fingerprint, Some(event), now);
    }

    fn end(&mut self, fingerprint: Fingerprint, at: UnixMillis, now: Now) {
        let Some(entry) = self.entries.remove(&fingerprint) else { return };
        let ends_at = Some(at.max(entry.event.starts_at));
        let event = AlertEvent { ends_at, is_history: !entry.is_sent, ..entry.event };
        self.keep(fingerprint, Some(event), now);
    }

    /// What an alert is now waits to be stored, with what is told of it.
    fn keep(&mut self, fingerprint: Fingerprint, event: Option<AlertEvent>, now: Now) {
        let stored = |entry: &Entry| codec::encode(&Stored { event: entry.event.clone(), is_sent: entry.is_sent });
        let state = self.entries.get(&fingerprint).map(stored);
        let event = event.map(|event| Event { at: now.wall, kind: EventKind::Alert(event) });
        self.waiting.push_back(Item { fingerprint, state, event });
        self.bound(now);
    }

    /// State that is told of no more goes first; then the oldest history, for which nobody waits; then what is oldest.
    fn bound(&mut self, now: Now) {
        while self.waiting.len() > WAITING_MAX {
            let mut later = BTreeSet::new();
            let is_superseded = |(_, item): &(usize, &Item)| !later.insert(item.fingerprint) && item.event.is_none();
            if let Some((at, _)) = self.waiting.iter().enumerate().rev().find(is_superseded) {
                self.waiting.remove(at);
                continue;
            }
            let is_history = |item: &&mut Item| match &item.event {
                Some(Event { kind: EventKind::Alert(alert), .. }) => alert.is_history,
                _ => false,
            };
            let given_up = match self.waiting.iter_mut().find(is_history) {
                Some(item) => item.event.take(),
                None => self.waiting.pop_front().and_then(|item| item.event),
            };
            if given_up.is_some() {
                self.lose(now.wall);
            }
        }
    }

    fn lose(&mut self, at: UnixMillis) {
        self.lost += 1;
        let range = TimeRange::at(at);
        self.lost_at = Some(self.lost_at.map_or(range, |known| known.cover(range)));
    }
}
