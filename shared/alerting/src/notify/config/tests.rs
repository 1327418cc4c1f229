use super::*;
use crate::notify::fixture::{integration, parse};

/// Faults of one entry, as key below it and problem.
fn faults(kind: &str, entry: &str) -> Vec<(String, String)> {
    let (_, faults) = parse(&format!("receiver:\n  name: r\n  {kind}:\n  - {entry}\n"));
    let below = format!("receiver.{kind}[0]");
    let faults = faults.into_iter().map(|fault| {
        assert!(matches!(fault.line, Some(3 | 4)), "{fault}");
        (fault.key.strip_prefix(&below).unwrap_or(&fault.key).trim_start_matches('.').to_owned(), fault.problem)
    });
    faults.collect()
}

#[test]
fn every_fault_has_its_key() {
    for (kind, entry, key) in [
        ("webhook_configs", "{}", ""),
        ("webhook_configs", "{url: ftp://x}", "url"),
        ("webhook_configs", "{url: 'http://x', url_file: /x}", "url_file"),
        ("webhook_configs", "{url: 'http://x', max_alerts: -1}", "max_alerts"),
        ("webhook_configs", "{url: 'http://x', sned_resolved: true}", "sned_resolved"),
        ("webhook_configs", "{url: 'http://x', send_resolved: maybe}", "send_resolved"),
        ("webhook_configs", "{url: 'http://x', timeout: soon}", "timeout"),
        (
            "webhook_configs",
            "{url: 'http://x', http_config: {basic_auth: {password: x}}}",
            "http_config.basic_auth.username",
        ),
        (
            "webhook_configs",
            "{url: 'http://x', http_config: {bearer_token: x, authorization: {credentials: y}}}",
            "http_config",
        ),
        (
            "webhook_configs",
            "{url: 'http://x', http_config: {authorization: {type: Basic}}}",
            "http_config.authorization.type",
        ),
        ("webhook_configs", "{url: 'http://x', http_config: {tls_config: {cert_file: x}}}", "http_config.tls_config"),
        (
            "webhook_configs",
            "{url: 'http://x', http_config: {tls_config: {max_version: TLS11}}}",
            "http_config.tls_config.max_version",
        ),
        (
            "webhook_configs",
            "{url: 'http://x', http_config: {http_headers: {'a b': {values: [c]}}}}",
            "http_config.http_headers.a b",
        ),
        ("slack_configs", "{channel: x}", ""),
        ("slack_configs", "{api_url: 'http://x', app_token: y}", "app_token"),
        ("slack_configs", "{api_url: 'http://x', fields: [{title: a}]}", "fields[0]"),
        ("slack_configs", "{api_url: 'http://x', actions: [{type: button, text: a}]}", "actions[0]"),
        ("slack_configs", "{api_url: 'http://x', fields: {}}", "fields"),
        ("pagerduty_configs", "{}", ""),
        ("pagerduty_configs", "{routing_key: a, service_key: b}", "routing_key"),
        ("opsgenie_configs", "{api_key: k, responders: [{type: team}]}", "responders[0]"),
        ("opsgenie_configs", "{api_key: k, responders: [{name: a, type: herd}]}", "responders[0].type"),
        ("victorops_configs", "{api_key: k}", "routing_key"),
        ("victorops_configs", "{api_key: k, routing_key: r, custom_fields: {entity_id: x}}", "custom_fields.entity_id"),
        ("email_configs", "{to: 'a@b'}", ""),
        ("email_configs", "{to: 'a@b', from: 'a@b', smarthost: h}", "smarthost"),
        ("email_configs", "{to: 'a@b', from: 'a@b', smarthost: 'h:25', headers: {a: b, A: c}}", "headers.a"),
        ("telegram_configs", "{bot_token: t}", ""),
        ("telegram_configs", "{bot_token: t, chat_id: me}", "chat_id"),
        ("telegram_configs", "{bot_token: t, chat_id: 1, parse_mode: BBCode}", "parse_mode"),
        ("pushover_configs", "{user_key: u}", ""),
        ("pushover_configs", "{user_key: u, token: t, html: true, monospace: true}", "monospace"),
        ("webex_configs", "{room_id: r}", ""),
        ("discord_configs", "{}", ""),
        ("mqtt_configs", "{broker: 'ws://h', topic: t}", "broker"),
        ("mqtt_configs", "{broker: 'mqtt://h', topic: 'a/#'}", "topic"),
        ("mqtt_configs", "{broker: 'mqtt://h', topic: t, qos: 3}", "qos"),
        ("mqtt_configs", "{broker: 'mqtt://h', topic: t, password: p}", "username"),
        ("syslog_configs", "{address: h}", "address"),
        ("syslog_configs", "{address: 'unix://../log'}", "address"),
        ("syslog_configs", "{facility: local9}", "facility"),
        ("syslog_configs", "{format: cef}", "format"),
        ("exec_configs", "{program: buzz}", "program"),
        ("exec_configs", "{program: /bin/../x}", "program"),
        ("exec_configs", "{program: /bin/x, timeout: 1h}", "timeout"),
        ("exec_configs", "{program: /bin/x, env: {'a=b': c}}", "env.a=b"),
        ("file_configs", "{path: x}", "path"),
        ("sns_configs", "{topic_arn: x}", "receiver.sns_configs"),
        ("sms_configs", "{to: x}", "receiver.sms_configs"),
        ("slack_configs", "text", ""),
    ] {
        let found = faults(kind, entry);
        let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
        assert!(keys.contains(&key), "{kind} {entry}: {found:?}");
    }
}

