//! `fleet.yaml`, the server's file.
//!
//! Read as it is written, then checked whole: every fault is named with file, line and key before anything is opened.

use crate::alerts;
use crate::forward;
use crate::remote::{self, Target};
use crate::rules;
use crate::store;
use serde::Deserialize;
use skerry_promapi::config_text;
use skerry_yaml::{Fault, Faults};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the server runs with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the databases are.
    pub data_dir: PathBuf,
    /// The HTTP API and the console.
    pub http: Http,
    /// Where nodes connect.
    pub mqtt: Mqtt,
    /// Certificates and keys for TLS.
    pub pki: Pki,
    /// Root document number 1.
    pub root: PathBuf,
    /// SHA-256 of the API token.
    pub api_token_sha256: [u8; 32],
    /// How long data is kept.
    pub retention: store::Config,
    /// Where samples are sent on to.
    pub remote_write: Vec<Target>,
    /// Where log records are sent on to.
    pub forward: Vec<forward::Target>,
    /// Rules over all nodes.
    pub rules: rules::Config,
    /// Who is told of alerts.
    pub alerting: alerts::Config,
    /// The file without secrets, for those who ask what runs.
    pub shown: String,
}

/// The HTTP API and the console.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address to listen on.
    #[serde(default = "http_listen")]
    pub listen: SocketAddr,
    /// How nodes and browsers reach it.
    pub public_url: String,
    /// Certificate and key, where it speaks TLS itself.
    #[serde(default)]
    pub tls: Option<HttpTls>,
    /// Plain HTTP on an address that others reach: for a proxy in front that speaks TLS.
    #[serde(default)]
    pub insecure: bool,
}

/// Files of the HTTP server's TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTls {
    /// PEM chain, leaf first.
    pub cert: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// Where nodes connect.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// Address of the fleet's own endpoint.
    #[serde(default = "mqtt_listen")]
    pub listen: SocketAddr,
    /// Address for MQTT over WebSocket, where wanted.
    #[serde(default)]
    pub websocket: Option<SocketAddr>,
    /// Host and port that nodes are told.
    pub public: String,
    /// An external broker instead of the own endpoint.
    #[serde(default)]
    pub broker: Option<BrokerFile>,
}

/// An external broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerFile {
    /// Host name or address, as in the broker's certificate.
    pub host: String,
    /// Port.
    #[serde(default = "broker_port")]
    pub port: u16,
    /// PEM of the CA that signed the broker's certificate.
    pub ca: PathBuf,
    /// PEM certificate that the fleet proves itself with.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Names the fleet's session at the broker.
    #[serde(default = "client_id")]
    pub client_id: String,
    /// User name, where the broker wants one.
    #[serde(default)]
    pub username: Option<String>,
    /// File with the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// Certificates and keys for TLS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pki {
    /// The fleet's CA.
    pub ca_cert: PathBuf,
    /// Its key.
    pub ca_key: PathBuf,
    /// The MQTT endpoint's certificate.
    pub server_cert: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// How long a node's certificate lasts.
    #[serde(default = "node_cert_days")]
    pub node_cert_days: u32,
}

impl Pki {
    /// How long a node's certificate lasts.
    #[must_use]
    pub fn node_validity(&self) -> Duration {
        Duration::from_secs(u64::from(self.node_cert_days) * 86_400)
    }
}

fn http_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9480))
}

fn mqtt_listen() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8883))
}

fn broker_port() -> u16 {
    8883
}

fn client_id() -> String {
    "skerry-fleet".into()
}

/// A year: nodes cannot renew a certificate yet, so a short one would cut a node off that nobody visits.
fn node_cert_days() -> u32 {
    365
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "data_dir")]
    data_dir: PathBuf,
    http: Http,
    mqtt: Mqtt,
    pki: Pki,
    root: PathBuf,
    api_token_sha256: String,
    #[serde(default)]
    retention: store::Config,
    #[serde(default)]
    remote_write: Vec<remote::config::File>,
    #[serde(default)]
    forward: Vec<forward::config::File>,
    #[serde(default)]
    rules: rules::config::File,
    #[serde(default)]
    alerting: alerts::config::File,
}

