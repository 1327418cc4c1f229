//! The agent's Kubernetes actuator against a test server with real TLS and tokens, and that server against kubectl. With
//! a real cluster too, where `SKERRY_TEST_KUBECONFIG` names one; skipped, and said so, elsewhere.

use anyhow::{Context, ensure};
use skerry_agent::actuate::{Actuator, KubernetesActuator, KubernetesPlaces, KubernetesSettings};
use skerry_agent::http::{SystemRoots, TlsSettings};
use skerry_model::Span;
use skerry_scaling::target::{Observed, Phase, TargetKind, TargetRef};
use skerry_tests::kube::{Kube, Mishap};
use skerry_tests::peers::is_installed;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const SCALE: &str = "/apis/apps/v1/namespaces/shop/deployments/web/scale";

fn target() -> TargetRef {
    TargetRef { kind: TargetKind::Deployment, name: "web".into(), scope: "shop".into() }
}

/// A server with a Deployment of three.
fn kube() -> anyhow::Result<Kube> {
    let kube = Kube::start()?;
    kube.state().objects.deploy("shop", "web", 3);
    kube.state().objects.deploy("shop", "other", 2);
    kube.state().objects.deploy("elsewhere", "web", 7);
    Ok(kube)
}

/// An actuator by a kubeconfig.
fn actuator(folder: &Path, kubeconfig: &str) -> anyhow::Result<KubernetesActuator> {
    let path = folder.join("kubeconfig");
    std::fs::write(&path, kubeconfig)?;
    let settings =
        KubernetesSettings { kubeconfig: Some(path), timeout: Span::secs(15), ..KubernetesSettings::default() };
    Ok(KubernetesActuator::new(&settings, &SystemRoots::default()))
}

fn counts(observed: &Observed) -> (u32, u32, usize) {
    (observed.spec_replicas, observed.status_replicas, observed.pods.len())
}

#[tokio::test]
async fn a_deployment_is_observed_and_scaled() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let actuator = actuator(folder.path(), &kube.kubeconfig())?;
    let observed = actuator.observe(&target()).await?;
    assert_eq!(counts(&observed), (3, 3, 3));
    let pod = &observed.pods[0];
    assert_eq!(
        (pod.name.as_str(), pod.phase, pod.ready.map(|ready| ready.is_ready)),
        ("web-0000", Phase::Running, Some(true))
    );
    assert_eq!((pod.containers[0].cpu_request_milli, pod.containers[0].memory_request), (Some(500), Some(64 << 20)));
    kube.asked();
    actuator.scale(&target(), 5).await?;
    assert_eq!(kube.asked(), [format!("GET {SCALE}"), format!("PATCH {SCALE}")]);
    actuator.scale(&target(), 5).await?;
    assert_eq!(kube.asked(), [format!("GET {SCALE}")], "it is told once");
    assert_eq!(counts(&actuator.observe(&target()).await?), (5, 3, 3), "they come by and by");
    kube.settle();
    assert_eq!(counts(&actuator.observe(&target()).await?), (5, 5, 5));
    actuator.scale(&target(), 0).await?;
    kube.settle();
    assert_eq!(counts(&actuator.observe(&target()).await?), (0, 0, 0));
    let other = kube.state().objects.deployments[&("elsewhere".to_owned(), "web".to_owned())].replicas;
    assert_eq!(other, 7, "the one of that name in another namespace is left alone");
    Ok(())
}

