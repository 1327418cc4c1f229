//! Files and objects of every form; what goes over a real connection is tested with a server, in the tests' crate.

use super::access::Access;
use super::*;
use std::path::Path;
use std::time::Duration;

const GOOD: &str = "
apiVersion: v1
kind: Config
current-context: edge
contexts:
- {name: edge, context: {cluster: k3s, user: agent, namespace: shop}}
- {name: other, context: {cluster: k3s, user: nobody}}
clusters:
- name: k3s
  cluster:
    server: https://127.0.0.1:6443/
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
users:
- {name: agent, user: {token: 12345}}
- {name: nobody, user: {}}
";

fn found(settings: &Settings, places: &Places) -> Result<Access, ActuatorError> {
    Access::find(settings, places, &SystemRoots::default())
}

fn nowhere() -> Places {
    Places { account: "/nowhere".into(), service: None, kubeconfigs: vec!["/nowhere/too".into()] }
}

fn reading(folder: &Path, text: &str) -> Result<Access, ActuatorError> {
    let path = folder.join("kubeconfig");
    std::fs::write(&path, text).unwrap();
    found(&Settings { kubeconfig: Some(path), ..Settings::default() }, &nowhere())
}

fn authorization(access: &Access) -> String {
    access.authorization().unwrap().map_or("-".into(), |value| value.to_str().unwrap().to_owned())
}

#[test]
fn a_kubeconfig_tells_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let access = reading(folder.path(), GOOD).unwrap();
    assert_eq!((access.server.as_str(), access.namespace.as_str()), ("https://127.0.0.1:6443", "shop"));
    assert_eq!(authorization(&access), "Bearer 12345");
    let path = folder.path().join("kubeconfig");
    let other = Settings { kubeconfig: Some(path), context: Some("other".into()), ..Settings::default() };
    let access = found(&other, &nowhere()).unwrap();
    assert_eq!((access.namespace.as_str(), authorization(&access).as_str()), ("default", "-"));
    // Files stand beside the kubeconfig, and a token's file counts before a token.
    std::fs::write(folder.path().join("token"), " fresh \n").unwrap();
    let access = reading(folder.path(), &GOOD.replace("{token: 12345}", "{token: old, tokenFile: token}")).unwrap();
    assert_eq!(authorization(&access), "Bearer fresh");
    std::fs::write(folder.path().join("token"), "fresher").unwrap();
    assert_eq!(authorization(&access), "Bearer fresher");
    let access = reading(folder.path(), &GOOD.replace("{token: 12345}", "{username: a, password: b}")).unwrap();
    assert_eq!(authorization(&access), "Basic YTpi");
    // As JSON too.
    let json = serde_json::to_string(&skerry_yaml::values::read(GOOD).unwrap().value).unwrap();
    assert_eq!(reading(folder.path(), &json).unwrap().namespace, "shop");
}

#[test]
fn kubeconfigs_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let deep = format!("a: {}1{}", "[".repeat(5000), "]".repeat(5000));
    let long = format!("{GOOD}# {}", "x".repeat(1 << 20));
    let bombs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                 d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    for (text, part) in [
        (String::new(), "current-context"),
        ("[1, 2]".into(), "current-context"),
        ("a: [".into(), "kubeconfig:"),
        (deep, "kubeconfig"),
        (long, "longer than 1 MiB"),
        (bombs.into(), "kubeconfig"),
        (with("current-context: edge", "current-context: gone"), "no context \"gone\""),
        (with("user: agent,", "user: gone,"), "no user \"gone\""),
        (with("cluster: k3s, user: agent", "user: agent"), "names no cluster"),
        (with("server: https://127.0.0.1:6443/", "x: y"), "has no server"),
        (with("https://127", "http://10"), "https:// is expected"),
        (with("https://127.0.0.1:6443/", "ftp://x/"), "https:// is expected"),
        (with("LS0t", "$$$"), "certificate-authority-data is no base64"),
        (with("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==", "//79"), "certificate-authority-data is no base64"),
        (with("{token: 12345}", "{exec: {command: aws}}"), "exec: a program that fetches credentials is not run"),
        (with("{token: 12345}", "{auth-provider: {name: gcp}}"), "auth-provider"),
        (with("{token: 12345}", "{as: root}"), "as: "),
        (with("{token: 12345}", "{client-certificate: c.pem}"), "key_file"),
        (with("    certificate", "    proxy-url: http://p\n    certificate"), "proxy-url"),
    ] {
        let error = reading(folder.path(), &text).err().unwrap_or_else(|| panic!("{part} is missed"));
        assert_eq!(error.reason, "Invalid", "{error}");
        assert!(error.message.contains(part), "{part}: {error}");
        assert!(!error.message.contains("12345"), "a secret is shown: {error}");
    }
    let missing = Settings { kubeconfig: Some("/nowhere/config".into()), ..Settings::default() };
    assert!(found(&missing, &nowhere()).err().unwrap().message.contains("/nowhere/config"));
    let binary = folder.path().join("binary");
    std::fs::write(&binary, [0xff, 0xfe, 0]).unwrap();
    assert!(found(&Settings { kubeconfig: Some(binary), ..Settings::default() }, &nowhere()).is_err());
    assert_eq!(found(&Settings::default(), &nowhere()).err().unwrap().reason, "Unreachable");
}

