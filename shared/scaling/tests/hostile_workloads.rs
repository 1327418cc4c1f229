//! Workloads, kept states and looks at containers, damaged in whatever way: nothing panics, faults name their lines, and what
//! is asked of the runtime stays bounded and within what is declared.

use proptest::collection::vec;
use proptest::prelude::*;
use skerry_damage::{cuts, damaged};
use skerry_model::{Mono, UnixMillis};
use skerry_scaling::Now;
use skerry_scaling::workload::{Act, Keeper, Resources, Seen, SeenState, Settings, SlotId, Workload};
use std::collections::BTreeMap;
use std::time::Duration;

const WORKLOAD: &str = r#"
replicas: 3
strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
minReadySeconds: 5
progressDeadlineSeconds: 60
terminationGracePeriodSeconds: 3
restartPolicy: Always
networks: [shop]
labels: {app: web}
volumes: [{name: d, hostPath: {path: /srv}}, {name: t, emptyDir: {medium: Memory, sizeLimit: 1Ki}}]
containers:
- name: web
  image: registry.example/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  command: [/bin/web]
  args: ['--zone=$(ZONE)']
  env: [{name: ZONE, value: a}, {name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  ports: [{containerPort: 80, hostPort: 8000-8005, hostIP: 127.0.0.1}]
  resources: {requests: {cpu: 250m, memory: 10Mi}, limits: {memory: 1Gi}}
  livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1, failureThreshold: 2}
  readinessProbe: {tcpSocket: {port: 80}, initialDelaySeconds: 2}
  startupProbe: {exec: {command: [/bin/true]}, timeoutSeconds: 3}
  volumeMounts: [{name: d, mountPath: /d, readOnly: true}, {name: t, mountPath: /t}]
- {name: db, image: 'db:1', imagePullPolicy: Never}
"#;

fn at(seconds: u64) -> Now {
    Now { wall: UnixMillis(1_700_000_000_000) + Duration::from_secs(seconds), mono: Mono(1 + seconds * 1000) }
}

fn settings() -> Settings {
    Settings { backoff_max: Duration::from_secs(300), boot: "b".into(), is_complete: true }
}

/// A container of whatever labels and times.
fn seen() -> impl Strategy<Value = Seen> {
    let word = |words: &'static [&'static str]| prop::sample::select(words);
    let moment = prop_oneof![Just(i64::MIN), Just(0), Just(1_700_000_000_000), Just(i64::MAX), any::<i64>()];
    let state = prop_oneof![
        Just(SeenState::Created),
        Just(SeenState::Running),
        Just(SeenState::Paused),
        Just(SeenState::Busy),
        (any::<i32>(), any::<bool>(), moment.clone()).prop_map(|(code, is_oom, at)| SeenState::Exited {
            code,
            is_oom,
            at: UnixMillis(at)
        }),
    ];
    let number = prop_oneof![1u32..6, Just(u32::MAX), any::<u32>()];
    let slot = (word(&["web", "other"]), number, word(&["web", "db", "", "x"]));
    (slot, 0u8..8, ".{0,3}", state, proptest::option::of(moment)).prop_map(|(slot, id, spec, state, started)| Seen {
        slot: SlotId { workload: slot.0.into(), replica: slot.1, container: slot.2.into() },
        id: format!("{}-id{id}", slot.0),
        spec,
        state,
        started_at: started.map(UnixMillis),
        requests: Resources::default(),
    })
}

#[test]
fn what_is_damaged_below_is_sound() {
    let workload = Workload::parse("web", WORKLOAD).expect("a sound workload");
    assert_eq!((workload.replicas, workload.template.containers.len()), (3, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn workloads_are_refused_or_taken(cuts in cuts(), name in ".{0,20}") {
        let text = String::from_utf8_lossy(&damaged(WORKLOAD.as_bytes(), &cuts)).into_owned();
        match Workload::parse(&name, &text) {
            Ok(workload) => prop_assert!(workload.replicas <= 100 && workload.template.containers.len() <= 16),
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                // A fault at the end may name the line behind the last break.
                let lines = skerry_yaml::lines(&text).count() as u64 + 1;
                for fault in faults {
                    prop_assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{fault} of {lines}");
                }
            }
        }
    }

    #[test]
    fn whatever_is_seen_and_was_kept(looks in vec(vec(seen(), 0..8), 1..5), cuts in cuts(), jump in 0u64..100_000) {
        let declared = || vec![Workload::parse("web", WORKLOAD).expect("a sound workload")];
        let mut keeper = Keeper::new(settings(), declared(), &[], at(0));
        let mut kept = BTreeMap::new();
        for turn in 0..2 {
            let mut second = 0;
            for look in &looks {
                second += jump;
                keeper.see(look.clone(), at(second));
                let acts = keeper.step(at(second));
                prop_assert!(acts.len() <= 64, "{} acts for {} containers", acts.len(), look.len());
                for act in &acts {
                    prop_assert_eq!(&act.slot().workload, "web", "another's container");
                    if let Act::Stop { id, .. } | Act::Remove { id, .. } | Act::Start { id, .. } = act {
                        let is_there = look.iter().any(|one| one.id == *id && one.slot.workload == "web");
                        prop_assert!(is_there, "{id} is none of what was seen");
                    }
                    keeper.done(act, Ok(()), at(second));
                }
                let changes = keeper.take();
                prop_assert!(changes.events.len() <= 64);
                kept.extend(changes.state);
                prop_assert!(!keeper.status(at(second)).is_empty());
            }
            // And the next run, with what was kept or what became of it.
            let stored = kept.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?)));
            let stored: Vec<_> =
                stored.map(|(key, value)| (key, if turn == 0 { damaged(&value, &cuts) } else { value })).collect();
            keeper = Keeper::new(settings(), declared(), &stored, at(second));
        }
    }
}
