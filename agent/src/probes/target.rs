//! From the name of a target to the one address that is probed.

use super::config::Ip;
use super::findings::Findings;
use crate::http::resolve;
use std::net::IpAddr;
use tokio::time::Instant;

/// Which addresses may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preference {
    pub(super) first: Ip,
    pub(super) or_other: bool,
}

impl Preference {
    /// One of the addresses; as in blackbox_exporter no other is tried where it does not answer, because the probe is
    /// of this one.
    fn choose(self, addresses: &[IpAddr]) -> Option<IpAddr> {
        let is_first = |ip: &&IpAddr| ip.is_ipv4() == (self.first == Ip::Ip4);
        let other = addresses.first().filter(|_| self.or_other);
        addresses.iter().find(is_first).or(other).copied()
    }
}

/// Looks a host up and notes how that went; `None` where it failed, with the reason in `findings`.
pub(super) async fn look_up(host: &str, preference: Preference, findings: &mut Findings) -> Option<IpAddr> {
    let begin = Instant::now();
    let found = resolve(host, 0).await;
    let took = begin.elapsed();
    let chosen = match found {
        Ok(addresses) => {
            let addresses: Vec<IpAddr> = addresses.iter().map(std::net::SocketAddr::ip).collect();
            let chosen = preference.choose(&addresses);
            if chosen.is_none() {
                findings.fail(format!("{host} has no address of the wanted protocol; see ip_protocol_fallback"));
            }
            chosen
        }
        Err(error) => {
            findings.fail(error.to_string());
            None
        }
    };
    findings.looked_up(chosen, took);
    chosen
}

/// Host and port of `HOST:PORT` or `[IPV6]:PORT`; where none is written, `port`.
pub(super) fn host_and_port(target: &str, port: Option<u16>) -> Result<(String, u16), String> {
    let bad = |why: &str| format!("{target:?} is no address: {why}");
    if let Ok(ip) = target.parse::<IpAddr>() {
        return Ok((ip.to_string(), port.ok_or_else(|| bad("HOST:PORT is expected"))?));
    }
    let (host, written) = match target.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(|| bad("] is missing"))?;
            (host, rest.strip_prefix(':'))
        }
        None => target.rsplit_once(':').map_or((target, None), |(host, port)| (host, Some(port))),
    };
    let port = match (written, port) {
        (Some(text), _) => {
            text.parse().ok().filter(|port| *port > 0).ok_or_else(|| bad("a port of 1 to 65535 is expected"))?
        }
        (None, Some(port)) => port,
        (None, None) => return Err(bad("HOST:PORT is expected")),
    };
    if host.is_empty() || host.contains(['/', ' ', '[', ']']) {
        return Err(bad("a host is expected"));
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_is_chosen() {
        let both: Vec<IpAddr> = vec!["10.0.0.1".parse().unwrap(), "fe80::1".parse().unwrap()];
        let choose = |first, or_other, addresses: &[IpAddr]| Preference { first, or_other }.choose(addresses);
        assert_eq!(choose(Ip::Ip6, true, &both), Some(both[1]));
        assert_eq!(choose(Ip::Ip4, true, &both), Some(both[0]));
        assert_eq!(choose(Ip::Ip6, true, &both[..1]), Some(both[0]));
        assert_eq!(choose(Ip::Ip6, false, &both[..1]), None);
    }

    #[test]
    fn targets_are_read() {
        assert_eq!(host_and_port("h:1", None), Ok(("h".into(), 1)));
        assert_eq!(host_and_port("[::1]:2", None), Ok(("::1".into(), 2)));
        assert_eq!(host_and_port("::1", Some(53)), Ok(("::1".into(), 53)));
        assert_eq!(host_and_port("h", Some(53)), Ok(("h".into(), 53)));
        for bad in ["h", ":1", "h:0", "h:x", "http://h:1", "", "[::1"] {
            assert!(host_and_port(bad, None).is_err(), "{bad}");
        }
    }
}
