//! The section `remote_write` of `fleet.yaml`: Prometheus's keys.

use crate::outgoing::endpoint::{self, Authorization, BasicAuth, Endpoint, TlsFile};
use serde::Deserialize;
use skerry_model::Span;
use skerry_remote::Protocol;
use skerry_scrape::relabel;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Most targets.
const TARGETS_MAX: usize = 16;
/// A target, checked.
#[derive(Debug, Clone)]
pub struct Target {
    /// Names its place in the queue, its metrics and its losses.
    pub name: String,
    /// Where requests go.
    pub endpoint: Arc<Endpoint>,
    /// What is done to the labels of each series, last of all; a rule may drop it.
    pub relabel: Vec<relabel::Rule>,
    /// Which message it is sent.
    pub protocol: Protocol,
    /// Sizes and times of requests.
    pub queue: Queue,
}

/// Sizes and times of requests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Samples in one request.
    pub max_samples_per_send: u64,
    /// Requests at a time; each node's go one after the other.
    pub max_shards: usize,
    /// How long samples wait for others to fill a request.
    pub batch_send_deadline: Span,
    /// Pause after the first failure.
    pub min_backoff: Span,
    /// Longest pause.
    pub max_backoff: Span,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            max_samples_per_send: 2000,
            max_shards: 4,
            batch_send_deadline: Span::secs(1),
            min_backoff: Span::millis(30),
            max_backoff: Span::secs(5),
        }
    }
}

/// A target as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    url: String,
    name: Option<String>,
    #[serde(default = "remote_timeout")]
    remote_timeout: Span,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    #[serde(default)]
    tls_config: TlsFile,
    #[serde(default)]
    write_relabel_configs: Vec<relabel::Config>,
    protobuf_message: Option<String>,
    #[serde(default)]
    queue_config: Queue,
}

fn remote_timeout() -> Span {
    Span::secs(30)
}

/// Key, default and meaning of every setting of a target.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("url", "required", "where samples of all nodes are sent by Prometheus remote write, from now on"),
    ("name", "host and port of the URL", "names the target's place in the queue, its metrics and losses"),
    ("remote_timeout", "30s", "how long a request may take"),
    ("headers", "none", "further headers of each request"),
    ("basic_auth", "none", "username, and password or password_file"),
    ("authorization", "none", "type (Bearer), and credentials or credentials_file"),
    ("tls_config", "the machine's CAs", "ca_file, cert_file, key_file, server_name, insecure_skip_verify"),
    (
        "write_relabel_configs",
        "none",
        "Prometheus's relabelling of what is sent: source_labels, separator, regex, modulus, target_label, replacement, action",
    ),
    ("protobuf_message", "prometheus.WriteRequest", "or io.prometheus.write.v2.Request, which is remote write 2.0"),
    ("queue_config.max_samples_per_send", "2000", "samples in one request, which holds one node's"),
    ("queue_config.max_shards", "4", "requests at a time; each node's go one after the other"),
    ("queue_config.batch_send_deadline", "1s", "how long samples wait for others to fill a request"),
    ("queue_config.min_backoff", "30ms", "pause after a failure; it doubles"),
    ("queue_config.max_backoff", "5s", "longest pause; a target's Retry-After may ask for more"),
];

