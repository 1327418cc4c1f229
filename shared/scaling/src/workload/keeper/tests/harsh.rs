//! What people, disks and clocks do to containers that are kept.

use super::*;

#[test]
fn what_cannot_be_removed_is_tried_with_growing_pauses() {
    let mut world = World::new(&[("web", &one("web:1"))]);
    world.pass(10);
    let (slot, spec) = (world.boxes["id1"].slot.clone(), world.boxes["id1"].spec.clone());
    let copy = Made { slot, spec, image: "web:1".into(), state: SeenState::Dead, started: None };
    world.boxes.insert("copy".into(), copy);
    world.stuck.insert("copy".into(), 0);
    // At once, and after 10, 20, 40, 80 and 160 s.
    world.pass(320);
    assert_eq!((world.stuck["copy"], world.count("FailedKillPod")), (6, 1), "{:?}", world.events);
    assert!(world.keeper.next(world.now()).is_some());
    world.stuck.clear();
    world.pass(300);
    assert_eq!(world.ids(), ["id1"]);
    // One that is being removed is waited for, one that died on its way out is removed, and made anew.
    world.boxes.get_mut("id1").unwrap().state = SeenState::Removing;
    world.pass(5);
    assert_eq!(world.ids(), ["id1"]);
    world.boxes.get_mut("id1").unwrap().state = SeenState::Dead;
    world.pass(5);
    assert_eq!(world.ids(), ["id2"]);
}

#[test]
fn one_that_is_frozen_does_not_serve() {
    let mut world = World::new(&[("web", &one("web:1"))]);
    world.pass(5);
    world.boxes.get_mut("id1").unwrap().state = SeenState::Paused;
    world.pass(5);
    assert_eq!((world.status("web").ready, world.status("web").available), (0, 0));
    world.boxes.get_mut("id1").unwrap().state = SeenState::Running;
    world.pass(1);
    assert_eq!((world.status("web").ready, world.ids()), (1, vec!["id1".to_owned()]));
    assert!(world.touched.is_empty());
}

#[test]
fn a_version_that_is_passed_over_does_not_count_as_serving() {
    let spec = |image: &str| {
        format!(
            "{{replicas: 3, strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}, containers: [{{name: app, \
             image: '{image}', readinessProbe: {{tcpSocket: {{port: 80}}, periodSeconds: 1}}}}]}}"
        )
    };
    let serving = |world: &World| world.images().iter().filter(|image| **image == "web:2").count();
    let mut world = World::new(&[("web", &spec("web:1"))]);
    world.pass(30);
    world.declare(&[("web", &spec("web:2"))]);
    world.pass(60);
    assert_eq!(serving(&world), 3);
    // Its replica has the lowest number, and never serves; before it is undone another one is declared, which does not
    // serve either.
    for image in ["slow:9999", "slow:8888", "slow:7777"] {
        world.declare(&[("web", &spec(image))]);
        for _ in 0..60 {
            world.pass(1);
            assert_eq!(serving(&world), 3, "{image}: {:?}", world.images());
        }
        // The agent begins anew, too.
        world.declare(&[("web", &spec(image))]);
    }
    assert_eq!(world.images().iter().filter(|image| **image == "slow:7777").count(), 1);
}

#[test]
fn time_in_which_nothing_could_be_done_undoes_nothing() {
    let spec = |image: &str| {
        let probe = "readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}";
        format!("{{progressDeadlineSeconds: 60, containers: [{{name: app, image: '{image}', {probe}}}]}}")
    };
    // The agent is away for an hour, a year passes by the clock, or the runtime does not answer.
    for what in ["agent", "clock", "runtime"] {
        let mut world = World::new(&[("web", &spec("web:1"))]);
        world.pass(30);
        world.declare(&[("web", &spec("slow:70"))]);
        world.pass(5);
        match what {
            "agent" => world.mono += 3_600_000,
            "clock" => world.wall_ahead += 365 * 86_400_000,
            _ => {
                world.mono += 3_600_000;
                world.keeper.was_away(Duration::from_secs(3600));
            }
        }
        if what == "runtime" {
            world.turn();
        } else {
            world.declare(&[("web", &spec("slow:70"))]);
        }
        world.pass(20);
        assert_eq!((world.count("RolledBack"), world.images()), (0, vec!["slow:70"]), "{what}: {:?}", world.events);
        // One that does not come further is undone nonetheless.
        world.declare(&[("web", &spec("slow:99999999"))]);
        world.pass(70);
        assert_eq!(world.count("RolledBack"), 1, "{what}: {:?}", world.events);
    }
}

#[test]
fn what_is_remembered_alone_is_not_acted_upon() {
    let two = |image: &str| {
        let probe = "readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}";
        format!("{{containers: [{{name: app, image: '{image}', {probe}}}, {{name: side, image: 'side:1'}}]}}")
    };
    let mut world = World::new(&[("web", &two("slow:9999"))]);
    world.pass(10);
    let (side, _) = world.boxes.iter().find(|(_, made)| made.slot.container == "side").unwrap();
    let side = side.clone();
    // While the agent is away somebody removes one container, and a new version comes: of the old one, which never
    // served, nothing is known any more but which containers it had.
    world.boxes.remove(&side);
    world.declare(&[("web", &two("web:2"))]);
    world.pass(60);
    assert_eq!(world.images().len(), 2, "{:?}", world.images());
    assert!(!world.touched.contains(&side), "{:?}", world.touched);
}
