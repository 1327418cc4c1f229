use super::*;
use skerry_model::{Mono, UnixMillis};
use skerry_yaml::Fault;

/// The zones of this machine's database, which tests of local times need.
pub(super) fn zones() -> Zones {
    let folder = std::path::Path::new("/usr/share/zoneinfo");
    assert!(folder.is_dir(), "{} is missing: install tzdata", folder.display());
    Zones::new(Box::new(|name| std::fs::read(folder.join(name)).ok()))
}

pub(super) fn now(text: &str) -> Now {
    let at: Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    Now { wall: UnixMillis(at.as_millisecond()), mono: Mono(0) }
}

pub(super) fn read(text: &str) -> (Triggers, Vec<Fault>) {
    let document = skerry_yaml::values::read(text).unwrap();
    let mut checks = Checks::new(&document.places);
    let mut spec = Mapping::new(Some(&document.value), "", &mut checks);
    let triggers = Triggers::read(&mut spec, &mut checks);
    spec.finish(&mut checks);
    (triggers, checks.into_faults())
}

fn triggers(text: &str) -> Triggers {
    let (triggers, faults) = read(text);
    assert_eq!(faults, [], "{text}");
    triggers
}

/// The highest floor; `None` where none asks.
fn floor(triggers: &Triggers, at: &str) -> Option<u32> {
    triggers.floors(now(at), &zones()).into_iter().map(|floor| floor.replicas).max()
}

fn check(text: &str, cases: &[(&str, Option<u32>)]) {
    let triggers = triggers(text);
    for (at, expected) in cases {
        assert_eq!(floor(&triggers, at), *expected, "{at} of {text}");
    }
}

const OFFICE: &str = "triggers: [{type: cron, metadata: {timezone: Europe/Berlin, start: 0 8 * * 1-5, end: 0 18 * * 1-5, desiredReplicas: '10'}}]";

#[test]
fn cron_asks_from_start_to_end() {
    check(
        OFFICE,
        &[
            // Winter: 07:00 and 17:00 UTC. The start belongs to it, the end does not.
            ("2026-02-03T06:59:59Z", None),
            ("2026-02-03T07:00:00Z", Some(10)),
            ("2026-02-03T16:59:59Z", Some(10)),
            ("2026-02-03T17:00:00Z", None),
            // Summer: an hour earlier.
            ("2026-07-07T06:00:00Z", Some(10)),
            ("2026-07-07T16:00:00Z", None),
            // From Friday's end to Monday's start.
            ("2026-02-07T12:00:00Z", None),
            ("2026-02-09T06:59:00Z", None),
        ],
    );
    // Over midnight and over a weekend.
    check(
        "triggers: [{type: cron, timezone: UTC, start: 0 22 * * 5, end: 0 4 * * 1, desiredReplicas: 2}]",
        &[
            ("2026-02-06T21:59:00Z", None),
            ("2026-02-07T12:00:00Z", Some(2)),
            ("2026-02-09T03:59:00Z", Some(2)),
            ("2026-02-09T04:00:00Z", None),
        ],
    );
    // Where a start and an end fall together, a time begins.
    check(
        "triggers: [{type: cron, start: 0 8 * * *, end: '0 8,20 * * *', desiredReplicas: 2}]",
        &[("2026-02-06T08:00:00Z", Some(2)), ("2026-02-06T20:00:00Z", None)],
    );
}

#[test]
fn cron_keeps_its_hours_over_clock_changes() {
    // In the hour that is left out: nothing of it is left, and nothing lasts for a day.
    check(
        "triggers: [{type: cron, timezone: Europe/Berlin, start: 10 2 * * *, end: 50 2 * * *, desiredReplicas: 3}]",
        &[
            ("2026-03-28T01:20:00Z", Some(3)),
            ("2026-03-29T00:59:59Z", None),
            ("2026-03-29T01:00:00Z", None),
            ("2026-03-29T12:00:00Z", None),
            ("2026-03-30T00:20:00Z", Some(3)),
            // In the hour that comes twice: once.
            ("2026-10-25T00:20:00Z", Some(3)),
            ("2026-10-25T00:50:00Z", None),
            ("2026-10-25T01:20:00Z", None),
        ],
    );
    // Begins in the hour left out, ends behind it; ends in the doubled hour.
    check(
        "triggers: [{type: cron, timezone: Europe/Berlin, start: 30 2 * * *, end: 0 6 * * *, desiredReplicas: 3}]",
        &[
            ("2026-03-29T00:59:59Z", None),
            ("2026-03-29T01:00:00Z", Some(3)),
            ("2026-03-29T03:59:59Z", Some(3)),
            ("2026-03-29T04:00:00Z", None),
            ("2026-10-25T00:30:00Z", Some(3)),
            ("2026-10-25T01:10:00Z", Some(3)),
            ("2026-10-25T04:59:59Z", Some(3)),
            ("2026-10-25T05:00:00Z", None),
        ],
    );
    check(
        "triggers: [{type: cron, timezone: America/New_York, start: 0 22 * * *, end: 30 1 * * *, desiredReplicas: 3}]",
        &[
            ("2026-11-01T04:00:00Z", Some(3)),
            ("2026-11-01T05:29:59Z", Some(3)),
            ("2026-11-01T05:30:00Z", None),
            ("2026-11-01T06:15:00Z", None),
        ],
    );
    // Midnight that is left out.
    check(
        "triggers: [{type: cron, timezone: America/Havana, start: 0 0 8 3 *, end: 0 12 8 3 *, desiredReplicas: 3}]",
        &[("2026-03-08T04:59:59Z", None), ("2026-03-08T05:00:00Z", Some(3)), ("2026-03-08T16:00:00Z", None)],
    );
}

