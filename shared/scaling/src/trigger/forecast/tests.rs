use super::*;
use crate::trigger::tests::{now, read, zones};
use skerry_model::{Mono, UnixMillis};

fn season(text: &str) -> Season {
    let (triggers, faults) = read(text);
    assert_eq!(faults, [], "{text}");
    triggers.forecast().cloned().unwrap()
}

/// Monday, 2026-01-05.
const BEGIN: &str = "2026-01-05T00:00:00Z";

fn after(seconds: i64) -> Now {
    let begin = now(BEGIN);
    Now { wall: UnixMillis(begin.wall.0 + seconds * 1000), mono: Mono(0) }
}

/// Ten replicas from 08:00 to 18:00 with half an hour up and down, two else.
fn office(second: i64) -> f64 {
    let hour = second as f64 / 3600.0 % 24.0;
    2.0 + 8.0 * ((hour - 7.5) * 2.0).clamp(0.0, 1.0).min(((18.5 - hour) * 2.0).clamp(0.0, 1.0))
}

/// Notes a minute's demand for some hours.
fn noted(forecast: &mut Forecast, season: &Season, hours: std::ops::Range<i64>, demand: impl Fn(i64) -> f64) {
    let zones = zones();
    for second in (hours.start * 3600..hours.end * 3600).step_by(60) {
        forecast.note(season, after(second), (demand(second) * 1000.0) as u64, &zones);
    }
}

fn floor(forecast: &Forecast, season: &Season, hours: f64) -> Option<u32> {
    forecast.floor(season, after((hours * 3600.0) as i64), &zones()).map(|floor| floor.replicas)
}

#[test]
fn settings_are_read() {
    let day = season("forecast: {}");
    assert_eq!((day.is_weekly, day.lead.as_secs(), day.min_history.as_secs()), (false, 120, 2 * 86_400));
    let week =
        season("forecast: {enabled: yes, season: 7d, leadSeconds: 300, minHistory: 3d, timezone: Europe/Berlin}");
    assert_eq!((week.is_weekly, week.lead.as_secs(), week.min_history.as_secs()), (true, 300, 3 * 86_400));
    assert_eq!(season("forecast: {season: 1w}").min_history.as_secs(), 14 * 86_400);
    assert!(read("forecast: {enabled: false}").0.forecast().is_none());
    assert!(read("{}").0.is_empty());
}