#[test]
fn a_pod_has_its_account_and_a_server_node_its_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k3s.yaml"), GOOD).unwrap();
    let service = Some(("fd00::1".to_owned(), "443".to_owned()));
    let kubeconfigs = vec!["/nowhere".into(), folder.path().join("k3s.yaml")];
    let places = Places { account: folder.path().to_owned(), service, kubeconfigs };
    let access = found(&Settings::default(), &places).unwrap();
    assert_eq!(access.server, "https://127.0.0.1:6443", "there is no token, so it is no pod");
    for (name, text) in [("token", "t1\n"), ("ca.crt", "pem"), ("namespace", "edge\n")] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let access = found(&Settings::default(), &places).unwrap();
    assert_eq!((access.server.as_str(), access.namespace.as_str()), ("https://[fd00::1]:443", "edge"));
    assert_eq!(authorization(&access), "Bearer t1");
    assert!(access.is_current());
    std::fs::write(folder.path().join("ca.crt"), "another").unwrap();
    assert!(!access.is_current(), "a CA that changes is read again");
    let settings = Settings { namespace: Some("mine".into()), ..Settings::default() };
    assert_eq!(found(&settings, &places).unwrap().namespace, "mine");
}

#[tokio::test]
async fn names_and_numbers_are_checked_before_anything_is_asked() {
    let settings = Settings { server: Some("https://127.0.0.1:1".into()), ..Settings::default() };
    let actuator = KubernetesActuator::new(&settings, &SystemRoots::default());
    let target = |kind, name: &str, scope: &str| TargetRef { kind, name: name.into(), scope: scope.into() };
    for (kind, name, scope) in [
        (TargetKind::Deployment, "../../../secrets", "shop"),
        (TargetKind::Deployment, "web?x=1", "shop"),
        (TargetKind::Deployment, "", "shop"),
        (TargetKind::Deployment, "web", "shop/../kube-system"),
        (TargetKind::StatefulSet, "Web", ""),
        (TargetKind::Container, "web", "shop"),
    ] {
        let target = target(kind, name, scope);
        assert_eq!(actuator.observe(&target).await.unwrap_err().reason, "Invalid", "{target}");
        assert_eq!(actuator.scale(&target, 1).await.unwrap_err().reason, "Invalid", "{target}");
        assert_eq!(actuator.usage(&target).await.unwrap_err().reason, "Invalid", "{target}");
    }
    let good = target(TargetKind::Deployment, "web", "shop");
    assert_eq!(actuator.scale(&good, u32::MAX).await.unwrap_err().reason, "Invalid");
    assert_eq!(actuator.scale(&good, 1).await.unwrap_err().reason, "Unreachable");
}