#[test]
fn calendars_ask_on_their_days() {
    check(
        "triggers: [{type: calendar, timezone: Europe/Berlin, dates: [2026-11-27, '12-20:12-24', '12-31:01-01', 02-29], \
         times: [{start_time: '09:00', end_time: '20:00'}], desiredReplicas: 6}]",
        &[
            ("2026-11-27T07:59:59Z", None),
            ("2026-11-27T08:00:00Z", Some(6)),
            ("2026-11-27T18:59:59Z", Some(6)),
            ("2026-11-27T19:00:00Z", None),
            ("2027-11-27T12:00:00Z", None),
            ("2026-12-19T12:00:00Z", None),
            ("2026-12-20T12:00:00Z", Some(6)),
            ("2030-12-24T12:00:00Z", Some(6)),
            ("2026-12-25T12:00:00Z", None),
            ("2026-12-31T12:00:00Z", Some(6)),
            ("2027-01-01T12:00:00Z", Some(6)),
            ("2027-01-02T12:00:00Z", None),
            ("2028-02-29T12:00:00Z", Some(6)),
            ("2027-03-01T12:00:00Z", None),
        ],
    );
    // A local day is 23 or 25 hours long where the clock changes.
    check(
        "triggers: [{type: calendar, timezone: Europe/Berlin, dates: ['2026-03-29', '2026-10-25'], desiredReplicas: 1}]",
        &[
            ("2026-03-28T22:59:59Z", None),
            ("2026-03-28T23:00:00Z", Some(1)),
            ("2026-03-29T21:59:59Z", Some(1)),
            ("2026-03-29T22:00:00Z", None),
            ("2026-10-24T22:00:00Z", Some(1)),
            ("2026-10-25T22:59:59Z", Some(1)),
            ("2026-10-25T23:00:00Z", None),
        ],
    );
    // 02:00 to 03:00 is not there, or there twice.
    check(
        "triggers: [{type: calendar, timezone: Europe/Berlin, times: [{start_time: '02:00', end_time: '03:00'}], desiredReplicas: 1}]",
        &[
            ("2026-03-29T00:59:59Z", None),
            ("2026-03-29T01:00:00Z", None),
            ("2026-10-25T00:30:00Z", Some(1)),
            ("2026-10-25T01:30:00Z", Some(1)),
            ("2026-10-25T02:00:00Z", None),
        ],
    );
    check(
        "triggers: [{type: calendar, weekdays: ['saturday', sunday], months: ['6:8'], desiredReplicas: 4}]",
        &[("2026-07-04T00:00:00Z", Some(4)), ("2026-07-06T00:00:00Z", None), ("2026-09-05T00:00:00Z", None)],
    );
}

#[test]
fn schedules_rise_ahead_of_peaks() {
    check(
        "triggers: [{type: schedule, timezone: Europe/Berlin, leadSeconds: 300, peaks: [\
         {at: 0 9 * * 1-5, lasts: 2h, desiredReplicas: 8}, {at: 30 9 * * 1, lasts: 30m, desiredReplicas: 12}]}]",
        &[
            ("2026-02-03T07:54:59Z", None),
            ("2026-02-03T07:55:00Z", Some(8)),
            ("2026-02-03T09:59:59Z", Some(8)),
            ("2026-02-03T10:00:00Z", None),
            ("2026-02-07T08:30:00Z", None),
            // Monday's second peak lies within the first.
            ("2026-02-02T08:24:59Z", Some(8)),
            ("2026-02-02T08:25:00Z", Some(12)),
            ("2026-02-02T09:00:00Z", Some(8)),
        ],
    );
    // A peak at a time that is left out begins at the change, and the lead before it; its length is real time.
    check(
        "triggers: [{type: schedule, timezone: Europe/Berlin, leadSeconds: 600, peaks: [{at: 30 2 * * *, lasts: 2h, desiredReplicas: 5}]}]",
        &[
            ("2026-03-29T00:49:59Z", None),
            ("2026-03-29T00:50:00Z", Some(5)),
            ("2026-03-29T02:59:59Z", Some(5)),
            ("2026-03-29T03:00:00Z", None),
            ("2026-10-25T00:20:00Z", Some(5)),
            ("2026-10-25T02:29:59Z", Some(5)),
            ("2026-10-25T02:30:00Z", None),
        ],
    );
    check(
        "triggers: [{type: schedule, peaks: [{at: 0 9 * * *, lasts: 1h, desiredReplicas: 2}]}]",
        &[("2026-02-03T08:58:00Z", Some(2)), ("2026-02-03T08:57:59Z", None)],
    );
}

