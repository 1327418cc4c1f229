//! Requests and answers, as amtool and scripts make and expect them.

use super::*;
use crate::manager::{Config, Options};
use skerry_model::{Mono, UnixMillis};
use std::sync::Arc;

/// 2024-01-01T00:00:00Z.
const START: i64 = 1_704_067_200_000;
const CONFIG: &str = "route: {receiver: a, group_by: [alertname], routes: [{receiver: b, matchers: [team=x]}]}\n\
     receivers:\n- name: a\n- name: b\n\
     inhibit_rules:\n- {source_matchers: [sev=page], target_matchers: [sev=warn]}\n";

struct Place(Manager, Now);

impl Place {
    fn new() -> Self {
        let now = Now { wall: UnixMillis(START), mono: Mono(5) };
        let config = Arc::new(Config::parse("t", CONFIG, &|_| None).unwrap());
        Self(Manager::new(config, Options::default(), Vec::new(), now), now)
    }

    /// Status and body of an answer; a body that is no JSON is null.
    fn ask(&mut self, request: &str, body: &str) -> (u16, Value) {
        let (method, target) = request.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let response = answer(&mut self.0, method, path, query, body.as_bytes(), self.1);
        let body = if response.body.is_empty() { Value::Null } else { serde_json::from_slice(&response.body).unwrap() };
        (response.status, body)
    }

    fn names(&mut self, query: &str) -> Vec<String> {
        let (status, list) = self.ask(&format!("GET /alerts?{query}"), "");
        assert_eq!(status, 200, "{list}");
        let name = |alert: &Value| alert["labels"]["alertname"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = list.as_array().unwrap().iter().map(name).collect();
        names.sort();
        names
    }
}

fn three() -> Place {
    let mut place = Place::new();
    let body = r#"[
        {"labels": {"alertname": "x", "team": "x", "gone": ""}, "annotations": {"a": "b"}, "generatorURL": "http://g"},
        {"labels": {"alertname": "y", "sev": "page"}, "startsAt": "2024-01-01T00:00:00.000+01:00", "endsAt": "2030-01-01T00:00:00Z"},
        {"labels": {"alertname": "z", "sev": "warn"}, "startsAt": "0001-01-01T00:00:00Z", "endsAt": "0001-01-01T00:00:00Z"}
    ]"#;
    assert_eq!(place.ask("POST /alerts", body), (200, Value::Null));
    place
}

#[test]
fn alerts_are_taken_in_and_shown() {
    let mut place = three();
    let (status, list) = place.ask("GET /alerts?filter=alertname=x", "");
    let expected = json!([{
        "annotations": {"a": "b"}, "endsAt": "2024-01-01T00:05:00.000Z",
        "fingerprint": list[0]["fingerprint"], "generatorURL": "http://g",
        "labels": {"alertname": "x", "team": "x"}, "receivers": [{"name": "b"}],
        "startsAt": "2024-01-01T00:00:00.000Z", "updatedAt": "2024-01-01T00:00:00.000Z",
        "status": {"inhibitedBy": [], "mutedBy": [], "silencedBy": [], "state": "active"},
    }]);
    assert_eq!((status, list), (200, expected));
    let (_, list) = place.ask("GET /alerts?filter=alertname=y", "");
    assert_eq!(
        (&list[0]["startsAt"], &list[0]["endsAt"]),
        (&json!("2023-12-31T23:00:00.000Z"), &json!("2030-01-01T00:00:00.000Z"))
    );
    let page = list[0]["fingerprint"].clone();
    let (_, list) = place.ask("GET /alerts?filter=alertname=z", "");
    assert_eq!(
        list[0]["status"],
        json!({"inhibitedBy": [page], "mutedBy": [], "silencedBy": [], "state": "suppressed"})
    );
}

