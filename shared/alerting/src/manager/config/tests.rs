//! Files of upstream's suites, and what it refuses in which words.

use super::*;
use crate::manager::inhibit::Inhibitor;
use crate::manager::nflog::{AlertSet, Entry, needs_notice};
use crate::manager::route::GroupBy;
use crate::manager::vectors::{self, labels, list};
use serde_json::json;
use skerry_model::Fingerprint;

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse("alertmanager.yml", text, &vectors::zones)
}

/// A file of upstream's suite.
fn conf(name: &str) -> String {
    vectors::text(&format!("alertmanager_conf/{name}"))
}

fn whole(text: &str) -> Config {
    parse(text).unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn files_of_upstreams_suite_are_read_or_refused_as_there() {
    let mut read = 0;
    for entry in std::fs::read_dir(vectors::path("alertmanager_conf")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let config = parse(&conf(&name));
        let problem = match name.as_str() {
            "conf.nil-match_re-route.yml" => Some("invalid regexp value for \"invalid_label\""),
            "conf.nil-source_match_re-inhibition.yml" => Some("invalid regexp value for \"invalid_source_label\""),
            "conf.nil-target_match_re-inhibition.yml" => Some("invalid regexp value for \"invalid_target_label\""),
            // It has Slack and Opsgenie receivers, and no key for Opsgenie or VictorOps where those are asked for one.
            _ => None,
        };
        match (config, problem) {
            (Ok(_), None) => read += 1,
            (Err(faults), Some(problem)) => assert_eq!(faults.faults[0].problem, problem, "{name}"),
            (Ok(_), Some(problem)) => panic!("{name} was read, {problem} was expected"),
            (Err(faults), None) => panic!("{name}: {faults}"),
        }
    }
    assert!(read >= 8, "{read} files were read");
}

#[test]
fn alerts_are_routed_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_routing.json");
    for case in list(&file, "routing") {
        let config = whole(&vectors::text(case["config"].as_str().unwrap()));
        let found = config.routes().matches(&labels(&case["labels"]));
        let expect = &case["expect"];
        if let Some(keys) = expect["route_keys"].as_array() {
            assert_eq!(&found.iter().map(|route| json!(&*route.key)).collect::<Vec<_>>(), keys, "{case}");
        }
        if let Some(receivers) = expect["receivers"].as_array() {
            assert_eq!(&found.iter().map(|route| json!(&*route.receiver)).collect::<Vec<_>>(), receivers, "{case}");
        }
        if let Some(routes) = expect["routes"].as_array() {
            let routes_found: Vec<Value> = found
                .iter()
                .map(|route| {
                    json!({
                        "receiver": &*route.receiver,
                        "group_by": route.group_by.labels.iter().map(|name| &**name).collect::<Vec<_>>(),
                        "group_by_all": route.group_by.all,
                        "group_wait_s": route.group_wait.as_secs(),
                        "group_interval_s": route.group_interval.as_secs(),
                        "repeat_interval_s": route.repeat_interval.as_secs(),
                    })
                })
                .collect();
            assert_eq!(&routes_found, routes, "{case}");
        }
        assert!(["routes", "receivers", "route_keys"].iter().any(|key| expect[key].is_array()), "{case}");
    }
    for case in list(&file, "grouping") {
        let names = case["group_by"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().into());
        let by = GroupBy { all: case["group_by_all"].as_bool().unwrap(), labels: names.collect() };
        assert_eq!(by.of(&labels(&case["labels"])), labels(&case["expect_group_labels"]), "{case}");
    }
}

