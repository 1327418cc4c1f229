//! Specification 2.9: what may be changed, and what becomes a silence of its own.

use super::*;
use crate::manager::matcher::{Matcher, Op};

/// A silence on `alertname=x` over these seconds from now.
pub(super) fn silence(place: &Place, from: i64, to: i64) -> Silence {
    let at = |seconds: i64| UnixMillis(place.now.wall.0 + seconds * 1000);
    Silence {
        id: String::new(),
        matchers: vec![vec![Matcher::new("alertname", Op::Equal, "x").unwrap()]],
        starts_at: at(from),
        ends_at: at(to),
        updated_at: UnixMillis(0),
        created_by: "me".to_owned(),
        comment: "because".to_owned(),
        annotations: BTreeMap::new(),
    }
}

#[test]
fn an_edit_keeps_the_id_where_it_rewrites_no_history() {
    type Edit = fn(&mut Silence, UnixMillis);
    // First and last second of the silence, an edit half an hour later, and whether the id stays.
    let cases: [(&str, (i64, i64), Edit, bool); 9] = [
        ("active: a later end", (0, 3600), |s, now| s.ends_at = UnixMillis(now.0 + 9_000_000), true),
        ("active: an earlier end", (0, 3600), |s, now| s.ends_at = UnixMillis(now.0 + 1), true),
        ("active: a comment", (0, 3600), |s, _| s.comment = "other".to_owned(), true),
        ("active: another start", (0, 3600), |s, now| s.starts_at = now, false),
        (
            "active: other matchers",
            (0, 3600),
            |s, _| s.matchers[0].push(Matcher::new("a", Op::Regex, "b").unwrap()),
            false,
        ),
        ("pending: a later start", (3600, 7200), |s, _| s.starts_at.0 += 1000, true),
        ("pending: a start in the past", (3600, 7200), |s, now| s.starts_at = UnixMillis(now.0 - 1), false),
        (
            "pending: other matchers",
            (3600, 7200),
            |s, _| s.matchers[0].push(Matcher::new("a", Op::Equal, "b").unwrap()),
            false,
        ),
        ("expired: a later end", (0, 60), |s, now| s.ends_at = UnixMillis(now.0 + 9_000_000), false),
    ];
    for (name, (from, to), edit, keeps) in cases {
        let mut place = Place::new(&routes(""));
        let silence = silence(&place, from, to);
        let id = place.manager.set_silence(silence, place.now).unwrap();
        place.pass(1800);
        let was = place.manager.silence(&id).unwrap().state(place.now.wall);
        let mut edited = place.manager.silence(&id).unwrap().clone();
        edit(&mut edited, place.now.wall);
        let new = place.manager.set_silence(edited, place.now).unwrap();
        assert_eq!(new == id, keeps, "{name}");
        if !keeps {
            assert_eq!(
                place.manager.silence(&id).unwrap().state(place.now.wall),
                SilenceState::Expired,
                "{name}: {was:?}"
            );
            let new = place.manager.silence(&new).unwrap();
            assert!(new.starts_at >= place.now.wall, "{name}: a new one does not reach into the past");
        }
    }
}

#[test]
fn what_can_be_no_silence_is_refused() {
    let mut place = Place::new(&routes(""));
    let matcher = |name: &str, op, value: &str| Matcher::new(name, op, value).unwrap();
    for (matchers, problem) in [
        (vec![], "silence invalid: at least one matcher required"),
        (vec![matcher("a", Op::Equal, "")], "silence invalid: at least one matcher must not match the empty string"),
        (
            vec![matcher("a", Op::Regex, ".*"), matcher("b", Op::Equal, "")],
            "silence invalid: at least one matcher must not match the empty string",
        ),
        (vec![matcher("", Op::Equal, "x")], "silence invalid: invalid label matcher 0: invalid label name \"\""),
    ] {
        let bad = Silence { matchers: vec![matchers], ..silence(&place, 0, 60) };
        assert_eq!(place.manager.set_silence(bad, place.now).unwrap_err().to_string(), problem);
    }
    let negative = Silence { matchers: vec![vec![matcher("a", Op::NotRegex, "b|c")]], ..silence(&place, 0, 60) };
    assert!(place.manager.set_silence(negative, place.now).is_ok());
    let backwards = silence(&place, 60, 0);
    let error = place.manager.set_silence(backwards, place.now).unwrap_err();
    assert_eq!(error.to_string(), "silence invalid: end time must not be before start time");
    let unknown = Silence { id: "x".to_owned(), ..silence(&place, 0, 60) };
    assert_eq!(place.manager.set_silence(unknown, place.now), Err(SilenceError::NotFound));
    let long = Silence { comment: "x".repeat(20_000), ..silence(&place, 0, 60) };
    assert!(matches!(place.manager.set_silence(long, place.now), Err(SilenceError::TooLarge { .. })));
}

