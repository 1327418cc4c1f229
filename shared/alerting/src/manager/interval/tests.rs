//! Cases of upstream's suite.

use super::*;
use crate::manager::vectors;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use skerry_calendar::zone;
use skerry_model::UnixMillis;

fn at(text: &str) -> UnixMillis {
    let (moment, zone) = match text.split_once(' ') {
        Some((moment, name)) => (moment, zone(name, &vectors::zones).unwrap()),
        None => (text.trim_end_matches('Z'), TimeZone::UTC),
    };
    let moment: DateTime = moment.parse().unwrap();
    UnixMillis(moment.to_zoned(zone).unwrap().timestamp().as_millisecond())
}

fn interval(text: &str) -> TimeInterval {
    TimeInterval::parse(text, &vectors::zones).unwrap_or_else(|faults| panic!("{text}: {faults}"))
}

#[test]
fn moments_lie_within_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_time_intervals.json");
    for case in vectors::list(&file, "contains") {
        let interval = interval(case["intervals_yaml"].as_str().unwrap());
        for (key, expected) in [("contains", true), ("excludes", false)] {
            for moment in case[key].as_array().unwrap() {
                let moment = moment.as_str().unwrap();
                assert_eq!(interval.contains(at(moment)), expected, "{moment}: {case}");
            }
        }
    }
}

#[test]
fn faults_are_named_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_time_intervals.json");
    for case in vectors::list(&file, "invalid") {
        let faults = TimeInterval::parse_list(case["yaml"].as_str().unwrap(), &vectors::zones).unwrap_err();
        assert_eq!(faults.faults[0].problem, case["error"].as_str().unwrap(), "{case}");
    }
}

#[test]
fn named_intervals_mute_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_time_intervals.json");
    let mutes = &file["mutes"];
    for case in vectors::list(mutes, "cases") {
        let now = at(case["now"].as_str().unwrap());
        let muted: Vec<&str> = mutes["intervals"]
            .as_object()
            .unwrap()
            .iter()
            .filter(|(_, text)| interval(text.as_str().unwrap()).contains(now))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(serde_json::json!(muted), case["muted_by"], "{case}");
    }
}

#[test]
fn bounds_belong_to_ranges_but_not_the_end_of_a_time() {
    for (text, within, without) in [
        ("times: [{start_time: '00:00', end_time: '24:00'}]", vec!["2024-05-05T23:59"], vec![]),
        ("times: [{start_time: '09:00', end_time: '17:00'}]", vec!["2024-05-05T09:00"], vec!["2024-05-05T17:00"]),
        ("weekdays: [Monday:FRIDAY]", vec!["2024-05-03T00:00"], vec!["2024-05-04T00:00", "2024-05-05T00:00"]),
        ("days_of_month: ['-1']", vec!["2024-02-29T12:00", "2023-02-28T12:00"], vec!["2024-02-28T12:00"]),
        ("days_of_month: ['31']", vec!["2024-01-31T12:00"], vec!["2024-02-29T12:00", "2024-03-01T00:00"]),
        ("days_of_month: ['28:31']", vec!["2023-02-28T12:00"], vec!["2023-02-27T12:00"]),
        ("days_of_month: ['-31:-28']", vec!["2024-01-01T00:00", "2024-02-01T00:00"], vec!["2024-01-05T00:00"]),
        ("months: ['1:3', 'december']", vec!["2024-03-31T23:00", "2024-12-01T00:00"], vec!["2024-04-01T00:00"]),
        ("years: [2024]", vec!["2024-12-31T23:59"], vec!["2025-01-01T00:00"]),
        // The hour that is left out when summer begins: 02:30 is never.
        (
            "times: [{start_time: '02:00', end_time: '03:00'}]\nlocation: Europe/Berlin",
            vec!["2024-03-30T01:30"],
            vec!["2024-03-31T01:30", "2024-03-31T00:30"],
        ),
        ("times: [{start_time: '02:00', end_time: '03:00'}]\nlocation: CET-1", vec!["2024-03-31T01:30"], vec![]),
    ] {
        let interval = interval(text);
        for moment in within {
            assert!(interval.contains(at(moment)), "{moment} in {text}");
        }
        for moment in without {
            assert!(!interval.contains(at(moment)), "{moment} in {text}");
        }
    }
}

#[test]
fn whatever_is_wrong_is_refused_in_upstreams_words() {
    for (text, problem) in [
        ("times: [{start_time: '25:00', end_time: '26:00'}]", "couldn't parse timestamp 25:00, invalid format"),
        ("times: [{start_time: '9:00', end_time: '17:00'}]", "couldn't parse timestamp 9:00, invalid format"),
        ("times: [{start_time: '24:01', end_time: '24:00'}]", "couldn't parse timestamp 24:01, invalid format"),
        ("times: [{start_time: '17:00', end_time: '09:00'}]", "start time cannot be equal or greater than end time"),
        ("times: [{start_time: '09:00', end_time: '09:00'}]", "start time cannot be equal or greater than end time"),
        ("times: [{start_time: '09:00'}]", "both start and end times must be provided"),
        ("weekdays: ['blurgsday']", "blurgsday is not a valid weekday"),
        ("weekdays: ['friday:monday']", "start day cannot be before end day"),
        ("weekdays: ['a:b:c']", "couldn't parse range a:b:c, invalid format"),
        ("days_of_month: ['0']", "0 is not a valid day of the month: out of range"),
        ("days_of_month: ['-50:-20']", "-50 is not a valid day of the month: out of range"),
        ("days_of_month: ['1:50']", "50 is not a valid day of the month: out of range"),
        ("days_of_month: ['-20:10']", "end day must be negative if start day is negative"),
        ("days_of_month: ['10:5']", "end day 5 is always before start day 10"),
        ("days_of_month: ['-5:-10']", "end day -10 is always before start day -5"),
        ("days_of_month: ['25:-5']", "end day -5 is always before start day 25"),
        ("years: ['MMXX']", "strconv.Atoi: parsing \"mmxx\": invalid syntax"),
        ("location: Europe/Nowhere", "unknown time zone Europe/Nowhere"),
        ("location: ../etc/passwd", "unknown time zone ../etc/passwd"),
        ("hours: ['1']", "this key is not known here"),
    ] {
        let faults = TimeInterval::parse(text, &vectors::zones).unwrap_err();
        assert_eq!(faults.faults[0].problem, problem, "{text}");
        assert_eq!(faults.faults[0].line, Some(1), "{text}");
    }
}