#[test]
fn filters_choose() {
    let mut place = three();
    let silence = r#"{"matchers": [{"name": "alertname", "value": "x", "isRegex": false}], "createdBy": "m", "comment": "c",
        "startsAt": "2024-01-01T00:00:00Z", "endsAt": "2024-01-02T00:00:00Z"}"#;
    assert_eq!(place.ask("POST /silences", silence).0, 200);
    for (query, expected) in [
        ("", "x y z"),
        ("active=false", "x z"),
        ("silenced=false", "y z"),
        ("inhibited=false", "x y"),
        ("silenced=false&inhibited=false&active=true&unprocessed=true", "y"),
        ("filter=alertname%3D~%22x%7Cy%22", "x y"),
        ("filter=alertname=~x|y&filter=sev!=page", "x"),
        ("filter=%22sev%22=warn", "z"),
        ("filter=sev=%22%22", "x"),
        ("filter=sev!=%22%22", "y z"),
        ("filter=none=a", ""),
        ("receiver=a", "y z"),
        ("receiver=.", "x y z"),
        ("receiver=ab", ""),
        ("other=1", "x y z"),
    ] {
        assert_eq!(place.names(query).join(" "), expected, "{query}");
    }
    for (query, status) in
        [("filter=x", 400), ("filter=a=~(", 400), ("receiver=(", 400), ("active=maybe", 422), ("filter={a=b}", 400)]
    {
        assert_eq!(place.ask(&format!("GET /alerts?{query}"), "").0, status, "{query}");
        assert_eq!(place.ask(&format!("GET /alerts/groups?{query}"), "").0, status, "{query}");
    }
}

#[test]
fn groups_are_shown_with_their_receivers() {
    let mut place = three();
    let short = |list: &Value| -> Vec<String> {
        let group = |group: &Value| format!("{} {}", group["receiver"]["name"].as_str().unwrap(), group["labels"]);
        list.as_array().unwrap().iter().map(group).collect()
    };
    let (_, list) = place.ask("GET /alerts/groups", "");
    assert_eq!(short(&list), ["b {\"alertname\":\"x\"}", "a {\"alertname\":\"y\"}", "a {\"alertname\":\"z\"}"]);
    assert_eq!(list[0]["alerts"][0]["receivers"], json!([{"name": "b"}]));
    assert_eq!(short(&place.ask("GET /alerts/groups?receiver=b", "").1).len(), 1);
    assert_eq!(short(&place.ask("GET /alerts/groups?inhibited=false", "").1).len(), 2);
}

#[test]
fn silences_live_and_die() {
    let mut place = three();
    let post = |id: &str, from: &str, to: &str| {
        let matchers = r#"[{"name": "alertname", "value": "x|y", "isRegex": true, "isEqual": true}]"#;
        format!(
            r#"{{"id": "{id}", "matchers": {matchers}, "createdBy": "me", "comment": "why", "startsAt": "{from}", "endsAt": "{to}"}}"#
        )
    };
    let (from, to) = ("2024-01-01T00:00:00Z", "2024-01-01T02:00:00Z");
    let (status, set) = place.ask("POST /silences", &post("", from, to));
    let id = set["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(status, 200);
    let (_, shown) = place.ask(&format!("GET /silence/{id}"), "");
    let expected = json!({
        "id": id, "status": {"state": "active"}, "updatedAt": "2024-01-01T00:00:00.000Z", "comment": "why", "createdBy": "me",
        "endsAt": "2024-01-01T02:00:00.000Z", "startsAt": "2024-01-01T00:00:00.000Z",
        "matchers": [{"name": "alertname", "value": "x|y", "isRegex": true, "isEqual": true}],
    });
    assert_eq!(shown, expected);
    assert_eq!(place.names("silenced=false"), ["z"]);
    assert_eq!(place.ask("POST /silences", &post(&id, from, "2024-01-01T03:00:00Z")).1["silenceID"], json!(id));
    let (_, later) = place.ask("POST /silences", &post("", "2024-01-01T04:00:00Z", "2024-01-01T05:00:00Z"));
    let ids = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|silence| silence["id"].as_str().unwrap().to_owned()).collect()
    };
    let later = later["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(ids(&place.ask("GET /silences", "").1), [id.clone(), later.clone()]);
    assert_eq!(ids(&place.ask("GET /silences?filter=alertname=%22x%7Cy%22", "").1).len(), 2);
    assert_eq!(ids(&place.ask("GET /silences?filter=alertname=z", "").1).len(), 0);
    assert_eq!(place.ask(&format!("DELETE /silence/{id}"), ""), (200, Value::Null));
    assert_eq!(ids(&place.ask("GET /silences", "").1), [later, id.clone()], "what is over stands last");
    assert_eq!(place.ask(&format!("DELETE /silence/{id}"), ""), (500, json!(format!("silence {id} already expired"))));
    let unknown = "00000000-0000-4000-8000-000000000000";
    assert_eq!(place.ask(&format!("DELETE /silence/{unknown}"), ""), (404, Value::Null));
    assert_eq!(place.ask(&format!("GET /silence/{unknown}"), ""), (404, Value::Null));
    assert_eq!(place.ask("GET /silence/x", "").0, 422);
    for (body, status, problem) in [
        (post(unknown, from, to), 404, "silence not found"),
        (post("", to, from), 400, "failed to create silence: start time must be before end time"),
        (
            post("", "2023-01-01T00:00:00Z", "2023-01-02T00:00:00Z"),
            400,
            "failed to create silence: end time can't be in the past",
        ),
        (
            post("", from, to).replace("x|y", ".*"),
            400,
            "silence invalid: at least one matcher must not match the empty string",
        ),
    ] {
        assert_eq!(place.ask("POST /silences", &body), (status, json!(problem)), "{body}");
    }
    for (body, status) in [("", 400), ("[", 400), ("{}", 422), ("{\"matchers\": [{}]}", 422)] {
        assert_eq!(place.ask("POST /silences", body).0, status, "{body}");
    }
    assert_eq!(place.ask("POST /silences", &post("", from, to).replace("x|y", "(")).0, 400);
}

