//! What happens, and when.

use super::place::{Place, Session};
use super::recorder::{Recorder, Webhook};
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use skerry_model::UnixMillis;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// How long programs settle before a scene begins: who holds notices back at the start does so for less.
const SETTLE: Duration = Duration::from_secs(4);

/// Something that is done to a program.
#[derive(Debug, Clone)]
pub enum Act {
    /// Alerts are posted, as [`alert`] makes them: their times are offsets from the scene's begin.
    Alerts(Vec<Value>),
    /// A silence is made and remembered by a name.
    Silence {
        /// The name.
        name: &'static str,
        /// Its matchers, as `(label, operator, value)`.
        matchers: Vec<(&'static str, &'static str, &'static str)>,
        /// From now on so long.
        lasts: Duration,
    },
    /// A silence of that name ends.
    Expire(&'static str),
    /// A receiver answers its next requests so.
    Refuse(&'static str, u16, usize),
}

/// A config and what happens under it.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Its name.
    pub name: &'static str,
    /// An alertmanager.yml in which `URL` stands for the recorder.
    pub config: &'static str,
    /// What is done, by milliseconds from the begin; rising.
    pub acts: Vec<(u64, Act)>,
    /// Length, in milliseconds.
    pub ends: u64,
}

/// An alert with these labels, a space between each. `ends` says that it is over.
#[must_use]
pub fn alert(labels: &str, ends: bool) -> Value {
    let pairs = labels.split(' ').filter_map(|pair| pair.split_once('='));
    let labels: BTreeMap<&str, &str> = pairs.collect();
    let summary = format!("{} is up", labels.get("alertname").copied().unwrap_or_default());
    json!({
        "labels": labels, "annotations": {"summary": summary, "note": "a \"quoted\" ünïcode note"},
        "generatorURL": "http://prometheus.example/graph?g0.expr=up", "ends": ends,
    })
}

/// A moment as API v2 writes it.
#[must_use]
pub fn rfc3339(at: UnixMillis) -> String {
    let (days, millis) = (at.0.div_euclid(86_400_000), at.0.rem_euclid(86_400_000));
    // Howard Hinnant's days-to-civil: years that begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (millis / 1000, millis % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// A moment that is written so, in milliseconds; to the millisecond.
#[must_use]
pub fn millis(text: &str) -> Option<UnixMillis> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    let numbers =
        |text: &str, by: char| text.split(by).map(|part| part.parse::<i64>().ok()).collect::<Option<Vec<_>>>();
    let (whole, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(day, '-')?[..] else { return None };
    let [hour, minute, second] = numbers(whole, ':')?[..] else { return None };
    let fraction: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    // As in `rfc3339`, the other way round.
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (years.div_euclid(400), years.rem_euclid(400));
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * months + 2) / 5 + day - 1 - 719_468;
    Some(UnixMillis((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000 + fraction))
}

/// Plays a scene at all places at once, and says what each was told by them.
///
/// # Errors
/// If a program fails.
pub fn play(scene: &Scene, places: &[Place], folder: &Path) -> anyhow::Result<Vec<Vec<Webhook>>> {
    let start = |(number, place): (usize, &Place)| {
        let recorder = Recorder::start()?;
        let config = scene.config.replace("URL", &recorder.url());
        let folder = folder.join(format!("{}-{number}", scene.name));
        anyhow::Ok((place.start(&folder, &config)?, recorder))
    };
    let started: Vec<(Session, Recorder)> = places.iter().enumerate().map(start).collect::<anyhow::Result<_>>()?;
    std::thread::sleep(SETTLE);
    // Alerts carry the same times everywhere.
    let begin = skerry_fleet::clock::system()();
    std::thread::scope(|scope| {
        let play = |(session, recorder)| scope.spawn(move || at(scene, session, recorder, begin));
        let threads: Vec<_> = started.iter().map(|(session, recorder)| play((session, recorder))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Webhook>>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a player panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

fn at(scene: &Scene, session: &Session, recorder: &Recorder, begin: UnixMillis) -> anyhow::Result<Vec<Webhook>> {
    let origin = recorder.elapsed();
    let wait = |until: u64| {
        let until = origin + Duration::from_millis(until);
        std::thread::sleep(until.saturating_sub(recorder.elapsed()));
    };
    let mut silences: BTreeMap<&str, String> = BTreeMap::new();
    for (at, act) in &scene.acts {
        wait(*at);
        let moment = rfc3339(begin + Duration::from_millis(*at));
        match act {
            Act::Alerts(alerts) => {
                let timed = |alert: &Value| {
                    let mut alert = alert.clone();
                    // What is over has an end; what is not begins when it is told first, or goes on.
                    let key = if alert["ends"] == true { "endsAt" } else { "startsAt" };
                    alert[key] = Value::from(moment.clone());
                    if key == "endsAt" {
                        alert["startsAt"] = Value::from(rfc3339(begin));
                    }
                    alert.as_object_mut().map(|alert| alert.remove("ends"));
                    alert
                };
                let body: Value = alerts.iter().map(timed).collect();
                let (status, text) = session.post("/alerts", &body)?;
                ensure!(status == 200, "alerts: {status} {text}\n{}", session.log());
            }
            Act::Silence { name, matchers, lasts } => {
                let matcher = |(name, op, value): &(&str, &str, &str)| json!({"name": name, "value": value, "isRegex": op.contains('~'), "isEqual": op.starts_with('=')});
                let ends = rfc3339(begin + Duration::from_millis(*at) + *lasts);
                let matchers: Vec<Value> = matchers.iter().map(matcher).collect();
                let body = json!({"matchers": matchers, "startsAt": moment, "endsAt": ends, "createdBy": "t", "comment": name});
                let (status, text) = session.post("/silences", &body)?;
                ensure!(status == 200, "a silence: {status} {text}");
                let answer: Value = serde_json::from_str(&text)?;
                silences.insert(name, answer["silenceID"].as_str().context("its id")?.to_owned());
            }
            Act::Expire(name) => {
                let id = silences.get(name).with_context(|| format!("no silence {name}"))?;
                let status = session.delete(&format!("/silence/{id}"))?;
                ensure!(status == 200, "the end of a silence: {status}");
            }
            Act::Refuse(path, status, count) => recorder.refuse(path, *status, *count),
        }
    }
    wait(scene.ends);
    let webhooks = recorder.webhooks().into_iter();
    // Times count from the begin of the scene.
    Ok(webhooks.map(|webhook| Webhook { at: webhook.at.saturating_sub(origin), ..webhook }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_they_are() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_826_154_321, "2000-02-29T12:09:14.321Z"),
            (1_795_219_199_999, "2026-11-20T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(UnixMillis(at)), text);
            assert_eq!(millis(text), Some(UnixMillis(at)));
        }
        assert_eq!(millis("1970-01-02T00:00:01Z"), Some(UnixMillis(86_401_000)));
        assert_eq!(millis("1970-01-01T00:00:00.1234567Z"), Some(UnixMillis(123)));
        assert_eq!(millis("yesterday"), None);
    }
}
