//! From settings as written to settings that hold: every fault with its key, and what the probers are made from.

use super::config::{Config, Dns, HeaderMatch, Http, Icmp, Ip, Probe, Prober, Records, Tcp, Transport};
use super::dns::DnsProber;
use super::dns::message::{self, Question};
use super::dns::record;
use super::http::{self, HttpProber};
use super::icmp::IcmpProber;
use super::target::{Preference, host_and_port};
use super::tcp::TcpProber;
use crate::http::{Authorization, BasicAuth, SystemRoots, TlsSettings};
use hyper::Method;
use hyper::header::{HeaderMap, HeaderName};
use regex::bytes::{Regex, RegexBuilder};
use skerry_model::{Bytes, Span};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::time::Duration;

/// Most probes, targets of all together, expressions of one, and labels of one.
const PROBES_MAX: usize = 128;
const TARGETS_MAX: usize = 512;
const REGEXPS_MAX: usize = 32;
const LABELS_MAX: usize = 16;
/// Longest name of one of them. Names are not cut as values are, so that all have to fit into a label set.
const LABEL_NAME_BYTES_MAX: usize = 128;
/// Longest text of a target, in bytes.
const TARGET_BYTES_MAX: usize = 1024;
/// Longest body that is kept for expressions; sixteen of them may be in memory.
const KEPT_BODY_BYTES: Bytes = Bytes::mib(1);
const KEPT_BODY_BYTES_MAX: Bytes = Bytes::mib(4);
/// Longest body that is only counted.
const COUNTED_BODY_BYTES: Bytes = Bytes::mib(64);
/// Memory of a compiled expression, in bytes.
const REGEXP_BYTES_MAX: usize = 1 << 20;
/// Longest payload of an echo request: what an IPv4 datagram holds.
const PAYLOAD_BYTES_MAX: u16 = 65_000;
/// Labels that probes set themselves.
const RESERVED: [&str; 4] = ["job", "instance", "phase", "version"];

/// Faults: keys below `probes`, and what was expected.
pub type Faults = Vec<(String, String)>;

/// Probes that can run.
#[derive(Debug, Default)]
pub struct Probes(pub(super) Vec<Target>);

/// One target of one probe.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) job: Arc<str>,
    pub(super) instance: String,
    pub(super) labels: Arc<BTreeMap<String, String>>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) asks: Asks,
}

/// What asks it.
#[derive(Debug, Clone)]
pub(super) enum Asks {
    Http(HttpProber),
    Tcp(TcpProber),
    Icmp(IcmpProber),
    Dns(DnsProber),
}

#[derive(Debug)]
pub(super) struct CheckedHttp {
    pub(super) valid_status_codes: Vec<u16>,
    pub(super) valid_http_versions: Vec<String>,
    pub(super) preference: Preference,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) body_bytes_max: usize,
    pub(super) follow_redirects: bool,
    pub(super) fail_if_ssl: bool,
    pub(super) fail_if_not_ssl: bool,
    pub(super) fail_if_body_matches: Vec<Regex>,
    pub(super) fail_if_body_not_matches: Vec<Regex>,
    pub(super) fail_if_header_matches: Vec<HeaderRule>,
    pub(super) fail_if_header_not_matches: Vec<HeaderRule>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) authorization: Option<Authorization>,
    pub(super) tls: TlsSettings,
}

impl CheckedHttp {
    /// Whether the body has to be kept.
    pub(super) fn looks_at_body(&self) -> bool {
        !self.fail_if_body_matches.is_empty() || !self.fail_if_body_not_matches.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct HeaderRule {
    pub(super) header: HeaderName,
    pub(super) regexp: Regex,
    pub(super) allow_missing: bool,
}

#[derive(Debug)]
pub(super) struct CheckedTcp {
    pub(super) preference: Preference,
    pub(super) query_response: Vec<Step>,
    pub(super) speaks_tls: bool,
    pub(super) tls: TlsSettings,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) expect: Option<Regex>,
    pub(super) send: String,
}

#[derive(Debug)]
pub(super) struct CheckedIcmp {
    pub(super) preference: Preference,
    pub(super) payload_bytes: u16,
    pub(super) ttl: u8,
}

#[derive(Debug)]
pub(super) struct CheckedDns {
    pub(super) preference: Preference,
    pub(super) question: Question,
    pub(super) transport: Transport,
    pub(super) speaks_tls: bool,
    pub(super) tls: TlsSettings,
    pub(super) valid_rcodes: Vec<u8>,
    pub(super) answer: RecordRules,
    pub(super) authority: RecordRules,
    pub(super) additional: RecordRules,
}

#[derive(Debug)]
pub(super) struct RecordRules {
    pub(super) matches: Vec<Regex>,
    pub(super) all_match: Vec<Regex>,
    pub(super) not_matches: Vec<Regex>,
    pub(super) none_matches: Vec<Regex>,
}

impl Config {
    /// Every fault, as key below `probes` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Probes::new(self).err().unwrap_or_default()
    }
}

