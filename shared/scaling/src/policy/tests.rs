//! Documents that are taken, and those that are not.

use super::*;
use crate::quantity::Quantity;
use crate::target::TargetKind;

const FULL: &str = r#"
scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: shop}
minReplicas: 2
maxReplicas: 20
metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
  - type: ContainerResource
    containerResource: {name: memory, container: app, target: {type: AverageValue, averageValue: 200Mi}}
  - type: Pods
    pods:
      metric: {name: packets-per-second}
      target: {type: AverageValue, averageValue: 1k}
  - type: Object
    object:
      metric: {name: requests_total, selector: {matchLabels: {verb: GET}}}
      describedObject: {apiVersion: networking.k8s.io/v1, kind: Ingress, name: main-route}
      target: {type: Value, value: 10k}
  - type: External
    external:
      metric:
        name: queue_messages_ready
        selector:
          matchLabels: {queue: 'a"b\'}
          matchExpressions:
            - {key: zone, operator: In, values: [a.b, c]}
            - {key: env, operator: NotIn, values: [test]}
            - {key: app.kubernetes.io/name, operator: Exists}
            - {key: old, operator: DoesNotExist}
      target: {type: AverageValue, averageValue: 30}
    activationThreshold: 2500m
  - type: External
    external: {metric: {name: 'sum(rate(x[2m])) / 3'}, target: {type: Value, value: 0.5}}
behavior:
  scaleUp:
    stabilizationWindowSeconds: 60
    selectPolicy: Min
    policies: [{type: Pods, value: 2, periodSeconds: 30}, {type: Percent, value: 10, periodSeconds: 1800}]
    tolerance: 0.05
  scaleDown: {selectPolicy: Disabled, tolerance: 20m}
cooldownSeconds: 60
fallback: {failureThreshold: 3, replicas: 6}
priority: -5
paused: true
"#;

fn read(spec: &str) -> ScalingPolicy {
    ScalingPolicy::parse("p", spec).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn told(spec: &str) -> String {
    let faults = ScalingPolicy::parse("p", spec).expect_err(spec);
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn everything_is_read() {
    let policy = read(FULL);
    assert_eq!(policy.target.to_string(), "Deployment/shop/web");
    assert_eq!((policy.min_replicas, policy.max_replicas), (2, 20));
    let names: Vec<String> = policy.metrics.iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "Resource cpu",
            "ContainerResource memory of app",
            "Pods packets-per-second",
            "Object requests_total of Ingress/main-route",
            "External queue_messages_ready",
            "External sum(rate(x[2m])) / 3",
        ]
    );
    let targets: Vec<String> = policy.metrics.iter().map(|metric| metric.target.to_string()).collect();
    assert_eq!(targets, ["50%", "209715200 on average", "1000 on average", "10000", "30 on average", "500m"]);
    let activations: Vec<Option<i64>> = policy.metrics.iter().map(|metric| metric.activation_milli).collect();
    assert_eq!(activations, [None, None, Some(0), Some(0), Some(2500), Some(0)]);
    let queries: Vec<&str> = policy.metrics.iter().filter_map(|metric| Some(query(metric)?.promql.as_str())).collect();
    assert_eq!(
        queries,
        [
            r#"{__name__="packets-per-second"}"#,
            r#"{__name__="requests_total",ingress="main-route",verb="GET"}"#,
            r#"{__name__="queue_messages_ready",queue="a\"b\\",zone=~"a\\.b|c",env!~"test","app.kubernetes.io/name"!="",old=""}"#,
            "sum(rate(x[2m])) / 3",
        ]
    );
    let Behavior { up, down } = &policy.behavior;
    assert_eq!((up.window, up.select, up.tolerance_ppm), (Some(Duration::from_secs(60)), Select::Min, Some(50_000)));
    assert_eq!(up.rates.len(), 2);
    assert_eq!(up.rates[1], Rate { kind: RateKind::Percent, value: 10, period: Duration::from_secs(1800) });
    assert_eq!((down.window, down.select, down.tolerance_ppm), (None, Select::Disabled, Some(20_000)));
    assert_eq!(down.rates, Behavior::default().down.rates, "what is left out is the default");
    assert_eq!(policy.fallback, Some(Fallback { failure_threshold: 3, replicas: 6 }));
    assert_eq!((policy.cooldown, policy.priority, policy.is_paused), (Duration::from_secs(60), -5, true));
}

fn query(metric: &Metric) -> Option<&Query> {
    match &metric.source {
        Source::Pods(query) | Source::External(query) | Source::Object { query, .. } => Some(query),
        Source::Resource(_) | Source::ContainerResource { .. } => None,
    }
}

#[test]
fn defaults_are_those_of_kubernetes() {
    let policy = read("scaleTargetRef: {kind: Container, name: web}\nmaxReplicas: 5\n");
    assert_eq!(policy.metrics, [Metric::default()]);
    assert_eq!(policy.metrics[0].target, Target::Utilization(80));
    assert_eq!((policy.min_replicas, policy.priority, policy.is_paused), (1, 0, false));
    assert_eq!(policy.behavior, Behavior::default());
    assert_eq!((policy.cooldown, policy.fallback), (Duration::from_secs(300), None));
}

#[test]
fn the_one_metric_of_v1_is_read() {
    let head = "scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\nmaxReplicas: 5\n";
    let policy = read(&format!("{head}targetCPUUtilizationPercentage: 65\n"));
    assert_eq!(policy.metrics, [Metric { target: Target::Utilization(65), ..Metric::default() }]);
    let found = told(&format!("{head}targetCPUUtilizationPercentage: 0\n"));
    assert!(found.starts_with("line 3: spec.targetCPUUtilizationPercentage: a whole number from 1"), "{found}");
    let metrics =
        "metrics: [{type: Resource, resource: {name: memory, target: {type: Utilization, averageUtilization: 50}}}]\n";
    let found = told(&format!("{head}{metrics}targetCPUUtilizationPercentage: 65\n"));
    assert!(found.starts_with("line 4: spec.targetCPUUtilizationPercentage: stands in place of metrics"), "{found}");
}

#[test]
fn targets_of_every_kind() {
    for (name, given, shown) in [
        ("p", "kind: Container, name: web", "Container/web"),
        ("p", "kind: Container, name: web, apiVersion: skerry.io/v1", "Container/web"),
        ("p", "kind: ComposeService, name: web, project: shop", "ComposeService/shop/web"),
        ("p", "kind: ComposeService, name: web", "ComposeService/web"),
        ("p", "kind: SystemdUnit, name: worker", "SystemdUnit/worker"),
        ("p", "kind: SystemdUnit, name: worker@.service", "SystemdUnit/worker"),
        ("p", "kind: Workload, name: web", "Workload/web"),
        ("p", "kind: Exec, name: /opt/a b/scale", "Exec//opt/a b/scale"),
        ("p", "kind: Deployment, name: web", "Deployment/default/web"),
        ("shop/p", "kind: StatefulSet, name: web", "StatefulSet/shop/web"),
        ("shop/p", "kind: ReplicaSet, name: web, namespace: x", "ReplicaSet/x/web"),
        ("shop/p", "kind: Container, name: web", "Container/web"),
    ] {
        let policy = ScalingPolicy::parse(name, &format!("scaleTargetRef: {{{given}}}\nmaxReplicas: 1\n"));
        assert_eq!(policy.map(|policy| policy.target.to_string()), Ok(shown.to_owned()), "{given}");
    }
}

#[test]
fn faults_name_key_and_line() {
    for (from, to, told_) in [
        ("maxReplicas: 20\n", "", "spec.maxReplicas: is expected"),
        ("maxReplicas: 20", "maxReplicas: 1", "line 4: spec.maxReplicas: is below minReplicas, which is 2"),
        ("maxReplicas: 20", "maxReplicas: 0", "line 4: spec.maxReplicas: a whole number from 1"),
        ("maxReplicas: 20", "maxReplicas: 5000000", "line 4: spec.maxReplicas: a whole number from 1 to 1000000"),
        ("minReplicas: 2", "minReplicas: -1", "line 3: spec.minReplicas: "),
        ("minReplicas: 2", "minReplica: 2", "line 3: spec.minReplica: this key is not known here"),
        ("name: web,", "", "line 2: spec.scaleTargetRef.name: is expected"),
        ("name: web,", "name: -x,", "line 2: spec.scaleTargetRef.name: 1 to 253"),
        ("name: web,", "name: 'a/b',", "line 2: spec.scaleTargetRef.name: 1 to 253"),
        ("kind: Deployment", "kind: Job", "line 2: spec.scaleTargetRef.kind: \"Job\" is unknown: one of Container, "),
        (
            "kind: Deployment, name: web, namespace: shop",
            "kind: Container, name: web",
            "spec.scaleTargetRef.apiVersion: skerry.io/v1 is expected",
        ),
        ("apps/v1", "v1", "spec.scaleTargetRef.apiVersion: apps/v1 is expected"),
        ("namespace: shop", "project: shop", "spec.scaleTargetRef.project: is not of this kind"),
        ("type: Resource", "type: Load", "line 6: spec.metrics[0].type: \"Load\" is unknown: one of Resource, "),
        ("{name: cpu,", "{name: gpu,", "line 7: spec.metrics[0].resource.name: \"gpu\" is unknown"),
        ("averageUtilization: 50", "averageUtilization: 0", "spec.metrics[0].resource.target.averageUtilization: "),
        ("averageUtilization: 50", "value: 50", "spec.metrics[0].resource.target.value: is not of this type of metric"),
        (
            "averageUtilization: 50",
            "",
            "spec.metrics[0].resource.target: one of averageUtilization, averageValue is expected",
        ),
        ("type: Utilization", "type: Value", "spec.metrics[0].resource.target.type: Utilization is expected beside"),
        ("container: app,", "", "spec.metrics[1].containerResource.container: is expected"),
        ("averageValue: 1k", "averageValue: 1kb", "spec.metrics[2].pods.target.averageValue: \"1kb\" is no quantity"),
        ("averageValue: 1k", "averageValue: 0", "spec.metrics[2].pods.target.averageValue: has to be above 0"),
        ("type: AverageValue, averageValue: 1k", "value: 1", "spec.metrics[2].pods.target.value: is not of this type"),
        ("kind: Ingress, ", "", "spec.metrics[3].object.describedObject.kind: is expected"),
        ("operator: In,", "operator: Of,", "matchExpressions[0].operator: \"Of\" is unknown"),
        ("operator: Exists", "operator: In", "matchExpressions[2].values: at least one value is expected with In"),
        ("values: [test]", "", "matchExpressions[1].values: at least one value is expected with NotIn"),
        ("activationThreshold: 2500m", "activationThreshold: many", "spec.metrics[4].activationThreshold: \"many\""),
        (
            "averageUtilization: 50}}",
            "averageUtilization: 50}}\n    activationThreshold: 1",
            "spec.metrics[0].activationThreshold: cpu",
        ),
        ("'sum(rate(x[2m])) / 3'", "'sum(rate(x[2m]) / 3'", "spec.metrics[5].external.metric.name: "),
        ("'sum(rate(x[2m])) / 3'", "'x[2m]'", "gives no numbers"),
        (
            "{name: 'sum(rate(x[2m])) / 3'",
            "{selector: {matchLabels: {a: b}}, name: 'a + b'",
            "metric.selector: goes with a bare name",
        ),
        ("selectPolicy: Min", "selectPolicy: min", "spec.behavior.scaleUp.selectPolicy: one of Max"),
        ("periodSeconds: 1800", "periodSeconds: 1801", "spec.behavior.scaleUp.policies[1].periodSeconds: "),
        ("value: 10, ", "", "spec.behavior.scaleUp.policies[1].value: is expected"),
        ("type: Percent", "type: Share", "spec.behavior.scaleUp.policies[1].type: one of Pods, Percent"),
        ("stabilizationWindowSeconds: 60", "stabilizationWindowSeconds: 3601", "stabilizationWindowSeconds: a whole"),
        ("tolerance: 0.05", "tolerance: -0.05", "spec.behavior.scaleUp.tolerance: a share"),
        ("tolerance: 0.05", "tolerance: .nan", "spec.behavior.scaleUp.tolerance: a share"),
        (
            "scaleDown: {selectPolicy: Disabled,",
            "scaleDown: {policies: [],",
            "spec.behavior.scaleDown.policies: 1 to 16",
        ),
        ("failureThreshold: 3, ", "", "spec.fallback.failureThreshold: is expected"),
        ("paused: true", "paused: 3", "spec.paused: true or false"),
        ("priority: -5", "priority: 3000000000", "spec.priority: a whole number"),
    ] {
        let text = FULL.replacen(from, to, 1);
        assert_ne!(text, FULL, "{from}");
        let found = told(&text);
        assert!(found.contains(told_), "{to}: {found}");
        assert_eq!(found.lines().count(), 1, "{to}: {found}");
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let found = told("scaleTargetRef: {kind: X}\nminReplicas: 0\nmetrics: 3\nother: 1\n");
    for key in ["scaleTargetRef.kind", "scaleTargetRef.name", "minReplicas", "maxReplicas", "metrics", "other"] {
        assert!(found.contains(&format!("spec.{key}: ")), "{key}: {found}");
    }
    for text in ["", "[]", "3", "a: [", "scaleTargetRef: 3\nmaxReplicas: 1\n"] {
        assert!(ScalingPolicy::parse("p", text).is_err(), "{text}");
    }
}

#[test]
fn nothing_at_zero_needs_what_can_wake_it() {
    let head = "scaleTargetRef: {kind: Container, name: web}\nminReplicas: 0\nmaxReplicas: 5\n";
    let cpu = "metrics: [{type: Resource, resource: {name: cpu, target: {averageUtilization: 50}}}]\n";
    let queue = "metrics: [{type: External, external: {metric: {name: queue}, target: {value: 5}}}]\n";
    assert!(told(head).contains("spec.minReplicas: 0 replicas need"));
    assert!(told(&format!("{head}{cpu}")).contains("spec.minReplicas: 0 replicas need"));
    let policy = read(&format!("{head}{queue}"));
    assert_eq!(policy.metrics[0].target, Target::Value(Quantity::milli(5000)));
    let cron = "triggers: [{type: cron, timezone: UTC, start: 0 6 * * *, end: 0 20 * * *, desiredReplicas: 4}]\n";
    let policy = read(&format!("{head}{cron}"));
    assert!(policy.metrics.is_empty() && !policy.triggers.is_empty(), "triggers alone decide");
}

#[test]
fn nothing_may_count_as_zero() {
    let head = "scaleTargetRef: {kind: Container, name: web}\nmaxReplicas: 5\n";
    for (name, promql) in [
        ("queue", "sum({__name__=\"queue\"}\n) or vector(0)"),
        ("'rate(x[2m]) # so many'", "sum(rate(x[2m]) # so many\n) or vector(0)"),
        ("'7'", "7"),
    ] {
        let metric = format!(
            "{{type: External, ignoreNullValues: true, external: {{metric: {{name: {name}}}, target: {{value: 5}}}}}}"
        );
        let policy = read(&format!("{head}metrics: [{metric}]\n"));
        let found = query(&policy.metrics[0]).unwrap();
        assert_eq!(found.promql, promql);
        assert!(skerry_promql::Query::parse(&found.promql).is_ok(), "{promql}");
        read(&format!("{head}metrics: [{}]\n", metric.replace("true", "false")));
    }
    let pods =
        "metrics: [{type: Pods, ignoreNullValues: true, pods: {metric: {name: x}, target: {averageValue: 5}}}]\n";
    assert!(told(&format!("{head}{pods}")).contains("spec.metrics[0].ignoreNullValues: is of Object"));
}

#[test]
fn fallback_needs_an_average_of_something_outside() {
    let head =
        "scaleTargetRef: {kind: Container, name: web}\nmaxReplicas: 5\nfallback: {failureThreshold: 3, replicas: 6}\n";
    let queue = "metrics: [{type: External, external: {metric: {name: queue}, target: {value: 5}}}]\n";
    assert!(told(head).contains("line 3: spec.fallback: stands in"));
    assert!(told(&format!("{head}{queue}")).contains("spec.fallback: stands in"));
    read(&format!("{head}{}", queue.replace("value: 5", "averageValue: 5")));
}

#[test]
fn a_kind_of_target_is_known_by_its_name() {
    for kind in TargetKind::ALL {
        let name = if kind == TargetKind::Exec { "/bin/scale" } else { "web" };
        let text = format!("scaleTargetRef: {{kind: {}, name: {name}}}\nmaxReplicas: 1\n", kind.as_str());
        assert_eq!(read(&text).target.kind, kind);
    }
}
