//! What a probe found, as series.

use super::subject;
use crate::http::{TlsClient, TlsPeer};
use skerry_model::{Labels, LabelsBuilder, Scrape, UnixMillis};
use std::net::IpAddr;
use std::time::Duration;

/// What Go gives for the end of no chain at all: the year 1. Peers show it where certificates are not verified.
const NO_CHAIN: f64 = -62_135_596_800.0;

/// Values of one probe of one target; a series that is set again keeps its last value.
#[derive(Debug, Clone)]
pub struct Findings {
    base: LabelsBuilder,
    values: Vec<(Labels, f64)>,
    /// Why it failed, for people; `None` where it did not.
    pub failure: Option<String>,
}

impl Findings {
    /// Nothing yet, of a target with these labels.
    #[must_use]
    pub fn new(job: &str, instance: &str, further: impl IntoIterator<Item = (String, String)>) -> Self {
        let base = LabelsBuilder::metric("").label("job", job).label("instance", instance);
        let base = further.into_iter().fold(base, |base, (name, value)| base.label(&name, value));
        Self { base, values: Vec::new(), failure: None }
    }

    /// Sets a metric without further labels.
    pub fn set(&mut self, name: &str, value: f64) {
        self.set_with(name, &[], value);
    }

    /// Sets one series of a metric.
    pub fn set_with(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let builder = self.base.clone().label("__name__", name);
        let labels = labels.iter().fold(builder, |builder, (name, value)| builder.label(name, *value)).build();
        match self.values.iter_mut().find(|(held, _)| *held == labels) {
            Some((_, held)) => *held = value,
            None => self.values.push((labels, value)),
        }
    }

    /// Adds to a phase of a metric by phases.
    pub fn phase(&mut self, name: &str, phase: &str, span: Duration) {
        self.set_with(name, &[("phase", phase)], span.as_secs_f64());
    }

    /// Notes that the probe fails; the first reason stays.
    pub fn fail(&mut self, why: impl Into<String>) {
        self.failure.get_or_insert(why.into());
    }

    /// What the look-up of the target gave.
    pub(super) fn looked_up(&mut self, ip: Option<IpAddr>, took: Duration) {
        let protocol = match ip {
            None => 0.0,
            Some(IpAddr::V4(_)) => 4.0,
            Some(IpAddr::V6(_)) => 6.0,
        };
        self.set("probe_dns_lookup_time_seconds", took.as_secs_f64());
        self.set("probe_ip_protocol", protocol);
        self.set("probe_ip_addr_hash", ip.map_or(0.0, |ip| f64::from(fnv(ip))));
    }

    /// What is told of a TLS connection.
    pub(super) fn tls(&mut self, client: &TlsClient, peer: &TlsPeer) {
        if let Some(end) = peer.earliest_expiry() {
            self.set("probe_ssl_earliest_cert_expiry", end as f64);
        }
        let last = client.last_chain_expiry(peer).map_or(NO_CHAIN, |end| end as f64);
        self.set("probe_ssl_last_chain_expiry_timestamp_seconds", last);
        self.set_with("probe_tls_version_info", &[("version", peer.version)], 1.0);
        if let Some(names) = peer.certs.first().and_then(|der| subject::names(der)) {
            let labels = [
                ("fingerprint_sha256", &*names.fingerprint),
                ("issuer", &*names.issuer),
                ("subject", &*names.subject),
                ("subjectalternative", &*names.alternatives),
            ];
            self.set_with("probe_ssl_last_chain_info", &labels, 1.0);
        }
    }

    /// All of it, with the outcome; the probe began at `at` and took so long.
    #[must_use]
    pub fn scrape(mut self, at: UnixMillis, took: Duration) -> Scrape {
        self.set("probe_success", f64::from(u8::from(self.failure.is_none())));
        self.set("probe_duration_seconds", took.as_secs_f64());
        Scrape { at, values: self.values }
    }
}

/// 32-bit FNV-1a of the address's bytes: changes where an address does, without telling it.
fn fnv(ip: IpAddr) -> u32 {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    match ip {
        IpAddr::V4(ip) => ip.octets().iter().fold(0x811c_9dc5, step),
        IpAddr::V6(ip) => ip.octets().iter().fold(0x811c_9dc5, step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_hash_as_the_peers_do() {
        // Seen at blackbox_exporter 0.23.
        assert_eq!(fnv("127.0.0.1".parse().unwrap()), 3_668_918_509);
    }

    #[test]
    fn series_stand_once() {
        let mut findings = Findings::new("web", "h:1", [("site".to_owned(), "lab".to_owned())]);
        findings.set("a", 0.0);
        findings.set("a", 2.0);
        findings.fail("first");
        findings.fail("second");
        assert_eq!(findings.failure.as_deref(), Some("first"));
        let scrape = findings.scrape(UnixMillis(5), Duration::from_millis(1500));
        let shown: Vec<String> = scrape.values.iter().map(|(labels, value)| format!("{labels} {value}")).collect();
        let base = "{instance=\"h:1\",job=\"web\",site=\"lab\"}";
        let expected =
            [format!("a{base} 2"), format!("probe_success{base} 0"), format!("probe_duration_seconds{base} 1.5")];
        assert_eq!(shown, expected);
    }
}
