//! Reads probes, with Kubernetes's defaults.

use super::{bounded, count, items, seconds, words};
use crate::workload::{Port, Probe, ProbeAction, ProbeKind};
use skerry_yaml::values::{Checks, Mapping};
use std::time::Duration;

pub(super) fn read(mut from: Mapping<'_>, kind: ProbeKind, ports: &[Port], checks: &mut Checks<'_>) -> Option<Probe> {
    if from.take("grpc").is_some() {
        checks.fault(&from.at("grpc"), "is not supported: httpGet, tcpSocket or exec is expected");
        return None;
    }
    let actions = [
        from.child("httpGet", checks).and_then(|mapping| http(mapping, ports, checks)),
        from.child("tcpSocket", checks).and_then(|mapping| tcp(mapping, ports, checks)),
        from.child("exec", checks).and_then(|mapping| exec(mapping, checks)),
    ];
    let mut actions = actions.into_iter().flatten();
    let (action, second) = (actions.next(), actions.next());
    if second.is_some() || (action.is_none() && !has_action(&mut from)) {
        checks.fault(from.key(), "one of httpGet, tcpSocket or exec is expected");
    }
    let successes = count(&mut from, "successThreshold", 1000, checks).unwrap_or(1);
    if successes == 0 || (successes > 1 && kind != ProbeKind::Readiness) {
        let expected = if kind == ProbeKind::Readiness { "1 or more" } else { "1" };
        checks.fault(&from.at("successThreshold"), format!("{expected} is expected"));
    }
    let probe = Probe {
        action: action.unwrap_or(ProbeAction::Exec(Vec::new())),
        initial_delay: seconds(&mut from, "initialDelaySeconds", 0, checks).unwrap_or_default(),
        period: seconds(&mut from, "periodSeconds", 1, checks).unwrap_or(Duration::from_secs(10)),
        timeout: seconds(&mut from, "timeoutSeconds", 1, checks).unwrap_or(Duration::from_secs(1)),
        successes,
        failures: from.number("failureThreshold", 1, 1000, checks).and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
        grace: seconds(&mut from, "terminationGracePeriodSeconds", 1, checks),
    };
    if probe.grace.is_some() && kind == ProbeKind::Readiness {
        checks.fault(&from.at("terminationGracePeriodSeconds"), "nothing is ended by a readiness probe");
    }
    from.finish(checks);
    Some(probe)
}

/// Whether an action is written that has faults of its own.
fn has_action(from: &mut Mapping<'_>) -> bool {
    ["httpGet", "tcpSocket", "exec"].into_iter().any(|key| from.take(key).is_some())
}

fn http(mut from: Mapping<'_>, ports: &[Port], checks: &mut Checks<'_>) -> Option<ProbeAction> {
    let port = port(&mut from, ports, checks);
    let mut path = from.text_or("path", "/", checks);
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    if path.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        checks.fault(&from.at("path"), "a path without blanks is expected");
    }
    let mut headers = Vec::new();
    for (key, item) in items(&mut from, "httpHeaders", checks) {
        let mut item = Mapping::new(Some(item), &key, checks);
        let (name, value) = (item.text_or("name", "", checks), item.text_or("value", "", checks));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            checks.fault(&key, "a header's name and value are expected");
        }
        item.finish(checks);
        headers.push((name, value));
    }
    let is_tls = super::choice(&mut from, "scheme", &[("HTTP", false), ("HTTPS", true)], checks);
    let host = host(&mut from, checks);
    from.finish(checks);
    Some(ProbeAction::Http { host, port: port?, path, is_tls, headers })
}

fn tcp(mut from: Mapping<'_>, ports: &[Port], checks: &mut Checks<'_>) -> Option<ProbeAction> {
    let (port, host) = (port(&mut from, ports, checks), host(&mut from, checks));
    from.finish(checks);
    Some(ProbeAction::Tcp { host, port: port? })
}

fn exec(mut from: Mapping<'_>, checks: &mut Checks<'_>) -> Option<ProbeAction> {
    let command = words(&mut from, "command", checks);
    if command.is_empty() {
        checks.fault(&from.at("command"), "a program is expected");
    }
    from.finish(checks);
    Some(ProbeAction::Exec(command))
}

fn host(from: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<String> {
    let host = from.text("host", checks).filter(|host| !host.is_empty())?;
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    if !host.chars().all(is_good) || host.len() > 253 {
        checks.fault(&from.at("host"), "a name or an IP address is expected");
    }
    Some(bounded(host, &from.at("host"), checks))
}

/// A port by number, or by the name that it has among the container's.
fn port(from: &mut Mapping<'_>, ports: &[Port], checks: &mut Checks<'_>) -> Option<u16> {
    let text = from.text("port", checks).unwrap_or_default();
    let named = ports.iter().find(|port| port.name.as_ref() == Some(&text)).map(|port| port.container);
    let port = named.or_else(|| text.parse().ok()).filter(|port| *port > 0);
    if port.is_none() {
        let problem = format!("{text:?} is no port from 1 to 65535, and none of the container's ports has that name");
        checks.fault(&from.at("port"), problem);
    }
    port
}
