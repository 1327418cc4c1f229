//! Settings of each prober, with blackbox_exporter's names.

use crate::http::{Authorization, BasicAuth, TlsSettings};
use serde::{Deserialize, Serialize};
use skerry_model::Bytes;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ip {
    /// IPv4.
    Ip4,
    /// IPv6.
    #[default]
    Ip6,
}

/// Settings of prober `http`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Statuses that are well; empty: 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Versions that are well; empty: any.
    pub valid_http_versions: Vec<String>,
    /// Which addresses of a name come first.
    pub preferred_ip_protocol: Ip,
    /// Whether the others may be taken too.
    pub ip_protocol_fallback: bool,
    /// Method.
    pub method: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
    /// Body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Longest body of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_size_limit: Option<Bytes>,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Taken from modules that set it; HTTP/1.1 is spoken in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_http2: Option<bool>,
    /// Fail where TLS was spoken.
    pub fail_if_ssl: bool,
    /// Fail where none was.
    pub fail_if_not_ssl: bool,
    /// Expressions that the body must not match.
    pub fail_if_body_matches_regexp: Vec<String>,
    /// Expressions that it must match.
    pub fail_if_body_not_matches_regexp: Vec<String>,
    /// Headers that must not match.
    pub fail_if_header_matches: Vec<HeaderMatch>,
    /// Headers that must match.
    pub fail_if_header_not_matches: Vec<HeaderMatch>,
    /// User and password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// Scheme and credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<String>,
    /// A file with one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer_token_file: Option<PathBuf>,
    /// TLS.
    pub tls_config: TlsSettings,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            preferred_ip_protocol: Ip::default(),
            ip_protocol_fallback: true,
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: None,
            body_size_limit: None,
            follow_redirects: true,
            enable_http2: None,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches_regexp: Vec::new(),
            fail_if_body_not_matches_regexp: Vec::new(),
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            tls_config: TlsSettings::default(),
        }
    }
}

/// A header and an expression for its values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatch {
    /// Name.
    pub header: String,
    /// Expression.
    pub regexp: String,
    /// Whether its absence is well.
    #[serde(default)]
    pub allow_missing: bool,
}

/// Settings of prober `tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// As [`Http::preferred_ip_protocol`].
    pub preferred_ip_protocol: Ip,
    /// As [`Http::ip_protocol_fallback`].
    pub ip_protocol_fallback: bool,
    /// Steps of a dialogue.
    pub query_response: Vec<QueryResponse>,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// TLS.
    pub tls_config: TlsSettings,
}

impl Default for Tcp {
    fn default() -> Self {
        Self {
            preferred_ip_protocol: Ip::default(),
            ip_protocol_fallback: true,
            query_response: Vec::new(),
            tls: false,
            tls_config: TlsSettings::default(),
        }
    }
}

/// One step of a dialogue: first a line is waited for, then one is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryResponse {
    /// Expression that one of the next lines must match.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expect: String,
    /// Line that is sent, with `${1}` for what the expression found.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub send: String,
}

/// Settings of prober `icmp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Icmp {
    /// As [`Http::preferred_ip_protocol`].
    pub preferred_ip_protocol: Ip,
    /// As [`Http::ip_protocol_fallback`].
    pub ip_protocol_fallback: bool,
    /// Bytes of a request beyond its header.
    pub payload_size: u16,
    /// Hops that a request lives.
    pub ttl: u8,
}

impl Default for Icmp {
    fn default() -> Self {
        Self { preferred_ip_protocol: Ip::default(), ip_protocol_fallback: true, payload_size: 56, ttl: 64 }
    }
}

/// Settings of prober `dns`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dns {
    /// As [`Http::preferred_ip_protocol`].
    pub preferred_ip_protocol: Ip,
    /// As [`Http::ip_protocol_fallback`].
    pub ip_protocol_fallback: bool,
    /// Name that is asked for.
    pub query_name: String,
    /// Type of record.
    pub query_type: String,
    /// Class of record.
    pub query_class: String,
    /// Whether the server may ask others.
    pub recursion_desired: bool,
    /// UDP or TCP.
    pub transport_protocol: Transport,
    /// Whether TLS is spoken.
    pub dns_over_tls: bool,
    /// TLS.
    pub tls_config: TlsSettings,
    /// Outcomes that are well; empty: NOERROR.
    pub valid_rcodes: Vec<String>,
    /// What answers must be like.
    pub validate_answer_rrs: Records,
    /// What records of authorities must be like.
    pub validate_authority_rrs: Records,
    /// What further records must be like.
    pub validate_additional_rrs: Records,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            preferred_ip_protocol: Ip::default(),
            ip_protocol_fallback: true,
            query_name: String::new(),
            query_type: "ANY".into(),
            query_class: "IN".into(),
            recursion_desired: true,
            transport_protocol: Transport::default(),
            dns_over_tls: false,
            tls_config: TlsSettings::default(),
            valid_rcodes: Vec::new(),
            validate_answer_rrs: Records::default(),
            validate_authority_rrs: Records::default(),
            validate_additional_rrs: Records::default(),
        }
    }
}

/// What carries DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// UDP.
    #[default]
    Udp,
    /// TCP.
    Tcp,
}

/// Expressions on the text of records.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Records {
    /// Fail where one record matches one of these.
    pub fail_if_matches_regexp: Vec<String>,
    /// Fail where not all records match these: as blackbox_exporter does, whatever the name says.
    pub fail_if_all_match_regexp: Vec<String>,
    /// Fail where one record does not match one of these.
    pub fail_if_not_matches_regexp: Vec<String>,
    /// Fail where no record matches any of these.
    pub fail_if_none_matches_regexp: Vec<String>,
}
