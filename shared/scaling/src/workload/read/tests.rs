use super::*;
use crate::workload::{EnvValue, Mount, MountSource, ProbeAction};

const FULL: &str = "
replicas: 3
priority: 7
minReadySeconds: 5
progressDeadlineSeconds: 60
strategy:
  type: RollingUpdate
  rollingUpdate: {maxSurge: 50%, maxUnavailable: 0}
restartPolicy: Always
terminationGracePeriodSeconds: 10
networks: [shop, back]
labels: {app: web, build: 0123}
volumes:
- {name: data, hostPath: {path: /srv/data, type: DirectoryOrCreate}}
- {name: tmp, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
- {name: db, persistentVolumeClaim: {claimName: shop-db}}
containers:
- name: web
  image: registry.local:5000/shop/web:7
  imagePullPolicy: Never
  command: [/bin/web]
  args: [--port, 8080]
  workingDir: /srv
  env:
  - {name: ZONE, value: 1.10}
  - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
  ports:
  - {name: http, containerPort: 8080, hostPort: 8000-8009}
  resources:
    requests: {cpu: 250m}
    limits: {cpu: 1, memory: 64Mi}
  securityContext:
    runAsUser: 1000
    allowPrivilegeEscalation: false
    capabilities: {drop: [ALL]}
  volumeMounts:
  - {name: data, mountPath: /data, subPath: web, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  startupProbe: {tcpSocket: {port: http}, failureThreshold: 30, periodSeconds: 1}
  livenessProbe: {exec: {command: [/bin/true]}}
  readinessProbe:
    httpGet: {path: ready, port: 8080, httpHeaders: [{name: X-Probe, value: yes}]}
    successThreshold: 2
";

#[test]
fn everything_is_read() {
    let workload = Workload::parse("shop", FULL).unwrap();
    assert_eq!((workload.replicas, workload.priority, workload.min_ready.as_secs()), (3, 7, 5));
    assert_eq!(workload.strategy, Strategy::Rolling { surge: Amount::Percent(50), unavailable: Amount::Count(0) });
    let template = &workload.template;
    assert_eq!((template.networks.len(), template.grace.as_secs()), (2, 10));
    assert_eq!(template.labels[1], ("build".to_owned(), "0123".to_owned()));
    let web = &template.containers[0];
    assert_eq!(web.args, ["--port", "8080"]);
    assert_eq!(web.env[0].1, EnvValue::Text("1.10".into()));
    assert_eq!(web.env[1].1, EnvValue::Node);
    assert_eq!((web.requests.cpu_milli, web.requests.memory), (Some(250), Some(64 << 20)));
    let data = MountSource::Host { path: "/srv/data/web".into(), creates: true };
    assert_eq!(web.mounts[0], Mount { target: "/data".into(), source: data, is_read_only: true });
    assert_eq!(web.mounts[1].source, MountSource::Memory(Some(16 << 20)));
    assert_eq!(web.startup.as_ref().unwrap().action, ProbeAction::Tcp { host: None, port: 8080 });
    let ready = web.readiness.as_ref().unwrap();
    assert!(matches!(&ready.action, ProbeAction::Http { path, .. } if path == "/ready"));
    assert_eq!((ready.successes, ready.failures, ready.period.as_secs(), ready.timeout.as_secs()), (2, 3, 10, 1));
    assert_eq!(workload.container_name(2, web), "shop-2");
}

#[test]
fn what_is_kept_reads_as_the_same() {
    let workload = Workload::parse("shop", FULL).unwrap();
    assert_eq!(Workload::parse("shop", &workload.source).unwrap(), workload);
}

#[test]
fn the_hash_is_that_of_the_template_alone() {
    let base = Workload::parse("shop", FULL).unwrap().template.hash;
    for (from, to, same) in [
        ("replicas: 3", "replicas: 4", true),
        ("minReadySeconds: 5", "minReadySeconds: 6", true),
        ("priority: 7\n", "# nothing\n", true),
        ("maxSurge: 50%", "maxSurge: 1", true),
        ("labels: {app: web, build: 0123}", "labels: {build: 0123, app: web}", true),
        ("web:7", "web:8", false),
        ("value: 1.10", "value: 1.1", false),
        ("terminationGracePeriodSeconds: 10", "terminationGracePeriodSeconds: 11", false),
    ] {
        let text = FULL.replace(from, to);
        assert_ne!(text, FULL);
        assert_eq!(Workload::parse("shop", &text).unwrap().template.hash == base, same, "{to}");
    }
    // What running containers carry has to stay what it is in every version.
    let small = Workload::parse("a", "containers: [{name: a, image: b}]").unwrap();
    assert_eq!(small.template.hash, "968d43c6a5db439e");
}

#[test]
fn every_fault_is_named() {
    for (from, to, key) in [
        ("replicas: 3", "replicas: 101", "spec.replicas"),
        ("replicas: 3", "replicas: 30", "spec.containers[0].ports[0].hostPort"),
        ("progressDeadlineSeconds: 60", "progressDeadlineSeconds: 5", "spec.progressDeadlineSeconds"),
        ("maxSurge: 50%", "maxSurge: 0", "spec.strategy.rollingUpdate"),
        ("maxSurge: 50%", "maxSurge: 150%", "spec.strategy.rollingUpdate.maxSurge"),
        ("type: RollingUpdate", "type: Rolling", "spec.strategy.type"),
        ("type: RollingUpdate", "type: Recreate", "spec.strategy.rollingUpdate"),
        ("restartPolicy: Always", "restartPolicy: always", "spec.restartPolicy"),
        ("[shop, back]", "[shop, host]", "spec.networks[1]"),
        ("app: web", "skerry.io/spec: web", "spec.labels.skerry.io/spec"),
        ("image: registry.local:5000/shop/web:7", "image: Shop", "spec.containers[0].image"),
        ("imagePullPolicy: Never", "imagePullPolicy: Always", "spec.containers[0].imagePullPolicy"),
        ("name: NODE", "nome: NODE", "spec.containers[0].env[1].name"),
        ("spec.nodeName", "spec.serviceAccountName", "spec.containers[0].env[1].valueFrom.fieldRef.fieldPath"),
        ("containerPort: 8080", "containerPort: 0", "spec.containers[0].ports[0].containerPort"),
        ("cpu: 250m", "cpu: 2", "spec.containers[0].resources.requests"),
        ("memory: 64Mi", "memory: lots", "spec.containers[0].resources.limits.memory"),
        ("mountPath: /tmp", "mountPath: /data", "spec.containers[0].volumeMounts[1].mountPath"),
        ("name: tmp, mountPath", "name: tm, mountPath", "spec.containers[0].volumeMounts[1].name"),
        ("subPath: web", "subPath: ../web", "spec.containers[0].volumeMounts[0].subPath"),
        ("path: /srv/data", "path: srv", "spec.volumes[0].hostPath.path"),
        ("hostPath: {", "nfs: {", "spec.volumes[0]"),
        ("port: http}", "port: htp}", "spec.containers[0].startupProbe.tcpSocket.port"),
        ("tcpSocket: {port: http}", "grpc: {port: 1}", "spec.containers[0].startupProbe.grpc"),
        ("exec: {command: [/bin/true]}", "periodSeconds: 3", "spec.containers[0].livenessProbe"),
        ("exec: {command: [/bin/true]}", "exec: {command: []}", "spec.containers[0].livenessProbe.exec.command"),
        ("exec: {command", "successThreshold: 2, exec: {command", "spec.containers[0].livenessProbe.successThreshold"),
        ("workingDir", "lifecycle: {}\n  workingDir", "spec.containers[0].lifecycle"),
        ("workingDir", "workDir", "spec.containers[0].workDir"),
    ] {
        let text = FULL.replace(from, to);
        assert_ne!(text, FULL, "{from}");
        let faults = Workload::parse("shop", &text).unwrap_err();
        assert!(faults.iter().any(|fault| fault.key == key), "{to}: {faults:?}");
        assert!(faults.iter().all(|fault| fault.line.is_some()), "{to}: {faults:?}");
    }
    for text in ["", "containers: []", "containers: 3", "containers: [3]", "- a", "containers: [{}]", "a: {b: *c}"] {
        assert!(Workload::parse("shop", text).is_err(), "{text}");
    }
    assert!(Workload::parse("a/b", "containers: [{name: a, image: b}]").is_err());
}

#[test]
fn a_fixed_port_of_the_host_leaves_no_surge() {
    let spec = |strategy: &str, port: &str| {
        format!("{strategy}\ncontainers:\n- {{name: a, image: b, ports: [{{containerPort: 80, hostPort: {port}}}]}}\n")
    };
    let none = Strategy::Rolling { surge: Amount::Count(0), unavailable: Amount::Count(1) };
    assert_eq!(Workload::parse("a", &spec("", "80")).unwrap().strategy, none);
    assert_ne!(Workload::parse("a", &spec("", "80-81")).unwrap().strategy, none);
    let strategy = "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}";
    assert!(Workload::parse("a", &spec(strategy, "80")).is_err());
    assert!(Workload::parse("a", &spec(strategy, "80-81")).is_ok());
}

#[test]
fn no_damage_makes_reading_panic() {
    let mut seed = 7u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % below
    };
    let pieces =
        ["[", "{", "}", ": ", "- ", "null", "-1", "9999999999999", "~", "\"", "&a", "*a", "\n", "  ", "é", "1e9", "@"];
    for _ in 0..1500 {
        let mut text = FULL.to_owned();
        for _ in 0..=next(4) {
            let at = text.floor_char_boundary(next(text.len()));
            match next(3) {
                0 => text.truncate(at),
                1 => text.insert_str(at, pieces[next(pieces.len())]),
                _ => {
                    let end = text.floor_char_boundary((at + next(40)).min(text.len()));
                    text.replace_range(at..end, pieces[next(pieces.len())]);
                }
            }
            text.push('\n');
        }
        if let Err(faults) = Workload::parse("shop", &text) {
            assert!(faults.iter().all(|fault| fault.key.starts_with("spec")), "{text}: {faults:?}");
        }
    }
}