#[tokio::test]
async fn pods_come_in_pages_and_with_all_their_states() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let actuator = actuator(folder.path(), &kube.kubeconfig())?;
    kube.state().objects.deploy("shop", "web", 120);
    {
        let mut state = kube.state();
        let shop = state.objects.pods.iter_mut().filter(|((namespace, _), _)| namespace == "shop");
        for ((_, name), pod) in shop {
            match name.as_str() {
                "web-0001" => pod.phase = "Pending".into(),
                "web-0002" => pod.phase = "Failed".into(),
                "web-0003" => pod.is_deleting = true,
                "web-0119" => pod.is_ready = false,
                _ => {}
            }
        }
    }
    kube.asked();
    let observed = actuator.observe(&target()).await?;
    let pages = kube.asked().iter().filter(|asked| asked.contains("/pods?")).count();
    assert_eq!((counts(&observed), pages), ((120, 120, 120), 5));
    let pod = |number: usize| &observed.pods[number];
    assert_eq!((pod(1).phase, pod(2).phase, pod(3).is_deleting), (Phase::Pending, Phase::Failed, true));
    assert_eq!(pod(119).ready.map(|ready| ready.is_ready), Some(false));
    // More than a node should look at.
    kube.state().objects.deploy("shop", "web", 1100);
    let error = actuator.observe(&target()).await.unwrap_err();
    assert_eq!(error.reason, "Invalid", "{error}");
    Ok(())
}

#[tokio::test]
async fn what_pods_use_is_asked_for() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let actuator = actuator(folder.path(), &kube.kubeconfig())?;
    if let Some(pod) = kube.state().objects.pods.get_mut(&("shop".to_owned(), "web-0001".to_owned())) {
        pod.usage = None;
    }
    let usage = actuator.usage(&target()).await?.context("metrics")?;
    let key = ("web-0000".to_owned(), "app".to_owned());
    assert_eq!((usage.cpu.len(), usage.cpu[&key].milli, usage.memory[&key].milli), (2, 250, (32 << 20) * 1000));
    assert_eq!(usage.cpu[&key].window, Duration::from_millis(15_123));
    kube.state().has_metrics = false;
    assert_eq!(actuator.usage(&target()).await?, None, "a cluster without them is no fault");
    kube.state().has_metrics = true;
    kube.state().forbidden = vec!["list pods.metrics".into()];
    assert_eq!(actuator.usage(&target()).await.unwrap_err().reason, "Forbidden");
    Ok(())
}

#[tokio::test]
async fn others_change_it_too() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let actuator = actuator(folder.path(), &kube.kubeconfig())?;
    kube.mishap(&format!("PATCH {SCALE}"), 2, Mishap::Raced);
    actuator.scale(&target(), 4).await?;
    assert_eq!(kube.asked().len(), 6, "read again, and patched again, twice");
    kube.mishap(&format!("PATCH {SCALE}"), 99, Mishap::Raced);
    let error = actuator.scale(&target(), 6).await.unwrap_err();
    assert!(error.reason == "Conflict" && error.message.contains("has been modified"), "{error}");
    assert_eq!(kube.asked().len(), 8);
    assert_eq!(counts(&actuator.observe(&target()).await?).0, 4);
    Ok(())
}

