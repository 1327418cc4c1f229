//! Tables in virtual time: a manager, a clock that only tests move, and receivers that do as they are told.

mod groups;
mod holding;
mod keeping;
mod retries;
mod silences;
mod soak;

use super::*;
use crate::Now;
use skerry_model::{Alert, Labels, Mono, UnixMillis};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// 2024-01-01T00:00:00Z, a Monday.
const START: i64 = 1_704_067_200_000;

/// A manager and its world.
struct Place {
    manager: Manager,
    now: Now,
    /// What receivers answer; success where nothing is said.
    answers: BTreeMap<String, Outcome>,
    /// Receivers that never answer.
    silent: Vec<String>,
    /// What is on disk.
    disk: BTreeMap<String, Vec<u8>>,
    /// What was told since it was looked at last: second, receiver, status, alerts.
    told: Vec<String>,
}

/// A config with these routes below a root that groups by nothing, waits 10 s, and sends every minute at most.
fn routes(rest: &str) -> String {
    format!(
        "route:\n  receiver: a\n  group_wait: 10s\n  group_interval: 1m\n  repeat_interval: 1h\n{rest}\n\
         receivers:\n- name: a\n  webhook_configs: [{{url: 'http://a/'}}]\n- name: b\n  webhook_configs: [{{url: 'http://b/'}}]\n\
         - name: quiet\n  webhook_configs: [{{url: 'http://q/', send_resolved: false}}]\n\
         - name: two\n  webhook_configs: [{{url: 'http://1/'}}, {{url: 'http://2/'}}]\n"
    )
}

fn config(text: &str) -> Arc<Config> {
    Arc::new(Config::parse("t.yml", text, &vectors::zones).unwrap_or_else(|faults| panic!("{faults}")))
}

fn labels(text: &str) -> Labels {
    Labels::new(text.split(' ').map(|pair| pair.split_once('=').unwrap())).unwrap()
}

impl Place {
    fn new(text: &str) -> Self {
        Self::with(text, Options::default())
    }

    fn with(text: &str, options: Options) -> Self {
        let now = Now { wall: UnixMillis(START), mono: Mono(1_000_000) };
        let manager = Manager::new(config(text), options, Vec::new(), now);
        let (answers, silent, disk, told) = (BTreeMap::new(), Vec::new(), BTreeMap::new(), Vec::new());
        Self { manager, now, answers, silent, disk, told }
    }

    /// Seconds since the start by the monotonic clock.
    fn second(&self) -> f64 {
        (self.now.mono.0 - 1_000_000) as f64 / 1000.0
    }

    /// Lets time pass, looking after the manager whenever it asks for it.
    fn pass(&mut self, seconds: u64) {
        let until = self.now.mono.0 + seconds * 1000;
        for _ in 0..100_000 {
            let next = self.manager.next().map_or(until, |at| at.0.max(self.now.mono.0));
            if next > until {
                self.now.wall.0 += (until - self.now.mono.0) as i64;
                self.now.mono.0 = until;
                return self.save();
            }
            self.now.wall.0 += (next - self.now.mono.0) as i64;
            self.now.mono.0 = next;
            self.poll();
        }
        panic!("the manager asks for ever at {}", self.second());
    }

    fn poll(&mut self) {
        for notice in self.manager.poll(self.now) {
            let alerts: Vec<String> = notice
                .data
                .alerts
                .iter()
                .map(|alert| format!("{}{}", if alert.is_firing { "" } else { "-" }, alert.labels.value("alertname")))
                .collect();
            let place = if notice.index == 0 { String::new() } else { format!("/{}", notice.index) };
            let line = format!("{} {}{place} {}", self.second(), notice.receiver, alerts.join(","));
            if self.silent.contains(&notice.receiver.to_string()) {
                self.told.push(format!("{line} …"));
                continue;
            }
            let key = format!("{}{place}", notice.receiver);
            let outcome = self.answers.get(&key).cloned().unwrap_or(Outcome::Sent);
            self.told.push(if outcome == Outcome::Sent { line } else { format!("{line} !") });
            self.manager.done(notice.id, outcome, self.now);
        }
        self.save();
    }

    fn save(&mut self) {
        for (key, value) in self.manager.take_changes() {
            match value {
                Some(value) => drop(self.disk.insert(key, value)),
                None => drop(self.disk.remove(&key)),
            }
        }
    }

    /// Begins again from what is on disk, `seconds` later.
    fn restart(&mut self, text: &str, options: Options, seconds: u64) {
        self.save();
        self.now.wall.0 += (seconds * 1000) as i64;
        // Another boot: the monotonic clock begins anew.
        self.now.mono = Mono(1_000_000);
        self.manager = Manager::new(config(text), options, self.disk.clone().into_iter().collect(), self.now);
    }

    /// An alert as a rule sends it: it fires now, until it is heard again.
    fn fire(&mut self, text: &str) {
        self.fire_for(text, 4 * 3600);
    }

    fn fire_for(&mut self, text: &str, seconds: u64) {
        let alert = self.alert(text, self.now.wall, self.now.wall + Duration::from_secs(seconds));
        assert_eq!(self.manager.receive(vec![alert], self.now), Vec::<String>::new());
    }

    fn end(&mut self, text: &str) {
        let known = self.manager.alerts(self.now).into_iter().find(|known| known.alert.labels == labels(text));
        let starts_at = known.map_or(self.now.wall, |known| known.alert.starts_at);
        let alert = self.alert(text, starts_at, self.now.wall);
        assert_eq!(self.manager.receive(vec![alert], self.now), Vec::<String>::new());
    }

    fn alert(&self, text: &str, starts_at: UnixMillis, ends_at: UnixMillis) -> Alert {
        Alert {
            labels: labels(text),
            annotations: Labels::new([("summary", "it is so")]).unwrap(),
            starts_at,
            ends_at,
            is_timeout: false,
            generator_url: "http://rules/".to_owned(),
            updated_at: self.now.wall,
        }
    }

    /// What was told since the last look.
    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.told)
    }

    fn metric(&self, name: &str, label: &str) -> f64 {
        let metrics = self.manager.metrics(self.now);
        let of = |metric: &&Metric| {
            metric.name == name && (label.is_empty() || metric.labels.iter().any(|(_, v)| v == label))
        };
        let found: Vec<f64> = metrics.iter().filter(of).map(|metric| metric.value).collect();
        assert!(!found.is_empty(), "{name} {label}");
        found.iter().sum()
    }
}