fn data_dir() -> PathBuf {
    "/var/lib/skerry".into()
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    ("data_dir", "/var/lib/skerry", "folder of fleet.db (control) and fleet-data.db (what nodes sent)"),
    ("http.listen", "127.0.0.1:9480", "address of the HTTP API and the console"),
    ("http.public_url", "required", "how nodes and browsers reach it; stands in every enrolment token"),
    ("http.tls.cert", "none", "PEM chain of the HTTP server; without it plain HTTP is spoken, on loopback alone"),
    ("http.tls.key", "none", "its PEM key"),
    ("http.insecure", "false", "allow plain HTTP on other addresses, behind a proxy that speaks TLS"),
    ("mqtt.listen", "0.0.0.0:8883", "address of the MQTT endpoint; TLS with client certificates"),
    ("mqtt.websocket", "none", "address for MQTT over WebSocket over TLS at /mqtt"),
    ("mqtt.public", "required", "host:port that nodes are told to connect to"),
    (
        "mqtt.broker",
        "none",
        "an external broker instead: host, port, ca, cert, key, client_id, username, password_file",
    ),
    ("pki.ca_cert", "required", "the fleet's CA, PEM; signs node certificates and nothing that a node obeys"),
    ("pki.ca_key", "required", "its key"),
    ("pki.server_cert", "required", "certificate of the MQTT endpoint"),
    ("pki.server_key", "required", "its key"),
    ("pki.node_cert_days", "365", "how long a node's certificate lasts; 1 to 3650"),
    ("root", "required", "root document number 1, as `skerry init` wrote it"),
    ("api_token_sha256", "required", "SHA-256 of the API token, 64 hex digits"),
];

/// Reads and checks the file. Relative paths count from its folder.
///
/// # Errors
/// Every fault, also those of a file that cannot be read.
pub fn read(path: &Path) -> Result<Config, Faults> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = format!("cannot be read: {error}; `skerry init` makes one");
        Faults { file: file.clone(), faults: vec![Fault { line: None, key: String::new(), problem }] }
    })?;
    parse(&file, &text, path.parent().unwrap_or(Path::new(".")))
}

fn parse(file: &str, text: &str, folder: &Path) -> Result<Config, Faults> {
    let fail = |faults| Faults { file: file.to_owned(), faults };
    let document = skerry_yaml::read::<File>(text).map_err(|fault| fail(vec![fault]))?;
    let (mut raw, places) = (document.value, document.places);
    let mut faults = Vec::new();
    let mut fault = |key: &str, problem: &str| {
        faults.push(Fault { line: places.line(key), key: key.to_owned(), problem: problem.to_owned() });
    };
    let is_url = |url: &str| {
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
        !host.is_empty() && url.len() <= 400 && url.bytes().all(|b| b.is_ascii_graphic())
    };
    if !is_url(&raw.http.public_url) {
        fault("http.public_url", "http:// or https:// with a host is expected, at most 400 characters");
    }
    if raw.http.tls.is_none() && !raw.http.insecure && !raw.http.listen.ip().is_loopback() {
        fault(
            "http.listen",
            "plain HTTP would carry the API token over the network: set http.tls, listen on 127.0.0.1, or set \
             http.insecure: true behind a proxy that speaks TLS",
        );
    }
    match raw.mqtt.public.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && host.len() <= 253 && port.parse::<u16>().is_ok_and(|p| p > 0) => {}
        _ => fault("mqtt.public", "host:port is expected, such as fleet.example:8883"),
    }
    if !(1..=3650).contains(&raw.pki.node_cert_days) {
        fault("pki.node_cert_days", "1 to 3650 is expected");
    }
    let token = hex_32(&raw.api_token_sha256);
    if token.is_none() {
        fault("api_token_sha256", "64 hexadecimal digits are expected; `skerry init` writes them");
    }
    for problem in raw.retention.validate() {
        let (key, problem) = problem.split_once(": ").unwrap_or(("", &problem));
        fault(&format!("retention.{key}"), problem);
    }
    let remote_write = remote::config::check(&raw.remote_write, folder, &mut fault);
    let forward = forward::config::check(&raw.forward, folder, &mut fault);
    let rules = rules::config::check(&raw.rules, folder, &mut fault);
    let alerting = alerts::config::check(&raw.alerting, folder, &mut fault);
    let mut paths = vec![&mut raw.data_dir, &mut raw.root];
    let Pki { ca_cert, ca_key, server_cert, server_key, .. } = &mut raw.pki;
    paths.extend([ca_cert, ca_key, server_cert, server_key]);
    if let Some(HttpTls { cert, key }) = &mut raw.http.tls {
        paths.extend([cert, key]);
    }
    if let Some(BrokerFile { ca, cert, key, password_file, .. }) = &mut raw.mqtt.broker {
        paths.extend([ca, cert, key]);
        paths.extend(password_file);
    }
    for path in paths {
        *path = folder.join(&path);
    }
    match token.zip(alerting) {
        Some((api_token_sha256, alerting)) if faults.is_empty() => {
            let File { data_dir, http, mqtt, pki, root, retention, .. } = raw;
            let shown = skerry_yaml::read(text).map(|document| config_text(document.value)).unwrap_or_default();
            Ok(Config {
                data_dir,
                http,
                mqtt,
                pki,
                root,
                api_token_sha256,
                retention,
                remote_write,
                forward,
                rules,
                alerting,
                shown,
            })
        }
        _ => Err(fail(faults)),
    }
}