#[test]
fn all_that_ask_say_why() {
    let text = format!("{OFFICE}\n").replace("triggers: [", "triggers: [{type: calendar, name: summer, months: [july], desiredReplicas: 3}, {type: cron, timezone: Mars/Base, start: 0 0 * * *, end: 0 1 * * *, desiredReplicas: 9}, ");
    let floors = triggers(&text).floors(now("2026-07-07T12:00:00Z"), &zones());
    let said: Vec<(u32, &str)> = floors.iter().map(|floor| (floor.replicas, floor.why.as_str())).collect();
    assert_eq!(
        said,
        [
            (3, "calendar summer on, UTC"),
            (0, "cron: unknown time zone Mars/Base"),
            (10, "cron from 0 8 * * 1-5 to 0 18 * * 1-5, Europe/Berlin"),
        ]
    );
}

#[test]
fn a_zone_is_read_once_and_a_missing_one_again() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&asked);
    let data = std::fs::read("/usr/share/zoneinfo/Europe/Berlin").expect("tzdata");
    let zones = Zones::new(Box::new(move |name| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        (name == "Europe/Berlin").then(|| data.clone())
    }));
    for _ in 0..3 {
        assert!(zones.zone("Europe/Berlin").is_ok());
        assert!(zones.zone("Europe/Nowhere").is_err());
    }
    assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[test]
fn faults_stand_at_their_keys() {
    for (text, key, problem) in [
        ("triggers: {}", "triggers", "a list is expected"),
        ("triggers: [{}]", "triggers[0].type", "cron, calendar or schedule"),
        ("triggers: [{type: prometheus, metadata: {query: up}}]", "triggers[0].type", "External metric"),
        ("triggers: [{type: cron, start: 0 8 * * *, end: 0 9 * * *}]", "triggers[0].desiredReplicas", "is expected"),
        ("triggers: [{type: cron, end: 0 9 * * *, desiredReplicas: 1}]", "triggers[0].start", "five fields"),
        ("triggers: [{type: cron, start: 0 9 * * *, end: '0 9 * * *', desiredReplicas: 1}]", "triggers[0].end", "same"),
        (
            "triggers: [{type: cron, start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: -1}]",
            "triggers[0].desiredReplicas",
            "from 0",
        ),
        (
            "triggers: [{type: cron, metadata: {start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: 1, x: 1}}]",
            "triggers[0].metadata.x",
            "not known",
        ),
        (
            "triggers: [{type: cron, metadata: {start: 0 8 * * *, end: 0 9 * * *, desiredReplicas: 1}, x: 1}]",
            "triggers[0].x",
            "not known",
        ),
        ("triggers: [{type: calendar, desiredReplicas: 1}]", "triggers[0]", "always on"),
        (
            "triggers: [{type: calendar, dates: [2026-02-30], desiredReplicas: 1}]",
            "triggers[0].dates[0]",
            "a date such as",
        ),
        (
            "triggers: [{type: calendar, dates: ['2026-03-02:2026-03-01'], desiredReplicas: 1}]",
            "triggers[0].dates[0]",
            "a date such as",
        ),
        (
            "triggers: [{type: calendar, dates: ['2026-03-02:03-05'], desiredReplicas: 1}]",
            "triggers[0].dates[0]",
            "a date such as",
        ),
        ("triggers: [{type: calendar, weekdays: [funday], desiredReplicas: 1}]", "triggers[0].weekdays[0]", "funday"),
        ("triggers: [{type: schedule, peaks: []}]", "triggers[0].peaks", "from 1 to 64"),
        (
            "triggers: [{type: schedule, peaks: [{at: 0 9 * * *, desiredReplicas: 1}]}]",
            "triggers[0].peaks[0].lasts",
            "30m or 2h",
        ),
        (
            "triggers: [{type: schedule, peaks: [{at: 0 9 * * *, lasts: 8d, desiredReplicas: 1}]}]",
            "triggers[0].peaks[0].lasts",
            "at most 7d",
        ),
        (
            "triggers: [{type: schedule, leadSeconds: 90000, peaks: [{at: 0 9 * * *, lasts: 1h, desiredReplicas: 1}]}]",
            "triggers[0].leadSeconds",
            "86400",
        ),
        ("forecast: {season: 2d}", "forecast.season", "1d or 7d"),
        ("forecast: {leadSeconds: 4000}", "forecast.leadSeconds", "3600"),
        ("forecast: {minHistory: 91d}", "forecast.minHistory", "90d"),
        ("forecast: [1]", "forecast", "a mapping"),
        ("forecast: {sesaon: 1d}", "forecast.sesaon", "not known"),
    ] {
        let (_, faults) = read(text);
        assert_eq!(faults.len(), 1, "{text}: {faults:?}");
        assert_eq!(faults[0].key, key, "{text}: {faults:?}");
        assert!(faults[0].problem.contains(problem), "{text}: {faults:?}");
    }
    let many = "{type: calendar, dates: [12-24], desiredReplicas: 1}, ".repeat(40);
    assert!(read(&format!("triggers: [{many}]")).1[0].problem.contains("at most 32"));
}