#[test]
fn alerts_hold_back_others_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_inhibition.json");
    for case in list(&file, "cases") {
        let config = json!({
            "route": {"receiver": "r"}, "receivers": [{"name": "r"}], "inhibit_rules": case["rules"],
        });
        let mut inhibitor = Inhibitor::new(whole(&config.to_string()).inhibit_rules().to_vec());
        for (at, alert) in case["alerts"].as_array().unwrap().iter().enumerate() {
            if alert["state"] == "active" {
                inhibitor.fires(Fingerprint(at as u64), &labels(&alert["labels"]));
            }
        }
        let target = labels(&case["target"]);
        let found = if case["self_inhibition_check"] == false {
            inhibitor.has_equal(&target)
        } else {
            !inhibitor.inhibiting(&target, &|_| true).is_empty()
        };
        assert_eq!(found, case["expect_inhibited"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn notices_are_due_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_dedup.json");
    for case in list(&file, "cases") {
        let set = |value: &Value| -> AlertSet {
            value.as_array().unwrap().iter().map(|hash| Fingerprint(hash.as_u64().unwrap())).collect()
        };
        let known = &case["nflog_entry"];
        let entry = known.is_object().then(|| Entry {
            firing: set(&known["firing"]),
            resolved: set(&known["resolved"]),
            owed: AlertSet::new(),
            failures: 0,
            told_at: UnixMillis(0),
            told_ms: 0,
            expires_ms: 0,
        });
        let age = Duration::from_secs(known["age_s"].as_u64().unwrap_or(1 << 32));
        let found = needs_notice(
            entry.as_ref().map(|entry| (entry, age)),
            &set(&case["firing"]),
            &set(&case["resolved"]),
            case["send_resolved"].as_bool().unwrap(),
            Duration::from_secs(case["repeat_interval_s"].as_u64().unwrap()),
        );
        assert_eq!(found, case["expect_notify"].as_bool().unwrap(), "{case}");
    }
}

/// A file with this below `route:`, behind the receiver.
fn routed(rest: &str) -> String {
    format!("route:\n  receiver: x\n{rest}\nreceivers:\n- name: x\n")
}

#[test]
fn faults_have_lines_and_upstreams_words() {
    let below = |rest: &str| routed(&format!("  routes:\n  - {rest}"));
    let interval = "time_intervals:\n- {name: a, time_intervals: []}\n";
    for (text, line, problem) in [
        (String::new(), None, "no route provided in config"),
        ("receivers:\n- name: x\n".to_owned(), Some(1), "no routes provided"),
        ("route:\n  group_wait: 30s\n".to_owned(), Some(1), "root route must specify a default receiver"),
        (routed("") + "- name: x\n", Some(6), "notification config name \"x\" is not unique"),
        (
            "route:\n  receiver: y\nreceivers:\n- name: x\n".to_owned(),
            Some(2),
            "undefined receiver \"y\" used in route",
        ),
        (below("receiver: y"), Some(4), "undefined receiver \"y\" used in route"),
        ("route: {receiver: x}\nreceivers:\n- name: ''\n".to_owned(), Some(3), "missing name in receiver"),
        (below("mute_time_intervals: [b]"), Some(4), "undefined time interval \"b\" used in route"),
        (below("active_time_intervals: [b]"), Some(4), "undefined time interval \"b\" used in route"),
        (format!("time_intervals:\n- {{name: }}\n{}", routed("")), Some(2), "missing name in time interval"),
        (format!("mute_{}", interval.replace("a,", ",")) + &routed(""), Some(2), "missing name in mute time interval"),
        (format!("{interval}mute_{interval}{}", routed("")), Some(2), "time interval \"a\" is not unique"),
        (routed("  group_by: [a, b, a]"), Some(3), "duplicated label \"a\" in group_by"),
        (routed("  group_by: ['']"), Some(3), "invalid label name \"\" in group_by list"),
        (
            routed("  group_by: [a, '...']"),
            Some(3),
            "cannot have wildcard group_by (`...`) and other labels at the same time",
        ),
        (routed("  match: {a: b}"), Some(1), "root route must not have any matchers"),
        (routed("  matchers: [a=b]"), Some(1), "root route must not have any matchers"),
        (
            interval.to_owned() + &routed("  mute_time_intervals: [a]"),
            Some(3),
            "root route must not have any mute time intervals",
        ),
        (
            interval.to_owned() + &routed("  active_time_intervals: [a]"),
            Some(3),
            "root route must not have any active time intervals",
        ),
        (routed("  continue: true"), Some(1), "cannot have continue in root route"),
        (routed("  group_interval: 0s"), Some(3), "group_interval cannot be zero"),
        (routed("  repeat_interval: 0s"), Some(3), "repeat_interval cannot be zero"),
        (below("match: {'-a': b}"), Some(4), "invalid label name \"-a\""),
        (below("match_re: {'a-': b}"), Some(4), "invalid label name \"a-\""),
        (below("match_re: {a: 'b['}"), Some(4), "error parsing regexp: missing closing ]: `[)$)$`"),
        (below("matchers: ['a=~b[']"), Some(4), "error parsing regexp: missing closing ]: `[)$`"),
        (below("matchers: ['=b']"), Some(4), "bad matcher format: =b"),
        (below("grop_by: [a]"), Some(4), "this key is not known here"),
        (routed("") + "inhibit_rules:\n- source_match: {'a-': b}\n", Some(7), "invalid label name \"a-\""),
        (routed("") + "inhibit_rules:\n- equal: ['']\n", Some(7), "invalid label name \"\" in equal list"),
        (
            routed("") + "inhibit_rules:\n- sources: [{matchers: [a=b]}]\n  equal: [a]\n",
            Some(7),
            "sources cannot be combined with source_match, source_match_re, source_matchers, or equal",
        ),
        (routed("") + "inhibit_rules:\n- sources: [{equal: [a]}]\n", Some(7), "source 0: matchers must not be empty"),
        (
            routed("") + "inhibit_rules:\n- sources: [{matchers: ['a=~.*']}]\n",
            Some(7),
            "source 0: at least one matcher must not match the empty string",
        ),
        (routed("") + "tracings: {}\n", Some(6), "this key is not known here"),
        (routed("") + "global: {resolve_timeout: soon}\n", Some(6), "a span of time such as 30s or 1h30m is expected"),
    ] {
        let faults = parse(&text).map(|_| ()).unwrap_err();
        assert_eq!((faults.faults[0].line, faults.faults[0].problem.as_str()), (line, problem), "{text}");
    }
}

#[test]
fn what_is_left_out_is_inherited_or_has_upstreams_defaults() {
    let config = whole(&routed(
        "  group_by: [b, a]\n  group_wait: 0s\n  labels: {a: x, b: y}\n  routes:\n  - match: {m: 2}\n    continue: yes\n    \
         group_by: []\n    mute_time_intervals:\n    labels: {b: z}\n    routes:\n    - matchers: [n=1]\n      \
         repeat_interval: 1d\n  - group_by: ['...']\n    group_interval: 1m30s\n    routes:\n    - receiver: x\n",
    ));
    let seen: Vec<Value> = config
        .routes()
        .all()
        .iter()
        .map(|route| {
            let by: Vec<&str> = route.group_by.labels.iter().map(|name| &**name).collect();
            let spans = [route.group_wait, route.group_interval, route.repeat_interval].map(|span| span.as_secs());
            json!([&*route.id, by, route.group_by.all, spans, route.continues, route.labels["b"]])
        })
        .collect();
    let expected = json!([
        ["{}", ["a", "b"], false, [0, 300, 14400], false, "y"],
        ["{}/{m=\"2\"}/0", ["a", "b"], false, [0, 300, 14400], true, "z"],
        ["{}/{m=\"2\"}/0/{n=\"1\"}/0", ["a", "b"], false, [0, 300, 86400], false, "z"],
        ["{}/{}/1", ["a", "b"], true, [0, 90, 14400], false, "y"],
        ["{}/{}/1/{}/0", ["a", "b"], true, [0, 90, 14400], false, "y"],
    ]);
    assert_eq!(json!(seen), expected);
    assert_eq!(config.resolve_timeout(), RESOLVE_TIMEOUT);
    assert_eq!(whole(&(routed("") + "global: {resolve_timeout: 1m}")).resolve_timeout().as_secs(), 60);
}

#[test]
fn the_shown_file_reads_back_and_holds_no_secret() {
    for name in ["conf.good.yml", "route_match_tree.yml", "conf.group-by-all.yml"] {
        let text = conf(name);
        let config = whole(&text);
        let shown = config.original();
        assert!(!shown.contains("mysecret"), "{shown}");
        let again = skerry_yaml::read::<Value>(shown).unwrap_or_else(|fault| panic!("{fault}\n{shown}")).value;
        let was = skerry_yaml::read::<Value>(&text).unwrap().value;
        assert_eq!(again["route"], was["route"], "{shown}");
        assert_eq!(again["inhibit_rules"], was["inhibit_rules"], "{shown}");
    }
    let text = "receivers: [{name: x, webhook_configs: [{url: 'https://h:1/t?k'}, {url: 'http://h'}]}]\nroute: {receiver: x}\n";
    let expected = "receivers:
  - name: x
    webhook_configs:
      - url: \"https://h:1/<secret>\"
      - url: \"http://h\"
route:
  receiver: x
";
    assert_eq!(whole(text).original(), expected);
    let text = "receivers: [{name: x, local: true, file_configs: [{path: /dev/led, firing: '1', resolved: '0'}]}]\nroute: {receiver: x}\n";
    let shown = whole(text).original().to_owned();
    assert!(shown.contains("# local: true\n"), "{shown}");
    let again = skerry_yaml::read::<Value>(&shown).unwrap_or_else(|fault| panic!("{fault}\n{shown}")).value;
    assert_eq!(again["receivers"], json!([{"name": "x"}]), "{shown}");
    assert_eq!(whole(&conf("conf.good.yml")).original().matches("<secret>").count(), 9);
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let deep = format!("{}receiver: x{}", "{receiver: x, routes: [{".repeat(40), "}]}".repeat(40));
    assert!(parse(&format!("route: {deep}\nreceivers: [{{name: x}}]\n")).is_err());
    for text in
        ["route: []", "route: 3", "receivers: {}", "route: {routes: {}}", "route: {matchers: {a: b}}", "- x", "x"]
    {
        assert!(parse(text).is_err(), "{text}");
    }
}