#[test]
fn globals_fill_what_receivers_leave_out() {
    let text = "global:
  resolve_timeout: 7m
  http_config: {follow_redirects: false, proxy_url: 'http://proxy:1'}
  slack_api_url_file: /slack
  pagerduty_url: http://pd
  opsgenie_api_key: key
  opsgenie_api_url: http://og/api
  victorops_api_key: key
  telegram_bot_token_file: /bot
  smtp_smarthost: 'mail:465'
  smtp_from: a@b
  smtp_auth_username: u
  smtp_auth_password_file: /pw
  smtp_require_tls: no
  smtp_hello: me
  wechat_api_corp_id: x
receiver:
  name: 12
  local: yes
  email_configs: [{to: c@d}, {to: c@d, smarthost: '[::1]:587', require_tls: true, send_resolved: true}]
  pagerduty_configs: [{routing_key: 123}]
  opsgenie_configs: [{}]
  slack_configs: [{channel: c}, {api_url: 'http://own', http_config: {bearer_token: t}}]
  victorops_configs: [{routing_key: r}]
  telegram_configs: [{chat_id: -5}]
";
    let (receiver, faults) = parse(text);
    assert_eq!(faults, []);
    assert_eq!((receiver.name.as_str(), receiver.local), ("12", Some(true)));
    let kinds: Vec<&str> = receiver.integrations.iter().map(Integration::kind).collect();
    assert_eq!(kinds, ["email", "email", "pagerduty", "opsgenie", "slack", "slack", "victorops", "telegram"]);
    let settings: Vec<&Settings> = receiver.integrations.iter().map(|one| &one.settings).collect();
    let (Settings::Email(mail), Settings::Email(own)) = (settings[0], settings[1]) else { panic!("mails") };
    assert_eq!((mail.host.as_str(), mail.port, mail.security), ("mail", 465, Security::Implicit));
    assert_eq!((mail.hello.as_str(), &mail.auth.password), ("me", &Some(Secret::File("/pw".into()))));
    assert_eq!((own.host.as_str(), own.port, own.security), ("::1", 587, Security::Required));
    let (Settings::PagerDuty(pd), Settings::OpsGenie(og)) = (settings[2], settings[3]) else { panic!("pagers") };
    assert_eq!((&pd.key, pd.url.as_str()), (&Secret::Text("123".into()), "http://pd"));
    assert_eq!(og.api_url, "http://og/api/");
    let (Settings::Slack(slack), Settings::Telegram(bot)) = (settings[4], settings[7]) else { panic!("chats") };
    assert_eq!((&slack.url, &bot.token), (&Secret::File("/slack".into()), &Secret::File("/bot".into())));
    // What Alertmanager knows and we do not speak is read, and refused by whoever would send.
    let refused = |at: usize| receiver.integrations[at].faults(Site::Centre);
    assert_eq!(refused(4)[0].0, "global.http_config.proxy_url");
    assert_eq!((refused(5), refused(0)), (vec![], vec![]));
    assert!(!receiver.integrations[4].http.follow_redirects && receiver.integrations[5].http.follow_redirects);
    let said: Vec<bool> = receiver.integrations.iter().map(Integration::send_resolved).collect();
    assert_eq!(said, [false, true, true, true, false, false, true, true]);
}

#[test]
fn places_decide_about_programs_and_files() {
    let exec = integration("exec_configs", "{program: /usr/bin/buzz}");
    let (lamp, file) = (
        integration("file_configs", "{path: /sys/class/leds/red/brightness}"),
        integration("file_configs", "{path: /etc/passwd}"),
    );
    let allow = [PathBuf::from("/usr/bin/buzz")];
    let node = Site::Node { allow: &allow };
    assert_eq!(exec.faults(node), []);
    assert_eq!(lamp.faults(node), []);
    assert_eq!(file.faults(node)[0].0, "receiver.file_configs[0].path");
    let none = exec.faults(Site::Node { allow: &[] });
    assert!(none[0].1.contains("exec_allow") && none[0].0.ends_with(".program"), "{none:?}");
    for one in [&exec, &lamp, &file] {
        assert!(one.faults(Site::Centre)[0].1.contains("centre") && one.is_local_kind());
    }
    let sneaky = parse("receiver: {name: r, file_configs: [{path: /sys/class/leds/../../../etc/passwd}]}");
    assert!(sneaky.0.integrations.is_empty() && sneaky.1.len() == 1);
}

#[test]
fn secrets_do_not_stand_in_logs() {
    let text = "receiver: {name: r, webhook_configs: [{url: 'http://SECRET', http_config: {basic_auth: {username: SECRET, \
        password: SECRET}, authorization: {credentials: SECRET}, tls_config: {key: SECRET, cert: SECRET}}}], \
        email_configs: [{to: a@b, from: a@b, smarthost: 'h:1', auth_username: u, auth_password: SECRET, auth_secret: SECRET}], \
        mqtt_configs: [{broker: 'mqtt://h', topic: t, username: u, password: SECRET}]}";
    let (receiver, faults) = parse(text);
    assert!(!format!("{receiver:?} {faults:?}").contains("SECRET"), "{receiver:?} {faults:?}");
}
