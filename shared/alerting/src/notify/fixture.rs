//! A notice and receivers for tests.

use super::{Checks, Data, Globals, Integration, Receiver, Templates};
use crate::Now;
use skerry_model::{Alert, Labels, Mono, UnixMillis};
use skerry_yaml::{Fault, Places};

/// 2026-11-21T04:00:00Z.
pub(super) const NOW: Now = Now { wall: UnixMillis(1_795_233_600_000), mono: Mono(0) };

/// An alert that began ten minutes before [`NOW`] and ended a minute before it unless it fires.
pub(super) fn alert(name: &str, instance: &str, is_firing: bool) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name), ("instance", instance), ("severity", "critical")]).unwrap(),
        annotations: Labels::new([("summary", format!("{name} at <{instance}> & more"))]).unwrap(),
        starts_at: UnixMillis(NOW.wall.0 - 600_000),
        ends_at: UnixMillis(NOW.wall.0 + if is_firing { 240_000 } else { -60_500 }),
        is_timeout: false,
        generator_url: "http://p/graph?g0.expr=up+%3D%3D+0".into(),
        updated_at: NOW.wall,
    }
}

/// A group by `alertname`.
pub(super) fn data(alerts: &[Alert]) -> Data {
    let group = Labels::new([("alertname", "Hot")]).unwrap();
    Data::new("on.call", group, alerts, "http://skerry:9093", "{}:{alertname=\"Hot\"}", NOW.wall)
}

/// One fires, one has ended.
pub(super) fn both() -> Data {
    data(&[alert("Hot", "a:9100", true), alert("Hot", "b:9100", false)])
}

/// One has ended.
pub(super) fn resolved() -> Data {
    data(&[alert("Hot", "b:9100", false)])
}

pub(super) fn templates(files: &[(&str, &str)]) -> Templates {
    let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Templates::new(&files, |name| (name == "Test/Zone").then(|| tzif().to_vec())).unwrap()
}

/// A zone two hours ahead of UTC: TZif, version 1, one type (RFC 8536).
fn tzif() -> &'static [u8] {
    b"TZif\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x05\0\0\x1c\x20\0\0TEST\0"
}

/// The receiver of a text that has `global:` and one receiver below `receiver:`.
pub(super) fn parse(text: &str) -> (Receiver, Vec<Fault>) {
    let document = skerry_yaml::read::<serde_json::Value>(text).unwrap();
    let places: &Places = &document.places;
    let mut checks = Checks::new(places);
    let globals = Globals::read(document.value.get("global"), &mut checks);
    let receiver = Receiver::read(&document.value["receiver"], "receiver", &globals, &mut checks);
    (receiver, checks.into_faults())
}

/// The one integration of a list `kind` with this mapping, written in one line.
pub(super) fn integration(kind: &str, entry: &str) -> Integration {
    let (mut receiver, faults) = parse(&format!("receiver: {{name: r, {kind}: [{entry}]}}"));
    assert_eq!(faults, [], "{kind} {entry}");
    receiver.integrations.pop().unwrap()
}
