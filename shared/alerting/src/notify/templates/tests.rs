use super::*;
use crate::notify::fixture::{NOW, both, data, resolved, templates};

fn text(data: &Data, template: &str) -> String {
    let templates = templates(&[("own.tmpl", r#"{{ define "own" }}own {{ .Status }}{{ end }}"#)]);
    let mut writer = Writer::new(&templates, data, NOW);
    let made = writer.text(template);
    assert_eq!(writer.problems(), Vec::<String>::new(), "{template}");
    made
}

#[test]
fn templates_see_a_notice_as_alertmanagers_do() {
    let cases = [
        ("{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}", r"on\.call firing http://skerry:9093"),
        ("{{ len .Alerts }} {{ len .Alerts.Firing }} {{ .Alerts.Resolved | len }}", "2 1 1"),
        ("{{ range .Alerts }}{{ .Labels.instance }}={{ .Status }} {{ end }}", "a:9100=firing b:9100=resolved "),
        ("{{ (index .Alerts 1).Annotations.summary }}", "Hot at <b:9100> & more"),
        ("{{ .GroupLabels.SortedPairs.Values | join \" \" }}", "Hot"),
        ("{{ .CommonLabels.SortedPairs.Names | join \",\" }}", "alertname,severity"),
        ("{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}", "critical"),
        ("{{ .CommonLabels.Remove (stringSlice \"alertname\" \"severity\") | len }}", "0"),
        ("{{ (index .Alerts 0).Labels.Names | join \",\" }}", "alertname,instance,severity"),
        ("{{ .CommonLabels }}", "alertname=Hot, severity=critical"),
        ("{{ .CommonLabels.nope }}|{{ .CommonAnnotations.summary }}", "|"),
        ("{{ range $k, $v := .CommonLabels }}{{ $k }}:{{ $v }};{{ end }}", "alertname:Hot;severity:critical;"),
        ("{{ range .CommonLabels.SortedPairs }}{{ .Name }}={{ .Value }};{{ end }}", "alertname=Hot;severity=critical;"),
        ("{{ (index .Alerts 0).StartsAt.Format \"15:04:05\" }}", "03:50:00"),
        (
            "{{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 1).EndsAt }}",
            "true 2026-11-21 03:58:59.5 +0000 UTC",
        ),
        ("{{ (index .Alerts 0).Fingerprint | len }}", "16"),
        ("{{ date \"2006-01-02\" (index .Alerts 0).StartsAt }}", "2026-11-21"),
        ("{{ (index .Alerts 0).StartsAt | tz \"Test/Zone\" | date \"15:04 MST\" }}", "05:50 TEST"),
        ("{{ since (index .Alerts 0).StartsAt }}", "10m0s"),
        ("{{ (since (index .Alerts 0).StartsAt).Minutes }}", "10"),
        (
            "{{ trimSpace \"  a \" }}|{{ title \"hot DISK isn't\" }}|{{ toUpper \"a\" }}{{ toLower \"B\" }}",
            "a|Hot Disk Isn't|Ab",
        ),
        ("{{ match \"^H\" .CommonLabels.alertname }} {{ reReplaceAll \"o(.)\" \"${1}o\" \"Hot\" }}", "true Hto"),
        ("{{ urlUnescape \"a+b%2Fc\" }} {{ safeUrl \"x\" }} {{ safeHtml \"<b>\" }}", "a b/c x <b>"),
        ("{{ toJson .CommonLabels }}", r#"{"alertname":"Hot","severity":"critical"}"#),
        ("{{ toJson (dict \"a\" (list 1 true nil) \"b\" 1.5) }}", r#"{"a":[1,true,null],"b":1.5}"#),
        ("{{ append (list \"a\") \"b\" | join \"-\" }}", "a-b"),
        ("{{ humanizeDuration 90 }}", "1m 30s"),
        ("{{ template \"own\" . }}", "own firing"),
    ];
    for (template, expected) in cases {
        assert_eq!(text(&both(), template), expected, "{template}");
    }
    let json: serde_json::Value = serde_json::from_str(&text(&both(), "{{ toJson . }}")).unwrap();
    let webhook: serde_json::Value = serde_json::from_slice(&both().webhook_json(0)).unwrap();
    for (name, value) in json.as_object().unwrap() {
        assert_eq!(webhook[name], *value, "{name}");
    }
}

#[test]
fn the_default_texts_say_what_alertmanagers_say() {
    assert_eq!(text(&both(), "{{ template \"__subject\" . }}"), "[FIRING:1] Hot (critical)");
    assert_eq!(text(&resolved(), "{{ template \"__subject\" . }}"), "[RESOLVED] Hot (b:9100 critical)");
    let alone = Data { common_labels: both().group_labels, ..both() };
    assert_eq!(text(&alone, "{{ template \"slack.default.title\" . }}"), "[FIRING:1] Hot");
    let url = text(&both(), "{{ template \"__alertmanagerURL\" . }}");
    assert_eq!(url, r"http://skerry:9093/#/alerts?receiver=on%5C.call");
    // Every default of a setting has its template, and every template can be carried out.
    let all = templates(&[]);
    let names: Vec<&str> = all.set.names().filter(|name| name.contains(".default.")).collect();
    assert!(names.len() > 30, "{names:?}");
    for name in names {
        let over = if name.ends_with("instances") { ".Alerts.Firing" } else { "." };
        for data in [both(), resolved(), data(&[])] {
            text(&data, &format!("{{{{ template {name:?} {over} }}}}"));
        }
    }
    for name in ["telegram", "pushover", "opsgenie", "discord", "msteams", "webex", "sns", "wechat"] {
        let name = match name {
            "opsgenie" => "opsgenie.default.description".to_owned(),
            "msteams" => "msteams.default.text".to_owned(),
            name => format!("{name}.default.message"),
        };
        let made = text(&both(), &format!("{{{{ template {name:?} . }}}}"));
        for part in ["a:9100", "b:9100", "summary", "http://p/graph", "2026-11-21 03:50:00", "2026-11-21 03:58:59"] {
            assert!(made.contains(part), "{name} lacks {part}: {made}");
        }
        assert!(!made.contains("\n\n\n"), "{name}: {made}");
    }
}

#[test]
fn html_is_escaped_but_for_what_is_html() {
    let templates = templates(&[]);
    let mut writer = Writer::new(&templates, &both(), NOW);
    let made = writer.html("<i>{{ (index .Alerts 0).Annotations.summary }}</i>{{ safeHtml \"<b>\" }}");
    assert_eq!(made, "<i>Hot at &lt;a:9100&gt; &amp; more</i><b>");
    let mail = writer.html("{{ template \"email.default.html\" . }}");
    assert!(mail.contains("Hot at &lt;a:9100&gt; &amp; more"), "{mail}");
    assert!(mail.contains("href=\"http://p/graph?g0.expr=up"), "{mail}");
    assert!(mail.contains("1 firing") && mail.contains("1 resolved"), "{mail}");
    let mut odd = both();
    odd.alerts[0].generator_url = "javascript:alert(1)".into();
    let mut writer = Writer::new(&templates, &odd, NOW);
    assert!(!writer.html("{{ template \"email.default.html\" . }}").contains("javascript"));
}

#[test]
fn what_fails_says_so_in_its_place_and_costs_nothing_else() {
    let templates = templates(&[]);
    let mut writer = Writer::new(&templates, &both(), NOW);
    let made = writer.text("alert: {{ template \"nowhere\" . }}");
    assert!(made.starts_with("alert: <template error: ") && made.contains("nowhere"), "{made}");
    assert!(writer.text("{{ .Status").contains("template error"));
    assert!(writer.html("{{ .Status.x.y }}<b>").contains("&lt;template error"));
    assert_eq!(writer.word("{{ nofunction }}", "error"), "error");
    assert!(writer.text("{{ tz \"../etc/passwd\" (index .Alerts 0).StartsAt }}").contains("unknown time zone"));
    assert_eq!(writer.text("{{ .Status }}"), "firing");
    assert_eq!(writer.problems().len(), 5);
    let endless = r#"{{ define "x" }}{{ template "x" . }}{{ end }}{{ template "x" . }}"#;
    let huge = r#"{{ $x := "aaaaaaaaaaaaaaaa" }}{{ range $i, $e := (list 1 2 3 4 5 6 7 8 9 10) }}{{ $x = print $x $x $x $x $x $x }}{{ end }}{{ $x }}"#;
    for bad in [endless, huge] {
        let mut writer = Writer::new(&templates, &both(), NOW);
        assert!(writer.text(bad).contains("<template error"), "{bad}");
    }
}

#[test]
fn files_that_are_no_templates_are_faults_and_good_ones_replace_defaults() {
    let bad = Templates::new(&[("bad.tmpl".into(), "a\n{{ define }}".into())], |_| None).unwrap_err();
    assert_eq!(bad.file, "bad.tmpl");
    assert!(bad.to_string().contains(":2:"), "{bad}");
    let templates = templates(&[("a", r#"{{ define "slack.default.title" }}mine{{ end }}"#)]);
    let mut writer = Writer::new(&templates, &both(), NOW);
    assert_eq!(writer.text("{{ template \"slack.default.title\" . }}"), "mine");
}
