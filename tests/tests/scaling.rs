//! Scaling through real processes: an agent whose target is a program or a template unit, killed in the middle of it,
//! without a link; and what the centre's history then says.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::lab::{Binaries, Lab, Node, Running, wait_for};
use skerry_tests::proxy::Proxy;
use skerry_tests::web::web;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const NODE: &str = "pi-8";
/// Programs that the node allows.
const PROGRAMS: [&str; 6] = ["web", "try", "good", "hangs", "both", "blind"];

/// Keeps a number of replicas in a file. `set` says that it has begun, and takes a while where file `slow` stands beside
/// it; where `hang` does, `get` never ends.
const PROGRAM: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
name=$(basename "$0" .sh)
case $1 in
get)
    while [ -e "hang-$name" ]; do sleep 0.2; done
    printf '{"replicas": %s}\n' "$(cat "replicas-$name" 2>/dev/null || echo 1)" ;;
set)
    echo "$SKERRY_POLICY $2" >>sets
    while [ -e slow ]; do sleep 0.1; done
    echo "$2" >"replicas-$name" ;;
esac
"#;

/// What a systemd that runs template units says, as far as it is asked; named as what it is.
const FAKE_SYSTEMCTL: &str = include_str!("scaling/fake-systemctl.sh");

/// A fleet, and a node behind a link that can be cut.
struct Rig {
    lab: Lab,
    node: Node,
    proxy: Proxy,
    folder: PathBuf,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

fn policy(name: &str, target: &str, metric: &str, more: &str) -> String {
    format!(
        "---\napiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {target}\n  \
         minReplicas: 1\n  maxReplicas: 8\n  metrics:\n  - type: External\n    external:\n      metric: {{name: {metric}}}\n      \
         target: {{type: AverageValue, averageValue: 10}}\n  behavior:\n    scaleDown: {{stabilizationWindowSeconds: 0}}\n{more}"
    )
}

fn executable(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text)?;
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?)
}

impl Rig {
    /// With these documents behind the node's config, in which `FOLDER` stands for where the programs are.
    fn start(documents: &str) -> anyhow::Result<Self> {
        Self::start_on(documents, |_| Ok(Vec::new()))
    }

