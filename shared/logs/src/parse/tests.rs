use super::*;
use proptest::prelude::*;

type Pairs = Vec<(String, String)>;

fn told(run: impl FnOnce(Emit<'_>)) -> Pairs {
    let mut pairs = Pairs::new();
    run(&mut |name, value| pairs.push((name.to_owned(), value.text().into_owned())));
    pairs
}

fn shown(pairs: &Pairs) -> String {
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("|")
}

/// From Loki's documentation of `| json`: nested properties flattened, arrays skipped.
#[test]
fn json_flattens_as_loki_documents_it() {
    let line = br#"{
        "protocol": "HTTP/2.0",
        "servers": ["129.0.1.1","10.2.1.3"],
        "request": {"time": "6.032", "method": "GET", "host": "foo.grafana.net", "size": "55",
                    "headers": {"Accept": "*/*", "User-Agent": "curl/7.68.0"}},
        "response": {"status": 401, "size": "228", "latency_seconds": "6.031"}
    }"#;
    let pairs = told(|emit| json_strict(line, emit).unwrap());
    assert_eq!(
        shown(&pairs),
        "protocol=HTTP/2.0|request_time=6.032|request_method=GET|request_host=foo.grafana.net|request_size=55|\
         request_headers_Accept=*/*|request_headers_User_Agent=curl/7.68.0|response_status=401|response_size=228|\
         response_latency_seconds=6.031"
    );
}

