use super::*;
use crate::notify::fixture::{NOW, both, integration, parse, resolved, templates};
use serde_json::{Value, json};

fn rendered(kind: &str, entry: &str, data: &Data) -> Delivery {
    let files = |path: &Path| match path.to_str() {
        Some("/secret") => Ok(" from-file \n".to_owned()),
        Some("/url") => Ok("http://file/hook\n".to_owned()),
        _ => Err(format!("{} cannot be read", path.display())),
    };
    render(&integration(kind, entry), data, &templates(&[]), &files, NOW).unwrap()
}

fn http(kind: &str, entry: &str, data: &Data) -> Vec<HttpDelivery> {
    let delivery = rendered(kind, entry, data);
    assert_eq!(delivery.problems, Vec::<String>::new(), "{kind} {entry}");
    match delivery.wire {
        Wire::Http(requests) => requests,
        wire => panic!("{kind} is sent as {wire:?}"),
    }
}

/// Address and body of the one request.
fn posted(kind: &str, entry: &str, data: &Data) -> (String, Value) {
    let [request] = http(kind, entry, data).try_into().unwrap();
    assert_eq!(request.method, "POST");
    (request.url, serde_json::from_slice(&request.body).unwrap())
}

#[test]
fn webhooks_are_alertmanagers_version_4() {
    let (url, body) = posted("webhook_configs", "{url_file: /url, max_alerts: 1}", &both());
    assert_eq!(url, "http://file/hook");
    let alert = json!({
        "status": "firing",
        "labels": {"alertname": "Hot", "instance": "a:9100", "severity": "critical"},
        "annotations": {"summary": "Hot at <a:9100> & more"},
        "startsAt": "2026-11-21T03:50:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://p/graph?g0.expr=up+%3D%3D+0",
        "fingerprint": both().alerts[0].fingerprint.to_string(),
    });
    let expected = json!({
        "receiver": "on\\.call",
        "status": "firing",
        "alerts": [alert],
        "groupLabels": {"alertname": "Hot"},
        "commonLabels": {"alertname": "Hot", "severity": "critical"},
        "commonAnnotations": {},
        "externalURL": "http://skerry:9093",
        "version": "4",
        "groupKey": "{}:{alertname=\"Hot\"}",
        "truncatedAlerts": 1,
    });
    assert_eq!(body, expected);
    let (_, body) = posted("webhook_configs", "{url: 'http://h'}", &resolved());
    assert_eq!((&body["status"], &body["alerts"][0]["endsAt"]), (&json!("resolved"), &json!("2026-11-21T03:58:59.5Z")));
    // The order of keys is that of Alertmanager's messages.
    let text = String::from_utf8(both().webhook_json(0)).unwrap();
    let keys = ["receiver", "status", "alerts", "groupLabels", "commonLabels", "commonAnnotations", "externalURL"];
    let places: Vec<usize> = keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn http_config_is_in_the_requests() {
    let config = "{basic_auth: {username: u, password_file: /secret}, follow_redirects: false, \
        http_headers: {X-One: {values: [a], secrets: [b], files: [/secret]}}, tls_config: {insecure_skip_verify: true}}";
    let entry = format!("{{url: 'https://h/p', http_config: {config}}}");
    let [request] = http("webhook_configs", &entry, &both()).try_into().unwrap();
    let header = |name: &str| {
        request.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert_eq!(header("Authorization"), ["Basic dTpmcm9tLWZpbGU="]);
    assert_eq!(header("X-One"), ["a", "b", "from-file"]);
    assert_eq!(header("Content-Type"), ["application/json"]);
    assert!(request.tls.insecure_skip_verify && !request.follow_redirects);
    let entry = "{url: 'https://h', http_config: {authorization: {credentials: t}}}";
    let [request] = http("webhook_configs", entry, &both()).try_into().unwrap();
    assert!(request.headers.contains(&("Authorization".into(), "Bearer t".into())) && request.follow_redirects);
}

#[test]
fn slack_has_one_attachment_with_fields_and_actions() {
    let entry = r#"{api_url: 'https://hooks.slack.com/s', channel: '#{{ .CommonLabels.severity }}', link_names: true,
        short_fields: true, fields: [{title: a, value: '{{ .Status }}'}, {title: b, value: c, short: false}],
        actions: [{type: button, text: go, url: 'http://x', confirm: {text: sure}}], text: "line\n\"two\""}"#;
    let (url, body) = posted("slack_configs", &entry.replace('\n', " "), &both());
    assert_eq!(url, "https://hooks.slack.com/s");
    assert_eq!(body["channel"], "#critical");
    assert_eq!((&body["username"], &body["link_names"]), (&json!("Skerry"), &json!(true)));
    let [attachment] = body["attachments"].as_array().unwrap().as_slice() else { panic!("one") };
    assert_eq!(attachment["title"], "[FIRING:1] Hot (critical)");
    assert_eq!((&attachment["color"], &attachment["text"]), (&json!("danger"), &json!("line\n\"two\"")));
    assert_eq!(attachment["mrkdwn_in"], json!(["fallback", "pretext", "text"]));
    assert_eq!(attachment["fields"][0], json!({"title": "a", "value": "firing", "short": true}));
    assert_eq!(attachment["fields"][1]["short"], false);
    let action = json!({"type": "button", "text": "go", "url": "http://x", "confirm": {"text": "sure"}});
    assert_eq!(attachment["actions"], json!([action]));
    assert_eq!(posted("slack_configs", "{api_url: 'http://s'}", &resolved()).1["attachments"][0]["color"], "good");
    let [app] = http("slack_configs", "{app_token: t, channel: c}", &both()).try_into().unwrap();
    assert_eq!(app.url, "https://slack.com/api/chat.postMessage");
    assert!(app.headers.contains(&("Authorization".into(), "Bearer t".into())));
    let long = format!("{{api_url: 'http://s', title: {}}}", "ü".repeat(2000));
    assert_eq!(
        posted("slack_configs", &long, &both()).1["attachments"][0]["title"].as_str().unwrap().chars().count(),
        1024
    );
}

#[test]
fn pagerduty_speaks_both_versions() {
    let entry = "{routing_key: '{{ .CommonLabels.severity }}', severity: '{{ .CommonLabels.severity }}', class: c, \
        details: {extra: '{{ .Status }}', num_firing: 'n'}, links: [{href: 'http://l', text: t}, {text: empty}], \
        images: [{src: 'http://i', alt: a}]}";
    let (url, body) = posted("pagerduty_configs", entry, &both());
    assert_eq!(url, "https://events.pagerduty.com/v2/enqueue");
    // printf '{}:{alertname="Hot"}' | sha256sum
    let key = "0908bcea8bb9f1f5cf8e9a9b88f05812a95cd38ad40cc702f01311b49a0a0285";
    assert_eq!(body["dedup_key"], key);
    assert_eq!((&body["routing_key"], &body["event_action"]), (&json!("critical"), &json!("trigger")));
    let payload = &body["payload"];
    assert_eq!(payload["summary"], "[FIRING:1] Hot (critical)");
    assert_eq!(
        (&payload["severity"], &payload["source"], &payload["class"]),
        (&json!("critical"), &json!("Skerry"), &json!("c"))
    );
    let details = &payload["custom_details"];
    assert_eq!(
        (&details["extra"], &details["num_firing"], &details["num_resolved"]),
        (&json!("firing"), &json!("n"), &json!("1"))
    );
    assert!(
        details["firing"].as_str().unwrap().contains("a:9100")
            && details["resolved"].as_str().unwrap().contains("b:9100")
    );
    assert_eq!(body["links"], json!([{"href": "http://l", "text": "t"}]));
    assert_eq!(body["images"], json!([{"src": "http://i", "alt": "a"}]));
    assert_eq!(posted("pagerduty_configs", entry, &resolved()).1["event_action"], "resolve");

    let (url, body) = posted("pagerduty_configs", "{service_key_file: /secret, url: 'http://second'}", &both());
    assert!(url.contains("create_event.json"));
    assert_eq!((&body["service_key"], &body["event_type"]), (&json!("from-file"), &json!("trigger")));
    assert_eq!(body["incident_key"].as_str().unwrap().len(), 64);
    let huge = format!("{{routing_key: k, details: {{big: {}}}}}", "x".repeat(600_000));
    let (_, body) = posted("pagerduty_configs", &huge, &both());
    assert!(body["payload"]["custom_details"]["error"].as_str().unwrap().contains("left out"));
}

#[test]
fn opsgenie_opens_updates_and_closes() {
    let entry = "{api_key: k, update_alerts: true, tags: 'a, b,', priority: P1, details: {x: y, severity: z}, \
        responders: [{name: 'one,two', type: teams}, {username: u, type: User}, {name: '{{ .CommonLabels.nope }}', type: team}]}";
    let requests = http("opsgenie_configs", entry, &both());
    let alias = hash();
    let urls: Vec<(&str, &str)> = requests.iter().map(|request| (request.method, request.url.as_str())).collect();
    let base = "https://api.opsgenie.com/v2/alerts";
    let (message, description) = (
        format!("{base}/{alias}/message?identifierType=alias"),
        format!("{base}/{alias}/description?identifierType=alias"),
    );
    assert_eq!(urls, [("POST", base), ("PUT", &message), ("PUT", &description)]);
    assert!(requests.iter().all(|one| one.headers.contains(&("Authorization".into(), "GenieKey k".into()))));
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(body["tags"], json!(["a", "b"]));
    assert_eq!(body["details"], json!({"alertname": "Hot", "severity": "z", "x": "y"}));
    let responders =
        json!([{"name": "one", "type": "team"}, {"name": "two", "type": "team"}, {"username": "u", "type": "user"}]);
    assert_eq!((&body["responders"], &body["priority"]), (&responders, &json!("P1")));
    let [close] = http("opsgenie_configs", entry, &resolved()).try_into().unwrap();
    assert_eq!(close.url, format!("{base}/{alias}/close?identifierType=alias"));
}

fn hash() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, b"{}:{alertname=\"Hot\"}");
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_other_services_get_what_their_apis_ask_for() {
    let (url, body) = posted(
        "victorops_configs",
        "{api_key: k, routing_key: r, message_type: odd, custom_fields: {a: '{{ .Status }}'}}",
        &both(),
    );
    assert_eq!(url, "https://alert.victorops.com/integrations/generic/20131114/alert/k/r");
    assert_eq!(
        (&body["message_type"], &body["a"], &body["entity_id"]),
        (&json!("CRITICAL"), &json!("firing"), &json!(hash()))
    );
    let (_, body) = posted("victorops_configs", "{api_key: k, routing_key: r}", &resolved());
    assert_eq!(body["message_type"], "RECOVERY");

    let (url, body) =
        posted("telegram_configs", "{bot_token_file: /secret, chat_id: -100123, message_thread_id: 7}", &both());
    assert_eq!(url, "https://api.telegram.org/botfrom-file/sendMessage");
    assert_eq!(
        (&body["chat_id"], &body["message_thread_id"], &body["parse_mode"]),
        (&json!(-100_123), &json!(7), &json!("HTML"))
    );
    assert!(body["text"].as_str().unwrap().contains("Hot at &lt;a:9100&gt; &amp; more"), "{body}");
    let (_, body) = posted(
        "telegram_configs",
        "{bot_token: t, chat_id: 1, parse_mode: '', message: '{{ .CommonLabels.no }}'}",
        &both(),
    );
    assert_eq!((&body["text"], body.get("parse_mode")), (&json!("firing"), None));

    let (_, body) = posted("discord_configs", "{webhook_url: 'http://d', username: me}", &both());
    assert_eq!((&body["embeds"][0]["title"], &body["username"]), (&json!("[FIRING:1] Hot (critical)"), &json!("me")));
    let (_, body) = posted("msteams_configs", "{webhook_url: 'http://t'}", &both());
    assert_eq!((&body["@type"], &body["summary"]), (&json!("MessageCard"), &json!("[FIRING:1] Hot (critical)")));
    let (_, body) = posted("msteamsv2_configs", "{webhook_url: 'http://t'}", &both());
    let card = &body["attachments"][0]["content"];
    assert_eq!(
        (&card["type"], &card["body"][0]["text"]),
        (&json!("AdaptiveCard"), &json!("[FIRING:1] Hot (critical)"))
    );
    assert_eq!(card["msteams"]["width"], "full");
    let entry = "{room_id: r, http_config: {authorization: {credentials: c}}}";
    let (url, body) = posted("webex_configs", entry, &both());
    assert_eq!((url.as_str(), &body["roomId"]), ("https://webexapis.com/v1/messages", &json!("r")));

    let [request] = http("pushover_configs", "{user_key: u, token_file: /secret, html: true, ttl: 1h}", &both())
        .try_into()
        .unwrap();
    let body = String::from_utf8(request.body).unwrap();
    for part in [
        "token=from-file",
        "user=u",
        "priority=2",
        "retry=60",
        "expire=3600",
        "ttl=3600",
        "html=1",
        "%5BFIRING%3A1%5D",
        "%26lt%3Ba%3A9100",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("device="), "{body}");
}

