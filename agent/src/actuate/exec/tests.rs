//! With real programs that misbehave in every way.

use super::*;
use crate::program::lives;
use skerry_scaling::target::{Phase, TargetKind};
use std::os::unix::fs::PermissionsExt;

struct Hook {
    folder: tempfile::TempDir,
    target: TargetRef,
    actuator: ExecActuator,
}

impl Hook {
    /// A shell script that is allowed, in the folder it works in.
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hook");
        std::fs::write(&path, format!("#!/bin/sh\ncd {}\n{text}\n", folder.path().display())).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let name = path.display().to_string();
        let target = TargetRef { kind: TargetKind::Exec, name, scope: "shop".into() };
        let policies = BTreeMap::from([(target.clone(), "web".to_owned())]);
        let mut actuator = ExecActuator::new(vec![path], policies);
        actuator.times = (Duration::from_secs(5), Duration::from_secs(5));
        Self { folder, target, actuator }
    }

    async fn observed(&self) -> Result<Observed, ActuatorError> {
        self.actuator.observe(&self.target).await
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_program_is_asked_and_told() {
    let hook = Hook::new(
        r#"case $1 in
        get) echo "{\"replicas\": $(cat count 2>/dev/null || echo 2)}";;
        set) echo "$2" > count; echo "$# $SKERRY_POLICY $SKERRY_SCOPE $SKERRY_TARGET" > env; env >> env;;
        esac"#,
    );
    let observed = hook.observed().await.unwrap();
    assert_eq!((observed.spec_replicas, observed.status_replicas, observed.pods.len()), (2, 2, 2));
    assert!(observed.pods.iter().all(|pod| pod.phase == Phase::Running && pod.ready.unwrap().is_ready));
    hook.actuator.scale(&hook.target, 5).await.unwrap();
    assert_eq!(hook.observed().await.unwrap().spec_replicas, 5);
    let env = hook.file("env");
    assert!(env.starts_with(&format!("2 web shop {}\n", hook.target)), "{env}");
    assert!(!env.contains("CARGO"), "nothing is inherited: {env}");
}

#[tokio::test]
async fn what_is_not_allowed_is_not_run() {
    let mut hook = Hook::new("touch ran; echo '{\"replicas\": 1}'");
    hook.actuator.allowed = vec!["/usr/bin/true".into()];
    let error = hook.observed().await.unwrap_err();
    assert_eq!(error.reason, "NotAllowed");
    assert!(error.message.contains("exec_allow"), "{error}");
    assert_eq!(hook.actuator.scale(&hook.target, 1).await.unwrap_err().reason, "NotAllowed");
    assert!(!hook.folder.path().join("ran").exists());
    // The same file by another path is another program.
    hook.target.name = hook.target.name.replace("/hook", "/../hook");
    assert_eq!(hook.observed().await.unwrap_err().reason, "NotAllowed");
}

