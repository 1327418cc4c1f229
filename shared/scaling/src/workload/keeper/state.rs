//! What of a workload is kept over restarts, as JSON: small, and written when something happened.

use super::PREFIX;
use super::kept::{Kept, Progress, Replica};
use super::slot::{Ended, Slot};
use crate::workload::Workload;
use serde_json::{Map, Value, json};
use skerry_model::{Mono, Now, UnixMillis};
use std::time::Duration;

/// Behind the key of a workload: what ran well last, which is larger and changes seldom.
pub(super) const GOOD: &str = "/good";

/// The longest pause that a node may set.
const BACKOFF_MOST: Duration = Duration::from_secs(300);

impl Kept {
    /// What changed since the last call.
    pub(super) fn changes(&mut self, boot: &str, into: &mut Vec<(String, Option<Vec<u8>>)>) {
        let (key, good_key) = (format!("{PREFIX}{}", self.name), format!("{PREFIX}{}{GOOD}", self.name));
        if self.is_over() {
            into.extend([(key, None), (good_key, None)]);
            return;
        }
        if std::mem::take(&mut self.is_dirty) {
            self.is_stored = true;
            into.push((key, Some(self.written(boot).to_string().into_bytes())));
        }
        if let Some(good) = self.good.as_ref().filter(|_| std::mem::take(&mut self.is_good_dirty)) {
            into.push((good_key, Some(good.source.clone().into_bytes())));
        }
    }

    fn written(&self, boot: &str) -> Value {
        let replica = |(number, replica): (&u32, &Replica)| {
            let slots = replica.slots.iter().filter(|(_, slot)| slot.restarts > 0 || !slot.id.is_empty());
            let slots: Map<String, Value> = slots.map(|(name, slot)| (name.clone(), slot.written())).collect();
            (number.to_string(), json!({ "hash": replica.hash, "leaving": replica.is_leaving, "slots": slots }))
        };
        let replicas: Map<String, Value> = self.replicas.iter().map(replica).collect();
        let progress = self.progress.as_ref().map(|one| json!([one.hash, one.at.1.0, one.is_late]));
        json!({
            "boot": boot,
            "scaled": self.scaled.map(|(replicas, declared)| [replicas, declared]),
            "failed": self.failed,
            "progress": progress,
            "replicas": replicas,
        })
    }

    /// Takes what was kept; what cannot be read is as if it had not been.
    pub(super) fn restore(&mut self, bytes: &[u8], boot: &str, now: Now) {
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
        self.is_stored = true;
        self.is_of_other_boot = value["boot"] != boot;
        self.failed = value["failed"].as_str().map(str::to_owned);
        self.scaled = number(&value["scaled"][0]).zip(number(&value["scaled"][1]));
        if let (Some(hash), Some(at)) = (value["progress"][0].as_str(), value["progress"][1].as_i64()) {
            let mut progress = Progress::new(hash.to_owned(), moment(UnixMillis(at), now));
            progress.is_late = value["progress"][2] == true;
            self.progress = Some(progress);
        }
        for (key, one) in value["replicas"].as_object().into_iter().flatten() {
            let Ok(number) = key.parse() else { continue };
            let mut replica =
                Replica { hash: one["hash"].as_str().unwrap_or_default().to_owned(), ..Replica::default() };
            replica.is_leaving = one["leaving"] == true;
            for (name, slot) in one["slots"].as_object().into_iter().flatten() {
                replica.slots.insert(name.clone(), Slot::restored(slot, now));
            }
            self.replicas.insert(number, replica);
        }
    }

    /// Takes what ran well last.
    pub(super) fn restore_good(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        self.good = Workload::parse(&self.name, text).ok().map(Into::into);
    }
}

impl Slot {
    fn written(&self) -> Value {
        let ended = self.ended.map(|ended| json!([ended.code, ended.is_oom, ended.at.0, ended.pause.as_secs()]));
        let ready = self.ready_since.map(|(_, since)| since.0);
        let run = self.run.map(|run| run.0);
        json!([self.id, run, self.restarts, self.level, ended, self.is_started, self.is_ready, ready])
    }

    fn restored(value: &Value, now: Now) -> Self {
        let code = value[4][0].as_i64().and_then(|code| i32::try_from(code).ok());
        let ended = code.zip(value[4][2].as_i64()).map(|(code, at)| {
            let pause = Duration::from_secs(value[4][3].as_u64().unwrap_or(0));
            Ended { code, is_oom: value[4][1] == true, at: UnixMillis(at), pause: pause.min(BACKOFF_MOST) }
        });
        Self {
            id: value[0].as_str().unwrap_or_default().to_owned(),
            run: value[1].as_i64().map(UnixMillis),
            restarts: number(&value[2]).unwrap_or(0),
            level: number(&value[3]).unwrap_or(0),
            ended,
            until: ended.and_then(|ended| ended.until(now)),
            is_started: value[5] == true,
            is_ready: value[6] == true,
            ready_since: value[7].as_i64().map(|at| moment(UnixMillis(at), now)),
            ..Self::default()
        }
    }
}

/// A moment of the run before, on the clock of this one.
fn moment(at: UnixMillis, now: Now) -> (Mono, UnixMillis) {
    let ago = u64::try_from(now.wall.since(at).as_millis()).unwrap_or(u64::MAX);
    (Mono(now.mono.0.saturating_sub(ago)), at)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}