#[test]
fn what_cannot_be_made_is_told_apart_from_what_may_come_back() {
    let make = |kind: &str, entry: &str| {
        let files = |_: &Path| Err("no such file".to_owned());
        Outcome::from(render(&integration(kind, entry), &both(), &templates(&[]), &files, NOW).unwrap_err())
    };
    assert_eq!(make("webhook_configs", "{url_file: /gone}"), Outcome::retry("no such file"));
    for (kind, entry) in [
        ("pagerduty_configs", "{routing_key: '{{ .CommonLabels.nope }}'}"),
        ("webhook_configs", "{url: '{{ .Status }}'}"),
        ("webhook_configs", "{url: '{{ nofunction }}'}"),
        ("mqtt_configs", "{broker: 'mqtt://h', topic: '{{ .CommonLabels.nope }}'}"),
        ("mqtt_configs", "{broker: 'mqtt://h', topic: 'a/{{ print \"#\" }}'}"),
        ("email_configs", "{to: '{{ .Status }}', from: 'a@b', smarthost: 'h:25'}"),
        ("email_configs", "{to: 'a@b', from: 'a@b, c@d', smarthost: 'h:25'}"),
    ] {
        assert!(matches!(make(kind, entry), Outcome::Failed { .. }), "{kind} {entry}");
    }
}

