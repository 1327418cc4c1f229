//! A runtime in virtual time, and the keeper over it.

mod harsh;

use super::*;
use skerry_model::UnixMillis;
use std::collections::BTreeSet;

/// Wall time at the start, so that it differs from the monotonic one.
const EPOCH: i64 = 1_700_000_000_000;

struct Made {
    slot: SlotId,
    spec: String,
    image: String,
    state: SeenState,
    started: Option<UnixMillis>,
}

/// Images behave by their name: `crash:N` ends after N seconds with 1, `done:N` with 0, `slow:N` passes probes after N
/// seconds, `sick:N` passes them until then, `gone:1` cannot be had, all others run and pass.
struct World {
    keeper: Keeper,
    mono: u64,
    /// By how much the wall clock was set, in milliseconds.
    wall_ahead: i64,
    next_id: u32,
    boxes: BTreeMap<String, Made>,
    state: BTreeMap<String, Vec<u8>>,
    events: Vec<String>,
    /// Every container that was ever stopped or removed by an act.
    touched: BTreeSet<String>,
    /// Those that the runtime cannot remove, and how often that was asked for.
    stuck: BTreeMap<String, u32>,
    most: usize,
    /// What containers' labels say.
    requests: Resources,
}

fn settings() -> Settings {
    Settings { backoff_max: Duration::from_secs(300), boot: "one".into(), is_complete: true }
}

fn parse(specs: &[(&str, &str)]) -> Vec<Workload> {
    specs.iter().map(|(name, spec)| Workload::parse(name, spec).unwrap()).collect()
}

impl World {
    fn new(specs: &[(&str, &str)]) -> Self {
        let mono = 5_000_000;
        let now = Now { wall: UnixMillis(EPOCH + 5_000_000), mono: Mono(mono) };
        let keeper = Keeper::new(settings(), parse(specs), &[], now);
        let mut world = Self {
            keeper,
            mono,
            wall_ahead: 0,
            next_id: 0,
            boxes: BTreeMap::new(),
            state: BTreeMap::new(),
            events: Vec::new(),
            touched: BTreeSet::new(),
            stuck: BTreeMap::new(),
            most: 0,
            requests: Resources::default(),
        };
        world.turn();
        world
    }

    fn now(&self) -> Now {
        let wall = EPOCH + self.wall_ahead + i64::try_from(self.mono).unwrap();
        Now { wall: UnixMillis(wall), mono: Mono(self.mono) }
    }

    /// The agent begins anew with what it wrote.
    fn restart(&mut self, settings: Settings, specs: &[(&str, &str)]) {
        let stored: Vec<_> = self.state.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.keeper = Keeper::new(settings, parse(specs), &stored, self.now());
        self.turn();
    }

    fn declare(&mut self, specs: &[(&str, &str)]) {
        self.restart(settings(), specs);
    }

    /// Containers end by themselves.
    fn live(&mut self) {
        let now = self.now().wall;
        for one in self.boxes.values_mut().filter(|one| one.state == SeenState::Running) {
            let Some((kind, secs)) = one.image.split_once(':') else { continue };
            let code = match kind {
                "crash" => 1,
                "done" => 0,
                _ => continue,
            };
            let at = one.started.unwrap() + Duration::from_secs(secs.parse().unwrap());
            if at <= now {
                one.state = SeenState::Exited { code, is_oom: false, at };
            }
        }
    }

    fn passes(&self, id: &str) -> bool {
        let Some(one) = self.boxes.get(id) else { return false };
        let ran = self.now().wall.since(one.started.unwrap()).as_secs();
        let (kind, secs) = one.image.split_once(':').unwrap();
        let secs = secs.parse().unwrap_or(0);
        match kind {
            "slow" => ran >= secs,
            "sick" => ran < secs,
            _ => true,
        }
    }