#[tokio::test]
async fn what_may_not_be_patched_is_put() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let actuator = actuator(folder.path(), &kube.kubeconfig())?;
    kube.state().forbidden = vec!["patch deployments/scale".into()];
    actuator.scale(&target(), 4).await?;
    actuator.scale(&target(), 0).await?;
    kube.settle();
    actuator.scale(&target(), 2).await?;
    assert_eq!(counts(&actuator.observe(&target()).await?).0, 2);
    kube.state().forbidden.push("update deployments/scale".into());
    let error = actuator.scale(&target(), 3).await.unwrap_err();
    assert!(error.reason == "Forbidden" && error.message.contains("patch and update"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_server_may_answer_anything() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kube.kubeconfig())?;
    let settings =
        KubernetesSettings { kubeconfig: Some(path), timeout: Span::secs(15), ..KubernetesSettings::default() };
    let actuator = KubernetesActuator::new(&settings, &SystemRoots::default());
    let body = |text: &str| Mishap::Body(text.to_owned());
    let scale = |rest: &str| Mishap::Body(format!("{{\"kind\": \"Scale\", {rest}}}"));
    let deep = format!("{{\"kind\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (mishap, reason) in [
        (Mishap::Status(400, None), "Refused"),
        (Mishap::Status(401, None), "Unauthorized"),
        (Mishap::Status(403, None), "Forbidden"),
        (Mishap::Status(404, None), "NotFound"),
        (Mishap::Status(410, None), "Refused"),
        (Mishap::Status(429, None), "TooManyRequests"),
        (Mishap::Status(429, Some(86_400)), "TooManyRequests"),
        (Mishap::Status(500, None), "Unreachable"),
        (Mishap::Status(503, Some(0)), "Unreachable"),
        (Mishap::Redirect("https://localhost:1/".into()), "Refused"),
        (Mishap::Hang, "Timeout"),
        (Mishap::HangInBody, "Timeout"),
        (Mishap::Endless, "Invalid"),
        (Mishap::EndlessHead, "Unreachable"),
        (Mishap::Garbage, "Unreachable"),
        (Mishap::Close, "Unreachable"),
        (body(""), "Invalid"),
        (body("null"), "Invalid"),
        (body("{\"kind\": \"Status\"}"), "Invalid"),
        (body("\u{0}\u{1}"), "Invalid"),
        (body(&deep), "Invalid"),
        (scale("\"spec\": {\"replicas\": -1}"), "Invalid"),
        (scale("\"spec\": {\"replicas\": 9999999999}"), "Invalid"),
        (scale("\"spec\": {\"replicas\": \"3\"}"), "Invalid"),
        (scale("\"status\": {\"replicas\": 1.5}"), "Invalid"),
        (scale("\"spec\": {\"replicas\": 3}"), "InvalidSelector"),
        (scale("\"status\": {\"selector\": {\"app\": \"web\"}}"), "InvalidSelector"),
    ] {
        let shown = format!("{mishap:?}");
        let shown = &shown[..shown.len().min(100)];
        kube.mishap(SCALE, 1, mishap);
        let observed = tokio::time::timeout(Duration::from_secs(60), actuator.observe(&target())).await;
        let error = observed.with_context(|| format!("{shown} is waited for"))?.unwrap_err();
        assert_eq!(error.reason, reason, "{shown}: {error}");
        assert!(error.message.len() < 1000, "{shown}: {error}");
        assert_eq!(kube.state().mishaps.len(), 0, "{shown}");
    }
    for (pods, part) in [
        ("{\"items\": {}}", "no list"),
        ("{\"items\": [{\"metadata\": {}}]}", "no name"),
        ("{\"items\": [], \"metadata\": {\"continue\": \"more\"}}", "does not end"),
    ] {
        kube.mishap("/pods?", 99, body(pods));
        let error = actuator.observe(&target()).await.unwrap_err();
        assert!(error.reason == "Invalid" && error.message.contains(part), "{pods}: {error}");
        kube.state().mishaps.clear();
    }
    kube.mishap("PATCH", 1, scale("\"spec\": {\"replicas\": 2}"));
    let error = actuator.scale(&target(), 9).await.unwrap_err();
    assert!(error.reason == "Partial" && error.message.contains("told 9 and has 2"), "{error}");
    // A server that asks for a moment gets it.
    kube.mishap(SCALE, 1, Mishap::Status(429, Some(0)));
    assert_eq!(counts(&actuator.observe(&target()).await?), (3, 3, 3));
    kube.state().objects.deployments.values_mut().for_each(|deployment| deployment.labels.clear());
    kube.asked();
    assert_eq!(actuator.observe(&target()).await.unwrap_err().reason, "InvalidSelector");
    assert_eq!(actuator.usage(&target()).await.unwrap_err().reason, "InvalidSelector");
    assert!(kube.asked().iter().all(|asked| asked.contains("/scale")), "nobody else's pods are read");
    Ok(())
}