    /// The same; `disk` gives what stands before the agent, by where its data lie.
    fn start_on(documents: &str, disk: impl FnOnce(&Path) -> anyhow::Result<Vec<String>>) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
        let held = tempfile::tempdir()?;
        let mut lab = Lab::init(Binaries::build()?, held.path())?;
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
        lab.start_server()?;
        let folder = held.path().join("site");
        std::fs::create_dir_all(folder.join("values"))?;
        std::fs::create_dir_all(folder.join("bin"))?;
        for name in PROGRAMS {
            executable(&folder.join(format!("{name}.sh")), PROGRAM)?;
        }
        executable(&folder.join("bin/systemctl"), FAKE_SYSTEMCTL)?;
        let shown = folder.display().to_string();
        let allowed: Vec<String> = PROGRAMS.iter().map(|name| format!("'{shown}/{name}.sh'")).collect();
        let mut node = lab.agent(NODE, &format!("exec_allow: [{}]\n", allowed.join(", ")))?;
        let path = std::env::var("PATH").unwrap_or_default();
        node.wrapper = disk(&node.folder.join("data"))?;
        node.wrapper.extend(["env".into(), format!("PATH={}:{path}", folder.join("bin").display())]);
        lab.join(&mut node, "edge")?;
        let spec = format!(
            "  collect:\n    interval: 1s\n    textfile_directory: '{}'\n  store:\n    write_budget: 0B\n  sync:\n    \
             reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n  scaling:\n    sync_period: 1s\n    guard: {{enabled: false}}\n{}",
            folder.join("values").display(),
            documents.replace("FOLDER", &shown)
        );
        let rig = Self { lab, node, proxy, folder, _runtime: runtime, _folder: held };
        rig.set(&[("queue", 5)])?;
        rig.lab.apply("group/edge", &spec)?;
        rig.lab.wait_config(NODE, "group/edge", 1)?;
        Ok(rig)
    }

    /// Sets metrics of the site.
    fn set(&self, values: &[(&str, u32)]) -> anyhow::Result<()> {
        let folder = self.folder.join("values");
        let text: String = values.iter().map(|(name, value)| format!("site_{name} {value}\n")).collect();
        std::fs::write(folder.join("new"), text)?;
        Ok(std::fs::rename(folder.join("new"), folder.join("site.prom"))?)
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn wait_replicas(&self, scope: &str, replicas: u32) -> anyhow::Result<()> {
        wait_for("replicas", || {
            let held = self.file(&format!("replicas-{scope}"));
            ensure!(held.trim() == replicas.to_string(), "{scope} has {held:?}; log: {}", self.log());
            Ok(())
        })
    }

    /// The end of the agent's log.
    fn log(&self) -> String {
        let text = std::fs::read_to_string(self.node.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(12).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Runs a command of the agent beside it.
    fn agent(&self, args: &[&str]) -> anyhow::Result<String> {
        let config = self.node.folder.join("agent.yaml");
        let mut command = Command::new(&self.node.binary);
        let output = command.args(args).arg("--config").arg(config).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    fn policies(&self) -> anyhow::Result<Vec<Value>> {
        Ok(serde_json::from_str(&self.agent(&["scale", "list", "-o", "json"])?)?)
    }

    /// Waits until a policy's condition has a reason.
    fn wait_condition(&self, policy: &str, reason: &str) -> anyhow::Result<()> {
        wait_for("a condition", || {
            let policies = self.policies()?;
            let one = policies.iter().find(|one| one["policy"] == policy).context("no such policy")?;
            let mut reasons = one["conditions"].as_array().into_iter().flatten().map(|one| &one["reason"]);
            ensure!(reasons.any(|one| one == reason), "{one}");
            Ok(())
        })
    }

    /// Scaling events at the centre, oldest first: policy, reason, replicas before and after.
    fn history(&self) -> anyhow::Result<Vec<(String, String, u64, u64)>> {
        let list = self.lab.api(&format!("/nodes/{NODE}/events?limit=1000"))?;
        let mut found = Vec::new();
        for event in list["events"].as_array().context("events")? {
            // policy NAME, TARGET: REASON, FROM to TO replicas: MESSAGE
            let Some(told) = event["text"].as_str().and_then(|text| text.strip_prefix("policy ")) else { continue };
            let (policy, rest) = told.split_once(", ").context("a policy")?;
            let (reason, rest) =
                rest.split_once(": ").and_then(|(_, rest)| rest.split_once(", ")).context("a reason")?;
            let words: Vec<&str> = rest.split_whitespace().take(3).collect();
            found.push((policy.to_owned(), reason.to_owned(), words[0].parse()?, words[2].parse()?));
        }
        found.reverse();
        Ok(found)
    }

    fn open_link(&self) {
        self.proxy.open(SocketAddr::from(([127, 0, 0, 1], self.lab.mqtt)));
    }
}

#[test]
fn a_kill_in_the_middle_without_a_link_leaves_each_decision_once() -> anyhow::Result<()> {
    let web = policy("web", "{kind: Exec, name: FOLDER/web.sh}", "site_queue", "");
    let mut rig = Rig::start(&web)?;
    rig.wait_condition("web", "ValidMetricFound")?;
    rig.proxy.close();

    // It is killed while the program is at work, and finds it half done.
    std::fs::write(rig.folder.join("slow"), "")?;
    rig.set(&[("queue", 48)])?;
    wait_for("the action", || {
        ensure!(rig.file("sets").contains("web 5"), "{}", rig.log());
        Ok(())
    })?;
    rig.node.kill();
    std::fs::remove_file(rig.folder.join("slow"))?;
    rig.node.start()?;
    rig.wait_replicas("web", 5)?;
    rig.wait_condition("web", "ValidMetricFound")?;

    // Down again, and once more over a restart in order.
    rig.set(&[("queue", 15)])?;
    rig.wait_replicas("web", 2)?;
    rig.node.stop()?;
    rig.node.start()?;
    rig.wait_condition("web", "ValidMetricFound")?;
    let text = rig.agent(&["scale", "explain", "web"])?;
    assert!(text.contains("External site_queue") && text.contains("ValidMetricFound"), "{text}");
    let table = rig.agent(&["scale", "list"])?;
    assert!(table.contains("web") && table.contains("/web.sh"), "{table}");

    // A change to the policy is tried out, and nothing comes of it; a program that no policy asks is not run for it.
    let file = rig.folder.join("try.yaml");
    let folder = rig.folder.display().to_string();
    let tried = |name: &str, program: &str| {
        let target = format!("{{kind: Exec, name: {folder}/{program}.sh}}");
        std::fs::write(&file, policy(name, &target, "site_queue * 3", ""))?;
        rig.agent(&["scale", "explain", &file.display().to_string()])
    };
    let text = tried("web", "web")?;
    assert!(text.contains("2 -> 5 replicas"), "{text}");
    let text = tried("other", "web")?;
    assert!(text.contains("web has the same target"), "{text}");
    let text = tried("web", "try")?;
    assert!(text.contains("NotAllowed") && text.contains("a text to try out runs no program"), "{text}");
    std::fs::write(&file, policy("try", "{kind: Exec, name: /web.sh}", "'rate('", ""))?;
    let error = rig.agent(&["scale", "explain", &file.display().to_string()]).unwrap_err().to_string();
    assert!(error.contains("try.yaml:12: spec.metrics[0].external.metric"), "{error}");

    rig.open_link();
    let expected: Vec<(String, String, u64, u64)> =
        [(1, 5), (5, 2)].map(|(from, to)| ("web".to_owned(), "SuccessfulRescale".to_owned(), from, to)).to_vec();
    wait_for("the history", || {
        let history = rig.history()?;
        ensure!(history.len() >= expected.len(), "{history:?}");
        Ok(())
    })?;
    assert_eq!(rig.history()?, expected);
    Ok(())
}

/// A file system of its own for an agent's data: an ext4 in a file, which the agent's namespace alone mounts.
struct Disk {
    image: PathBuf,
    data: PathBuf,
}

impl Disk {
    /// Runs a script where it is mounted at `$DATA`.
    fn run(&self, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-ec"]).args(self.script(script));
        command
    }

    fn script(&self, then: &str) -> [String; 2] {
        let (image, data) = (self.image.display(), self.data.display());
        [format!("export DATA='{data}'; mount -o loop '{image}' \"$DATA\"; {then}"), "sh".to_owned()]
    }

    /// Fills it, beside a process that has it mounted, and goes on whenever something comes free.
    fn fill(&self, pid: u32) -> anyhow::Result<Running> {
        let fill = format!("while :; do cat /dev/zero >>'{}/fill' 2>/dev/null; sleep 0.02; done", self.data.display());
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &pid.to_string(), "sh", "-c", &fill]);
        Running::spawn(&mut command, Path::new("/dev/null"))
    }

    /// Ends what fills it, and waits until nobody has it mounted any more: a second mount beside the first would ruin it.
    fn release(&self, filling: Running) -> anyhow::Result<()> {
        let pid = i32::try_from(filling.id()).ok().and_then(rustix::process::Pid::from_raw).context("its number")?;
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL)?;
        filling.kill();
        wait_for("the disk to be released", || {
            let devices = Command::new("losetup").arg("--associated").arg(&self.image).output()?;
            ensure!(devices.status.success() && devices.stdout.is_empty(), "{devices:?}");
            Ok(())
        })
    }
}

