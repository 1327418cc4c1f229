//! Load over time: of services that do not exist, made from seeds and kept as files, so that every run replays the same;
//! and of one thing that was counted.
//!
//! `tests/data/scaling/NAME.txt` has a comment and then requests a second, one line for each point. The files are what
//! counts; a test holds them to what [`make`] gives. Constants of the forecast were chosen with [`CURVES`] in view;
//! [`HELD_OUT`] shows what they are worth elsewhere.

use anyhow::{Context, ensure};
use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::path::PathBuf;

const HOUR: f64 = 3600.0;
const DAY: f64 = 86_400.0;

/// Load over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Curve {
    /// Seconds between two points.
    step: u64,
    /// Requests a second.
    points: Vec<u32>,
}

/// A curve's name, seconds between points, length in hours, and seed.
pub const CURVES: [(&str, u64, u64, u64); 7] = [
    ("step", 15, 4, 1),
    ("ramp", 15, 4, 2),
    ("noisy", 60, 7 * 24, 3),
    ("flash_crowd", 30, 5 * 24, 4),
    ("diurnal", 60, 8 * 24, 5),
    ("diurnal_shifts", 60, 7 * 24, 7),
    ("diurnal_week", 300, 28 * 24, 6),
];

/// Curves that nothing was chosen on: other shapes, other seeds, and [`RECORDED`].
pub const HELD_OUT: [(&str, u64, u64, u64); 7] = [
    ("two_peaks", 300, 10 * 24, 201),
    ("office_week", 300, 21 * 24, 202),
    ("drift", 300, 10 * 24, 203),
    ("holiday", 300, 10 * 24, 204),
    ("clock_change", 300, 10 * 24, 205),
    ("diurnal_again", 300, 10 * 24, 206),
    (RECORDED, 1800, 24 * 24, 0),
];

/// Passengers of New York's taxis in each half hour from 2014-11-11 to 2014-12-04, a request a second for 20 of them: two
/// nights' peaks, weekends, and Thanksgiving on the 27th. Counted from the public trip records of the city's Taxi and
/// Limousine Commission, as summed up in the Numenta Anomaly Benchmark (`realKnownCause/nyc_taxi.csv`), rounded down to 100.
pub const RECORDED: &str = "nyc_taxi";

fn known(name: &str) -> Option<&'static (&'static str, u64, u64, u64)> {
    CURVES.iter().chain(&HELD_OUT).find(|curve| curve.0 == name)
}

impl Curve {
    /// Reads a file.
    ///
    /// # Errors
    /// If it is missing, or no curve.
    pub fn read(name: &str) -> anyhow::Result<Self> {
        let path = folder().join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let step = known(name).map(|curve| curve.1).context("no such curve")?;
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let points =
            lines.map(str::parse).collect::<Result<Vec<u32>, _>>().with_context(|| path.display().to_string())?;
        ensure!(points.len() > 1, "{} has no points", path.display());
        Ok(Self { step, points })
    }

    /// Its length in seconds.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.step * (self.points.len() as u64 - 1)
    }

    /// Requests in the second that begins then, on a straight line between points.
    #[must_use]
    pub fn at(&self, second: u64) -> f64 {
        let (at, rest) = ((second / self.step) as usize, second % self.step);
        let point = |at: usize| f64::from(self.points[at.min(self.points.len() - 1)]);
        let part = rest as f64 / self.step as f64;
        point(at) * (1.0 - part) + point(at + 1) * part
    }

    /// As a file.
    #[must_use]
    pub fn text(&self, name: &str) -> String {
        let mut text = format!(
            "# {name}: requests a second to a service that does not exist, every {} s; made from a seed by curves.rs.\n",
            self.step
        );
        for point in &self.points {
            let _ = writeln!(text, "{point}");
        }
        text
    }
}

/// Where the files are.
#[must_use]
pub fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/scaling")
}