/// Checks the section; `fault` is told key and problem of all that is wrong.
pub fn check(files: &[File], folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Vec<Target> {
    if files.len() > TARGETS_MAX {
        fault("remote_write", &format!("{} targets, at most {TARGETS_MAX} are taken", files.len()));
    }
    let (mut targets, mut names) = (Vec::new(), BTreeSet::new());
    for (at, file) in files.iter().enumerate() {
        let mut fault = |key: &str, problem: &str| fault(&format!("remote_write[{at}].{key}"), problem);
        let target = file.checked(folder, &mut fault);
        if let Some(target) = target {
            if !names.insert(target.name.clone()) {
                fault("name", &format!("{:?} stands twice; give each target a name of its own", target.name));
            }
            targets.push(target);
        }
    }
    targets
}

impl File {
    fn checked(&self, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Option<Target> {
        let url = endpoint::url("url", &self.url, "https://store.example/api/v1/write", fault);
        let name = self.name.clone().or_else(|| url.as_ref()?.authority().map(ToString::to_string));
        if self.name.as_deref().is_some_and(|name| !endpoint::is_name(name)) {
            fault("name", endpoint::NAME_EXPECTED);
        }
        let headers = endpoint::headers(&self.headers, fault);
        let protocol = match self.protobuf_message.as_deref().map(Protocol::of_message) {
            None => Protocol::V1,
            Some(Some(protocol)) => protocol,
            Some(None) => {
                fault("protobuf_message", "prometheus.WriteRequest or io.prometheus.write.v2.Request is expected");
                Protocol::V1
            }
        };
        let queue = &self.queue_config;
        if !(1..=100_000).contains(&queue.max_samples_per_send) {
            fault("queue_config.max_samples_per_send", "1 to 100000 is expected");
        }
        if !(1..=64).contains(&queue.max_shards) {
            fault("queue_config.max_shards", "1 to 64 is expected");
        }
        if queue.min_backoff < Span::millis(1) || queue.max_backoff < queue.min_backoff {
            fault("queue_config.max_backoff", "at least min_backoff is expected, and that at least 1ms");
        }
        if self.remote_timeout < Span::millis(100) {
            fault("remote_timeout", "at least 100ms is expected");
        }
        let auth = endpoint::auth(self.basic_auth.as_ref(), self.authorization.as_ref(), folder, fault);
        let relabel = relabel::rules(&self.write_relabel_configs).unwrap_or_else(|faults| {
            for (key, problem) in faults {
                fault(&format!("write_relabel_configs{key}"), &problem);
            }
            Vec::new()
        });
        let tls = self.tls_config.checked(folder, fault);
        Some(Target {
            name: name?,
            endpoint: Arc::new(Endpoint { url: url?, timeout: self.remote_timeout.0, headers, auth, tls }),
            relabel,
            protocol,
            queue: queue.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outgoing::endpoint::{Auth, Credential};

    fn checked(text: &str) -> (Vec<Target>, Vec<String>) {
        let files: Vec<File> = skerry_yaml::read(text).unwrap().value;
        let mut faults = Vec::new();
        let targets =
            check(&files, Path::new("/etc/skerry"), &mut |key, problem| faults.push(format!("{key}: {problem}")));
        (targets, faults)
    }

    #[test]
    fn prometheus_s_keys_are_read() {
        let (targets, faults) = checked(
            "
- url: https://store.example:8443/api/v1/write?x=1
  name: long
  remote_timeout: 1m
  headers: {X-Scope-OrgID: a}
  basic_auth: {username: u, password_file: pw}
  tls_config: {ca_file: ca.pem, server_name: s}
  protobuf_message: io.prometheus.write.v2.Request
  queue_config: {max_samples_per_send: 500, batch_send_deadline: 5s, min_backoff: 100ms, max_backoff: 1m}
- url: http://127.0.0.1:9090/api/v1/write
  authorization: {credentials: hush}
",
        );
        assert_eq!(faults, [""; 0]);
        assert_eq!((targets[0].name.as_str(), targets[1].name.as_str()), ("long", "127.0.0.1:9090"));
        assert_eq!(
            targets[0].endpoint.auth,
            Some(Auth::Basic("u".into(), Some(Credential::File("/etc/skerry/pw".into()))))
        );
        assert_eq!(targets[0].endpoint.tls.ca_file.as_deref(), Some(Path::new("/etc/skerry/ca.pem")));
        assert_eq!((targets[0].protocol, targets[1].protocol), (Protocol::V2, Protocol::V1));
        assert_eq!(targets[0].endpoint.headers["x-scope-orgid"], "a");
        assert!(!format!("{targets:?}").contains("hush"));
    }

    #[test]
    fn every_fault_has_its_key() {
        let (_, faults) = checked(
            "
- url: store
  name: 'a\"b'
  headers: {Authorization: x, 'a b': y}
  authorization: {type: Bearer}
  tls_config: {cert_file: c}
  write_relabel_configs: [{action: drop, regex: '('}]
  protobuf_message: v3
  remote_timeout: 1ms
  queue_config: {max_samples_per_send: 0, max_shards: 0, min_backoff: 1m}
- url: http://u:p@store/
- {url: 'http://store/', basic_auth: {username: u, password: a, password_file: b}}
- {url: 'http://store/', basic_auth: {username: u}, authorization: {credentials: b}}
",
        );
        let keys: Vec<&str> = faults.iter().filter_map(|fault| fault.split_once(": ")).map(|(key, _)| key).collect();
        let first = [
            "url",
            "name",
            "headers.Authorization",
            "headers.a b",
            "protobuf_message",
            "queue_config.max_samples_per_send",
            "queue_config.max_shards",
            "queue_config.max_backoff",
            "remote_timeout",
            "authorization.credentials",
            "write_relabel_configs[0].regex",
            "tls_config.cert_file",
        ];
        let mut expected: Vec<String> = first.iter().map(|key| format!("remote_write[0].{key}")).collect();
        expected.push("remote_write[1].url".into());
        expected.push("remote_write[2].basic_auth.password".into());
        expected.push("remote_write[3].authorization".into());
        expected.push("remote_write[3].name".into());
        assert_eq!(keys, expected);
    }
}