/// 32 bytes from 64 hexadecimal digits.
fn hex_32(text: &str) -> Option<[u8; 32]> {
    text.parse::<skerry_seal::PublicKey>().ok().map(|bytes| bytes.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
http: {public_url: 'http://127.0.0.1:9480'}
mqtt: {public: '127.0.0.1:8883'}
pki: {ca_cert: pki/ca.pem, ca_key: pki/ca.key, server_cert: pki/server.pem, server_key: pki/server.key}
root: root.cose
api_token_sha256: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
";

    fn faults(text: &str) -> Vec<String> {
        let told = parse("fleet.yaml", text, Path::new("/etc/skerry")).unwrap_err().to_string();
        told.lines().map(str::to_owned).collect()
    }

    #[test]
    fn paths_count_from_the_files_folder() {
        let config = parse("fleet.yaml", GOOD, Path::new("/etc/skerry")).unwrap();
        assert_eq!(config.pki.ca_key, Path::new("/etc/skerry/pki/ca.key"));
        assert_eq!(config.data_dir, Path::new("/var/lib/skerry"));
        assert_eq!(config.pki.node_validity(), Duration::from_secs(365 * 86_400));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let bad = "
http: {listen: '0.0.0.0:9480', public_url: ftp}
mqtt: {public: fleet}
pki: {ca_cert: a, ca_key: b, server_cert: c, server_key: d, node_cert_days: 0}
root: root.cose
api_token_sha256: short
retention:
  max_age: 1s
";
        let told = faults(bad);
        let keys = [
            "2: http.public_url: ",
            "2: http.listen: ",
            "3: mqtt.public: ",
            "4: pki.node_cert_days: ",
            "6: api_token_sha256: ",
            "8: retention.max_age: ",
        ];
        assert_eq!(told.len(), keys.len(), "{told:#?}");
        for (told, key) in told.iter().zip(keys) {
            assert!(told.starts_with(&format!("fleet.yaml:{key}")), "{told}");
        }
    }

    #[test]
    fn unknown_and_missing_keys_are_named() {
        assert!(faults(&format!("{GOOD}listen: x\n"))[0].contains("listen"));
        assert!(faults("root: x\n")[0].contains("http"));
        let open = GOOD.replace("{public_url", "{listen: '0.0.0.0:9480', insecure: true, public_url");
        assert!(parse("f", &open, Path::new("/")).is_ok());
    }
}
