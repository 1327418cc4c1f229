use super::*;

fn config(json: &str) -> Config {
    serde_json::from_str(json).unwrap()
}

/// Labels written `a=1 b=2`.
fn labels(text: &str) -> Labels {
    Labels::new(text.split_whitespace().map(|pair| pair.split_once('=').unwrap())).unwrap()
}

fn shown(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_each_action_does() {
    let table: &[(&str, &str, Option<&str>)] = &[
        (
            r#"{"source_labels":["a"],"regex":"f(.*)","target_label":"d","replacement":"ch${1}-ch${1}"}"#,
            "a=foo b=bar",
            Some("a=foo b=bar d=choo-choo"),
        ),
        (
            r#"{"source_labels":["a","b"],"regex":"f(.*);(.*)r","target_label":"a","replacement":"b${1}${2}m"}"#,
            "a=foo b=bar",
            Some("a=boobam b=bar"),
        ),
        (r#"{"source_labels":["a"],"target_label":"b"}"#, "a=foo b=bar", Some("a=foo b=foo")),
        (r#"{"target_label":"b","replacement":"x"}"#, "a=foo", Some("a=foo b=x")),
        (
            r#"{"source_labels":["a"],"regex":"f","target_label":"b","replacement":"x"}"#,
            "a=foo b=bar",
            Some("a=foo b=bar"),
        ),
        (
            r#"{"source_labels":["a"],"regex":".*(b).*","target_label":"d","replacement":"$1"}"#,
            "a=foo d=x",
            Some("a=foo d=x"),
        ),
        (r#"{"source_labels":["a"],"regex":"foo","target_label":"b","replacement":""}"#, "a=foo b=bar", Some("a=foo")),
        (r#"{"source_labels":["n"],"target_label":"b"}"#, "a=foo b=bar", Some("a=foo")),
        (
            r#"{"source_labels":["a"],"regex":"(?P<x>.)oo","target_label":"l_${x}","replacement":"$x$$"}"#,
            "a=foo",
            Some("a=foo l_f=f$"),
        ),
        (
            r#"{"source_labels":["a"],"regex":"(.)oo","target_label":"b","replacement":"$1x|${1}x|$9"}"#,
            "a=foo",
            Some("a=foo b=|fx|"),
        ),
        (r#"{"source_labels":["a"],"regex":"(x?).*","target_label":"$1","replacement":"v"}"#, "a=foo", Some("a=foo")),
        (
            r#"{"source_labels":["a","b"],"separator":"@","regex":"foo@bar","target_label":"c","replacement":"1"}"#,
            "a=foo b=bar",
            Some("a=foo b=bar c=1"),
        ),
        (r#"{"source_labels":["a"],"regex":"foo|bar","action":"keep"}"#, "a=foo", Some("a=foo")),
        (r#"{"source_labels":["a"],"regex":"fo","action":"keep"}"#, "a=foo", None),
        (r#"{"source_labels":["n"],"regex":"x","action":"keep"}"#, "a=foo", None),
        (r#"{"source_labels":["a"],"regex":"f.*","action":"drop"}"#, "a=foo", None),
        (r#"{"source_labels":["a"],"regex":"f","action":"drop"}"#, "a=foo", Some("a=foo")),
        (r#"{"source_labels":["a"],"target_label":"b","action":"keepequal"}"#, "a=1 b=1", Some("a=1 b=1")),
        (r#"{"source_labels":["a"],"target_label":"b","action":"keepequal"}"#, "a=1 b=2", None),
        (r#"{"source_labels":["a"],"target_label":"b","action":"dropequal"}"#, "a=1 b=1", None),
        (r#"{"source_labels":["a"],"target_label":"b","action":"DropEqual"}"#, "a=1 b=2", Some("a=1 b=2")),
        // MD5 of "a;b" and of "10.0.0.1:9100", their last eight bytes, modulo 8.
        (
            r#"{"source_labels":["a","b"],"target_label":"s","modulus":8,"action":"hashmod"}"#,
            "a=a b=b",
            Some("a=a b=b s=2"),
        ),
        (
            r#"{"source_labels":["a"],"target_label":"s","modulus":8,"action":"hashmod"}"#,
            "a=10.0.0.1:9100",
            Some("a=10.0.0.1:9100 s=5"),
        ),
        (r#"{"regex":"__meta_(.*)","action":"labelmap"}"#, "__meta_x=1 a=2", Some("__meta_x=1 a=2 x=1")),
        (r#"{"regex":"m_(.)_(.)","replacement":"${2}_$1","action":"labelmap"}"#, "m_x_y=1", Some("m_x_y=1 y_x=1")),
        (r#"{"regex":"a|b","action":"labeldrop"}"#, "a=1 ab=2 b=3", Some("ab=2")),
        (r#"{"regex":"a|b","action":"labelkeep"}"#, "a=1 ab=2 b=3", Some("a=1 b=3")),
        (r#"{"source_labels":["a"],"target_label":"b","action":"lowercase"}"#, "a=FOO", Some("a=FOO b=foo")),
        (r#"{"source_labels":["a","c"],"target_label":"b","action":"uppercase"}"#, "a=foo", Some("a=foo b=FOO;")),
    ];
    for (rule, before, after) in table {
        let rules = rules(&[config(rule)]).unwrap();
        let got = relabel(&rules, &labels(before)).unwrap();
        assert_eq!(got.as_ref().map(shown).as_deref(), *after, "{rule}");
    }
}

#[test]
fn rules_apply_in_order_and_stop_at_a_drop() {
    let list = [
        config(r#"{"source_labels":["a"],"target_label":"b"}"#),
        config(r#"{"source_labels":["b"],"regex":"gone","action":"drop"}"#),
        config(r#"{"source_labels":["b"],"regex":"(.).*","target_label":"c"}"#),
    ];
    let rules = rules(&list).unwrap();
    assert_eq!(relabel(&rules, &labels("a=xyz")).unwrap().as_ref().map(shown).as_deref(), Some("a=xyz b=xyz c=x"));
    assert_eq!(relabel(&rules, &labels("a=gone")).unwrap(), None);
}

#[test]
fn a_dot_matches_a_line_break() {
    let rules = rules(&[config(r#"{"source_labels":["a"],"target_label":"b"}"#)]).unwrap();
    let before = Labels::new([("a", "x\ny")]).unwrap();
    assert_eq!(relabel(&rules, &before).unwrap().unwrap().value("b"), "x\ny");
}

#[test]
fn faults_name_the_key() {
    let table: &[(&str, &str)] = &[
        (r#"{"regex":"("}"#, "[0].regex"),
        (r#"{"regex":"a)(b","target_label":"x"}"#, "[0].regex"),
        (r#"{"regex":"(?:a{1000}){1000}","target_label":"x"}"#, "[0].regex"),
        (r#"{"source_labels":["a"]}"#, "[0].target_label"),
        (r#"{"action":"hashmod","target_label":"a"}"#, "[0].modulus"),
        (r#"{"action":"lowercase"}"#, "[0].target_label"),
        (r#"{"action":"uppercase","target_label":"a","replacement":"x"}"#, "[0].replacement"),
        (r#"{"action":"keepequal","target_label":"a","regex":"x"}"#, "[0].regex"),
        (r#"{"action":"dropequal","source_labels":["b"]}"#, "[0].target_label"),
        (r#"{"action":"labeldrop","regex":"x","source_labels":["a"]}"#, "[0].source_labels"),
        (r#"{"action":"labelkeep","regex":"x","target_label":"a"}"#, "[0].target_label"),
        (r#"{"action":"labelmap","replacement":""}"#, "[0].replacement"),
    ];
    for (rule, key) in table {
        let faults = rules(&[config(rule)]).unwrap_err();
        assert_eq!(faults[0].0, *key, "{rule}: {faults:?}");
    }
    let unknown = serde_json::from_str::<Config>(r#"{"target":"a"}"#).unwrap_err().to_string();
    assert!(unknown.contains("target_label"), "{unknown}");
    assert!(serde_json::from_str::<Config>(r#"{"action":"explode"}"#).is_err());
}