#[tokio::test]
async fn tokens_and_authorities_may_change() -> anyhow::Result<()> {
    let (kube, account) = (kube()?, tempfile::tempdir()?);
    let file = |name: &str| account.path().join(name);
    std::fs::write(file("token"), "token-1\n")?;
    std::fs::write(file("ca.crt"), kube.ca())?;
    std::fs::write(file("namespace"), "shop")?;
    let service = Some(("127.0.0.1".to_owned(), kube.port().to_string()));
    let places = KubernetesPlaces { account: account.path().to_owned(), service, kubeconfigs: Vec::new() };
    let settings = KubernetesSettings { timeout: Span::secs(15), ..KubernetesSettings::default() };
    let actuator = KubernetesActuator::at(&settings, &SystemRoots::default(), places);
    let target = TargetRef { scope: String::new(), ..target() };
    assert_eq!(counts(&actuator.observe(&target).await?), (3, 3, 3), "in the namespace of the pod");
    kube.state().token = "token-2".into();
    assert_eq!(actuator.observe(&target).await.unwrap_err().reason, "Unauthorized");
    std::fs::write(file("token"), "token-2")?;
    assert_eq!(counts(&actuator.observe(&target).await?), (3, 3, 3));
    kube.rotate()?;
    let error = actuator.observe(&target).await.unwrap_err();
    assert!(error.reason == "Unreachable" && error.message.contains("TLS"), "{error}");
    std::fs::write(file("ca.crt"), kube.ca())?;
    assert_eq!(counts(&actuator.observe(&target).await?), (3, 3, 3));
    std::fs::remove_file(file("token"))?;
    let error = actuator.observe(&target).await.unwrap_err();
    assert!(error.message.contains("token"), "{error}");
    Ok(())
}

#[tokio::test]
async fn who_is_there_is_checked_on_both_sides() -> anyhow::Result<()> {
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let by_certificate = actuator(folder.path(), &kube.kubeconfig_with_certificate())?;
    assert_eq!(counts(&by_certificate.observe(&target()).await?), (3, 3, 3));
    // A new kubeconfig counts at once.
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kube.kubeconfig().replace("token-1", "wrong"))?;
    assert_eq!(by_certificate.observe(&target()).await.unwrap_err().reason, "Unauthorized");
    std::fs::write(&path, "")?;
    assert_eq!(by_certificate.observe(&target()).await.unwrap_err().reason, "Invalid");
    // Another server with another CA, at an address where this one is expected.
    let stranger = Kube::start()?;
    std::fs::write(&path, kube.kubeconfig().replace(&kube.url(), &stranger.url()))?;
    let error = by_certificate.observe(&target()).await.unwrap_err();
    assert!(error.reason == "Unreachable" && error.message.contains("TLS"), "{error}");
    assert!(stranger.asked().is_empty(), "it is told no token");
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, kube.ca())?;
    let settings = |server: String, name: Option<&str>| KubernetesSettings {
        server: Some(server),
        token_file: Some(folder.path().join("token")),
        tls_config: TlsSettings {
            ca_file: Some(ca_file.clone()),
            server_name: name.map(Into::into),
            ..TlsSettings::default()
        },
        ..KubernetesSettings::default()
    };
    std::fs::write(folder.path().join("token"), "token-1")?;
    for (name, is_fine) in [(None, true), (Some("localhost"), true), (Some("kubernetes.example"), false)] {
        let actuator = KubernetesActuator::new(&settings(kube.url(), name), &SystemRoots::default());
        assert_eq!(actuator.observe(&target()).await.is_ok(), is_fine, "{name:?}");
    }
    let plain = settings(kube.url().replace("https", "http"), None);
    let plain = KubernetesActuator::new(&plain, &SystemRoots::default());
    assert_eq!(plain.observe(&target()).await.unwrap_err().reason, "Unreachable");
    Ok(())
}