#[test]
fn a_template_that_fails_goes_out_with_its_error() {
    let delivery = rendered("slack_configs", "{api_url: 'http://s', title: 'x {{ .Status.y }}'}", &both());
    assert_eq!(delivery.problems.len(), 1);
    let Wire::Http(requests) = delivery.wire else { panic!("http") };
    let body: Value = serde_json::from_slice(&requests[0].body).unwrap();
    let title = body["attachments"][0]["title"].as_str().unwrap();
    assert!(title.starts_with("x <template error: ") && title.contains("can't evaluate field y"), "{title}");
}

#[test]
fn our_own_kinds_are_made() {
    let entry = "{broker: 'mqtts://h', topic: 'alerts/{{ .CommonLabels.severity }}', qos: 2, retain: true, username: u, password_file: /secret}";
    let Wire::Talk(talk) = rendered("mqtt_configs", entry, &both()).wire else { panic!("talk") };
    assert_eq!((talk.host.as_str(), talk.port, talk.is_tls), ("h", 8883, true));

    let syslog = |entry: &str, data: &Data| match rendered("syslog_configs", entry, data).wire {
        Wire::Datagram(_, message) => String::from_utf8(message).unwrap(),
        Wire::Talk(mut talk) => match talk.dialogue.step(&[]) {
            crate::notify::Step::Last(bytes) => String::from_utf8(bytes).unwrap(),
            step => panic!("{step:?}"),
        },
        wire => panic!("{wire:?}"),
    };
    let expected = "<26>1 2026-11-21T04:00:00.000Z - skerry - - [alert@32473 status=\"firing\" alertname=\"Hot\" \
        severity=\"critical\"] [FIRING:1] Hot (critical)";
    assert_eq!(syslog("{address: 'udp://h'}", &both()), expected);
    assert_eq!(syslog("{address: 'tcp://h:6'}", &both()), format!("{} {expected}", expected.len()));
    let old = "{address: 'tcp://h', format: rfc3164, facility: local7, hostname: pi, tag: x, message: \"a\\nb]\"}";
    assert_eq!(syslog(old, &resolved()), "<189>Nov 21 04:00:00 pi x: a b]\n");
    assert_eq!(syslog("{format: rfc3164, severity: debug, message: m}", &both()), "<31>Nov 21 04:00:00 skerry: m");

    let entry =
        "{program: /bin/buzz, args: ['-n', '{{ len .Alerts }}; rm -rf /'], env: {X: '{{ .Status }}'}, timeout: 2s}";
    let Wire::Exec(exec) = rendered("exec_configs", entry, &both()).wire else { panic!("exec") };
    assert_eq!(exec.args, ["-n", "2; rm -rf /"]);
    assert!(
        exec.env.contains(&("X".into(), "firing".into())) && exec.env.contains(&("ALERT_FIRING".into(), "1".into()))
    );
    assert_eq!((exec.stdin, exec.timeout.as_secs()), (both().webhook_json(0), 2));

    let lamp = "{path: /sys/class/leds/red/brightness}";
    let Wire::File(file) = rendered("file_configs", lamp, &both()).wire else { panic!("file") };
    assert_eq!((file.text.as_str(), file.is_firing, file.may_create), ("1", true, false));
    let Wire::File(file) = rendered("file_configs", "{path: /run/x, resolved: '{{ .Status }}'}", &resolved()).wire
    else {
        panic!("file")
    };
    assert_eq!((file.text.as_str(), file.may_create), ("resolved", true));
}