#[test]
fn scales_are_read() {
    let read = |spec: Value, status: Value| {
        let whole = json!({"kind": "Scale", "metadata": {"resourceVersion": "7"}, "spec": spec, "status": status});
        objects::scale(whole).map(|scale| (scale.spec_replicas, scale.status_replicas, scale.selector))
    };
    let some = json!({"replicas": 2, "selector": "app=web"});
    assert_eq!(read(json!({"replicas": 3}), some.clone()), Ok((3, 2, "app=web".into())));
    assert_eq!(read(json!({}), json!({})), Ok((0, 0, String::new())), "zero is left out");
    for bad in [json!(-1), json!(1.5), json!("3"), json!(2_147_483_648_u32), json!(1e300), json!([]), json!({})] {
        assert!(read(json!({"replicas": bad}), some.clone()).is_err(), "{bad}");
        assert!(read(json!({}), json!({"replicas": bad, "selector": "a"})).is_err(), "{bad}");
    }
    assert!(read(json!({}), json!({"selector": "x".repeat(9000)})).is_err());
    assert!(objects::scale(json!({"kind": "Status"})).is_err());
    assert!(objects::scale(json!(3)).is_err());
}

#[test]
fn pods_are_read() {
    let list = json!({"metadata": {"continue": "next"}, "items": [
        {"metadata": {"name": "web-1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
         "spec": {"initContainers": [
                      {"name": "once", "resources": {"requests": {"cpu": "1"}}},
                      {"name": "proxy", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}}],
                  "containers": [{"name": "app", "resources": {"requests": {"cpu": "0.25", "memory": "64Mi"}}},
                                 {"name": "odd", "resources": {"requests": {"cpu": "-1", "memory": 5}}}]},
         "status": {"phase": "Running", "startTime": "1970-01-01T00:00:10Z",
                    "containerStatuses": [{"name": "app", "containerID": "containerd://abc"}],
                    "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:20Z"}]}},
        {"metadata": {"name": "web-2"}, "status": {"phase": "Failed"}},
        {"metadata": {"name": "web-3"}},
    ]});
    let (pods, next) = objects::pods(&list, "shop").unwrap();
    assert_eq!(next.as_deref(), Some("next"));
    let [one, two, three] = &pods[..] else { panic!("{pods:?}") };
    assert!(one.is_deleting && one.ready.unwrap().is_ready);
    assert_eq!((one.started_at.unwrap().0, one.ready.unwrap().since.0), (10_000, 20_000));
    assert_eq!((one.labels.value("namespace"), one.labels.value("pod")), ("shop", "web-1"));
    let seen: Vec<_> =
        one.containers.iter().map(|c| (c.name.as_str(), c.cpu_request_milli, c.memory_request)).collect();
    assert_eq!(seen, [("app", Some(250), Some(64 << 20)), ("odd", None, None), ("proxy", Some(100), None)]);
    assert_eq!(one.containers[0].id.as_deref(), Some("abc"));
    use skerry_scaling::target::Phase;
    assert_eq!((two.phase, two.ready, three.phase, three.started_at), (Phase::Failed, None, Phase::Pending, None));
    for bad in [json!({}), json!({"items": 3}), json!({"items": [{}]}), json!({"items": [3]}), json!([])] {
        assert!(objects::pods(&bad, "shop").is_err(), "{bad}");
    }
    assert!(objects::pods(&json!({"items": null}), "shop").unwrap().0.is_empty());
}

#[test]
fn metrics_are_read() {
    let list = json!({"kind": "PodMetricsList", "items": [{
        "metadata": {"name": "web-1"}, "timestamp": "1970-01-01T00:01:00Z", "window": "30.5s",
        "containers": [{"name": "app", "usage": {"cpu": "1234567n", "memory": "12Ki"}}, {"name": "none"}]}]});
    let usage = objects::usage(&list).unwrap();
    let key = ("web-1".to_owned(), "app".to_owned());
    let cpu = usage.cpu[&key];
    assert_eq!((cpu.milli, cpu.at.0, cpu.window), (2, 60_000, Duration::from_millis(30_500)), "rounded up");
    assert_eq!((usage.memory[&key].milli, usage.cpu.len(), usage.memory.len()), (12_288_000, 1, 1));
    let without = |key: &str| {
        let mut list = list.clone();
        list["items"][0].as_object_mut().unwrap().remove(key);
        objects::usage(&list)
    };
    assert!(without("timestamp").is_err() && without("window").is_err() && without("metadata").is_err());
}

fn any_json() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let words =
        "kind|Scale|items|metadata|name|spec|status|replicas|selector|containers|conditions|phase|usage|cpu|window";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(words, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn garbage_makes_nothing_panic(value in any_json()) {
        let _ = objects::scale(value.clone());
        let _ = objects::pods(&value, "shop");
        let _ = objects::usage(&value);
    }
}
