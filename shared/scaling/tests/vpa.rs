//! The recommender's parts against a plain model, over long times, and with damaged input.

use proptest::prelude::*;
use skerry_model::UnixMillis;
use skerry_scaling::policy::ScalingPolicy;
use skerry_scaling::vpa::{Aggregate, Amounts, Bounds, Gave, Histogram, Instance, Options, Saved, Settings, recommend};
use std::time::Duration;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// A histogram as its definition says: every sample is remembered, and weighs less the older it is.
#[derive(Default)]
struct Model(Vec<(f64, f64, i64)>);

impl Model {
    fn percentile(&self, share: f64, options: &Options, half_life_ms: f64) -> f64 {
        let newest = self.0.iter().map(|sample| sample.2).max().unwrap_or(0);
        let weight = |sample: &(f64, f64, i64)| sample.1 * ((sample.2 - newest) as f64 / half_life_ms).exp2();
        let mut weights = vec![0.0; usize::from(options.count())];
        for sample in &self.0 {
            weights[usize::from(options.find(sample.0))] += weight(sample);
        }
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let last = weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0);
        let at = weights.iter().position(|weight| {
            sum += weight;
            *weight > 0.0 && sum >= share * total
        });
        options.start(u16::try_from(at.unwrap_or(last)).expect("few buckets") + 1)
    }
}

proptest! {
    #[test]
    fn percentiles_are_those_of_the_definition(
        samples in prop::collection::vec((0.0f64..50.0, 1u32..20, 0i64..400), 1..60),
        shares in prop::collection::vec(0.01f64..0.99, 5),
    ) {
        let (options, half_life) = (Options::cpu(), Duration::from_secs(24 * 3600));
        let mut own = Histogram::decaying(options, half_life);
        let mut model = Model::default();
        for (value, weight, hours) in samples {
            own.add(value, f64::from(weight), UnixMillis(hours * HOUR));
            model.0.push((value, f64::from(weight), hours * HOUR));
        }
        for share in shares {
            let (found, expected) = (own.percentile(share), model.percentile(share, &options, DAY as f64));
            // Where a share falls upon the border of two buckets, the last bit of a sum decides.
            let around = [share - 1e-9, share + 1e-9].map(|share| model.percentile(share, &options, DAY as f64));
            prop_assert!([expected, around[0], around[1]].contains(&found), "{share}: {found} {expected}");
        }
    }

    #[test]
    fn what_is_added_can_be_taken_out(
        samples in prop::collection::vec((1e7f64..1e11, 0i64..1000), 1..40),
    ) {
        let mut own = Histogram::decaying(Options::memory(), Duration::from_secs(24 * 3600));
        for (value, hours) in &samples {
            own.add(*value, 1.0, UnixMillis(hours * HOUR));
        }
        for (value, hours) in &samples {
            own.subtract(*value, 1.0, UnixMillis(hours * HOUR));
        }
        // What is left of sums in which large weights stood beside small ones.
        let newest = samples.iter().map(|sample| sample.1).max().unwrap_or(0);
        own.add(5e8, 1.0, UnixMillis(newest * HOUR));
        prop_assert_eq!(own.percentile(0.99), Options::memory().start(Options::memory().find(5e8) + 1));
    }

    #[test]
    fn what_is_written_is_read_again(
        samples in prop::collection::vec((0.0f64..4.0, 0u64..(8u64 << 30)), 1..200),
        names in prop::collection::vec("[a-z0-9/:]{0,20}", 0..6),
    ) {
        let (mut used, mut one) = (Aggregate::default(), Instance::default());
        for (n, (cores, bytes)) in samples.iter().enumerate() {
            let at = UnixMillis(1_800_000_000_000 + n as i64 * 60_000);
            used.add_cpu(&mut one, *cores, at);
            used.add_memory(&mut one, *bytes, at);
        }
        let amounts = |milli| Amounts { cpu_milli: milli, memory: samples[0].1 };
        let at = UnixMillis(1_800_000_000_000 - samples.len() as i64);
        one.given = Some(Gave { asks: amounts(70), limits: amounts(0), at, is_told: !names.is_empty() });
        assert!(one.is_killed_anew(at) && !one.is_killed_anew(UnixMillis(at.0 + 59_999)));
        assert!(!one.is_killed_anew(UnixMillis(at.0 - DAY)) && one.is_killed_anew(UnixMillis(at.0 + 60_000)));
        let about: Vec<&str> = names.iter().map(String::as_str).collect();
        let read = Saved::from_bytes(&used.to_bytes(&about, &[("a", &one)])).unwrap();
        prop_assert_eq!(&read.about, &names);
        prop_assert_eq!(&read.instances, &[("a".to_owned(), one)]);
        let all = |used: &Aggregate| recommend(used, 1, &Settings::default(), &Bounds::default()).unwrap();
        // Weights are rounded, so a percentile may be that of the next bucket.
        let (before, after) = (all(&used), all(&read.aggregate));
        for (before, after) in [
            (before.target.cpu_milli, after.target.cpu_milli),
            (before.target.memory, after.target.memory),
            (before.upper.memory, after.upper.memory),
        ] {
            let (before, after) = (before as f64, after as f64);
            prop_assert!((before - after).abs() <= before * 0.12 + 12.0, "{before} {after}");
        }
        prop_assert!(before.lower.cpu_milli <= before.target.cpu_milli && before.target.cpu_milli <= before.upper.cpu_milli);
        prop_assert!(before.lower.memory <= before.target.memory && before.target.memory <= before.upper.memory);
        // A second time nothing changes any more.
        let again = read.aggregate.to_bytes(&about, &[("a", &one)]);
        prop_assert_eq!(Saved::from_bytes(&again).unwrap().aggregate.cpu.checkpoint().weights, read.aggregate.cpu.checkpoint().weights);
    }

    #[test]
    fn damaged_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Saved::from_bytes(&bytes);
        let mut versioned = bytes.clone();
        versioned.insert(0, 1);
        if let Ok(read) = Saved::from_bytes(&versioned) {
            let _ = recommend(&read.aggregate, 0, &Settings::default(), &Bounds::default());
            let _ = read.aggregate.to_bytes(&[], &[]);
        }
    }

    #[test]
    fn any_samples_are_borne(
        samples in prop::collection::vec((any::<f64>(), any::<u64>(), any::<i64>(), 0u8..4), 0..80),
    ) {
        let (mut used, mut one) = (Aggregate::default(), Instance::default());
        for (cores, bytes, at, kind) in samples {
            let at = UnixMillis(at);
            match kind {
                0 => drop(used.add_cpu(&mut one, cores, at)),
                1 => drop(used.add_memory(&mut one, bytes, at)),
                2 => drop(used.add_oom(&mut one, bytes, at)),
                _ => used.shift(at.0),
            }
        }
        let other = used.clone();
        used.merge(&other);
        let _ = recommend(&used, 1, &Settings::default(), &Bounds::default());
        let bytes = used.to_bytes(&[], &[("x", &one)]);
        prop_assert!(bytes.len() < 4000);
    }

    #[test]
    fn any_text_of_a_policy_is_borne(text in "(vertical|updateMode|resourcePolicy|containerPolicies|minAllowed|cpu|: |\\{|\\}|\\[|\\]|\n|  |- |1Gi|Auto|\\*|'){0,40}") {
        let _ = ScalingPolicy::parse("x", &format!("scaleTargetRef: {{kind: Container, name: a}}\n{text}"));
    }
}