impl Probes {
    /// Checks settings.
    ///
    /// # Errors
    /// Every fault.
    pub fn new(config: &Config) -> Result<Self, Faults> {
        let mut check = Check { faults: Vec::new(), at: String::new() };
        let (mut names, mut targets) = (BTreeSet::new(), Vec::new());
        let count = config.0.iter().map(|probe| probe.targets.len()).sum::<usize>();
        if config.0.len() > PROBES_MAX || count > TARGETS_MAX {
            let found = format!("{} probes with {count} targets are too many", config.0.len());
            let problem = format!("{found}: at most {PROBES_MAX} probes with {TARGETS_MAX} targets are expected");
            return Err(vec![("[0]".into(), problem)]);
        }
        let (roots, numbers) = (SystemRoots::default(), Arc::new(AtomicU16::new(1)));
        for (at, probe) in config.0.iter().enumerate() {
            check.at = format!("[{at}]");
            if !names.insert(probe.name.clone()) {
                check.fault("name", format!("{:?} stands twice: another name is expected", probe.name));
            }
            check.probe(probe);
            targets.extend(check.targets(probe, &roots, &numbers));
        }
        if check.faults.is_empty() { Ok(Self(targets)) } else { Err(check.faults) }
    }
}

/// Makes what asks one target.
type Make<'a> = Box<dyn Fn(&str) -> Result<Asks, String> + 'a>;

struct Check {
    faults: Faults,
    at: String,
}

impl Check {
    fn fault(&mut self, key: &str, problem: impl Into<String>) {
        self.faults.push((format!("{}.{key}", self.at), problem.into()));
    }

    fn probe(&mut self, probe: &Probe) {
        if probe.name.is_empty() || probe.name.len() > 128 {
            self.fault("name", "1 to 128 bytes are expected");
        }
        if probe.targets.is_empty() {
            self.fault("targets", "is empty: an address is expected");
        }
        if !(Span::secs(1)..=Span::secs(86_400)).contains(&probe.interval) {
            self.fault("interval", format!("{} is out of range: 1s to 1d is expected", probe.interval));
        }
        if probe.timeout < Span::millis(10) || probe.timeout > probe.interval {
            let problem =
                format!("{} is out of range: 10ms to the interval, {}, is expected", probe.timeout, probe.interval);
            self.fault("timeout", problem);
        }
        if probe.labels.len() > LABELS_MAX {
            self.fault("labels", format!("at most {LABELS_MAX} labels are expected"));
        }
        for (name, value) in &probe.labels {
            if name.len() > LABEL_NAME_BYTES_MAX {
                let problem = format!("a name has {} bytes: at most {LABEL_NAME_BYTES_MAX} are expected", name.len());
                self.fault("labels", problem);
            } else if !is_label(name) || RESERVED.contains(&name.as_str()) {
                let problem = "a label name that probes do not set themselves is expected: letters, digits and _";
                self.fault(&format!("labels.{name}"), problem);
            } else if value.len() > 1024 {
                self.fault(&format!("labels.{name}"), "at most 1024 bytes are expected");
            }
        }
    }