#[test]
fn silences_are_bounded_and_forgotten_after_a_while() {
    let bounds = Bounds { silences: 2, ..Bounds::default() };
    let options = Options { bounds, retention: Duration::from_secs(7200), ..Options::default() };
    let mut place = Place::with(&routes(""), options);
    let first = silence(&place, 0, 60);
    let id = place.manager.set_silence(first.clone(), place.now).unwrap();
    place.manager.set_silence(first.clone(), place.now).unwrap();
    assert_eq!(place.manager.set_silence(first, place.now), Err(SilenceError::TooMany(2)));
    // One that cannot be replaced stays as it is.
    let mut edited = place.manager.silence(&id).unwrap().clone();
    edited.matchers[0].push(Matcher::new("a", Op::Equal, "b").unwrap());
    assert!(place.manager.set_silence(edited, place.now).is_err());
    assert_eq!(place.manager.silence(&id).unwrap().state(place.now.wall), SilenceState::Active);
    place.pass(3600);
    assert_eq!(place.metric("alertmanager_silences", "expired"), 2.0);
    place.pass(7200);
    assert_eq!(place.manager.silences().count(), 0);
    assert!(place.disk.is_empty(), "{:?}", place.disk.keys());
}

#[test]
fn expiring_ends_what_is_and_what_would_be() {
    let mut place = Place::new(&routes(""));
    let (active, pending) = (silence(&place, 0, 600), silence(&place, 300, 600));
    let active = place.manager.set_silence(active, place.now).unwrap();
    let pending = place.manager.set_silence(pending, place.now).unwrap();
    place.pass(60);
    for id in [&active, &pending] {
        place.manager.expire_silence(id, place.now).unwrap();
        let silence = place.manager.silence(id).unwrap();
        assert_eq!(silence.state(place.now.wall), SilenceState::Expired);
        assert!(silence.starts_at <= silence.ends_at);
        let again = place.manager.expire_silence(id, place.now).unwrap_err();
        assert_eq!(again.to_string(), format!("silence {id} already expired"));
    }
    assert_eq!(place.manager.expire_silence("none", place.now), Err(SilenceError::NotFound));
}

#[test]
fn one_of_several_sets_is_enough() {
    let mut place = Place::new(&routes(""));
    let mut both = silence(&place, 0, 600);
    both.matchers.push(vec![
        Matcher::new("alertname", Op::Regex, "y|z").unwrap(),
        Matcher::new("site", Op::NotEqual, "1").unwrap(),
    ]);
    place.manager.set_silence(both, place.now).unwrap();
    for text in ["alertname=x site=1", "alertname=y site=1", "alertname=z"] {
        place.fire(text);
    }
    place.pass(10);
    assert_eq!(place.take(), ["10 a y"]);
}

#[test]
fn ids_are_uuids_and_differ_from_start_to_start() {
    let id = |seed: u64| {
        let mut place = Place::with(&routes(""), Options { seed, ..Options::default() });
        let silence = silence(&place, 0, 600);
        place.manager.set_silence(silence, place.now).unwrap()
    };
    let (a, b) = (id(1), id(2));
    assert_ne!(a, b);
    assert_eq!(a.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert_eq!(a.as_bytes()[14], b'4');
    assert!(b"89ab".contains(&a.as_bytes()[19]), "{a}");
}
