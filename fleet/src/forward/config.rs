//! The section `forward` of `fleet.yaml`.

use super::core::BatchMax;
use super::elastic::{self, Op};
use super::http::Protocol;
use super::record::Wanted;
use super::{file, loki, otlp, syslog};
use crate::outgoing::endpoint::{self, Authorization, BasicAuth, Endpoint, TlsFile};
use crate::store::Start;
use axum::http::{HeaderValue, Uri};
use serde::Deserialize;
use skerry_model::{Bytes, Level, Span};
use skerry_promql::Query;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most targets.
const TARGETS_MAX: usize = 16;

/// A target, checked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Names its place in the queue, its metrics and its losses.
    pub name: String,
    /// Where records go.
    pub way: Way,
    /// Which records.
    pub wanted: Wanted,
    /// What it begins with.
    pub start: Start,
    /// When a batch is full.
    pub batch: BatchMax,
    /// Pauses after failures.
    pub backoff: Backoff,
}

/// Where records go.
#[derive(Debug, Clone)]
pub enum Way {
    /// To a store that speaks HTTP.
    Http(Protocol, Arc<Endpoint>),
    /// To a syslog receiver, with its TLS.
    Syslog(syslog::Options, TlsFile),
    /// To a file.
    File(file::Options),
}

impl Way {
    /// What it is and where, for people.
    #[must_use]
    pub fn shown(&self) -> (&'static str, String) {
        match self {
            Self::Http(protocol, endpoint) => {
                let kind = match protocol {
                    Protocol::Loki(_) => "loki",
                    Protocol::Elastic(_) => "elasticsearch",
                    Protocol::Otlp(_) => "otlp",
                };
                (kind, endpoint.url.to_string())
            }
            Self::Syslog(options, _) => {
                let scheme = match options.transport {
                    syslog::Transport::Tcp => "tcp",
                    syslog::Transport::Tls => "tls",
                    syslog::Transport::Udp => "udp",
                };
                ("syslog", format!("{scheme}://{}:{}", options.host, options.port))
            }
            Self::File(options) => ("file", options.path.display().to_string()),
        }
    }
}

/// Pauses after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Backoff {
    /// After the first.
    pub min: Span,
    /// The longest.
    pub max: Span,
}

