use super::*;
use crate::trigger::tests::zones;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn zone(name: &str) -> TimeZone {
    zones().zone(name).unwrap()
}

#[test]
fn the_latest_time_is_found() {
    for (cron, place, now, expected) in [
        // Plain ones, in UTC: at the time itself, one second before, days and years before.
        ("30 8 * * *", "", "2026-03-10T08:30:00Z", "2026-03-10T08:30:00Z"),
        ("30 8 * * *", "", "2026-03-10T08:29:59Z", "2026-03-09T08:30:00Z"),
        ("0 8 * * 1-5", "", "2026-03-08T12:00:00Z", "2026-03-06T08:00:00Z"),
        ("0 8 * * MON-fri", "", "2026-03-08T12:00:00Z", "2026-03-06T08:00:00Z"),
        ("*/15 * * * *", "", "2026-03-08T12:44:10Z", "2026-03-08T12:30:00Z"),
        ("5/20 9-17/4 * * *", "", "2026-03-08T18:00:00Z", "2026-03-08T17:45:00Z"),
        ("0 0 1 jan *", "", "2026-03-08T18:00:00Z", "2026-01-01T00:00:00Z"),
        ("0 0 29 2 ?", "", "2026-03-08T18:00:00Z", "2024-02-29T00:00:00Z"),
        ("0 0 29 2 *", "", "2103-12-31T00:00:00Z", "2096-02-29T00:00:00Z"),
        ("0 0 31 * *", "", "2026-03-08T18:00:00Z", "2026-01-31T00:00:00Z"),
        ("0 12 * * 7", "", "2026-03-10T00:00:00Z", "2026-03-08T12:00:00Z"),
        ("0 12 * * 5-7", "", "2026-03-07T18:00:00Z", "2026-03-07T12:00:00Z"),
        // Either kind of day where both are given; a step gives one.
        ("0 0 13 * 5", "", "2026-03-12T00:00:00Z", "2026-03-06T00:00:00Z"),
        ("0 0 13 * 5", "", "2026-04-14T00:00:00Z", "2026-04-13T00:00:00Z"),
        ("0 0 */2 * 1", "", "2026-03-10T00:00:00Z", "2026-03-09T00:00:00Z"),
        ("0 0 */1 * 1", "", "2026-03-11T00:00:00Z", "2026-03-09T00:00:00Z"),
        // Zones.
        ("0 8 * * *", "Asia/Kathmandu", "2026-03-10T02:14:59Z", "2026-03-09T02:15:00Z"),
        ("0 8 * * *", "Asia/Kathmandu", "2026-03-10T02:15:00Z", "2026-03-10T02:15:00Z"),
        ("0 8 * * *", "CET-1CEST,M3.5.0,M10.5.0/3", "2026-07-10T12:00:00Z", "2026-07-10T06:00:00Z"),
        // Berlin leaves 02:00 to 03:00 out on 2026-03-29: what lies there is at the change.
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-03-29T00:59:59Z", "2026-03-28T01:30:00Z"),
        ("0 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),
        ("0 3 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "CET-1CEST,M3.5.0,M10.5.0/3", "2026-03-29T12:00:00Z", "2026-03-29T01:00:00Z"),
        // It has 02:00 to 03:00 twice on 2026-10-25: the first counts, also in the second.
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:15:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:45:00Z", "2026-10-25T00:30:00Z"),
        ("0 * * * *", "Europe/Berlin", "2026-10-25T01:59:00Z", "2026-10-25T00:00:00Z"),
        ("0 3 * * *", "Europe/Berlin", "2026-10-25T02:00:00Z", "2026-10-25T02:00:00Z"),
        // New York, with the clock the other way round from UTC.
        ("30 2 * * *", "America/New_York", "2026-03-08T12:00:00Z", "2026-03-08T07:00:00Z"),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:40:00Z", "2026-11-01T05:30:00Z"),
        // Midnight is left out in Havana and Beirut, and comes twice.
        ("0 0 * * *", "America/Havana", "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z"),
        ("0 0 8 3 *", "America/Havana", "2026-03-08T12:00:00Z", "2026-03-08T05:00:00Z"),
        ("0 0 * * *", "America/Havana", "2026-11-01T05:30:00Z", "2026-11-01T04:00:00Z"),
        ("30 23 * * *", "Asia/Beirut", "2026-10-24T21:15:00Z", "2026-10-24T20:30:00Z"),
        // Half an hour at Lord Howe.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04T00:00:00Z", "2026-10-03T15:30:00Z"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T15:05:00Z", "2026-04-04T14:45:00Z"),
        // Samoa went over 2011-12-30: all its times are at the change.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-31T00:00:00Z", "2011-12-30T10:00:00Z"),
    ] {
        let found = Cron::parse(cron).unwrap().latest(at(now), &zone(place)).map(|(moment, _)| moment);
        assert_eq!(found, Some(at(expected)), "{cron} in {place:?} at {now}");
    }
}

#[test]
fn what_is_no_time_is_refused() {
    for (text, problem) in [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "\"60\" is no minute"),
        ("-1 * * * *", "is no minute"),
        ("1,,2 * * * *", "is no minute"),
        ("1-2-3 * * * *", "is no minute"),
        ("*/0 * * * *", "is no minute"),
        ("*/ * * * *", "is no minute"),
        ("5-1 * * * *", "is no minute"),
        ("* 24 * * *", "\"24\" is no hour"),
        ("* * 0 * *", "\"0\" is no day of the month"),
        ("* * 32 * *", "is no day of the month"),
        ("* * L * *", "is no day of the month"),
        ("* * * 13 *", "is no month"),
        ("* * * foo *", "is no month"),
        ("* * * * 8", "is no day of the week"),
        ("* * * * 1#2", "is no day of the week"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 2,4,6,9,11 *", "never comes"),
        ("99999999999 * * * *", "is no minute"),
        ("*/99999999999 * * * *", "is no minute"),
    ] {
        let found = Cron::parse(text).unwrap_err();
        assert!(found.contains(problem), "{text}: {found}");
    }
    assert!(Cron::parse(&"* ".repeat(100_000)).is_err());
    assert!(Cron::parse(&format!("{} * * * *", ["1"; 2000].join(","))).is_err());
}

/// Goes through all minutes of some days in order, and notes each that bears a name of the time first, or behind which
/// names are left out.
fn by_minutes(cron: &Cron, zone: &TimeZone, from: Timestamp, at: Timestamp) -> Option<Timestamp> {
    let named = |local: DateTime| {
        let bit = |set: u64, value: i8| set >> value & 1 == 1;
        cron.is_day(local.date()) && bit(cron.hours, local.hour()) && bit(cron.minutes, local.minute())
    };
    let minute = jiff::SignedDuration::from_mins(1);
    let (mut moment, mut next, mut found) = (from, zone.to_datetime(from), None);
    while moment <= at {
        let local = zone.to_datetime(moment);
        while next <= local {
            found = if named(next) { Some(moment) } else { found };
            next = next.saturating_add(Span::new().minutes(1));
        }
        moment += minute;
    }
    found
}

proptest! {
    #[test]
    fn it_agrees_with_going_through_all_minutes(
        minute in prop_oneof!["[0-5]?[0-9]", Just("*/20".to_owned()), Just("*".to_owned())],
        hour in prop_oneof!["[0-9]", Just("*".to_owned()), Just("0-3".to_owned()), Just("22,23".to_owned())],
        day in prop_oneof![Just("*"), Just("*/2"), Just("1-15"), Just("24-31")],
        weekday in prop_oneof![Just("*"), Just("0"), Just("6"), Just("1-5")],
        place in 0..5usize,
        minutes in 2880i64..4600,
    ) {
        let (place, change) = [
            ("Europe/Berlin", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T01:00:00Z"),
            ("America/Havana", "2026-03-08T05:00:00Z"),
            ("America/Havana", "2026-11-01T05:00:00Z"),
            ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
        ][place];
        let zone = zone(place);
        let cron = Cron::parse(&format!("{minute} {hour} {day} * {weekday}")).unwrap();
        // Three days around the change, each from a local midnight's hour on.
        let from = at(change) - jiff::SignedDuration::from_mins(3000);
        let now = from + jiff::SignedDuration::from_mins(minutes);
        let expected = by_minutes(&cron, &zone, from, now);
        let found = cron.latest(now, &zone).map(|(moment, _)| moment);
        prop_assert!(expected.is_none() && found.is_none_or(|found| found < from) || found == expected, "{cron} {now} {found:?} {expected:?}");
    }

    #[test]
    fn no_text_makes_it_panic(text in "[0-9*/,?a-z -]{0,40}", seconds in -300_000_000_000i64..200_000_000_000) {
        if let Ok(cron) = Cron::parse(&text) {
            let at = Timestamp::from_second(seconds.max(Timestamp::MIN.as_second())).unwrap();
            let _ = cron.latest(at, &TimeZone::UTC);
        }
    }
}