    /// Looks and acts until nothing is to be done at this moment.
    fn turn(&mut self) {
        for _ in 0..100 {
            self.live();
            let seen = self.boxes.iter().map(|(id, one)| Seen {
                slot: one.slot.clone(),
                id: id.clone(),
                spec: one.spec.clone(),
                state: one.state,
                started_at: one.started,
                requests: self.requests,
            });
            self.keeper.see(seen.collect(), self.now());
            let acts = self.keeper.step(self.now());
            self.save();
            if acts.is_empty() {
                return;
            }
            for act in acts {
                let outcome = self.act(&act);
                self.keeper.done(&act, outcome, self.now());
            }
            self.most = self.most.max(self.boxes.len());
        }
        panic!("acts without end: {:?}", self.events);
    }

    fn save(&mut self) {
        let Changes { state, events } = self.keeper.take();
        for (key, value) in state {
            match value {
                Some(value) => drop(self.state.insert(key, value)),
                None => drop(self.state.remove(&key)),
            }
        }
        let told = |one: Happened| format!("{} {}", one.reason, one.container.unwrap_or(one.workload));
        self.events.extend(events.into_iter().map(told));
    }

    fn act(&mut self, act: &Act) -> Outcome {
        let now = self.now().wall;
        match act {
            Act::Create { slot, workload, container, .. } => {
                let image = workload.template.containers[*container].image.tagged.clone();
                if image == "gone:1" {
                    return Err(Failure { reason: "ErrImageNeverPull", message: "no image gone:1".into() });
                }
                self.next_id += 1;
                let (spec, started) = (workload.template.hash.clone(), Some(now));
                let one = Made { slot: slot.clone(), spec, image, state: SeenState::Running, started };
                self.boxes.insert(format!("id{}", self.next_id), one);
            }
            Act::Start { id, .. } => {
                let one = self.boxes.get_mut(id).unwrap();
                (one.state, one.started) = (SeenState::Running, Some(now));
            }
            Act::Stop { id, .. } => {
                self.touched.insert(id.clone());
                self.boxes.get_mut(id).unwrap().state = SeenState::Exited { code: 143, is_oom: false, at: now };
            }
            Act::Remove { id, .. } => {
                self.touched.insert(id.clone());
                if let Some(asked) = self.stuck.get_mut(id) {
                    *asked += 1;
                    return Err(Failure { reason: "FailedKillPod", message: "device or resource busy".into() });
                }
                self.boxes.remove(id);
            }
            Act::Probe { id, .. } => {
                if !self.passes(id) {
                    return Err(Failure { reason: "Unhealthy", message: "503".into() });
                }
            }
        }
        Ok(())
    }

    /// Lets time pass in steps of 1 s.
    fn pass(&mut self, secs: u64) {
        for _ in 0..secs {
            self.mono += 1000;
            self.turn();
        }
    }

    fn status(&self, name: &str) -> Status {
        self.keeper.status(self.now()).into_iter().find(|status| status.name == name).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        self.boxes.keys().cloned().collect()
    }

    fn images(&self) -> Vec<&str> {
        self.boxes.values().map(|one| one.image.as_str()).collect()
    }

    fn starts(&self) -> Vec<u64> {
        let since = |one: &Made| u64::try_from(one.started.unwrap().0 - EPOCH).unwrap() - 5_000_000;
        self.boxes.values().map(|one| since(one) / 1000).collect()
    }

    fn count(&self, reason: &str) -> usize {
        self.events.iter().filter(|event| event.starts_with(reason)).count()
    }
}

fn one(image: &str) -> String {
    format!("{{containers: [{{name: app, image: '{image}'}}]}}")
}

fn many(replicas: u32, image: &str, more: &str) -> String {
    format!("{{replicas: {replicas}, {more} containers: [{{name: app, image: '{image}'}}]}}")
}

#[test]
fn what_is_declared_is_made_and_left_alone() {
    let spec = many(3, "web:1", "");
    let mut world = World::new(&[("web", &spec)]);
    assert_eq!(world.boxes.len(), 3);
    world.pass(3600);
    let (ids, starts) = (world.ids(), world.starts());
    // The agent begins anew, with the same config written otherwise, and without its memory.
    world.declare(&[("web", &spec.replace(", ", ",\n  "))]);
    world.pass(60);
    world.state.clear();
    world.declare(&[("web", &spec)]);
    world.pass(60);
    assert_eq!((world.ids(), world.starts()), (ids, starts));
    assert!(world.touched.is_empty());
    assert_eq!(world.status("web").reason, "Available");
}