/// Makes a curve anew.
///
/// # Errors
/// If there is none of this name, or it was recorded.
pub fn make(name: &str) -> anyhow::Result<Curve> {
    let (_, step, hours, seed) = *known(name).filter(|curve| curve.0 != RECORDED).context("no such curve")?;
    let mut random = Random(seed);
    let count = (hours * 3600 / step) as usize + 1;
    let mut shape = shape(name, hours as f64 * HOUR, &mut random);
    let points = (0..count).map(|n| shape(n as f64 * step as f64, &mut random).round().clamp(0.0, 1e6) as u32);
    let points = points.collect();
    Ok(Curve { step, points })
}

type Shape = Box<dyn FnMut(f64, &mut Random) -> f64>;

/// Requests a second at a second; asked in order.
fn shape(name: &str, length: f64, random: &mut Random) -> Shape {
    let mut slow = 0.0;
    match name {
        "step" => Box::new(|at, random| {
            let levels = [(0.5, 200.0), (1.5, 800.0), (2.25, 400.0), (3.0, 1200.0), (9.0, 200.0)];
            let level = levels.iter().find(|(until, _)| at < until * HOUR).map_or(0.0, |level| level.1);
            level * (1.0 + 0.01 * random.normal())
        }),
        "ramp" => Box::new(|at, random| {
            let corners = [(0.25, 150.0), (1.75, 1500.0), (2.25, 1500.0), (3.25, 150.0), (9.0, 150.0)];
            let (mut from, mut level) = ((0.0, 150.0), 150.0);
            for to in corners {
                let part = ((at / HOUR - from.0) / (to.0 - from.0)).clamp(0.0, 1.0);
                level += (to.1 - from.1) * part;
                from = to;
            }
            level * (1.0 + 0.01 * random.normal())
        }),
        "noisy" => Box::new(move |_, random| {
            slow = slow * 0.97 + 0.04 * random.normal();
            600.0 * (1.0 + slow + 0.08 * random.normal()).max(0.1)
        }),
        "flash_crowd" => {
            // Twelve crowds at any time: eightfold within a minute, gone in an hour.
            let crowds: Vec<f64> = (0..12).map(|_| random.part() * length).collect();
            Box::new(move |at, random| {
                let crowd = |begin: &f64| match at - begin {
                    since if since < 0.0 => 0.0,
                    since if since < 60.0 => since / 60.0,
                    since => (-(since - 60.0) / 900.0).exp(),
                };
                150.0 * (1.0 + 7.0 * crowds.iter().map(crowd).sum::<f64>()) * (1.0 + 0.03 * random.normal())
            })
        }
        "diurnal_shifts" => {
            let days: Vec<f64> = (0..40).map(|_| 1.0 + 0.08 * random.normal()).collect();
            Box::new(move |at, random| {
                // Machines of three shifts, which are started within a minute or two.
                let (day, hour) = ((at / DAY) as usize, at % DAY / HOUR);
                let level = match hour {
                    hour if hour < 6.0 => 250.0,
                    hour if hour < 14.0 => 250.0 + 650.0 * ((hour - 6.0) * 40.0).min(1.0),
                    hour if hour < 22.0 => 900.0 + 500.0 * ((hour - 14.0) * 40.0).min(1.0),
                    _ => 250.0,
                };
                level * days[day].max(0.5) * (1.0 + 0.02 * random.normal())
            })
        }
        "two_peaks" | "office_week" | "drift" | "holiday" | "clock_change" => held_out(name.to_owned(), random),
        _ => {
            let days: Vec<f64> = (0..40).map(|_| 1.0 + 0.12 * random.normal()).collect();
            let is_week = name == "diurnal_week";
            Box::new(move |at, random| {
                let (day, hour) = ((at / DAY) as usize, at % DAY / HOUR);
                // Low at four in the morning, high in the evening, with a smaller peak before noon.
                let wave = 0.5 - 0.5 * (TAU * (hour - 4.0) / 24.0).cos();
                let bump = |middle: f64, width: f64| (-((hour - middle) / width).powi(2)).exp();
                let level = 120.0 + 500.0 * wave + 450.0 * bump(10.5, 1.2) + 600.0 * bump(20.0, 1.5);
                let weekend = if is_week && day % 7 >= 5 { 0.45 } else { 1.0 };
                slow = slow * 0.9 + 0.015 * random.normal();
                // One day goes over into the next.
                let today = days[day] + (days[day + 1] - days[day]) * (hour / 24.0);
                level * today.max(0.5) * weekend * (1.0 + slow + 0.02 * random.normal())
            })
        }
    }
}