#[test]
fn recommendations_follow_over_years() {
    let (mut used, mut one) = (Aggregate::default(), Instance::default());
    let start = 1_800_000_000_000;
    let at = |hour: i64| UnixMillis(start + hour * HOUR);
    let now = |used: &Aggregate| recommend(used, 1, &Settings::default(), &Bounds::default()).unwrap();
    // Two years of one core, then a week of two: the reference has moved many times.
    for hour in 0..2 * 365 * 24 {
        used.add_cpu(&mut one, 1.0, at(hour));
        used.add_memory(&mut one, 1 << 30, at(hour));
    }
    let before = now(&used).target;
    assert!((1150..1250).contains(&before.cpu_milli), "{before:?}");
    assert!((1 << 30..(1 << 30) * 125 / 100).contains(&before.memory), "{before:?}");
    for hour in 2 * 365 * 24..(2 * 365 + 7) * 24 {
        used.add_cpu(&mut one, 2.0, at(hour));
        used.add_memory(&mut one, 2 << 30, at(hour));
    }
    let after = now(&used).target;
    assert!((2300..2500).contains(&after.cpu_milli) && after.memory > 2 << 30, "{after:?}");
    assert!(used.cpu.buckets().count() < 4 && used.memory.buckets().count() < 4);
}

#[test]
fn little_is_known_at_first() {
    let (mut used, mut one) = (Aggregate::default(), Instance::default());
    assert_eq!(recommend(&used, 1, &Settings::default(), &Bounds::default()), None);
    used.add_memory(&mut one, 1 << 30, UnixMillis(0));
    assert_eq!(recommend(&used, 1, &Settings::default(), &Bounds::default()), None, "CPU tells how much is known");
    used.add_cpu(&mut one, 1.0, UnixMillis(0));
    let first = recommend(&used, 1, &Settings::default(), &Bounds::default()).unwrap();
    assert_eq!((first.upper.cpu_milli, first.upper.memory), (100_000_000_000_000, 100_000_000_000_000));
    assert_eq!((first.lower.cpu_milli, first.lower.memory), (25, 250 << 20));
    // The least is shared by the containers of a replica.
    let shared = recommend(&used, 4, &Settings::default(), &Bounds::default()).unwrap();
    assert_eq!((shared.lower.cpu_milli, shared.lower.memory), (6, (250 << 20) / 4));
    let bounds = Bounds { cpu_min: Some(70), memory_max: Some(1 << 20), ..Bounds::default() };
    let bound = recommend(&used, 1, &Settings::default(), &bounds).unwrap();
    assert_eq!((bound.lower.cpu_milli, bound.target.memory, bound.upper.memory), (70, 1 << 20, 1 << 20));
    assert_eq!(bound.uncapped, first.target);
}
