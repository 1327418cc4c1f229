//! The agent as a process over a Kubernetes API: a HorizontalPodAutoscaler as its owner has it, and a policy by local series,
//! against the test server with real TLS and tokens. The link to the centre is cut meanwhile, the agent is killed at work, and
//! the server hangs, refuses, and takes another token. With a real cluster too, where `SKERRY_TEST_KUBECONFIG` names one;
//! skipped, and said so, elsewhere.

use anyhow::{Context, ensure};
use skerry_tests::kube::{Kube, Mishap};
use skerry_tests::lab::wait_for;
use skerry_tests::scaled::{Scaled, Setup};
use std::path::{Path, PathBuf};
use std::process::Command;

/// As `kubectl get hpa web -o yaml` prints one.
const OWNED: &str = r#"apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"web","namespace":"shop"}}
  creationTimestamp: "2026-01-01T00:00:00Z"
  name: web
  namespace: shop
  resourceVersion: "812"
  uid: 6b0d8b1e-7a8e-4d0c-9e57-1f2a3b4c5d6e
spec:
  behavior:
    scaleDown:
      policies:
      - periodSeconds: 15
        type: Percent
        value: 100
      selectPolicy: Max
      stabilizationWindowSeconds: 0
    scaleUp:
      policies:
      - periodSeconds: 15
        type: Pods
        value: 20
      selectPolicy: Max
      stabilizationWindowSeconds: 0
  maxReplicas: 10
  metrics:
  - resource:
      name: cpu
      target:
        averageUtilization: 60
        type: Utilization
    type: Resource
  minReplicas: 1
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: web
status:
  conditions:
  - lastTransitionTime: "2026-01-01T00:00:15Z"
    message: recommended size matches current size
    reason: ReadyForNewScale
    status: "True"
    type: AbleToScale
  currentMetrics: null
  currentReplicas: 3
  desiredReplicas: 3
"#;

/// By what the node itself measures: of each pod, and of all.
const LINES: &str = "apiVersion: skerry.io/v1
kind: ScalingPolicy
metadata: {name: lines}
spec:
  scaleTargetRef: {kind: Deployment, name: reader, namespace: shop}
  minReplicas: 1
  maxReplicas: 8
  metrics:
  - type: Pods
    pods:
      metric: {name: site_lines}
      target: {type: AverageValue, averageValue: 100}
  - type: External
    external:
      metric: {name: site_queue, selector: {matchLabels: {queue: in}}}
      target: {type: AverageValue, averageValue: 10}
  behavior:
    scaleUp: {policies: [{type: Pods, value: 20, periodSeconds: 15}]}
    scaleDown: {stabilizationWindowSeconds: 0}
";

const PATCH: &str = "PATCH /apis/apps/v1/namespaces/shop/deployments/web/scale";

/// A node whose policies' targets are at a server.
struct Rig {
    kube: Kube,
    node: Scaled,
    token: PathBuf,
}

impl Rig {
    fn start(folder: &Path) -> anyhow::Result<Self> {
        let kube = Kube::start()?;
        for (namespace, name, replicas) in [("shop", "web", 3), ("shop", "reader", 2), ("elsewhere", "web", 7)] {
            kube.state().objects.deploy(namespace, name, replicas);
        }
        let (token, ca) = (folder.join("token-of-the-api"), folder.join("ca.pem"));
        std::fs::write(&token, "token-1\n")?;
        std::fs::write(&ca, kube.ca())?;
        let scaling = format!(
            "  kubernetes: {{server: '{}', token_file: '{}', tls_config: {{ca_file: '{}'}}, timeout: 1s}}\n",
            kube.url(),
            token.display(),
            ca.display()
        );
        let policies = [("web.yaml", OWNED), ("lines.yaml", LINES)];
        let node = Scaled::start(
            folder,
            &Setup { name: "k3s-1", policies: &policies, scaling: &scaling, ..Setup::default() },
        )?;
        Ok(Self { kube, node, token })
    }