/// The server is told from a real one by nothing that kubectl looks at.
#[test]
fn kubectl_understands_the_test_server() -> anyhow::Result<()> {
    if !is_installed("kubectl") {
        eprintln!("skipped: kubectl is not installed");
        return Ok(());
    }
    let (kube, folder) = (kube()?, tempfile::tempdir()?);
    let path = folder.path().join("kubeconfig");
    let kubectl = |args: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("kubectl")
            .env("HOME", folder.path())
            .arg("--kubeconfig")
            .arg(&path)
            .arg("--request-timeout=20s")
            .args(args)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "kubectl {args:?}: {said}");
        Ok(said)
    };
    for kubeconfig in [kube.kubeconfig(), kube.kubeconfig_with_certificate()] {
        std::fs::write(&path, kubeconfig)?;
        kubectl(&["scale", "deployment/web", "--replicas=3"])?;
        kube.settle();
        assert_eq!(
            kubectl(&["get", "deployment", "web", "-o", "jsonpath={.spec.replicas} {.status.replicas}"])?,
            "3 3"
        );
        assert!(kubectl(&["scale", "deployment/web", "--replicas=5"])?.contains("web scaled"));
        assert!(kubectl(&["scale", "deployment/web", "--replicas=4", "--current-replicas=5"])?.contains("web scaled"));
        assert!(kubectl(&["scale", "deployment/web", "--replicas=4", "--current-replicas=5"]).is_err());
        assert!(kubectl(&["get", "--raw", SCALE])?.contains("\"replicas\":4"));
        kube.settle();
        let names = ["get", "pods", "-l", "app=web", "--chunk-size=2", "-o", "name"];
        assert_eq!(kubectl(&names)?.lines().count(), 4);
        assert!(kubectl(&["get", "pods", "-l", "app!=web,app", "-o", "name"])?.contains("other-0001"));
        let raw =
            kubectl(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb"])?;
        assert!(raw.contains("PodMetricsList"), "{raw}");
        let error = format!("{:#}", kubectl(&["get", "deployment", "none"]).unwrap_err());
        assert!(error.contains("deployments.apps \"none\" not found"), "{error} {:?}", kube.asked());
    }
    kube.state().forbidden = vec!["patch deployments/scale".into()];
    let error = format!("{:#}", kubectl(&["scale", "deployment/web", "--replicas=9"]).unwrap_err());
    assert!(error.to_lowercase().contains("forbidden"), "{error}");
    kube.state().token = "another".into();
    std::fs::write(&path, kube.kubeconfig().replace("another", "wrong"))?;
    assert!(kubectl(&["get", "pods"]).is_err());
    Ok(())
}

#[tokio::test]
async fn a_real_cluster_is_scaled() -> anyhow::Result<()> {
    let named = std::env::var_os("SKERRY_TEST_KUBECONFIG").map(std::path::PathBuf::from);
    let Some(path) = named.or_else(|| Some("/etc/rancher/k3s/k3s.yaml".into())).filter(|path| path.exists()) else {
        eprintln!("skipped: there is no k3s here, and SKERRY_TEST_KUBECONFIG names no other cluster");
        return Ok(());
    };
    let kubectl = |args: &[&str]| -> anyhow::Result<()> {
        let status = Command::new("kubectl").arg("--kubeconfig").arg(&path).args(args).status()?;
        ensure!(status.success(), "kubectl {args:?}");
        Ok(())
    };
    // Replicas whose image is nowhere are pods too.
    kubectl(&["create", "deployment", "skerry-test", "--image=skerry.invalid/none:1", "--replicas=1"])?;
    let outcome = async {
        let settings = KubernetesSettings { kubeconfig: Some(path.clone()), ..KubernetesSettings::default() };
        let actuator = KubernetesActuator::new(&settings, &SystemRoots::default());
        let target = TargetRef { kind: TargetKind::Deployment, name: "skerry-test".into(), scope: "default".into() };
        for replicas in [3, 0, 2] {
            actuator.scale(&target, replicas).await?;
            let until = tokio::time::Instant::now() + Duration::from_secs(60);
            loop {
                let observed = actuator.observe(&target).await?;
                let there = observed.pods.iter().filter(|pod| !pod.is_deleting).count();
                if (observed.spec_replicas, there) == (replicas, replicas as usize) {
                    break;
                }
                ensure!(tokio::time::Instant::now() < until, "{observed:?}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        actuator.usage(&target).await?;
        anyhow::Ok(())
    };
    let outcome = outcome.await;
    kubectl(&["delete", "deployment", "skerry-test"])?;
    outcome
}