#[test]
fn the_floor_rises_ahead_of_what_the_days_before_had() {
    let season = season("forecast: {leadSeconds: 600}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..48, office);
    assert_eq!(floor(&forecast, &season, 47.9), None, "history is too short");
    noted(&mut forecast, &season, 48..55, office);
    for (hours, expected) in [(55.0, 2), (55.3, 2), (55.51, 9), (55.75, 10), (55.9, 10), (60.0, 10)] {
        let found = floor(&forecast, &season, hours).unwrap();
        assert!(found.abs_diff(expected) <= 1, "{found} at {hours}");
    }
    let why = forecast.floor(&season, after(56 * 3600), &zones()).unwrap().why;
    assert_eq!(why, "forecast: 10.0 in 600 s, as in the days before");
    let usual = Duration::from_secs(300);
    let window = |season| forecast.stabilization(season, after(56 * 3600), usual).as_secs();
    assert_eq!((window(Some(&season)), window(None)), (60, 300));
    assert_eq!(forecast.stabilization(Some(&season), after(3600), usual), usual);
}

#[test]
fn noise_about_a_whole_number_does_not_move_the_floor() {
    let season = season("forecast: {leadSeconds: 600}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..72, office);
    let zones = zones();
    let mut asked = Vec::new();
    for round in 0..600 {
        // The hours need 10.05 and 10.35 by turns, for half an hour each: on both sides of where ten become eleven.
        let now = after(81 * 3600 + round * 60);
        let noise = if round / 30 % 2 == 0 { 1.035 } else { 1.005 };
        forecast.note(&season, now, (office(9 * 3600) * noise * 1000.0) as u64, &zones);
        asked.extend(forecast.floor(&season, now, &zones).map(|floor| floor.replicas));
    }
    asked.truncate(520);
    let changes = asked.windows(2).filter(|two| two[0] != two[1]).count();
    assert_eq!((asked.len(), changes, asked[0], asked[519]), (520, 1, 10, 11));
}

#[test]
fn a_day_with_half_the_load_has_half_the_peak() {
    let season = season("forecast: {leadSeconds: 600}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..96, office);
    noted(&mut forecast, &season, 96..103, |second| office(second) / 2.0);
    assert_eq!(floor(&forecast, &season, 104.0), Some(5));
}

#[test]
fn a_holiday_is_seen_within_the_half_hour() {
    let season = season("forecast: {}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..96, office);
    // Nobody comes on the fifth day.
    let zones = zones();
    let mut asked = Vec::new();
    for minute in 0..10 * 60 {
        let now = after((96 + 4) * 3600 + minute * 60);
        forecast.note(&season, now, 2000, &zones);
        asked.push(forecast.floor(&season, now, &zones).map_or(0, |floor| floor.replicas));
    }
    let too_many = asked.iter().filter(|asked| **asked > 3).count();
    assert!(too_many <= 45, "{too_many} minutes: {asked:?}");
    // From half an hour after the usual end of the rise there is no more of it.
    assert!(asked[4 * 60 + 30..].iter().all(|asked| *asked <= 3), "{asked:?}");
}

#[test]
fn the_floor_moves_in_few_steps() {
    let season = season("forecast: {}");
    let mut forecast = Forecast::default();
    // From 2 to 22 and back in a day, a replica more every 36 minutes.
    let wave = |second: i64| 12.0 - 10.0 * (second as f64 / 86_400.0 * std::f64::consts::TAU).cos();
    noted(&mut forecast, &season, 0..72, wave);
    let zones = zones();
    let mut asked = Vec::new();
    for round in 0..24 * 240 {
        let second = 72 * 3600 + round * 15;
        let (now, noise) = (after(second), if round % 2 == 0 { 0.97 } else { 1.03 });
        forecast.note(&season, now, (wave(second) * noise * 1000.0) as u64, &zones);
        let floor = forecast.floor(&season, now, &zones).unwrap().replicas;
        assert!((f64::from(floor) - wave(second)).abs() < 2.6, "{floor} for {}", wave(second));
        asked.push(floor);
    }
    let changes = asked.windows(2).filter(|two| two[0] != two[1]).count();
    assert!((20..=40).contains(&changes), "{changes}");
}

#[test]
fn what_does_not_repeat_is_not_forecast() {
    let season = season("forecast: {}");
    let mut forecast = Forecast::default();
    // Two hours of load at another time each day.
    let wandering = |second: i64| {
        let (day, hour) = (second / 86_400, second as f64 / 3600.0 % 24.0);
        let begin = (day * 7 % 22) as f64;
        if (begin..begin + 2.0).contains(&hour) { 10.0 } else { 1.0 }
    };
    noted(&mut forecast, &season, 0..240, wandering);
    let asks: Vec<Option<u32>> = (0..96).map(|n| floor(&forecast, &season, 240.0 + f64::from(n) / 4.0)).collect();
    assert!(asks.iter().all(Option::is_none), "{asks:?}");
}

#[test]
fn one_crowd_makes_no_peak_of_each_day() {
    let season = season("forecast: {}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..72, office);
    noted(
        &mut forecast,
        &season,
        72..96,
        |second| if (75..76).contains(&(second / 3600)) { 100.0 } else { office(second) },
    );
    noted(&mut forecast, &season, 96..98, office);
    assert!(floor(&forecast, &season, 99.5).unwrap() <= 4);
}

#[test]
fn local_days_count() {
    let season = season("forecast: {timezone: Europe/Berlin, leadSeconds: 600}");
    let zones = zones();
    let mut forecast = Forecast::default();
    // Office hours of Berlin, over the change to summer on 2026-03-29.
    let begin = now("2026-03-23T00:00:00Z").wall.0;
    let at = |minute: i64| Now { wall: UnixMillis(begin + minute * 60_000), mono: Mono(0) };
    let local = |minute: i64| minute * 60 + if minute < 6 * 1440 + 60 { 3600 } else { 7200 };
    for minute in 0..7 * 1440 + 300 {
        forecast.note(&season, at(minute), (office(local(minute)) * 1000.0) as u64, &zones);
    }
    // Monday after the change: 07:40 in Berlin is 05:40 UTC.
    let floor = forecast.floor(&season, at(7 * 1440 + 340), &zones).unwrap();
    assert!((9..=10).contains(&floor.replicas), "{floor:?}");
}

#[test]
fn clocks_that_are_not_set_and_unknown_zones_teach_nothing() {
    let mut forecast = Forecast::default();
    let unset = Now { wall: UnixMillis(86_400_000), mono: Mono(0) };
    forecast.note(&season("forecast: {}"), unset, 5000, &zones());
    forecast.note(&season("forecast: {timezone: Mars/Base}"), after(0), 5000, &zones());
    assert_eq!(forecast, Forecast::default());
    assert_eq!(forecast.floor(&season("forecast: {}"), unset, &zones()), None);
}

#[test]
fn it_goes_on_over_a_restart() {
    let season = season("forecast: {leadSeconds: 600}");
    let mut forecast = Forecast::default();
    assert_eq!(Forecast::from_bytes(&forecast.to_bytes()), Some(Forecast::default()));
    noted(&mut forecast, &season, 0..72, office);
    let bytes = forecast.to_bytes();
    assert!(bytes.len() <= 3072, "{}", bytes.len());
    let mut again = Forecast::from_bytes(&bytes).unwrap();
    noted(&mut again, &season, 72..78, office);
    assert_eq!(floor(&again, &season, 81.0), Some(10));
    // Another season begins anew.
    let week = self::season("forecast: {season: 7d}");
    again.note(&week, after(80 * 3600), 1000, &zones());
    assert_eq!(floor(&again, &season, 81.0), None);
    assert!(again.to_bytes().len() <= 3072);
}

#[test]
fn damaged_bytes_are_none_or_do_no_harm() {
    let season = season("forecast: {}");
    let mut forecast = Forecast::default();
    noted(&mut forecast, &season, 0..60, office);
    let bytes = forecast.to_bytes();
    for end in 1..bytes.len() {
        assert!(Forecast::from_bytes(&bytes[..end]).is_none(), "{end}");
    }
    for at in 0..bytes.len().min(200) {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] = value;
            if let Some(mut read) = Forecast::from_bytes(&damaged) {
                let _ = floor(&read, &season, 60.0);
                noted(&mut read, &season, 60..61, office);
                let _ = floor(&read, &season, 61.0);
            }
        }
    }
}
