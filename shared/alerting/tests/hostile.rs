//! What peers, people and files may say, damaged in whatever way: it is refused or taken, and nothing panics.
//!
//! Each input is a sound one with pieces cut out, put in and doubled, so that damage reaches behind the first checks.

use proptest::prelude::*;
use skerry_alerting::Now;
use skerry_alerting::api;
use skerry_alerting::manager::{Config, Manager, Options, TimeInterval, matcher};
use skerry_alerting::notify::config::Security;
use skerry_alerting::notify::{Step, mqtt, smtp};
use skerry_alerting::unittest::TestFile;
use skerry_damage::{Cut, cuts, damaged};
use skerry_model::{Mono, UnixMillis};
use std::sync::Arc;

const ROUTES: &str = r#"
global: {resolve_timeout: 5m, smtp_smarthost: 'mail:25', smtp_from: a@b, slack_api_url: 'https://x/y'}
route:
  receiver: all
  group_by: ['...']
  routes:
    - matchers: [severity="page", 'site=~"a|b"', '"ü" != x']
      match_re: {job: 'n.*'}
      mute_time_intervals: [night]
      continue: true
inhibit_rules:
  - {source_matchers: [a="b"], target_matchers: [c!~"d+"], equal: [site]}
time_intervals:
  - name: night
    time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}], weekdays: ['monday:friday'], days_of_month: ['-3:-1'], months: ['january:march'], years: ['2020:2030'], location: UTC}]
receivers:
  - name: all
    local: true
    webhook_configs: [{url: 'http://h/x', max_alerts: 3, http_config: {basic_auth: {username: u, password: p}}}]
    email_configs: [{to: 'c@d', headers: {Subject: '{{ .Status }}'}}]
    slack_configs: [{channel: '#x', fields: [{title: t, value: v, short: true}]}]
    pagerduty_configs: [{routing_key: k, details: {a: '{{ .Alerts | len }}'}}]
    mqtt_configs: [{broker: 'mqtts://h:8883', topic: 'a/{{ .Status }}', qos: 2}]
    exec_configs: [{program: /bin/x, args: [a, '{{ .Receiver }}'], timeout: 3s}]
"#;
const SILENCE: &str = r#"{"matchers":[{"name":"a","value":"b.*","isRegex":true,"isEqual":false},{"name":"c","value":"d"}],
"startsAt":"2026-01-01T00:00:00.000Z","endsAt":"2026-01-02T00:00:00+02:00","createdBy":"me","comment":"ü"}"#;
const ALERTS: &str = r#"[{"labels":{"alertname":"A","ü":"b"},"annotations":{"s":"t"},"startsAt":"2026-01-01T00:00:00Z",
"endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://x"},{"labels":{"alertname":"B"}}]"#;
const TESTS: &str = r#"
rule_files: [a.yml]
evaluation_interval: 1m
fuzzy_compare: true
tests:
  - interval: 30s
    input_series: [{series: 'x{a="b"}', values: '1+1x3 _x2 stale {{schema:1 sum:2 buckets:[1 2]}}x2 -1e3'}]
    alert_rule_test: [{eval_time: 1h30m, alertname: A, exp_alerts: [{exp_labels: {a: b}, exp_annotations: {s: t}}]}]
    promql_expr_test: [{expr: 'rate(x[5m])', eval_time: 2m, exp_samples: [{labels: '{a="b"}', value: 1e-3}]}]
"#;
const INTERVAL: &str = "times: [{start_time: '09:00', end_time: '17:00'}]\nweekdays: ['monday:friday', sunday]\n\
                        days_of_month: ['1:5', '-1']\nmonths: ['january:march', '12']\nyears: ['2020:2022']\n";
const MATCHERS: &str = r#"{foo="bar", "ü\n" !~ "x+", a=~"b\"c", d!=e,}"#;
const MAIL: &[u8] = b"220 hi\r\n250-me\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250-SMTPUTF8\r\n250 8BITMIME\r\n334 PDE4OTY+\r\n235 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n250 done\r\n221 bye\r\n";
const BROKER: &[u8] =
    &[0x20, 2, 0, 0, 0x50, 2, 0, 1, 0x62, 2, 0, 1, 0x70, 2, 0, 1, 0xd0, 0, 0x30, 0xff, 0xff, 0xff, 0x7f];

fn text(sound: &str, cuts: &[Cut]) -> String {
    String::from_utf8_lossy(&damaged(sound.as_bytes(), cuts)).into_owned()
}

fn now(at: u64) -> Now {
    Now { wall: UnixMillis(1_767_225_600_000 + at.cast_signed()), mono: Mono(at) }
}

