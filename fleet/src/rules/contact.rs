//! How long a node is normally silent, learnt from the times at which it was heard.
//!
//! A node that is connected reports every minute. One that talks once a day is away most of the time, and its absences
//! are alike; then the longest of the last ones is what is to be expected. So that one long outage does not make the
//! fleet wait as long the next time, no more than four times the middle one counts.

use serde::{Deserialize, Serialize};
use skerry_model::UnixMillis;
use std::collections::VecDeque;
use std::time::Duration;

/// What is expected of a node that stays connected: it reports every minute, so three reports are missing.
pub(super) const CONNECTED: Duration = Duration::from_secs(200);
/// Absences that are remembered.
const ABSENCES_MAX: usize = 8;
/// So many have to be known before anything is made of them.
const ABSENCES_MIN: usize = 3;
/// How much longer than the middle one an absence counts at most.
const OUTLIER: u32 = 4;
/// Times that the server did not run that are remembered.
const OUTAGES_MAX: usize = 32;

/// What was learnt of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Contact {
    /// Since when it was heard without a longer pause.
    here_since: i64,
    /// When it was heard last.
    last: i64,
    /// The last absences, oldest first: how long it was heard before it, and how long it was away, in milliseconds.
    absences: VecDeque<(u64, u64)>,
    /// By how much its clock was ahead of the fleet's when it told its time last.
    #[serde(default)]
    pub(super) offset_ms: Option<i64>,
}

/// Times at which the server did not run, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Outages(VecDeque<(i64, i64)>);

impl Outages {
    /// Notes that the server did not run in between.
    pub(super) fn add(&mut self, from: UnixMillis, to: UnixMillis) {
        if from < to {
            self.0.push_back((from.0, to.0));
            while self.0.len() > OUTAGES_MAX {
                self.0.pop_front();
            }
        }
    }

    /// The time between two moments at which the server ran.
    pub(super) fn listened(&self, from: UnixMillis, to: UnixMillis) -> Duration {
        let deaf: i64 = self.0.iter().map(|(begin, end)| (to.0.min(*end) - from.0.max(*begin)).max(0)).sum();
        to.since(from).saturating_sub(millis(deaf))
    }
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

impl Contact {
    /// Of a node that was heard for the first time.
    pub(super) fn new(last: UnixMillis) -> Self {
        Self { here_since: last.0, last: last.0, ..Self::default() }
    }

    /// Notes that the node was heard last at `last`; whether there is something new to keep.
    pub(super) fn heard(&mut self, last: UnixMillis, outages: &Outages) -> bool {
        let before = UnixMillis(self.last);
        if last <= before {
            return false;
        }
        self.last = last.0;
        let away = outages.listened(before, last);
        if away <= CONNECTED {
            return false;
        }
        let here = before.since(UnixMillis(self.here_since));
        let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.absences.push_back((ms(here), ms(away)));
        while self.absences.len() > ABSENCES_MAX {
            self.absences.pop_front();
        }
        self.here_since = last.0;
        true
    }

    /// How long it is normally silent at most.
    pub(super) fn expected(&self) -> Duration {
        let (here, away) = self
            .absences
            .iter()
            .fold((0_u64, 0_u64), |(here, away), (h, a)| (here.saturating_add(*h), away.saturating_add(*a)));
        if self.absences.len() < ABSENCES_MIN || away <= here {
            return CONNECTED;
        }
        let mut lengths: Vec<u64> = self.absences.iter().map(|(_, away)| *away).collect();
        lengths.sort_unstable();
        let middle = lengths[(lengths.len() - 1) / 2];
        let longest = lengths[lengths.len() - 1];
        Duration::from_millis(longest.min(middle.saturating_mul(u64::from(OUTLIER)))).max(CONNECTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 1440 * MINUTE;

    /// Heard every minute for `minutes` from each of these moments on.
    fn after(visits: &[i64], minutes: i64) -> Contact {
        let mut contact = Contact::new(UnixMillis(visits[0]));
        for visit in visits {
            for minute in 0..minutes {
                contact.heard(UnixMillis(visit + minute * MINUTE), &Outages::default());
            }
        }
        contact
    }

    #[test]
    fn what_is_expected_is_learnt_from_absences_that_are_the_rule() {
        let daily: Vec<i64> = (0..6).map(|day| day * DAY).collect();
        let hours = |contact: &Contact| contact.expected().as_secs() / 3600;
        let cases = [
            ("heard all the time", after(&[0], 10_000), 0),
            ("too few absences", after(&daily[..3], 5), 0),
            ("once a day", after(&daily, 5), 23),
            ("with a weekend", after(&[0, DAY, 2 * DAY, 5 * DAY, 6 * DAY], 5), 71),
            ("one outage of a month among days", after(&[0, DAY, 2 * DAY, 32 * DAY, 33 * DAY], 5), 95),
            ("here most of the time, with outages", after(&daily, 1000), 0),
        ];
        for (name, contact, expected) in cases {
            assert_eq!(hours(&contact), expected, "{name}");
            assert!(contact.expected() >= CONNECTED);
        }
        let outage = after(&(0..20).map(|day| day * DAY).collect::<Vec<_>>(), 5);
        assert_eq!(outage.absences.len(), ABSENCES_MAX);
    }

    #[test]
    fn time_at_which_the_server_was_down_is_no_silence() {
        let mut outages = Outages::default();
        let at = |minute: i64| UnixMillis(minute * MINUTE);
        outages.add(at(10), at(70));
        outages.add(at(80), at(80));
        for (from, to, minutes) in [(0, 100, 40), (20, 60, 0), (60, 75, 5), (71, 75, 4), (75, 71, 0)] {
            assert_eq!(outages.listened(at(from), at(to)), Duration::from_secs(60 * minutes), "{from} to {to}");
        }
        let mut contact = Contact::new(at(9));
        assert!(!contact.heard(at(71), &outages));
        assert!(contact.heard(at(99), &outages));
        for n in 0..100 {
            outages.add(at(n * 10), at(n * 10 + 1));
        }
        assert_eq!(outages.0.len(), OUTAGES_MAX);
        let text = serde_json::to_string(&contact).unwrap();
        assert_eq!(serde_json::from_str::<Contact>(&text).unwrap(), contact);
    }
}