/// The disk is really full while decisions are made and an alert begins and ends, and the agent is killed then, twice; the
/// second run begins on it.
#[test]
fn kills_on_a_full_disk_leave_each_decision_once() -> anyhow::Result<()> {
    if !rustix::process::getuid().is_root() {
        eprintln!("left out: to mount a file system takes root");
        return Ok(());
    }
    let rules = "  rules:\n    evaluation_interval: 1s\n    packs: []\n    groups:\n    - name: site\n      rules:\n      \
                 - {alert: Long, expr: site_queue > 40}\n";
    let web = policy("web", "{kind: Exec, name: FOLDER/web.sh}", "site_queue", "");
    let mut disk = None;
    let mut rig = Rig::start_on(&format!("{rules}{web}"), |data| {
        std::fs::create_dir_all(data)?;
        let made = Disk { image: data.with_extension("ext4"), data: data.to_owned() };
        std::fs::File::create(&made.image)?.set_len(16 << 20)?;
        let done = Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&made.image).status()?;
        ensure!(done.success(), "mkfs.ext4 ended with {done}");
        let mut wrapper: Vec<String> =
            ["unshare", "--mount", "--propagation", "private", "sh", "-ec"].map(Into::into).into();
        wrapper.extend(made.script("exec \"$@\""));
        disk = Some(made);
        Ok(wrapper)
    })?;
    let disk = disk.context("a disk")?;
    rig.wait_condition("web", "ValidMetricFound")?;
    rig.proxy.close();
    let mut began_by = None;
    for (queue, replicas) in [(48, 5), (15, 2)] {
        let filling = disk.fill(rig.node.id().context("the agent")?)?;
        wait_for("a disk that takes nothing", || {
            let metrics = rig.node.text("/metrics")?;
            let failed = metrics.lines().find_map(|line| line.strip_prefix("skerry_store_failed_commits_total "));
            ensure!(failed.is_some_and(|count| count != "0"), "{failed:?}; {}", rig.log());
            Ok(())
        })?;
        rig.set(&[("queue", queue)])?;
        rig.wait_replicas("web", replicas)?;
        // The action is over, and its event waits.
        wait_for("the outcome", || {
            let policies = rig.policies()?;
            ensure!(policies[0]["current"] == replicas && policies[0]["scaled_ms"].is_i64(), "{policies:?}");
            Ok(())
        })?;
        wait_for("the alert", || {
            let alerts = rig.node.text("/api/v2/alerts")?;
            ensure!(alerts.contains("Long") == (queue > 40), "{alerts}");
            Ok(())
        })?;
        let now: Value = serde_json::from_str(&rig.node.text("/api/v1/query?query=time()")?)?;
        let now: f64 = now["data"]["result"][1].as_str().context("a time")?.parse()?;
        began_by.get_or_insert((now * 1000.0) as i64);
        rig.node.kill();
        disk.release(filling)?;
        rig.node.start()?;
        rig.wait_condition("web", "ValidMetricFound")?;
        // Only a run whose rules saw it fire can say that it ends.
        wait_for("the alert of this run", || {
            let alerts = rig.node.text("/api/v1/alerts")?;
            ensure!(alerts.contains("Long") == (queue > 40), "{alerts}; {}", rig.log());
            Ok(())
        })?;
    }
    rig.node.kill();
    let freed = disk.run("rm \"$DATA/fill\"").output()?;
    ensure!(freed.status.success(), "{}", String::from_utf8_lossy(&freed.stderr));
    rig.node.start()?;
    rig.open_link();
    let expected: Vec<(String, String, u64, u64)> =
        [(1, 5), (5, 2)].map(|(from, to)| ("web".to_owned(), "SuccessfulRescale".to_owned(), from, to)).to_vec();
    wait_for("the history", || {
        let history = rig.history()?;
        ensure!(history.len() >= expected.len(), "{history:?}; {}", rig.log());
        Ok(())
    })?;
    assert_eq!(rig.history()?, expected);
    let told = wait_for("the alert's history", || {
        let list = rig.lab.api("/alert-history?limit=1000")?;
        let alerts = list["alerts"].as_array().context("alerts")?;
        let told: Vec<Value> = alerts.iter().filter(|alert| alert["name"] == "Long").cloned().collect();
        ensure!(told.iter().any(|alert| alert["ends_ms"].is_i64()), "{told:?}; {}", rig.log());
        Ok(told)
    })?;
    assert!(told.len() == 1 && told[0]["offline"] == true, "{told:?}");
    assert!(told[0]["starts_ms"].as_i64() <= began_by, "the first run knew when it began: {told:?}, {began_by:?}");
    Ok(())
}