    /// Lets the pods follow their Deployments, and share out so many thousandths of a core.
    fn load(&self, milli: usize) {
        let objects = &mut self.kube.state().objects;
        objects.settle();
        let mut web: Vec<_> =
            objects.pods.iter_mut().filter(|((space, name), _)| space == "shop" && name.starts_with("web-")).collect();
        let each = milli / web.len().max(1);
        web.iter_mut().for_each(|(_, pod)| pod.usage = Some((format!("{each}m"), "32Mi".into())));
    }

    fn replicas(&self, namespace: &str, name: &str) -> i64 {
        let state = self.kube.state();
        state.objects.deployments.get(&(namespace.to_owned(), name.to_owned())).map_or(-1, |found| found.replicas)
    }

    /// Waits until a Deployment of the shop has so many, under this load.
    fn wait(&self, name: &str, milli: usize, replicas: i64) -> anyhow::Result<()> {
        wait_for("the Deployment to be scaled", || {
            self.load(milli);
            let found = self.replicas("shop", name);
            ensure!(found == replicas, "{name} has {found}, wanted {replicas}");
            Ok(())
        })
        .with_context(|| self.node.log())
    }

    /// Lets so many rounds go by.
    fn rounds(&self, milli: usize, count: usize) -> anyhow::Result<()> {
        self.load(milli);
        self.kube.asked();
        wait_for("rounds", || {
            let found = self.kube.state().asked.iter().filter(|asked| asked.contains("metrics.k8s.io")).count();
            ensure!(found >= count, "{found} rounds");
            Ok(())
        })
    }
}

#[test]
fn what_owners_wrote_for_kubernetes_is_done_by_the_node() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let rig = &mut Rig::start(folder.path())?;
    rig.node.set(&[])?;
    rig.node.cut();
    rig.wait("web", 750, 3)?;
    rig.node.wait_reason("shop/web", "ValidMetricFound")?;
    // 500 thousandths of each of three are all that they ask for.
    rig.wait("web", 1500, 5)?;
    rig.rounds(1500, 3)?;
    assert!(!rig.kube.asked().iter().any(|asked| asked.starts_with('P')), "it stays where it is");
    wait_for("what is explained", || {
        let explained = rig.node.agent(&["scale", "explain", "shop/web"])?;
        for part in ["shop/web: Deployment/shop/web", "5 -> 5 replicas", "60%", "ReadyForNewScale"] {
            ensure!(explained.contains(part), "{part}: {explained}");
        }
        Ok(())
    })?;

    // Killed while the server takes its time with the change; the next run does it.
    rig.kube.asked();
    rig.kube.mishap(PATCH, 1, Mishap::Hang);
    wait_for("the change", || {
        rig.load(2400);
        ensure!(rig.kube.state().asked.iter().any(|asked| asked.starts_with(PATCH)), "not yet");
        Ok(())
    })
    .with_context(|| rig.node.log())?;
    rig.node.node.kill();
    assert_eq!(rig.replicas("shop", "web"), 5);
    rig.node.node.start()?;
    rig.wait("web", 2400, 8)?;

    // Others change the object at the same moment, and the server is busy.
    rig.kube.mishap(PATCH, 2, Mishap::Raced);
    rig.kube.mishap(PATCH, 1, Mishap::Status(429, Some(0)));
    rig.wait("web", 3000, 10)?;
    rig.node.wait_reason("shop/web", "ValidMetricFound")?;

    // More than there may be.
    rig.load(9000);
    let message = rig.node.wait_reason("shop/web", "TooManyReplicas")?;
    assert_eq!(message, "more would be needed than maxReplicas lets be");
    rig.load(3000);

    // What each pod does, which the node measures itself.
    rig.node.wait_reason("lines", "FailedGetPodsMetric")?;
    rig.node.set(&[
        ("site_lines{pod=\"reader-0000\"}", 300.0),
        ("site_lines{pod=\"reader-0001\"}", 100.0),
        ("site_queue{queue=\"in\"}", 12.0),
        ("site_queue{queue=\"out\"}", 900.0),
    ])?;
    rig.wait("reader", 3000, 4)?;
    let idle = ["0000", "0001", "0002", "0003"].map(|pod| (format!("site_lines{{pod=\"reader-{pod}\"}}"), 20.0));
    let mut idle: Vec<(&str, f64)> = idle.iter().map(|(series, lines)| (series.as_str(), *lines)).collect();
    // A metric that says nothing keeps it from shrinking.
    rig.node.set(&idle)?;
    rig.node.wait_reason("lines", "FailedGetExternalMetric")?;
    assert_eq!(rig.replicas("shop", "reader"), 4);
    idle.push(("site_queue{queue=\"in\"}", 12.0));
    rig.node.set(&idle)?;
    rig.wait("reader", 3000, 2)?;

    rig.wait("web", 600, 2)?;
    assert_eq!(rig.replicas("elsewhere", "web"), 7, "another namespace's is left alone");
    rig.node.mend();
    let done =
        ["3->5 SuccessfulRescale", "5->8 SuccessfulRescale", "8->10 SuccessfulRescale", "10->2 SuccessfulRescale"];
    rig.node.wait_history("shop/web", &done)?;
    rig.node.wait_history("lines", &["2->4 SuccessfulRescale", "4->2 SuccessfulRescale"])?;
    rig.node.node.stop()
}

