//! Anything may happen in any order: nothing is lost, nothing stays behind, nothing asks for ever.

use super::*;
use crate::manager::matcher::{Matcher, Op};
use crate::manager::random::Random;
use skerry_model::Fingerprint;

/// Members and groups know of each other, and no alert of a group is unknown.
fn check(place: &Place, seed: u64) {
    let manager = &place.manager;
    for group in manager.groups.iter() {
        for alert in &group.alerts {
            assert!(manager.alerts.get(*alert).is_some(), "{seed}: a group has an alert that nobody knows");
        }
        assert!(!group.alerts.is_empty() || group.flush.is_some(), "{seed}: an empty group");
    }
    for (id, stored) in manager.alerts.iter() {
        for group in stored.groups.iter() {
            assert!(manager.groups.get(group).is_some_and(|group| group.alerts.contains(&id)), "{seed}");
        }
    }
    assert!(manager.deliveries.out_count() <= manager.deliveries.len());
}

#[test]
fn whatever_happens_all_ends_well() {
    let text = routes(
        "  group_by: [alertname]\n  routes:\n  - {receiver: two, continue: true, matchers: [site=~\"1|2\"]}\n  - {receiver: quiet, \
         matchers: [site=3], group_by: ['...'], group_interval: 3s}\n",
    ) + "inhibit_rules:\n- {source_matchers: [sev=page], target_matchers: [sev=warn], equal: [site]}\n";
    for seed in 0..25 {
        let mut random = Random::new(seed);
        let mut pick = |n: u64| random.number() % n;
        let bounds = Bounds { alerts: 12, groups: 8, in_flight: 3, owed_flushes: 4, ..Bounds::default() };
        let mut place = Place::with(&text, Options { bounds, ..Options::default() });
        for _ in 0..200 {
            let labels =
                format!("alertname={} site={} sev={}", pick(3), pick(4), ["page", "warn", "info"][pick(3) as usize]);
            let outcome = [Outcome::Sent, Outcome::retry("x"), Outcome::failed("x")][pick(3) as usize].clone();
            let receiver = ["a", "quiet", "two", "two/1"][pick(4) as usize];
            match pick(12) {
                0..=3 => {
                    let ends = place.now.wall + Duration::from_secs(pick(900));
                    let alert = place.alert(&labels, place.now.wall, ends);
                    place.manager.receive(vec![alert], place.now);
                }
                4..=5 => {
                    let alert = place.alert(&labels, UnixMillis(place.now.wall.0 - 5000), place.now.wall);
                    place.manager.receive(vec![alert], place.now);
                }
                6 => drop(place.answers.insert(receiver.to_owned(), outcome)),
                7 => place.silent = if pick(2) == 0 { Vec::new() } else { vec!["two".to_owned()] },
                8 => {
                    let mut silence = silences::silence(&place, 0, 300);
                    silence.matchers[0][0] = Matcher::new("site", Op::Equal, "1").unwrap();
                    drop(place.manager.set_silence(silence, place.now));
                }
                9 if pick(4) == 0 => place.manager.reload(config(&text), place.now),
                10 if pick(4) == 0 => {
                    place.restart(&text, Options { bounds, ..Options::default() }, pick(1000));
                }
                11 if pick(4) == 0 => place.now.wall.0 += pick(2_000_000) as i64 - 1_000_000,
                _ => place.pass(pick(100)),
            }
            check(&place, seed);
        }
        // All receivers answer, and nothing fires any more.
        (place.answers, place.silent) = (BTreeMap::new(), Vec::new());
        place.pass(3600);
        check(&place, seed);
        place.take();
        place.pass(200_000);
        assert_eq!(place.take(), Vec::<String>::new(), "{seed}: nothing is left to tell");
        assert_eq!((place.manager.alerts.len(), place.manager.groups.len()), (0, 0), "{seed}");
        assert_eq!(place.manager.deliveries.len(), 0, "{seed}");
        assert!(place.disk.keys().all(|key| !key.starts_with("alert/")), "{seed}: {:?}", place.disk.keys());
        let told = place.manager.told(Fingerprint::of(&labels("alertname=0 site=0 sev=page")));
        assert_eq!(told, Vec::<String>::new());
    }
}

#[test]
fn no_text_breaks_the_readers() {
    let mut random = Random::new(7);
    let parts =
        ["{", "}", "\"", "\\", "=", "!", "~", ",", "a", "é", " ", "\n", "[", "(", "*", "'", "`", "|", "0", "\u{0}"];
    for _ in 0..10_000 {
        let count = random.number() % 12;
        let text: String = (0..count).map(|_| parts[(random.number() % parts.len() as u64) as usize]).collect();
        if let Ok(matchers) = matcher::parse_all(&text) {
            // What is written reads back.
            let again = matcher::utf8::parse_all(&matcher::text(&matchers));
            assert_eq!(again.as_ref(), Ok(&matchers), "{text:?}");
        }
        let _ = matcher::parse(&text);
        let _ = Config::parse("t", &format!("route: {text}"), &|_| None);
        let _ = TimeInterval::parse(&format!("times: {text}"), &|_| None);
    }
}