/// Shapes of [`HELD_OUT`], which nothing was chosen on.
fn held_out(name: String, random: &mut Random) -> Shape {
    let days: Vec<f64> = (0..40).map(|_| 1.0 + 0.08 * random.normal()).collect();
    let mut slow = 0.0;
    Box::new(move |at, random| {
        let (day, hour) = ((at / DAY) as usize, at % DAY / HOUR);
        let wave = |hour: f64| 0.5 - 0.5 * (TAU * (hour - 4.0) / 24.0).cos();
        let bump = |hour: f64, middle: f64, width: f64| (-((hour - middle) / width).powi(2)).exp();
        let level = match name.as_str() {
            "two_peaks" => 200.0 + 800.0 * bump(hour, 7.5, 0.8) + 1000.0 * bump(hour, 17.5, 1.2),
            // Doors open within three quarters of an hour; on weekends few come.
            "office_week" => {
                let open = ((hour - 7.5) / 0.75).clamp(0.0, 1.0).min(((18.5 - hour) / 0.75).clamp(0.0, 1.0));
                (150.0 + 900.0 * open) * if day % 7 >= 5 { 0.35 } else { 1.0 }
            }
            // A twentieth more each day.
            "drift" => (150.0 + 600.0 * wave(hour) + 300.0 * bump(hour, 13.0, 1.5)) * 1.05f64.powf(at / DAY),
            // The seventh day is not like the others.
            "holiday" => {
                let level = 150.0 + 700.0 * wave(hour) + 400.0 * bump(hour, 12.0, 1.5);
                if day == 6 { 200.0 + 0.25 * level } else { level }
            }
            // People's clocks go back after six days, and the policy's do not.
            _ => {
                let hour = if day >= 6 { (hour + 23.0) % 24.0 } else { hour };
                150.0 + 800.0 * bump(hour, 8.5, 1.0) + 900.0 * bump(hour, 19.0, 1.4)
            }
        };
        slow = slow * 0.9 + 0.015 * random.normal();
        let today = days[day] + (days[day + 1] - days[day]) * (hour / 24.0);
        level * today.max(0.5) * (1.0 + slow + 0.02 * random.normal())
    })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Around 0 with a deviation of 1: the sum of twelve.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.part()).sum::<f64>() - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_their_seeds_make() {
        for (name, ..) in CURVES.into_iter().chain(HELD_OUT).filter(|curve| curve.0 != RECORDED) {
            let made = make(name).unwrap();
            if std::env::var_os("SKERRY_MAKE_CURVES").is_some() {
                std::fs::write(folder().join(format!("{name}.txt")), made.text(name)).unwrap();
            }
            assert!(Curve::read(name).unwrap() == made, "{name} differs: SKERRY_MAKE_CURVES=1 writes it anew");
        }
    }

    #[test]
    fn what_was_recorded_has_all_its_half_hours() {
        let curve = Curve::read(RECORDED).unwrap();
        assert_eq!(curve.points.len(), 24 * 48);
        // At four on Thanksgiving morning, and the last half hour before midnight on the 22nd.
        assert_eq!((curve.points[16 * 48 + 8], curve.points[11 * 48 + 47]), (260, 1420));
    }

    #[test]
    fn between_points_lies_a_line() {
        let curve = Curve { step: 10, points: vec![0, 100, 50] };
        let loads = [0, 5, 10, 16, 20, 30].map(|second| curve.at(second));
        assert_eq!(loads, [0.0, 50.0, 100.0, 70.0, 50.0, 50.0]);
        assert_eq!(curve.seconds(), 20);
    }
}