#[test]
fn a_server_that_hangs_or_refuses_is_told_of_and_made_up_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let rig = &mut Rig::start(folder.path())?;
    rig.node.set(&[])?;
    rig.wait("web", 750, 3)?;
    rig.node.wait_reason("shop/web", "ValidMetricFound")?;

    // The token is another one; its file comes a little later.
    rig.kube.state().token = "token-2".into();
    let message = rig.node.wait_reason("shop/web", "FailedGetScale")?;
    assert!(message.contains("Unauthorized") && message.contains("is not taken"), "{message}");
    std::fs::write(&rig.token, "token-2")?;
    rig.node.wait_replicas("shop/web", 3)?;

    // Nothing is answered for a while, then in halves; the load grows meanwhile.
    for mishap in [Mishap::Hang, Mishap::HangInBody, Mishap::Close, Mishap::Status(503, None)] {
        rig.kube.mishap("/scale", usize::MAX, mishap);
        let message = rig.node.wait_reason("shop/web", "FailedGetScale")?;
        assert!(message.starts_with("Timeout") || message.starts_with("Unreachable"), "{message}");
        assert!(rig.node.agent(&["scale", "list"])?.contains("FailedGetScale"));
        rig.kube.state().mishaps.clear();
        rig.node.wait_replicas("shop/web", 3)?;
    }
    assert_eq!(rig.replicas("shop", "web"), 3);

    // Without its metrics nothing moves.
    rig.kube.state().forbidden = vec!["list pods.metrics".into()];
    let message = rig.node.wait_reason("shop/web", "FailedGetResourceMetric")?;
    assert!(message.contains("Forbidden"), "{message}");
    rig.load(3000);
    rig.rounds(3000, 2)?;
    assert_eq!(rig.replicas("shop", "web"), 3);

    // It may be read and not changed: tried again in growing pauses, told once, and done as soon as it may be.
    rig.kube.state().forbidden = vec!["patch deployments/scale".into(), "update deployments/scale".into()];
    let message = rig.node.wait_reason("shop/web", "FailedUpdateScale")?;
    assert!(message.contains("3 -> 10") && message.contains("patch and update"), "{message}");
    rig.rounds(3000, 5)?;
    let tries = rig.kube.asked().iter().filter(|asked| asked.starts_with("PATCH")).count();
    assert!(tries <= 1, "{tries} tries in five seconds");
    // Told at once, or a minute after another trouble that was told.
    wait_for("what is told", || {
        let all = rig.node.history("shop/web", true)?;
        ensure!(all.iter().any(|row| row.ends_with("FailedRescale")), "{all:?}");
        Ok(())
    })?;
    rig.kube.state().forbidden.clear();
    rig.wait("web", 3000, 10)?;

    // The object goes and comes back.
    let key = ("shop".to_owned(), "web".to_owned());
    let deployment = rig.kube.state().objects.deployments.remove(&key).context("web")?;
    let message = rig.node.wait_reason("shop/web", "FailedGetScale")?;
    assert!(message.contains("NotFound") && message.contains("not found"), "{message}");
    rig.kube.state().objects.deployments.insert(key, deployment);
    rig.node.wait_replicas("shop/web", 10)?;

    rig.node.wait_history("shop/web", &["3->10 SuccessfulRescale"])?;
    let all = rig.node.history("shop/web", true)?;
    let count = |word: &str| all.iter().filter(|row| row.ends_with(word)).count();
    // What is over within two rounds is borne.
    assert!(count("FailedRescale") == 1 && count("FailedGetScale") <= 1, "{all:?}");
    rig.node.node.stop()
}