#[test]
fn json_names_values_and_faults() {
    for (line, expected) in [
        (r#"{"a":1,"b":-1.5e3,"c":true,"d":false,"e":null,"f":""}"#, "a=1|b=-1.5e3|c=true|d=false|f="),
        (r#"{"a b":1,"1st":2,"ü":3,"a.b":4," x ":5,"":6}"#, "a_b=1|_1st=2|_=3|a_b=4|x=5"),
        (r#"{"a":{"b":{"1":1}},"a_b_1":2}"#, "a_b_1=1|a_b_1=2"),
        (r#"{"a":"\u00e9\ud83d\ude00\n\"\\\/","\u0062":"\ud83d"}"#, "a=é😀\n\"\\/|b=\u{fffd}"),
        (r#"{"l":[1,{"a":"]"},[2]],"o":{},"z":1} rest"#, "z=1"),
        ("{\"a\":\"tab\there\"}", "a=tab\there"),
    ] {
        let pairs = told(|emit| json(line.as_bytes(), emit).unwrap());
        assert_eq!(shown(&pairs), expected, "{line}");
    }
    assert_eq!(shown(&told(|emit| json(b"{\"a\":\"\xff\"}", emit).unwrap())), "a=\u{fffd}");
    for (line, before, at) in [
        ("", "", 0),
        ("plain", "", 0),
        ("[1]", "", 0),
        (r#"{"a":1"#, "a=1", 6),
        (r#"{"a":1,}"#, "a=1", 7),
        (r#"{"a":1,"b":"#, "a=1", 11),
        (r#"{"a":tru}"#, "", 5),
        (r#"{"a" 1}"#, "", 5),
        (r#"{"a":"x"#, "", 5),
        (r#"{"a":"x\"#, "", 5),
        (r#"{"a":[1"#, "", 6),
    ] {
        let mut fault = None;
        let pairs = told(|emit| fault = json(line.as_bytes(), emit).err());
        assert_eq!(shown(&pairs), before, "{line}");
        assert!(matches!(fault, Some(ParseError::Unexpected { at: found, .. }) if found == at), "{line}: {fault:?}");
    }
    assert!(json_strict(br#"{"a":1} x"#, &mut |_, _| {}).is_err());
    assert!(json_strict(b" {} \n", &mut |_, _| {}).is_ok());
}

#[test]
fn json_is_bounded() {
    let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(json(deep(DEPTH_MAX).as_bytes(), &mut |_, _| {}).is_ok());
    assert_eq!(json(deep(DEPTH_MAX + 1).as_bytes(), &mut |_, _| {}), Err(ParseError::TooDeep));
    assert_eq!(json(deep(100_000).as_bytes(), &mut |_, _| {}), Err(ParseError::TooDeep));
    let long = format!("{{\"{}\":1}}", "a".repeat(NAME_BYTES_MAX + 1));
    assert_eq!(json(long.as_bytes(), &mut |_, _| {}), Err(ParseError::NameTooLong));
    assert!(
        json(format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes(), &mut |_, _| {}).is_ok()
    );
}

#[test]
fn unpack_takes_what_pack_made() {
    let packed = unpack(br#"{"container":"app","pod":"x","_entry":"a \"line\"","n":1}"#).unwrap().unwrap();
    assert_eq!(packed.entry, "a \"line\"");
    assert_eq!(shown(&packed.labels), "container=app|pod=x");
    assert_eq!(unpack(br#"{"a":"b"}"#), Ok(None));
    assert!(unpack(b"text").is_err());
}

/// From Loki's documentation of `| json name="expression"`.
#[test]
fn json_expressions_reach_into_lists() {
    let line = br#"{"servers":["129.0.1.1","10.2.1.3"],"request":{"headers":{"User-Agent":"curl/7.68.0"},"a":{"b":[{"c":7}]}},"n":null}"#;
    for (path, expected) in [
        ("servers[0]", Some("129.0.1.1")),
        ("servers[1]", Some("10.2.1.3")),
        ("servers[2]", None),
        ("servers", Some(r#"["129.0.1.1","10.2.1.3"]"#)),
        ("request.headers[\"User-Agent\"]", Some("curl/7.68.0")),
        ("request.headers", Some(r#"{"User-Agent":"curl/7.68.0"}"#)),
        ("[\"request\"].a.b[0].c", Some("7")),
        ("request.a.b.c", None),
        ("n", None),
        ("gone", None),
    ] {
        let mut found = None;
        let path = JsonPath::parse(path).unwrap();
        json_at(line, &path, &mut |value| found = Some(value.text().into_owned())).unwrap();
        assert_eq!(found.as_deref(), expected, "{path:?}");
    }
    for bad in ["", ".", "a.", "a[", "a[x]", "a[\"x]", "a]", "0a", "a b", &"a.".repeat(40)] {
        assert!(JsonPath::parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn logfmt_reads_what_programs_write() {
    // The first is from Loki's documentation.
    for (line, expected, pairs, clean) in [
        (
            r#"at=info method=GET path=/ host=grafana.net fwd="124.133.124.161" service=8ms status=200"#,
            "at=info|method=GET|path=/|host=grafana.net|fwd=124.133.124.161|service=8ms|status=200",
            7,
            true,
        ),
        (r#"msg="a \"b\"\n\\" x= bare y=1"#, "msg=a \"b\"\n\\|x=|bare=|y=1", 3, true),
        ("a.b=1 1c=2", "a_b=1|_1c=2", 2, true),
        ("url=/a?b=c", "url=/a?b=c", 1, false),
        ("=x a=1", "x=|a=1", 1, false),
        ("\"quoted text\" a=1", "a=1", 1, false),
        ("a=\"open", "", 1, false),
        ("plain text", "plain=|text=", 0, true),
        ("", "", 0, true),
    ] {
        let mut found = Logfmt::default();
        let told = told(|emit| found = logfmt(line.as_bytes(), emit));
        assert_eq!((shown(&told).as_str(), found.pairs, found.fault.is_none()), (expected, pairs, clean), "{line}");
    }
}

/// From Loki's documentation of `| pattern`.
#[test]
fn patterns_match_as_lokis_do() {
    let line = br#"0.191.12.2 - - [10/Jun/2021:09:14:29 +0000] "GET /api/plugins/versioncheck HTTP/1.1" 200 2 "-" "Go-http-client/2.0" "13.76.247.102, 34.120.177.193" "TLSv1.2" "US" """#;
    let pattern = Pattern::parse(r#"<ip> - - <_> "<method> <uri> <_>" <status> <size> <_> "<agent>" <_>"#).unwrap();
    let mut matched = false;
    let pairs = told(|emit| matched = pattern.captures(line, emit));
    assert!(matched);
    assert_eq!(
        shown(&pairs),
        "ip=0.191.12.2|method=GET|uri=/api/plugins/versioncheck|status=200|size=2|agent=Go-http-client/2.0"
    );
    for (text, line, expected) in [
        ("level=<level> ", "level=info x", Some("level=info")),
        ("level=<level> ", "x level=info", None),
        ("<a>:<b>", "no colon", Some("a=no colon")),
        ("<a> <b>", "1 2 3", Some("a=1|b=2 3")),
        ("<_>x=<a>y", "..x=1y", Some("a=1")),
        ("<1> <a>", "<1> z", Some("a=z")),
    ] {
        let mut matched = false;
        let pairs = told(|emit| matched = Pattern::parse(text).unwrap().captures(line.as_bytes(), emit));
        assert_eq!(matched.then(|| shown(&pairs)).as_deref(), expected, "{text}");
    }
    for bad in ["", "text", "<_>", "<a><b>", "<a> <a>"] {
        assert!(Pattern::parse(bad).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn expressions_tell_their_groups() {
    let regexp = Regexp::new(r"(?P<method>\w+) (?<path>[\w/]+) \((?P<status>\d+?)\)( (?P<more>.*))?").unwrap();
    assert_eq!(regexp.names().collect::<Vec<_>>(), ["method", "path", "status", "more"]);
    let pairs = told(|emit| assert!(regexp.captures(b"POST /api/prom (200)", emit)));
    assert_eq!(shown(&pairs), "method=POST|path=/api/prom|status=200");
    assert_eq!(shown(&told(|emit| assert!(Regexp::new("x(?P<a>.+)").unwrap().captures(b"x\xff", emit)))), "a=\u{fffd}");
    assert!(!regexp.captures(b"nothing", &mut |_, _| panic!("told")));
    for (bad, says) in [
        ("(?P<a>x", "at character 1"),
        ("x(y", "at character 2"),
        ("[z-a]", "at character 2"),
        ("no group", "named group"),
        (r"(?P<a>\p{L}{1000}{1000})", "smaller repetition"),
    ] {
        let fault = Regexp::new(bad).unwrap_err();
        assert!(fault.contains(says), "{bad}: {fault}");
        assert!(!fault.contains('\n'), "{fault}");
    }
    assert!(Regexp::new(&format!("(?P<a>{})", "x".repeat(5000))).is_err());
    assert!(compile("[äö]+").unwrap().is_match("ö".as_bytes()));
}

#[test]
fn container_lines() {
    let line = br#"{"log":"a \"b\"\r\n","stream":"stderr","attrs":{"tag":"x"},"time":"2026-11-20T22:18:00.1Z"}"#;
    assert_eq!(
        shown(&told(|emit| docker(line, emit).unwrap())),
        "log=a \"b\"|stream=stderr|attrs_tag=x|time=2026-11-20T22:18:00.1Z"
    );
    for (log, text) in [(r"a\\n", r"a\n"), (r"a\\\n", r"a\"), (r"\n\n", "\n"), ("n", "n"), ("", "")] {
        let line = format!(r#"{{"log":"{log}"}}"#);
        assert_eq!(shown(&told(|emit| docker(line.as_bytes(), emit).unwrap())), format!("log={text}"));
    }
    assert!(docker(br#"{"a":1}"#, &mut |_, _| {}).is_err());
    let line = b"2026-11-20T22:18:00.123456789+00:00 stdout F a  b ";
    assert_eq!(
        shown(&told(|emit| cri(line, emit).unwrap())),
        "time=2026-11-20T22:18:00.123456789+00:00|stream=stdout|flags=F|log=a  b "
    );
    for bad in ["", "x", "a b c d", "2026-11-20T22:18:00Z stdin F x", "2026-11-20T22:18:00Z stdout X x"] {
        assert!(cri(bad.as_bytes(), &mut |_, _| panic!("told")).is_err(), "{bad:?} was taken");
    }
}

/// From nginx's and Apache's documentation of the combined and the common format.
#[test]
fn access_lines() {
    let line = br#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; \"I\" ;Nav)""#;
    assert_eq!(
        shown(&told(|emit| access(line, emit).unwrap())),
        "remote_addr=127.0.0.1|remote_user=frank|time=10/Oct/2000:13:55:36 -0700|request=GET /apache_pb.gif HTTP/1.0|\
         method=GET|path=/apache_pb.gif|protocol=HTTP/1.0|status=200|body_bytes_sent=2326|\
         http_referer=http://www.example.com/start.html|http_user_agent=Mozilla/4.08 [en] (Win98; \"I\" ;Nav)"
    );
    let line = br#"::1 - - [10/Oct/2000:13:55:36 -0700] "\x16\x03" 400 -"#;
    assert_eq!(
        shown(&told(|emit| access(line, emit).unwrap())),
        r"remote_addr=::1|time=10/Oct/2000:13:55:36 -0700|request=\x16\x03|status=400"
    );
    for bad in [
        "",
        "a b c",
        "a b c [x] \"r\" z 1",
        "a b c [x] \"r",
        "a b c [x] \"r\\",
        "a b c [x] \"r\" 1 1 x",
        "a b c [xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx] \"r\" 1 1",
    ] {
        assert!(access(bad.as_bytes(), &mut |_, _| panic!("told")).is_err(), "{bad:?} was taken");
    }
}

#[test]
fn csv_lines() {
    let columns = ["a", "b", "c"].map(str::to_owned);
    for (line, separator, expected) in [
        ("1,2,3", b',', Some("a=1|b=2|c=3")),
        (r#""x,""y""",,z"#, b',', Some(r#"a=x,"y"|b=|c=z"#)),
        ("1;2;3", b';', Some("a=1|b=2|c=3")),
        ("1\t2\t", b'\t', Some("a=1|b=2|c=")),
        ("1,2", b',', None),
        ("1,2,3,4", b',', None),
        (r#"1,"2,3"#, b',', None),
        (r#"1,"2"x,3"#, b',', None),
    ] {
        let mut good = false;
        let pairs = told(|emit| good = csv(line.as_bytes(), separator, &columns, emit).is_ok());
        assert_eq!(good.then(|| shown(&pairs)).as_deref(), expected, "{line}");
    }
}

/// The examples of RFC 5424 section 6.5 and RFC 3164 section 5.4, and what rsyslog writes to files.
#[test]
fn syslog_lines() {
    for (line, expected, severity) in [
        (
            "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8",
            "facility=auth|severity=crit|time=2003-10-11T22:14:15.003Z|hostname=mymachine.example.com|app_name=su|\
             msg_id=ID47|message='su root' failed for lonvick on /dev/pts/8",
            Some(2),
        ),
        (
            "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.",
            "facility=local4|severity=notice|time=2003-08-24T05:14:15.000003-07:00|hostname=192.0.2.1|app_name=myproc|\
             proc_id=8710|message=%% It's time to make the do-nuts.",
            Some(5),
        ),
        (
            r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="App\]lication"][examplePriority@32473 class="high"]"#,
            "facility=local4|severity=notice|time=2003-10-11T22:14:15.003Z|hostname=mymachine.example.com|app_name=evntslog|\
             msg_id=ID47|exampleSDID_iut=3|exampleSDID_eventSource=App]lication|examplePriority_class=high|message=",
            Some(5),
        ),
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "facility=auth|severity=crit|time=Oct 11 22:14:15|hostname=mymachine|app_name=su|\
             message='su root' failed for lonvick on /dev/pts/8",
            Some(2),
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            "facility=user|severity=notice|time=Feb  5 17:32:18|hostname=10.0.0.99|message=Use the BFG!",
            Some(5),
        ),
        ("<0>no time at all", "facility=kern|severity=emerg|message=no time at all", Some(0)),
        // Of what only begins as RFC 5424 the text is kept.
        ("<34>1 - - - - - [a b]", "facility=auth|severity=crit|message=1 - - - - - [a b]", Some(2)),
        (
            "Nov 20 22:18:00 host sshd[712]: Accepted",
            "time=Nov 20 22:18:00|hostname=host|app_name=sshd|proc_id=712|message=Accepted",
            None,
        ),
        (
            "2026-11-20T22:18:00.123456+01:00 host kernel: [ 1.0] x: y",
            "time=2026-11-20T22:18:00.123456+01:00|hostname=host|app_name=kernel|message=[ 1.0] x: y",
            None,
        ),
    ] {
        let mut found = None;
        let pairs = told(|emit| found = syslog(line.as_bytes(), emit).unwrap());
        assert_eq!((shown(&pairs).as_str(), found), (expected, severity), "{line}");
    }
    for bad in ["", "text", "<192>x", "<>x", "<34"] {
        assert!(syslog(bad.as_bytes(), &mut |_, _| {}).is_err(), "{bad:?} was taken");
    }
}

/// Keys and leaves of a value as [`json`] is expected to tell them.
fn flat(value: &serde_json::Value, prefix: &str, pairs: &mut Pairs) {
    let serde_json::Value::Object(map) = value else { return };
    for (key, value) in map {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}_{key}") };
        match value {
            serde_json::Value::Object(_) => flat(value, &name, pairs),
            serde_json::Value::String(text) => pairs.push((name, text.clone())),
            serde_json::Value::Number(number) => pairs.push((name, number.to_string())),
            serde_json::Value::Bool(flag) => pairs.push((name, flag.to_string())),
            serde_json::Value::Null | serde_json::Value::Array(_) => {}
        }
    }
}

fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            proptest::collection::hash_map("[a-z]{1,5}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_agrees_with_serde_json(value in values(), pretty in any::<bool>()) {
        let line = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let mut good = false;
        let found = told(|emit| good = json_strict(line.as_bytes(), emit).is_ok());
        prop_assert_eq!(good, value.is_object());
        let mut expected = Pairs::new();
        flat(&value, "", &mut expected);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn broken_json_is_refused_as_serde_json_does(line in r#"\{("a"|:|,|1|\{|\}|\[|\]| |null|true|"){0,14}"#) {
        let known: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&line);
        let found = json_strict(line.as_bytes(), &mut |_, _| {});
        // What is in lists is not looked at.
        if known.is_ok() || !line.contains('[') {
            prop_assert_eq!(found.is_ok(), known.is_ok(), "{:?}", found);
        }
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120), text in "[ -~]{0,80}",
                      syntax in r#"([<>\[\]{}"\\=:,. 1a-]|Nov 20 22:18:00|\\u12|2026-11-20T22:18:00Z){0,40}"#) {
        let columns = ["a".to_owned(), "b".to_owned()];
        let pattern = Pattern::parse("<a> \"<b>\"").unwrap();
        let regexp = Regexp::new("(?P<a>.*)=(?P<b>.)").unwrap();
        let _ = (Pattern::parse(&syntax), JsonPath::parse(&syntax), Pattern::parse(&text));
        for line in [&bytes[..], text.as_bytes(), syntax.as_bytes(), &[b"<34>1 ", syntax.as_bytes()].concat(), &[b"<3>", text.as_bytes()].concat()] {
            let mut sum = 0;
            let mut emit = |name: &str, value: Value<'_>| sum += name.len() + value.text().len();
            let _ = json(line, &mut emit);
            let _ = json_strict(line, &mut emit);
            let _ = (unpack(line), logfmt(line, &mut emit), docker(line, &mut emit), cri(line, &mut emit));
            let _ = (access(line, &mut emit), csv(line, b',', &columns, &mut emit), syslog(line, &mut emit));
            let _ = (pattern.captures(line, &mut emit), regexp.captures(line, &mut emit));
            let _ = json_at(line, &JsonPath::parse("a[1].b").unwrap(), &mut |_| {});
        }
    }
}