impl Default for Backoff {
    /// Quick where a store restarts, and no burden on one that is down for days.
    fn default() -> Self {
        Self { min: Span::millis(500), max: Span::secs(60) }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BatchFile {
    bytes: Bytes,
    records: usize,
    wait: Span,
}

impl Default for BatchFile {
    /// Loki takes 4 MiB and 10,000 entries come near that; Elasticsearch is advised 5 to 15 MiB, OTLP collectors take
    /// 20 MiB by default.
    fn default() -> Self {
        Self { bytes: Bytes::mib(1), records: 10_000, wait: Span::secs(1) }
    }
}

/// A target as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    name: String,
    loki: Option<LokiFile>,
    elasticsearch: Option<ElasticFile>,
    otlp: Option<OtlpFile>,
    syslog: Option<SyslogFile>,
    file: Option<FileFile>,
    selector: Option<String>,
    level: Option<Level>,
    #[serde(default)]
    from: From,
    #[serde(default)]
    batch: BatchFile,
    #[serde(default)]
    backoff: Backoff,
    #[serde(default = "timeout")]
    timeout: Span,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    #[serde(default)]
    tls_config: TlsFile,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum From {
    #[default]
    Now,
    Beginning,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct LokiFile {
    url: String,
    tenant: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default = "yes")]
    structured_metadata: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ElasticFile {
    url: String,
    #[serde(default = "index")]
    index: String,
    #[serde(default)]
    op: Op,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct OtlpFile {
    url: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyslogFile {
    address: String,
    #[serde(default)]
    framing: syslog::Framing,
    #[serde(default = "facility")]
    facility: u8,
    #[serde(default = "enterprise")]
    enterprise_id: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileFile {
    path: PathBuf,
    #[serde(default)]
    format: file::Format,
    #[serde(default = "file_bytes")]
    max_bytes: Bytes,
    max_age: Option<Span>,
    #[serde(default = "keep")]
    keep: u64,
    #[serde(default)]
    compress: bool,
}

fn timeout() -> Span {
    Span::secs(30)
}

fn yes() -> bool {
    true
}

fn index() -> String {
    "skerry-logs-%Y.%m.%d".into()
}

/// "User-level messages".
fn facility() -> u8 {
    1
}

/// The number that RFC 5612 sets aside for documentation: we have none of our own.
fn enterprise() -> u32 {
    32473
}

fn file_bytes() -> Bytes {
    Bytes::mib(100)
}

fn keep() -> u64 {
    10
}

/// Key, default and meaning of every setting of a target.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("name", "required", "names the target's place, its metrics and losses"),
    ("loki.url", "none", "Loki's push API; without a path /loki/api/v1/push"),
    ("loki.tenant", "none", "X-Scope-OrgID"),
    ("loki.labels", "all", "labels that name the stream; the others become structured metadata"),
    ("loki.external_labels", "none", "labels that every stream is given"),
    ("loki.structured_metadata", "true", "send fields; Loki before 3.0 takes them only where it is told to"),
    ("elasticsearch.url", "none", "Elasticsearch or OpenSearch; /_bulk is put behind it"),
    ("elasticsearch.index", "skerry-logs-%Y.%m.%d", "index by the record's time in UTC, or a data stream"),
    ("elasticsearch.op", "create", "or index"),
    ("otlp.url", "none", "OTLP over HTTP, protobuf; without a path /v1/logs"),
    ("syslog.address", "none", "tcp://, tls:// or udp:// with host and port; RFC 5424"),
    ("syslog.framing", "octet_counting", "or newline: how messages are told apart on a stream"),
    ("syslog.facility", "1", "0 to 23"),
    ("syslog.enterprise_id", "32473", "number behind the names of structured data; the default is for documentation"),
    ("file.path", "none", "file that lines are appended to; rotated ones have a number behind this name"),
    ("file.format", "json", "or raw (the line alone), logfmt"),
    ("file.max_bytes", "100MiB", "size at which it is rotated"),
    ("file.max_age", "none", "age at which it is rotated, with the next line"),
    ("file.keep", "10", "rotated files that are kept"),
    ("file.compress", "false", "pack rotated files with zstd"),
    ("selector", "all", "which records, such as {source=\"app\",site=~\"n.*\"}; labels as queries show them"),
    ("level", "all", "lowest severity; records whose severity is not known are then left out"),
    ("from", "now", "or beginning: what a new target begins with"),
    ("batch.bytes", "1MiB", "bytes of a request, about"),
    ("batch.records", "10000", "records of a request"),
    ("batch.wait", "1s", "how long records wait for others to fill a request"),
    ("backoff.min", "500ms", "pause after a failure; it doubles"),
    ("backoff.max", "1m", "longest pause; a target's Retry-After may ask for more"),
    ("timeout", "30s", "how long a request may take"),
    ("headers", "none", "further headers of each request"),
    ("basic_auth", "none", "username, and password or password_file"),
    ("authorization", "none", "type (Bearer; ApiKey for Elasticsearch), and credentials or credentials_file"),
    ("tls_config", "the machine's CAs", "ca_file, cert_file, key_file, server_name, insecure_skip_verify"),
];

/// Checks the section; `fault` is told key and problem of all that is wrong.
pub fn check(files: &[File], folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Vec<Target> {
    if files.len() > TARGETS_MAX {
        fault("forward", &format!("{} targets, at most {TARGETS_MAX} are taken", files.len()));
    }
    let (mut targets, mut names, mut paths) = (Vec::<Target>::new(), BTreeSet::new(), BTreeSet::new());
    for (at, file) in files.iter().enumerate() {
        let mut fault = |key: &str, problem: &str| fault(&format!("forward[{at}].{key}"), problem);
        if !names.insert(file.name.clone()) {
            fault("name", &format!("{:?} stands twice; give each target a name of its own", file.name));
        }
        let Some(target) = file.checked(folder, &mut fault) else { continue };
        if let Way::File(options) = &target.way
            && !paths.insert(options.path.clone())
        {
            fault("file.path", "another target writes to this file");
        }
        targets.push(target);
    }
    targets
}

impl File {
    fn checked(&self, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Option<Target> {
        if !endpoint::is_name(&self.name) {
            fault("name", endpoint::NAME_EXPECTED);
        }
        if !(1 << 10..=64 << 20).contains(&self.batch.bytes.0) {
            fault("batch.bytes", "1KiB to 64MiB is expected");
        }
        if !(1..=100_000).contains(&self.batch.records) {
            fault("batch.records", "1 to 100000 is expected");
        }
        if self.backoff.min < Span::millis(1) || self.backoff.max < self.backoff.min {
            fault("backoff.max", "at least min is expected, and that at least 1ms");
        }
        if self.timeout < Span::millis(100) {
            fault("timeout", "at least 100ms is expected");
        }
        let matchers = match self.selector.as_deref().map(str::trim) {
            None | Some("{}") => Vec::new(),
            Some(text) if !text.starts_with('{') => {
                fault("selector", "a selector in braces is expected, such as {source=\"app\"}");
                Vec::new()
            }
            Some(text) => Query::parse(text).and_then(|query| query.matchers()).unwrap_or_else(|error| {
                fault("selector", &format!("{error}; a selector such as {{source=\"app\"}} is expected"));
                Vec::new()
            }),
        };
        let way = self.way(folder, fault)?;
        let bytes = usize::try_from(self.batch.bytes.0).unwrap_or(usize::MAX);
        Some(Target {
            name: self.name.clone(),
            way,
            wanted: Wanted { matchers, level: self.level },
            start: match self.from {
                From::Now => Start::Now,
                From::Beginning => Start::Beginning,
            },
            batch: BatchMax { bytes, records: self.batch.records, wait: self.batch.wait.0 },
            backoff: self.backoff,
        })
    }

    fn way(&self, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Option<Way> {
        let tls = self.tls_config.checked(folder, fault);
        let headers = endpoint::headers(&self.headers, fault);
        let auth = endpoint::auth(self.basic_auth.as_ref(), self.authorization.as_ref(), folder, fault);
        let is_http_alone = !headers.is_empty() || auth.is_some();
        let timeout = self.timeout.0;
        let http = |url: Option<Uri>, protocol: Protocol| {
            Some(Way::Http(protocol, Arc::new(Endpoint { url: url?, timeout, headers, auth, tls: tls.clone() })))
        };
        let way = match (&self.loki, &self.elasticsearch, &self.otlp, &self.syslog, &self.file) {
            (Some(loki), None, None, None, None) => {
                let url = endpoint::url("loki.url", &loki.url, "https://loki.example", fault);
                http(url, Protocol::Loki(loki.checked(fault)))
            }
            (None, Some(elastic), None, None, None) => {
                let url = endpoint::url("elasticsearch.url", &elastic.url, "https://search.example:9200", fault);
                http(url, Protocol::Elastic(elastic.checked(fault)))
            }
            (None, None, Some(otlp), None, None) => {
                let url = endpoint::url("otlp.url", &otlp.url, "https://collector.example:4318", fault);
                http(url, Protocol::Otlp(otlp::Options {}))
            }
            (None, None, None, Some(syslog), None) => {
                syslog.checked(timeout, &tls, fault).map(|options| Way::Syslog(options, tls.clone()))
            }
            (None, None, None, None, Some(file)) => Some(Way::File(file.checked(folder, fault))),
            _ => {
                fault("name", "one of loki, elasticsearch, otlp, syslog and file is expected beside it");
                return None;
            }
        };
        if is_http_alone && matches!(way, Some(Way::Syslog(..) | Way::File(_))) {
            fault("headers", "headers and credentials are for targets that speak HTTP");
        }
        way
    }
}

impl LokiFile {
    fn checked(&self, fault: &mut impl FnMut(&str, &str)) -> loki::Options {
        let tenant = self.tenant.as_deref().map(HeaderValue::try_from);
        if matches!(tenant, Some(Err(_))) {
            fault("loki.tenant", "a header's value is expected");
        }
        loki::Options {
            tenant: tenant.and_then(Result::ok),
            labels: self.labels.clone(),
            external: self.external_labels.clone(),
            metadata: self.structured_metadata,
        }
    }
}

impl ElasticFile {
    fn checked(&self, fault: &mut impl FnMut(&str, &str)) -> elastic::Options {
        let formatted = jiff::fmt::strtime::format(&self.index, jiff::Timestamp::UNIX_EPOCH);
        let is_index = |name: &str| {
            let is_bad = |c: char| c.is_uppercase() || c.is_whitespace() || "\\/*?\"<>|,#:".contains(c);
            !name.is_empty() && name.len() <= 255 && !name.starts_with(['-', '_', '+', '.']) && !name.contains(is_bad)
        };
        if !formatted.is_ok_and(|name| is_index(&name)) {
            fault(
                "elasticsearch.index",
                "a lower-case index name is expected, with strftime's signs for the time where it has one per day",
            );
        }
        elastic::Options { index: self.index.clone(), op: self.op }
    }
}

impl SyslogFile {
    fn checked(
        &self,
        timeout: std::time::Duration,
        tls: &TlsFile,
        fault: &mut impl FnMut(&str, &str),
    ) -> Option<syslog::Options> {
        if self.facility > 23 {
            fault("syslog.facility", "0 to 23 is expected");
        }
        let parts = self.address.split_once("://").and_then(|(scheme, rest)| {
            let transport = match scheme {
                "tcp" => syslog::Transport::Tcp,
                "tls" => syslog::Transport::Tls,
                "udp" => syslog::Transport::Udp,
                _ => return None,
            };
            let (host, port) = rest.rsplit_once(':')?;
            let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            let port = port.parse().ok().filter(|port| *port > 0)?;
            (!host.is_empty()).then(|| (transport, host.to_owned(), port))
        });
        let Some((transport, host, port)) = parts else {
            fault("syslog.address", "tcp://, tls:// or udp:// with host and port is expected, such as tls://logs:6514");
            return None;
        };
        Some(syslog::Options {
            transport,
            host,
            port,
            framing: self.framing,
            facility: self.facility,
            enterprise: self.enterprise_id,
            timeout,
            server_name: tls.server_name.clone(),
        })
    }
}

impl FileFile {
    fn checked(&self, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> file::Options {
        if self.max_bytes < Bytes(1 << 10) {
            fault("file.max_bytes", "at least 1KiB is expected");
        }
        if !(1..=10_000).contains(&self.keep) {
            fault("file.keep", "1 to 10000 is expected");
        }
        if self.path.file_name().is_none() {
            fault("file.path", "a file's path is expected");
        }
        file::Options {
            path: folder.join(&self.path),
            format: self.format,
            bytes_max: self.max_bytes.0,
            max_age: self.max_age.map(|age| age.0),
            keep: self.keep,
            compress: self.compress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> (Vec<Target>, Vec<String>) {
        let files: Vec<File> = skerry_yaml::read(text).unwrap().value;
        let mut faults = Vec::new();
        let targets =
            check(&files, Path::new("/etc/skerry"), &mut |key, problem| faults.push(format!("{key}: {problem}")));
        (targets, faults)
    }

    #[test]
    fn every_way_is_read() {
        let (targets, faults) = checked(
            "
- name: grafana
  loki: {url: 'https://loki.example', tenant: shop, labels: [node, source]}
  selector: '{source=\"app\", node!~\"test-.*\"}'
  level: warn
  batch: {bytes: 2MiB, wait: 5s}
- name: search
  elasticsearch: {url: 'https://search.example:9200/es', index: logs-skerry-default}
  authorization: {type: ApiKey, credentials_file: es.key}
  from: beginning
- {name: otel, otlp: {url: 'http://127.0.0.1:4318'}, backoff: {max: 5m}}
- {name: siem, syslog: {address: 'tls://[::1]:6514'}, tls_config: {ca_file: ca.pem}}
- {name: disk, file: {path: all.log, format: logfmt, max_age: 1d, compress: true}}
",
        );
        assert_eq!(faults, [""; 0]);
        let shown: Vec<_> = targets.iter().map(|target| target.way.shown()).collect();
        let expected = [
            ("loki", "https://loki.example/"),
            ("elasticsearch", "https://search.example:9200/es"),
            ("otlp", "http://127.0.0.1:4318/"),
            ("syslog", "tls://::1:6514"),
            ("file", "/etc/skerry/all.log"),
        ];
        assert_eq!(shown, expected.map(|(kind, at)| (kind, at.to_owned())));
        assert_eq!((targets[0].wanted.matchers.len(), targets[0].wanted.level), (2, Some(Level::Warn)));
        assert_eq!((targets[1].start, targets[0].start), (Start::Beginning, Start::Now));
    }

    #[test]
    fn every_fault_has_its_key() {
        let (_, faults) = checked(
            "
- {name: 'a b', loki: {url: loki, tenant: \"a\\nb\"}, selector: 'source=1', batch: {bytes: 1B, records: 0}, timeout: 1ms}
- {name: x, elasticsearch: {url: 'http://u:p@es', index: 'Logs-%'}, backoff: {min: 2m}}
- {name: x, otlp: {url: 'http://c'}, file: {path: a}}
- {name: y, syslog: {address: 'udp:514', facility: 24}}
- {name: z, file: {path: a, keep: 0, max_bytes: 1B}, authorization: {credentials: x}, selector: '{a=~\"(\"}'}
- {name: w, file: {path: a}}
",
        );
        let keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split_once(": ")).map(|(key, _)| key).collect();
        let expected = [
            "forward[0].name",
            "forward[0].batch.bytes",
            "forward[0].batch.records",
            "forward[0].timeout",
            "forward[0].selector",
            "forward[0].loki.url",
            "forward[0].loki.tenant",
            "forward[1].backoff.max",
            "forward[1].elasticsearch.url",
            "forward[1].elasticsearch.index",
            "forward[2].name",
            "forward[2].name",
            "forward[3].syslog.facility",
            "forward[3].syslog.address",
            "forward[4].selector",
            "forward[4].file.max_bytes",
            "forward[4].file.keep",
            "forward[4].headers",
            "forward[5].file.path",
        ];
        assert_eq!(keys, expected, "{faults:#?}");
    }
}