fn manager() -> Manager {
    let config = Config::parse("am.yml", ROUTES, &|_| None).expect("the routes are sound");
    Manager::new(Arc::new(config), Options::default(), Vec::new(), now(0))
}

/// What a session is told, in pieces of this length, until it has enough; it has to end by the time that the peer does.
fn led(input: &[u8], length: usize, mut step: impl FnMut(&[u8]) -> Step) {
    let mut pieces = input.chunks(length.max(1));
    let mut piece: &[u8] = &[];
    // A session that asks for TLS is called again with nothing; one that does so for ever would not end.
    for _ in 0..input.len() + 8 {
        match step(piece) {
            Step::Done(..) | Step::Last(_) => return,
            Step::StartTls(_) => piece = &[],
            Step::Send(_) => match pieces.next() {
                Some(next) => piece = next,
                None => return,
            },
        }
    }
    panic!("it goes on behind the end of its input");
}

#[test]
fn what_is_damaged_below_is_sound() {
    manager();
    TestFile::parse("t", TESTS).expect("a sound test file");
    TimeInterval::parse(INTERVAL, &|_| None).expect("a sound interval");
    matcher::parse_all(MATCHERS).expect("sound matchers");
    let mut manager = manager();
    for (path, body) in [("/silences", SILENCE), ("/alerts", ALERTS)] {
        let answer = api::answer(&mut manager, "POST", path, "", body.as_bytes(), now(1));
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn files_are_refused_or_taken(cuts in cuts()) {
        let _ = TestFile::parse("t", &text(TESTS, &cuts));
        let _ = TimeInterval::parse(&text(INTERVAL, &cuts), &|_| None).map(|interval| interval.contains(UnixMillis(0)));
        let routes = text(ROUTES, &cuts);
        match Config::parse("am.yml", &routes, &|_| None) {
            Ok(config) => {
                let mut manager = Manager::new(Arc::new(config), Options::default(), Vec::new(), now(0));
                api::answer(&mut manager, "POST", "/alerts", "", ALERTS.as_bytes(), now(1));
                manager.poll(now(60_000));
            }
            Err(faults) => {
                prop_assert!(!faults.faults.is_empty());
                // A fault at the end may name the line behind the last break.
                let lines = skerry_yaml::lines(&routes).count() as u64 + 1;
                for fault in faults.faults {
                    prop_assert!(fault.line.is_none_or(|line| (1..=lines).contains(&line)), "{} of {}", fault, lines);
                }
            }
        }
    }

    #[test]
    fn matchers_are_refused_or_taken(cuts in cuts(), value in ".{0,8}") {
        let input = text(MATCHERS, &cuts);
        for parsed in [matcher::classic::parse_all(&input), matcher::utf8::parse_all(&input), matcher::parse_all(&input)] {
            for matcher in parsed.into_iter().flatten() {
                let _ = matcher.matches(&value);
            }
        }
    }

    #[test]
    fn requests_are_answered(cuts in cuts(), query in "(filter|active|receiver|silenced)=[ -~]{0,20}", path in "/(alerts|silences|silence|alerts/groups|status|receivers)(/[ -~]{0,40})?") {
        let mut manager = manager();
        for (method, path, body) in [
            ("POST", "/silences", damaged(SILENCE.as_bytes(), &cuts)),
            ("POST", "/alerts", damaged(ALERTS.as_bytes(), &cuts)),
            ("GET", "/alerts", Vec::new()),
            ("GET", &path, Vec::new()),
            ("DELETE", &path, Vec::new()),
        ] {
            let answer = api::answer(&mut manager, method, path, &query, &body, now(1));
            prop_assert!((200..600).contains(&answer.status));
        }
        manager.poll(now(600_000));
    }

    #[test]
    fn peers_that_babble_are_left(cuts in cuts(), length in 1usize..64) {
        let letter = smtp::Letter {
            hello: "node".into(),
            security: Security::Offered,
            is_loopback: true,
            login: smtp::Login { username: "u".into(), password: Some("p".into()), secret: Some("s".into()), identity: String::new() },
            from: "a@b".into(),
            to: vec!["c@d".into(), "e@f".into()],
            message: b"Subject: x\r\n\r\n.y".to_vec(),
        };
        let mut mail = smtp::Session::new(letter);
        led(&damaged(MAIL, &cuts), length, |input| mail.step(input));
        for qos in 0..3 {
            let message = mqtt::Message { topic: "t".into(), payload: b"x".to_vec(), qos, ..mqtt::Message::default() };
            let mut broker = mqtt::Session::new(message);
            led(&damaged(BROKER, &cuts), length, |input| broker.step(input));
        }
    }
}