#[test]
fn crashes_are_answered_with_growing_pauses() {
    let mut world = World::new(&[("web", &one("crash:1"))]);
    let mut starts = vec![];
    for _ in 0..1500 {
        let now = world.starts()[0];
        if starts.last() != Some(&now) {
            starts.push(now);
        }
        world.pass(1);
    }
    // Each run lasts a second: the first time at once, then after 10, 20, 40, 80, 160, 300 and 300 s.
    assert_eq!(starts, [0, 1, 12, 33, 74, 155, 316, 617, 918, 1219]);
    assert_eq!(world.count("BackOff"), 9);
    assert_eq!(world.status("web").containers[0].reason, "CrashLoopBackOff");
}

#[test]
fn a_restart_of_the_agent_forgets_no_crash() {
    let spec = one("crash:1");
    let mut world = World::new(&[("web", &spec)]);
    let mut starts = vec![];
    for second in 0..700 {
        let now = world.starts()[0];
        if starts.last() != Some(&now) {
            starts.push(now);
        }
        world.pass(1);
        if second % 7 == 0 {
            world.declare(&[("web", &spec)]);
        }
    }
    assert_eq!(starts, [0, 1, 12, 33, 74, 155, 316, 617]);
    // Each exit was told of once.
    assert_eq!(world.count("Error") + world.count("BackOff"), 8);
}

#[test]
fn ten_good_minutes_are_a_new_beginning() {
    let mut world = World::new(&[("web", &one("crash:601"))]);
    world.pass(3600);
    // Always at once.
    assert_eq!(world.count("BackOff"), 0);
    assert_eq!(world.status("web").containers[0].restarts, 5);
    let mut world = World::new(&[("web", &one("crash:599"))]);
    world.pass(599 + 599 + 9);
    assert_eq!(world.starts(), [599]);
    world.pass(2);
    assert_eq!(world.starts(), [599 * 2 + 10]);
}

#[test]
fn a_shorter_longest_pause_is_the_first_one_too() {
    let mut world = World::new(&[("web", &one("crash:1"))]);
    world.restart(Settings { backoff_max: Duration::from_secs(3), ..settings() }, &[("web", &one("crash:1"))]);
    world.pass(30);
    assert_eq!(world.status("web").containers[0].restarts, 9);
}

#[test]
fn ends_are_final_where_it_is_declared_so() {
    for (policy, image, restarts) in
        [("Never", "crash:1", 0), ("Never", "done:1", 0), ("OnFailure", "done:1", 0), ("OnFailure", "crash:1", 3)]
    {
        let spec = format!("{{restartPolicy: {policy}, containers: [{{name: app, image: '{image}'}}]}}");
        let mut world = World::new(&[("job", &spec)]);
        world.pass(30);
        let status = world.status("job");
        assert_eq!(status.containers[0].restarts, restarts, "{policy} {image}");
        assert_eq!(status.available, u32::from(restarts == 0));
        world.declare(&[("job", &spec)]);
        world.pass(30);
        assert_eq!(world.next_id, 1);
    }
}

#[test]
fn what_is_removed_by_hand_comes_back_alone() {
    let mut world = World::new(&[("web", &many(2, "web:1", ""))]);
    world.pass(5);
    world.boxes.remove("id1");
    world.pass(1);
    assert_eq!(world.ids(), ["id2", "id3"]);
    assert_eq!(world.boxes["id3"].slot.replica, 1);
    assert_eq!(world.count("Gone web-1/app"), 1);
    assert!(world.touched.is_empty());
}

