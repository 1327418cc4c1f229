//! Settings of the probes, section `probes` of a NodeConfig: a list, each entry a module of blackbox_exporter with a name
//! and its targets.

mod modules;

pub use modules::{Dns, Http, Icmp, Tcp};
pub(super) use modules::{HeaderMatch, Ip, Records, Transport};

use serde::{Deserialize, Serialize};
use skerry_model::Span;
use std::collections::BTreeMap;

/// Settings of the probes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub Vec<Probe>);

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Unique name; becomes the label `job`.
    pub name: String,
    /// What asks.
    pub prober: Prober,
    /// What is asked; each becomes a label `instance`.
    pub targets: Vec<String>,
    /// Time between two probes of a target.
    #[serde(default = "interval")]
    pub interval: Span,
    /// Longest time of a probe.
    #[serde(default = "timeout")]
    pub timeout: Span,
    /// Further labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Settings of prober `http`.
    #[serde(default)]
    pub http: Http,
    /// Settings of prober `tcp`.
    #[serde(default)]
    pub tcp: Tcp,
    /// Settings of prober `icmp`.
    #[serde(default)]
    pub icmp: Icmp,
    /// Settings of prober `dns`.
    #[serde(default)]
    pub dns: Dns,
}

/// What asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prober {
    /// An HTTP request.
    Http,
    /// A TCP connection, with a dialogue where one is set.
    Tcp,
    /// An echo request.
    Icmp,
    /// A DNS query.
    Dns,
}

fn interval() -> Span {
    Span::secs(30)
}

fn timeout() -> Span {
    Span::secs(10)
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("[].name", "required", "unique name of the probe; becomes the label job"),
    ("[].prober", "required", "http, tcp, icmp or dns"),
    (
        "[].targets",
        "required",
        "addresses that are asked: a URL, HOST:PORT for tcp, HOST for icmp, HOST or HOST:PORT of the server for dns; each becomes a label instance",
    ),
    ("[].interval", "30s", "time between two probes of a target; 1s to 1d"),
    ("[].timeout", "10s", "longest time of a probe, less than its interval"),
    ("[].labels", "{}", "further labels of its series"),
    ("[].http.valid_status_codes", "[]", "statuses that are well; empty: 200 to 299"),
    ("[].http.valid_http_versions", "[]", "versions that are well, such as HTTP/1.1; empty: any"),
    ("[].http.preferred_ip_protocol", "ip6", "ip4 or ip6; for each prober"),
    (
        "[].http.ip_protocol_fallback",
        "true",
        "take the other protocol where a name has none of the preferred; for each prober",
    ),
    ("[].http.method", "GET", "method of the request"),
    ("[].http.headers", "{}", "headers of the request"),
    ("[].http.body", "none", "body of the request"),
    (
        "[].http.body_size_limit",
        "1MiB",
        "longest body; a longer one fails the probe; without body expressions 64MiB, since it is not kept then",
    ),
    ("[].http.follow_redirects", "true", "follow up to ten redirects"),
    ("[].http.fail_if_ssl", "false", "fail where TLS was spoken"),
    ("[].http.fail_if_not_ssl", "false", "fail where no TLS was spoken"),
    ("[].http.fail_if_body_matches_regexp", "[]", "expressions that the body must not match"),
    ("[].http.fail_if_body_not_matches_regexp", "[]", "expressions that the body must match: keywords"),
    ("[].http.fail_if_header_matches", "[]", "header, regexp, allow_missing: values that fail the probe"),
    ("[].http.fail_if_header_not_matches", "[]", "header, regexp, allow_missing: values that must be there"),
    ("[].http.basic_auth", "none", "username, and password or password_file"),
    ("[].http.authorization", "none", "type (Bearer), and credentials or credentials_file"),
    ("[].http.bearer_token", "none", "as authorization.credentials; bearer_token_file likewise"),
    (
        "[].http.tls_config",
        "{}",
        "ca_file, cert_file, key_file (or ca, cert, key as PEM), server_name, insecure_skip_verify, min_version, max_version; for tcp too",
    ),
    (
        "[].tcp.query_response",
        "[]",
        "steps of a dialogue: expect is an expression that a line must match, send is a line, with ${1} for what the expression found",
    ),
    ("[].tcp.tls", "false", "speak TLS"),
    ("[].icmp.payload_size", "56", "bytes of an echo request; up to 65000"),
    ("[].icmp.ttl", "64", "hops that a request lives; 1 to 255"),
    ("[].dns.query_name", "required", "name that is asked for"),
    ("[].dns.query_type", "ANY", "type of record: A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT, CAA, ANY, or a number"),
    ("[].dns.query_class", "IN", "IN, CH, HS or ANY"),
    ("[].dns.recursion_desired", "true", "let the server ask others"),
    ("[].dns.transport_protocol", "udp", "udp or tcp"),
    ("[].dns.dns_over_tls", "false", "speak TLS, over tcp; port 853 where none is written"),
    ("[].dns.valid_rcodes", "[NOERROR]", "outcomes that are well, by name"),
    (
        "[].dns.validate_answer_rrs",
        "{}",
        "fail_if_matches_regexp, fail_if_all_match_regexp, fail_if_not_matches_regexp, fail_if_none_matches_regexp on records as text (the second fails where not all match, as in blackbox_exporter); validate_authority_rrs and validate_additional_rrs likewise",
    ),
];