#[test]
fn mails_have_both_parts_and_what_a_header_cannot_break() {
    let entry = "{to: 'Ops <a@b.c>, d@e.f', from: 'Skerry <s@b.c>', smarthost: 'mail:587', text: \"t.\\n.dot {{ .Status }}\", \
        headers: {Subject: \"ü {{ .Status }}\\nBcc: x@y\", X-Group: '{{ .GroupLabels.alertname }}', Bcc: 'h@i.j'}}";
    let (receiver, faults) = parse(&format!("receiver: {{name: r, email_configs: [{entry}]}}"));
    assert_eq!(faults, []);
    let Wire::Talk(mut talk) =
        render(&receiver.integrations[0], &both(), &templates(&[]), &|_| Err(String::new()), NOW).unwrap().wire
    else {
        panic!("talk")
    };
    assert_eq!((talk.host.as_str(), talk.port, talk.is_tls), ("mail", 587, false));
    let crate::notify::Dialogue::Smtp(session) = &mut talk.dialogue else { panic!("mail") };
    let letter = session.letter();
    assert_eq!(
        (letter.from.as_str(), letter.to.as_slice()),
        ("s@b.c", ["a@b.c".to_owned(), "d@e.f".to_owned()].as_slice())
    );
    let mail = String::from_utf8(letter.message.clone()).unwrap();
    assert!(mail.lines().all(|line| line.len() <= 78), "{mail}");
    assert!(!mail.replace("\r\n", "").contains(['\r', '\n']), "{mail}");
    let (head, body) = mail.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    for line in [
        "To: \"Ops\" <a@b.c>, <d@e.f>",
        "From: \"Skerry\" <s@b.c>",
        "Subject: =?utf-8?B?w7wgZmlyaW5nIEJjYzogeEB5?=",
        "X-Group: Hot",
        "Date: Sat, 21 Nov 2026 04:00:00 +0000",
        "MIME-Version: 1.0",
    ] {
        assert!(head.lines().any(|known| known == line), "{line} in {head}");
    }
    assert!(!head.contains("h@i.j") && head.contains("Message-Id: <1795233600000."), "{head}");
    assert!(
        body.contains("Content-Type: text/plain; charset=UTF-8") && body.contains("t.\r\n.dot firing\r\n"),
        "{body}"
    );
    assert!(body.contains("Content-Type: text/html; charset=UTF-8") && body.contains("<!DOCTYPE html>"), "{body}");
}