    fn targets(&mut self, probe: &Probe, roots: &SystemRoots, numbers: &Arc<AtomicU16>) -> Vec<Target> {
        let (job, labels) = (Arc::from(&*probe.name), Arc::new(probe.labels.clone()));
        let mut seen = BTreeSet::new();
        let mut made: Vec<(String, Asks)> = Vec::new();
        let asks: Make<'_> = match probe.prober {
            Prober::Http => {
                let Some(checked) = self.http(&probe.http).map(Arc::new) else { return Vec::new() };
                Box::new(move |target| {
                    let (url, host) = http::address(target)?;
                    Ok(Asks::Http(HttpProber::new(checked.clone(), url, host, roots)))
                })
            }
            Prober::Tcp => {
                let Some(checked) = self.tcp(&probe.tcp).map(Arc::new) else { return Vec::new() };
                Box::new(move |target| {
                    let (host, port) = host_and_port(target, None)?;
                    Ok(Asks::Tcp(TcpProber::new(checked.clone(), host, port, roots)))
                })
            }
            Prober::Icmp => {
                let Some(checked) = self.icmp(&probe.icmp).map(Arc::new) else { return Vec::new() };
                Box::new(move |target| {
                    let is_host = !target.contains(['/', ' ', '[']);
                    let host = is_host.then(|| target.to_owned()).ok_or("a host name or an IP address is expected")?;
                    Ok(Asks::Icmp(IcmpProber::new(checked.clone(), host, numbers.clone())))
                })
            }
            Prober::Dns => {
                let Some(checked) = self.dns(&probe.dns).map(Arc::new) else { return Vec::new() };
                Box::new(move |target| {
                    let port = if checked.speaks_tls { 853 } else { 53 };
                    let (host, port) = host_and_port(target, Some(port))?;
                    Ok(Asks::Dns(DnsProber::new(checked.clone(), host, port, roots)))
                })
            }
        };
        for (at, target) in probe.targets.iter().enumerate() {
            let key = format!("targets[{at}]");
            if target.is_empty() || target.len() > TARGET_BYTES_MAX {
                self.fault(&key, format!("1 to {TARGET_BYTES_MAX} bytes are expected"));
            } else if !seen.insert(target) {
                self.fault(&key, format!("{target:?} stands twice"));
            } else {
                match asks(target) {
                    Ok(asks) => made.push((target.clone(), asks)),
                    Err(problem) => self.fault(&key, problem),
                }
            }
        }
        let (interval, timeout) = (probe.interval.0, probe.timeout.0);
        let target = |(instance, asks)| Target {
            job: Arc::clone(&job),
            instance,
            labels: labels.clone(),
            interval,
            timeout,
            asks,
        };
        made.into_iter().map(target).collect()
    }

    fn regexps(&mut self, key: &str, texts: &[String]) -> Vec<Regex> {
        if texts.len() > REGEXPS_MAX {
            self.fault(key, format!("at most {REGEXPS_MAX} expressions are expected"));
            return Vec::new();
        }
        let compile = |(at, text): (usize, &String)| self.regexp(&format!("{key}[{at}]"), text);
        texts.iter().enumerate().filter_map(compile).collect()
    }

    /// ASCII classes, as in Go's expressions.
    fn regexp(&mut self, key: &str, text: &str) -> Option<Regex> {
        match RegexBuilder::new(text).unicode(false).size_limit(REGEXP_BYTES_MAX).build() {
            Ok(regexp) => Some(regexp),
            Err(error) => {
                self.fault(key, format!("a regular expression is expected: {error}"));
                None
            }
        }
    }

    fn within(&mut self, prefix: &str, faults: Faults) {
        for (key, problem) in faults {
            self.fault(&format!("{prefix}.{key}"), problem);
        }
    }

    /// `None` where a part cannot be made; faults that are found beyond that keep the whole config from being used.
    fn http(&mut self, http: &Http) -> Option<CheckedHttp> {
        for (at, status) in http.valid_status_codes.iter().enumerate() {
            if !(100..=999).contains(status) {
                self.fault(
                    &format!("http.valid_status_codes[{at}]"),
                    format!("{status} is no status: 100 to 999 is expected"),
                );
            }
        }
        for (at, version) in http.valid_http_versions.iter().enumerate() {
            if !["HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/2"].contains(&version.as_str()) {
                self.fault(&format!("http.valid_http_versions[{at}]"), "a version such as HTTP/1.1 is expected");
            }
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &http.headers {
            match crate::http::header(name, value) {
                Ok((name, value)) => drop(headers.insert(name, value)),
                Err(error) => self.fault(&format!("http.headers.{name}"), error.to_string()),
            }
        }
        let method = Method::from_bytes(http.method.as_bytes()).ok();
        if method.is_none() {
            self.fault("http.method", format!("{:?} is no method of HTTP", http.method));
        }
        let bearer = [http.bearer_token.is_some(), http.bearer_token_file.is_some()];
        let given = [http.basic_auth.is_some(), http.authorization.is_some(), bearer[0], bearer[1]];
        if given.into_iter().filter(|given| *given).count() > 1 {
            self.fault("http.authorization", "one of basic_auth, authorization and bearer_token is expected");
        }
        self.within("http.basic_auth", http.basic_auth.as_ref().map(BasicAuth::faults).unwrap_or_default());
        self.within("http.authorization", http.authorization.as_ref().map(Authorization::faults).unwrap_or_default());
        self.within("http.tls_config", http.tls_config.faults());
        let token = Authorization {
            credentials: http.bearer_token.clone(),
            credentials_file: http.bearer_token_file.clone(),
            ..Authorization::default()
        };
        let fail_if_body_matches = self.regexps("http.fail_if_body_matches_regexp", &http.fail_if_body_matches_regexp);
        let fail_if_body_not_matches =
            self.regexps("http.fail_if_body_not_matches_regexp", &http.fail_if_body_not_matches_regexp);
        let keeps = !fail_if_body_matches.is_empty() || !fail_if_body_not_matches.is_empty();
        let (usual, most) =
            if keeps { (KEPT_BODY_BYTES, KEPT_BODY_BYTES_MAX) } else { (COUNTED_BODY_BYTES, COUNTED_BODY_BYTES) };
        let limit = http.body_size_limit.unwrap_or(usual);
        if limit > most || limit.0 == 0 {
            self.fault("http.body_size_limit", format!("{limit} is out of range: 1B to {most} is expected"));
        }
        Some(CheckedHttp {
            valid_status_codes: http.valid_status_codes.clone(),
            valid_http_versions: http.valid_http_versions.clone(),
            preference: preference(http.preferred_ip_protocol, http.ip_protocol_fallback),
            method: method?,
            headers,
            body: http.body.clone().unwrap_or_default(),
            body_bytes_max: usize::try_from(limit.0).unwrap_or(usize::MAX),
            follow_redirects: http.follow_redirects,
            fail_if_ssl: http.fail_if_ssl,
            fail_if_not_ssl: http.fail_if_not_ssl,
            fail_if_body_matches,
            fail_if_body_not_matches,
            fail_if_header_matches: self.header_rules("http.fail_if_header_matches", &http.fail_if_header_matches),
            fail_if_header_not_matches: self
                .header_rules("http.fail_if_header_not_matches", &http.fail_if_header_not_matches),
            basic_auth: http.basic_auth.clone(),
            authorization: http.authorization.clone().or(Some(token).filter(|_| bearer[0] || bearer[1])),
            tls: http.tls_config.clone(),
        })
    }

    fn header_rules(&mut self, key: &str, rules: &[HeaderMatch]) -> Vec<HeaderRule> {
        let mut checked = Vec::new();
        for (at, rule) in rules.iter().enumerate() {
            let regexp = self.regexp(&format!("{key}[{at}].regexp"), &rule.regexp);
            match (crate::http::header(&rule.header, ""), regexp) {
                (Ok((header, _)), Some(regexp)) => {
                    checked.push(HeaderRule { header, regexp, allow_missing: rule.allow_missing });
                }
                (Err(error), _) => self.fault(&format!("{key}[{at}].header"), error.to_string()),
                _ => {}
            }
        }
        checked
    }

    fn tcp(&mut self, tcp: &Tcp) -> Option<CheckedTcp> {
        self.within("tcp.tls_config", tcp.tls_config.faults());
        if tcp.query_response.len() > REGEXPS_MAX {
            self.fault("tcp.query_response", format!("at most {REGEXPS_MAX} steps are expected"));
        }
        let mut query_response = Vec::new();
        for (at, step) in tcp.query_response.iter().take(REGEXPS_MAX).enumerate() {
            let key = format!("tcp.query_response[{at}]");
            if step.expect.is_empty() && step.send.is_empty() {
                self.fault(&key, "expect, send or both are expected");
            }
            let expect = match step.expect.as_str() {
                "" => None,
                text => Some(self.regexp(&format!("{key}.expect"), text)?),
            };
            query_response.push(Step { expect, send: step.send.clone() });
        }
        Some(CheckedTcp {
            preference: preference(tcp.preferred_ip_protocol, tcp.ip_protocol_fallback),
            query_response,
            speaks_tls: tcp.tls,
            tls: tcp.tls_config.clone(),
        })
    }

    fn icmp(&mut self, icmp: &Icmp) -> Option<CheckedIcmp> {
        if icmp.payload_size > PAYLOAD_BYTES_MAX {
            let problem = format!("{} is out of range: 0 to {PAYLOAD_BYTES_MAX} is expected", icmp.payload_size);
            self.fault("icmp.payload_size", problem);
        }
        if icmp.ttl == 0 {
            self.fault("icmp.ttl", "0 is out of range: 1 to 255 is expected");
        }
        let preference = preference(icmp.preferred_ip_protocol, icmp.ip_protocol_fallback);
        Some(CheckedIcmp { preference, payload_bytes: icmp.payload_size, ttl: icmp.ttl })
    }

    fn dns(&mut self, dns: &Dns) -> Option<CheckedDns> {
        self.within("dns.tls_config", dns.tls_config.faults());
        if dns.dns_over_tls && dns.transport_protocol == Transport::Udp {
            self.fault("dns.transport_protocol", "tcp is expected with dns_over_tls");
        }
        let kind = record::kind(&dns.query_type);
        if kind.is_none() {
            self.fault(
                "dns.query_type",
                format!("{:?} is unknown: a name such as A, or a number is expected", dns.query_type),
            );
        }
        let class = message::class(&dns.query_class);
        if class.is_none() {
            self.fault("dns.query_class", format!("{:?} is unknown: IN, CH, HS or ANY is expected", dns.query_class));
        }
        let question = Question::new(&dns.query_name, kind.unwrap_or(1), class.unwrap_or(1), dns.recursion_desired);
        if question.is_none() {
            self.fault("dns.query_name", format!("{:?} is no name of DNS", dns.query_name));
        }
        let mut valid_rcodes = Vec::new();
        for (at, name) in dns.valid_rcodes.iter().enumerate() {
            match message::rcode(name) {
                Some(rcode) => valid_rcodes.push(rcode),
                None => self.fault(
                    &format!("dns.valid_rcodes[{at}]"),
                    format!("{name:?} is unknown: a name such as NOERROR or NXDOMAIN is expected"),
                ),
            }
        }
        if valid_rcodes.is_empty() {
            valid_rcodes.push(0);
        }
        Some(CheckedDns {
            preference: preference(dns.preferred_ip_protocol, dns.ip_protocol_fallback),
            question: question?,
            transport: dns.transport_protocol,
            speaks_tls: dns.dns_over_tls,
            tls: dns.tls_config.clone(),
            valid_rcodes,
            answer: self.records("dns.validate_answer_rrs", &dns.validate_answer_rrs),
            authority: self.records("dns.validate_authority_rrs", &dns.validate_authority_rrs),
            additional: self.records("dns.validate_additional_rrs", &dns.validate_additional_rrs),
        })
    }

    fn records(&mut self, key: &str, records: &Records) -> RecordRules {
        RecordRules {
            matches: self.regexps(&format!("{key}.fail_if_matches_regexp"), &records.fail_if_matches_regexp),
            all_match: self.regexps(&format!("{key}.fail_if_all_match_regexp"), &records.fail_if_all_match_regexp),
            not_matches: self
                .regexps(&format!("{key}.fail_if_not_matches_regexp"), &records.fail_if_not_matches_regexp),
            none_matches: self
                .regexps(&format!("{key}.fail_if_none_matches_regexp"), &records.fail_if_none_matches_regexp),
        }
    }
}

const fn preference(first: Ip, or_other: bool) -> Preference {
    Preference { first, or_other }
}

fn is_label(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    begins && !name.starts_with("__") && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