#[test]
fn bad_targets_are_told_of_and_leave_the_others_alone() -> anyhow::Result<()> {
    let documents = [
        policy("good", "{kind: Exec, name: FOLDER/good.sh}", "site_queue", ""),
        policy("hangs", "{kind: Exec, name: FOLDER/hangs.sh}", "site_queue", ""),
        policy("forbidden", "{kind: Exec, name: /bin/true}", "site_queue", ""),
        policy("one", "{kind: Exec, name: FOLDER/both.sh}", "site_queue", ""),
        policy("two", "{kind: Exec, name: FOLDER/both.sh}", "site_queue", ""),
        policy("blind", "{kind: Exec, name: FOLDER/blind.sh}", "site_nothing", ""),
        policy("unit", "{kind: SystemdUnit, name: worker}", "site_queue", ""),
    ];
    let rig = Rig::start(&documents.concat())?;
    std::fs::write(rig.folder.join("hang-hangs"), "")?;
    rig.wait_condition("good", "ValidMetricFound")?;
    rig.set(&[("queue", 30)])?;
    rig.wait_replicas("good", 3)?;
    wait_for("units", || {
        let units = std::fs::read_to_string(rig.folder.join("bin/units")).unwrap_or_default();
        let mut units: Vec<&str> = units.lines().collect();
        units.sort_unstable();
        ensure!(units == ["worker@1.service", "worker@2.service", "worker@3.service"], "{units:?}\n{}", rig.log());
        Ok(())
    })?;
    for (policy, reason) in [
        ("forbidden", "FailedGetScale"),
        ("one", "AmbiguousSelector"),
        ("two", "AmbiguousSelector"),
        ("blind", "FailedGetExternalMetric"),
        ("hangs", "FailedGetScale"),
    ] {
        rig.wait_condition(policy, reason)?;
    }
    assert!(!rig.file("sets").lines().any(|line| line.starts_with("one") || line.starts_with("two")));
    for line in [
        "kube_horizontalpodautoscaler_status_desired_replicas{horizontalpodautoscaler=\"good\"} 3",
        "kube_horizontalpodautoscaler_spec_max_replicas{horizontalpodautoscaler=\"unit\"} 8",
        "kube_horizontalpodautoscaler_status_condition{condition=\"ScalingActive\",horizontalpodautoscaler=\"one\",status=\"false\"} 1",
    ] {
        wait_for("metrics", || {
            let url = format!("http://127.0.0.1:{}/metrics", rig.node.http);
            let metrics = web().get(url).call()?.body_mut().read_to_string()?;
            ensure!(metrics.contains(line), "{line} is not there");
            Ok(())
        })?;
    }
    wait_for("the history", || {
        let history = rig.history()?;
        let count =
            |policy: &str, reason: &str| history.iter().filter(|one| one.0 == policy && one.1 == reason).count();
        for (policy, reason) in [
            ("good", "SuccessfulRescale"),
            ("unit", "SuccessfulRescale"),
            ("forbidden", "FailedGetScale"),
            ("one", "AmbiguousSelector"),
            ("two", "AmbiguousSelector"),
            ("blind", "FailedComputeMetricsReplicas"),
        ] {
            ensure!(count(policy, reason) == 1, "{policy} {reason}: {history:?}");
        }
        Ok(())
    })
}
