//! Hosts and links.

use std::net::IpAddr;

/// Host and port of `host:port` or `[host]:port`; `None` where it is neither.
fn host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            (!inner.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((inner, port))
        }
        None => (!host.contains([':', '[', ']']) && !port.contains(['[', ']'])).then_some((host, port)),
    }
}

/// A host without its port.
pub(crate) fn without_port(text: &str) -> &str {
    host_port(text).map_or(text, |(host, _)| host)
}

/// The first part of a host's name, with the port where one is there; addresses stay.
pub(crate) fn without_domain(text: &str) -> String {
    let (host, port) = host_port(text).unwrap_or((text, ""));
    if host.parse::<IpAddr>().is_ok() {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or(host);
    match port {
        "" => first.to_owned(),
        port if first.contains(':') => format!("[{first}]:{port}"),
        port => format!("{first}:{port}"),
    }
}

/// The path of a URL.
pub(crate) fn path(url: &str) -> &str {
    let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
    let behind = behind.split(['?', '#']).next().unwrap_or(behind);
    behind.find('/').map_or("", |at| &behind[at..])
}

/// A link to an expression in Prometheus's console: tab 0 is the graph, 1 the table.
pub(crate) fn graph(expression: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", skerry_template::query_escaped(expression))
}