#[test]
fn what_is_wrong_with_alerts_is_said_and_the_rest_is_taken() {
    let mut place = Place::new();
    let (status, problem) = place.ask("POST /alerts", r#"[{"labels": {}}, {"labels": {"alertname": "x"}}]"#);
    assert_eq!((status, problem), (400, json!("at least one label pair required")));
    assert_eq!(place.names(""), ["x"]);
    let many: Vec<String> = (0..70).map(|n| format!("\"l{n}\": \"v\"")).collect();
    assert_eq!(place.ask("POST /alerts", &format!("[{{\"labels\": {{{}}}}}]", many.join(","))).0, 400);
    for (body, status) in [
        ("", 400),
        ("{}", 400),
        ("[{}]", 422),
        ("[3]", 422),
        (r#"[{"labels": {"a": 1}}]"#, 422),
        (r#"[{"labels": {"a": "b"}, "startsAt": "now"}]"#, 422),
        (r#"[{"labels": {"a": "b"}, "startsAt": "2024-01-02T00:00:00Z", "endsAt": "2024-01-01T00:00:00Z"}]"#, 400),
    ] {
        assert_eq!(place.ask("POST /alerts", body).0, status, "{body}");
    }
}

#[test]
fn the_rest_of_the_paths() {
    let mut place = Place::new();
    assert_eq!(place.ask("GET /receivers", ""), (200, json!([{"name": "a"}, {"name": "b"}])));
    let (status, shown) = place.ask("GET /status", "");
    assert_eq!(
        (status, &shown["uptime"], &shown["cluster"]["status"]),
        (200, &json!("2024-01-01T00:00:00.000Z"), &json!("disabled"))
    );
    let config = shown["config"]["original"].as_str().unwrap();
    assert!(Config::parse("again", config, &|_| None).is_ok(), "{config}");
    for key in ["branch", "buildDate", "buildUser", "goVersion", "revision", "version"] {
        assert!(shown["versionInfo"][key].is_string(), "{key}");
    }
    assert_eq!(place.ask("GET /nothing", "").0, 404);
    assert_eq!(place.ask("DELETE /alerts", "").0, 405);
    assert_eq!(place.ask("PUT /silence/x", "").0, 405);
    for query in ["%", "%4", "%zz&&&==", "filter=%ff%fe", "a=%C3%BC"] {
        place.ask(&format!("GET /alerts?{query}"), "");
    }
}
