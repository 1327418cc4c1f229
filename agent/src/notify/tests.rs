//! Against receivers on loopback: stand-ins that misbehave, and real peers where the machine has them.

mod exec;
mod http;
mod peers;
mod talk;

use super::*;
use skerry_alerting::notify::{Checks, Globals, Receiver};
use skerry_model::{Alert, Labels, Mono, UnixMillis};

/// Long enough for any exchange on loopback while the machine is busy.
pub(super) const AMPLE: Duration = Duration::from_secs(20);
/// Short enough to wait for.
pub(super) const SHORT: Duration = Duration::from_millis(300);
pub(super) const NOW: Now = Now { wall: UnixMillis(1_795_233_600_000), mono: Mono(0) };

pub(super) fn integration(kind: &str, entry: &str) -> Integration {
    let text = format!("name: r\n{kind}: [{entry}]\n");
    let document = skerry_yaml::read::<serde_json::Value>(&text).unwrap();
    let mut checks = Checks::new(&document.places);
    let mut receiver = Receiver::read(&document.value, "receivers[0]", &Globals::default(), &mut checks);
    assert_eq!(checks.into_faults(), [], "{text}");
    receiver.integrations.pop().unwrap()
}

pub(super) fn data(is_firing: bool) -> Data {
    let labels = Labels::new([("alertname", "Hot"), ("severity", "critical")]).unwrap();
    let alert = Alert {
        labels: labels.clone(),
        annotations: Labels::new([("summary", "it is ü hot")]).unwrap(),
        starts_at: UnixMillis(NOW.wall.0 - 60_000),
        ends_at: UnixMillis(NOW.wall.0 + if is_firing { 1 } else { -1 }),
        is_timeout: false,
        generator_url: String::new(),
        updated_at: NOW.wall,
    };
    Data::new("r", labels, &[alert], "http://node:9093", "{}:{}", NOW.wall)
}

pub(super) fn shell() -> Shell {
    Shell::new(&SystemRoots::default())
}

/// One try on a shell of its own.
pub(super) async fn told(kind: &str, entry: &str, limit: Duration) -> Outcome {
    let templates = Templates::new(&[], |_| None).unwrap();
    shell().tell(&integration(kind, entry), &data(true), &templates, NOW, limit).await
}

pub(super) fn is_retry(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Retry { error, .. } if error.contains(part))
}

pub(super) fn is_failed(outcome: &Outcome, part: &str) -> bool {
    matches!(outcome, Outcome::Failed { error } if error.contains(part))
}