#[test]
fn one_that_is_to_get_another_size_is_made_anew_alone() {
    let spec = "{replicas: 2, containers: [{name: a, image: 'a:1', resources: {requests: {cpu: 100m}}}, {name: b, image: 'b:1'}]}";
    let mut world = World::new(&[("web", spec)]);
    world.pass(60);
    let (before, events) = (world.ids(), world.events.len());
    assert!(world.keeper.renew("web", &before[1]));
    for (workload, id) in [("web", "nope"), ("other", before[0].as_str())] {
        assert!(!world.keeper.renew(workload, id), "{workload} {id}");
    }
    world.requests.cpu_milli = Some(70);
    // A look comes between its end and its removal.
    let at = world.now().wall;
    world.boxes.get_mut(&before[1]).unwrap().state = SeenState::Exited { code: 0, is_oom: false, at };
    world.pass(60);
    let after = world.ids();
    assert_eq!(world.touched, BTreeSet::from([before[1].clone()]));
    assert_eq!((after.len(), before.iter().filter(|id| after.contains(id)).count()), (4, 3));
    // It was the agent's own wish: no crash, and nothing that anybody should hear of but the new one.
    assert_eq!(
        world.events[events..].iter().map(|told| told.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["Created"]
    );
    let status = world.status("web");
    assert_eq!(status.containers.iter().map(|one| one.restarts).sum::<u32>(), 0);
    // What it was made to ask for counts, and not what is declared.
    let asks = status.observed.pods.iter().flat_map(|pod| &pod.containers).map(|one| one.cpu_request_milli);
    assert_eq!(asks.collect::<Vec<_>>(), [Some(70); 4]);
}

#[test]
fn a_cold_boot_starts_everything_at_once() {
    let spec = one("web:1");
    let mut world = World::new(&[("web", &spec), ("bad", &one("crash:5"))]);
    world.pass(20);
    let level = world.status("bad").containers[0].restarts;
    let at = world.now().wall;
    for one in world.boxes.values_mut() {
        one.state = SeenState::Exited { code: 255, is_oom: false, at };
    }
    world.mono += 90_000;
    let before = world.starts();
    world.restart(Settings { boot: "two".into(), ..settings() }, &[("web", &spec), ("bad", &one("crash:5"))]);
    assert!(world.starts().iter().zip(before).all(|(now, before)| *now > before));
    assert_eq!(world.status("bad").containers[0].restarts, level + 1);
    assert_eq!(world.count("Restarting"), 2);
    // The same for a runtime that went away under the agent.
    for one in world.boxes.values_mut() {
        one.state = SeenState::Exited { code: 137, is_oom: false, at: UnixMillis(EPOCH + 5_110_000) };
    }
    world.keeper.forgive();
    world.pass(1);
    assert_eq!(world.count("Restarting"), 4);
    assert!(world.boxes.values().all(|one| one.state == SeenState::Running));
}

#[test]
fn a_new_version_replaces_the_old_one_step_by_step() {
    let strategy = "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}, minReadySeconds: 5,";
    let mut world = World::new(&[("web", &many(3, "web:1", strategy))]);
    world.pass(30);
    world.declare(&[("web", &many(3, "web:2", strategy))]);
    for _ in 0..60 {
        let well = world.boxes.values().filter(|one| one.state == SeenState::Running).count();
        assert!((3..=4).contains(&well), "{:?}", world.images());
        world.pass(1);
    }
    assert_eq!(world.images(), ["web:2"; 3]);
    assert_eq!(world.most, 4);
    assert_eq!(world.count("RolloutComplete"), 2);
    assert_eq!(world.count("Killing"), 3);
    assert_eq!(world.status("web").updated, 3);
}

#[test]
fn a_version_that_does_not_run_is_undone_and_not_tried_again() {
    for (image, more) in [("gone:1", ""), ("crash:2", ""), ("slow:9999", "")] {
        let probe = ", readinessProbe: {httpGet: {port: 80}, periodSeconds: 1}";
        let more = format!("progressDeadlineSeconds: 30, minReadySeconds: 4, {more}");
        let spec =
            |image: &str| format!("{{replicas: 2, {more} containers: [{{name: app, image: '{image}'{probe}}}]}}");
        let mut world = World::new(&[("web", &spec("web:1"))]);
        world.pass(30);
        let ids = world.ids();
        world.declare(&[("web", &spec(image))]);
        world.pass(10);
        // In the middle of it the agent begins anew.
        world.declare(&[("web", &spec(image))]);
        world.pass(40);
        assert_eq!(world.ids(), ids, "{image}");
        assert_eq!(world.count("RolledBack"), 1, "{image}: {:?}", world.events);
        assert_eq!(world.status("web").reason, "RolledBack");
        let said = world.events.len();
        world.declare(&[("web", &spec(image))]);
        world.pass(600);
        assert_eq!((world.ids(), world.events.len()), (ids, said), "{image}: {:?}", world.events);
        // Changed, it is tried.
        world.declare(&[("web", &spec("web:3"))]);
        world.pass(60);
        assert_eq!(world.images(), ["web:3"; 2]);
    }
}

#[test]
fn the_first_version_has_nothing_to_go_back_to() {
    let mut world = World::new(&[("web", &one("gone:1"))]);
    world.pass(700);
    assert_eq!(world.count("ProgressDeadlineExceeded"), 1);
    assert_eq!(world.count("ErrImageNeverPull"), 1);
    let status = world.status("web");
    assert_eq!(status.containers[0].reason, "ErrImageNeverPull");
    assert!(status.containers[0].starts_in.is_some());
    // An image that arrives is not waited out.
    world.keeper.images_changed();
    assert!(matches!(world.keeper.step(world.now())[..], [Act::Create { .. }]));
}

#[test]
fn recreate_never_runs_two_versions() {
    let mut world = World::new(&[("web", &many(2, "web:1", "strategy: {type: Recreate},"))]);
    world.pass(10);
    world.declare(&[("web", &many(2, "web:2", "strategy: {type: Recreate},"))]);
    world.pass(10);
    assert_eq!(world.images(), ["web:2"; 2]);
    assert_eq!(world.most, 2);
}

#[test]
fn probes_decide_what_is_started_ready_and_sick() {
    let spec = |image: &str, probes: &str| format!("{{containers: [{{name: app, image: '{image}', {probes}}}]}}");
    // Not ready until it answers; nothing restarts it.
    let mut world = World::new(&[("web", &spec("slow:20", "readinessProbe: {httpGet: {port: 80}, periodSeconds: 5}"))]);
    world.pass(19);
    assert_eq!((world.status("web").ready, world.count("Unhealthy")), (0, 1));
    world.pass(6);
    assert_eq!((world.status("web").ready, world.starts()), (1, vec![0]));
    // Alive for 10 s, found sick at the third probe that fails, and ended.
    let mut world = World::new(&[("web", &spec("sick:10", "livenessProbe: {exec: {command: [a]}, periodSeconds: 5}"))]);
    world.pass(19);
    assert_eq!((world.count("Unhealthy"), world.touched.len()), (0, 0));
    world.pass(1);
    assert_eq!((world.count("Unhealthy"), world.status("web").containers[0].restarts), (1, 1));
    assert_eq!(world.starts(), [20]);
    // While it starts the others rest: 30 s are allowed, and 20 are taken.
    let both = "livenessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}, startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 30}";
    let mut world = World::new(&[("web", &spec("slow:20", both))]);
    world.pass(19);
    assert_eq!(world.status("web").ready, 0);
    world.pass(60);
    assert_eq!((world.status("web").ready, world.starts(), world.events.len()), (1, vec![0], 2), "{:?}", world.events);
    // One that takes too long is started again, and again with pauses.
    let mut world = World::new(&[("web", &spec("slow:99", both))]);
    world.pass(100);
    assert_eq!(world.status("web").containers[0].restarts, 3);
}

#[test]
fn a_policy_scales_until_another_number_is_declared() {
    let mut world = World::new(&[("web", &many(2, "web:1", ""))]);
    world.pass(5);
    assert!(world.keeper.scale("web", 4) && !world.keeper.scale("shop", 1));
    world.pass(5);
    assert_eq!((world.boxes.len(), world.status("web").observed.spec_replicas), (4, 4));
    world.declare(&[("web", &many(2, "web:1", "minReadySeconds: 1,"))]);
    world.pass(5);
    assert_eq!(world.boxes.len(), 4);
    assert!(world.keeper.scale("web", 1));
    world.pass(5);
    // The highest numbers ended first.
    assert_eq!(world.ids(), ["id1"]);
    world.declare(&[("web", &many(3, "web:1", ""))]);
    world.pass(5);
    assert_eq!(world.boxes.len(), 3);
    assert!(world.keeper.scale("web", 0));
    world.pass(5);
    assert!(world.boxes.is_empty());
}

#[test]
fn nothing_else_is_touched() {
    let mut world = World::new(&[("web", &one("web:1")), ("old", &one("web:1"))]);
    let slot = |workload: &str, replica| SlotId { workload: workload.into(), replica, container: "app".into() };
    // Of a workload that was never declared here, and a copy by hand of one that is.
    for (id, slot) in [("foreign", slot("shop", 1)), ("copy", slot("web", 1))] {
        let spec = world.boxes["id2"].spec.clone();
        let one =
            Made { slot, spec, image: "web:1".into(), state: SeenState::Running, started: Some(UnixMillis(EPOCH)) };
        world.boxes.insert(id.into(), one);
    }
    world.pass(30);
    assert!(world.boxes.contains_key("foreign") && !world.boxes.contains_key("copy"));
    // While documents are unreadable, what is not declared stays; then it ends.
    world.restart(Settings { is_complete: false, ..settings() }, &[("web", &one("web:1"))]);
    world.pass(30);
    assert_eq!(world.ids(), ["foreign", "id1", "id2"]);
    world.declare(&[("web", &one("web:1"))]);
    world.pass(30);
    assert_eq!(world.boxes.len(), 2);
    assert_eq!(world.count("Removed old"), 1);
    assert!(world.state.keys().all(|key| !key.starts_with("workloads/old")), "{:?}", world.state.keys());
    assert!(world.boxes.contains_key("foreign"));
}

#[test]
fn a_runtime_that_does_not_answer_is_nobodys_fault() {
    let mut world = World::new(&[("web", &one("web:1"))]);
    world.boxes.clear();
    world.keeper.see(Vec::new(), world.now());
    let acts = world.keeper.step(world.now());
    let failure = Failure { reason: Failure::UNREACHABLE, message: "no answer".into() };
    world.save();
    let said = world.events.len();
    world.keeper.done(&acts[0], Err(failure), world.now());
    // Nothing is planned by what was seen before.
    assert!(world.keeper.step(world.now()).is_empty());
    world.pass(3);
    assert_eq!((world.boxes.len(), world.events.len()), (1, said + 1));
}

#[test]
fn a_runtime_that_hangs_makes_nobody_sick() {
    let spec = "{containers: [{name: app, image: 'web:1', livenessProbe: {exec: {command: [a]}, periodSeconds: 1, failureThreshold: 1}}]}";
    let mut world = World::new(&[("web", spec)]);
    for _ in 0..10 {
        world.mono += 1000;
        let acts = world.keeper.step(world.now());
        assert!(matches!(acts[..], [Act::Probe { .. }]), "{acts:?}");
        let failure = Failure { reason: Failure::UNREACHABLE, message: "no answer".into() };
        world.keeper.done(&acts[0], Err(failure), world.now());
    }
    world.pass(10);
    assert!(world.touched.is_empty() && world.count("Unhealthy") == 0);
}

#[test]
fn damaged_state_is_as_none() {
    let spec = one("web:1");
    let mut world = World::new(&[("web", &spec)]);
    world.pass(5);
    for damage in ["", "{", "[]", "{\"replicas\": {\"x\": 1, \"1\": []}}", "{\"progress\": [1, 2]}", "null"] {
        world.state.values_mut().for_each(|value| *value = damage.into());
        world.declare(&[("web", &spec)]);
        world.pass(5);
        assert_eq!(world.ids(), ["id1"], "{damage}");
        assert!(world.touched.is_empty());
    }
}