#[tokio::test]
async fn failures_have_a_reason() {
    for (script, reason, part) in [
        ("echo no bus >&2; echo noise; exit 3", "Refused", "ended with status 3: no bus"),
        ("kill -9 $$", "Refused", "signal 9"),
        ("sleep 600 & echo $! > one; sleep 600", "Timeout", "time was up"),
        (
            "trap '' PIPE; while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 2>/dev/null || exit 0; done",
            "Invalid",
            "too much",
        ),
        ("exec yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "Invalid", "too much"),
        ("", "Invalid", "no JSON"),
        ("echo 3", "Invalid", "an object"),
        ("echo '{\"replicas\": 1}{'", "Invalid", "no JSON"),
    ] {
        let mut hook = Hook::new(script);
        hook.actuator.times.0 = Duration::from_secs(if reason == "Timeout" { 1 } else { 10 });
        let error = hook.observed().await.unwrap_err();
        assert_eq!(error.reason, reason, "{script}: {error}");
        assert!(error.message.contains(part), "{script}: {error}");
        let left = hook.file("one");
        assert!(left.is_empty() || !lives(&left), "{script}: what it began lives on");
    }
    let mut hook = Hook::new("");
    hook.target.name = "/nowhere/hook".into();
    hook.actuator.allowed.push("/nowhere/hook".into());
    assert_eq!(hook.observed().await.unwrap_err().reason, "NotFound");
    let hook = Hook::new("");
    std::fs::set_permissions(hook.folder.path().join("hook"), std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(hook.observed().await.unwrap_err().reason, "Refused");
}

#[tokio::test]
async fn a_program_that_is_being_replaced_is_waited_for() {
    let hook = Hook::new("echo '{\"replicas\": 4}'");
    let writer = std::fs::File::options().append(true).open(hook.folder.path().join("hook")).unwrap();
    // Closed once the first try was refused: the one that stands first is polled first.
    let (observed, ()) = tokio::join!(hook.observed(), async { drop(writer) });
    assert_eq!(observed.unwrap().spec_replicas, 4);
}

#[tokio::test]
async fn what_left_its_group_is_ended_where_many_end_at_once() {
    let script = "setsid sleep 600 & echo $! > one; echo '{\"replicas\": 1}'";
    let hooks: Vec<Hook> = (0..12).map(|_| Hook::new(script)).collect();
    let runs = hooks.into_iter().map(|hook| async move {
        hook.observed().await.unwrap();
        // As soon as the run is over, whoever looked after it.
        let left = hook.file("one");
        assert!(!left.is_empty() && !lives(&left), "{left} lives on");
    });
    runs.collect::<tokio::task::JoinSet<()>>().join_all().await;
}

#[test]
fn answers_are_read_in_full() {
    let said = br#"{"replicas": 3, "running": 2, "else": [], "pods": [
        {"name": "b", "phase": "Pending"},
        {"name": "a", "ready": false, "since": 20.5, "started": 10, "requests": {"cpu": "500m", "memory": "64Mi"},
         "labels": {"instance": "10.0.0.3:80"}}]}"#;
    let observed = answer::read(said).unwrap();
    assert_eq!((observed.spec_replicas, observed.status_replicas), (3, 2));
    let [a, b] = &observed.pods[..] else { panic!("{observed:?}") };
    let ready = a.ready.unwrap();
    assert_eq!((a.name.as_str(), a.started_at.unwrap().0, ready.is_ready, ready.since.0), ("a", 10_000, false, 20_500));
    assert_eq!((a.containers[0].cpu_request_milli, a.containers[0].memory_request), (Some(500), Some(64 << 20)));
    assert_eq!(a.labels.value("instance"), "10.0.0.3:80");
    assert_eq!((b.phase, b.ready.unwrap().is_ready), (Phase::Pending, false));
}

#[test]
fn answers_of_another_form_are_refused() {
    let nested = format!("{{\"replicas\": 1, \"x\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (said, part) in [
        ("{}", "`replicas` is missing"),
        ("{\"replicas\": -1}", "`replicas`"),
        ("{\"replicas\": 1.5}", "`replicas`"),
        ("{\"replicas\": \"3\"}", "`replicas`"),
        ("{\"replicas\": 1001}", "0 to 1000"),
        ("{\"replicas\": 99999999999999999999}", "`replicas`"),
        ("{\"replicas\": 1, \"running\": true}", "`running`"),
        ("{\"replicas\": 1, \"pods\": 3}", "`pods`"),
        ("{\"replicas\": 1, \"pods\": [3]}", "`name`"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"\"}]}", "`name`"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\\n\"}]}", "`name`"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", "same name"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"phase\": \"Odd\"}]}", "`phase` of a"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"ready\": 1}]}", "`ready` of a"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"started\": 1e300}]}", "`started` of a"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"requests\": {\"cpu\": 1}}]}", "`requests.cpu` of a"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"requests\": {\"memory\": \"-1\"}}]}", "`requests.memory`"),
        ("{\"replicas\": 1, \"pods\": [{\"name\": \"a\", \"labels\": [1]}]}", "`labels` of a"),
        ("\u{feff}{\"replicas\": 1}", "no JSON"),
        (&nested, "no JSON"),
    ] {
        let error = answer::read(said.as_bytes()).unwrap_err();
        assert!(error.contains(part), "{}: {error}", &said[..said.len().min(80)]);
    }
    let many: Vec<String> = (0..1001).map(|at| format!("{{\"name\": \"{at}\"}}")).collect();
    assert!(answer::read(format!("{{\"replicas\": 1, \"pods\": [{}]}}", many.join(",")).as_bytes()).is_err());
}

proptest::proptest! {
    #[test]
    fn garbage_makes_nothing_panic(said in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _ = answer::read(&said);
    }
}