/// A Deployment of a real cluster follows what the node measures, over a kill; its pods need not run for that.
#[test]
fn a_real_cluster_follows_the_node() -> anyhow::Result<()> {
    let named =
        std::env::var_os("SKERRY_TEST_KUBECONFIG").map_or_else(|| "/etc/rancher/k3s/k3s.yaml".into(), PathBuf::from);
    if !named.exists() {
        eprintln!("skipped: there is no k3s here, and SKERRY_TEST_KUBECONFIG names no other cluster");
        return Ok(());
    }
    let kubectl = |line: &str| -> anyhow::Result<String> {
        let output = Command::new("kubectl").arg("--kubeconfig").arg(&named).args(line.split_whitespace()).output()?;
        ensure!(output.status.success(), "kubectl {line}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let folder = tempfile::tempdir()?;
    let policy = LINES.replace("name: reader, namespace: shop", "name: skerry-scaled, namespace: default");
    // No pod runs, so none can be measured by itself.
    let (head, tail) = (policy.find("  - type: Pods"), policy.find("  - type: External"));
    let policy = format!("{}{}", &policy[..head.context("Pods")?], &policy[tail.context("External")?..]);
    let scaling = format!("  kubernetes: {{kubeconfig: '{}'}}\n", named.display());
    kubectl("create deployment skerry-scaled --image=skerry.invalid/none:1 --replicas=1")?;
    let work = || {
        let policies = [("lines.yaml", policy.as_str())];
        let mut node = Scaled::start(
            folder.path(),
            &Setup { name: "k3s-2", policies: &policies, scaling: &scaling, ..Setup::default() },
        )?;
        let wait = |node: &Scaled, queue: f64, replicas: &str| {
            node.set(&[("site_queue{queue=\"in\"}", queue)])?;
            wait_for("the Deployment to be scaled", || {
                let found = kubectl("get deployment skerry-scaled -o jsonpath={.spec.replicas}/{.status.replicas}")?;
                ensure!(found == replicas, "{found}");
                Ok(())
            })
            .with_context(|| node.log())
        };
        wait(&node, 38.0, "4/4")?;
        node.node.kill();
        node.node.start()?;
        wait(&node, 71.0, "8/8")?;
        let message = node.wait_reason("lines", "DesiredWithinRange")?;
        wait(&node, 15.0, "2/2").with_context(|| message)?;
        node.wait_history("lines", &["1->4 SuccessfulRescale", "4->8 SuccessfulRescale", "8->2 SuccessfulRescale"])?;
        node.node.stop()
    };
    let outcome = work();
    kubectl("delete deployment skerry-scaled --wait=false")?;
    outcome
}
