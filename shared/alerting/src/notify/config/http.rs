//! `http_config`: how requests prove who sends them, and TLS.

use serde_json::Value;
use skerry_yaml::values::{Checks, Mapping, Secret};
use std::path::PathBuf;
use std::sync::Arc;

/// Longest list of headers.
const HEADERS_MAX: usize = 32;

const NO_PROXY: &str = "proxies are not spoken; let the receiver be reached directly, or by a relay's URL";
/// Keys of Alertmanager that have no effect here, and what to do instead.
const UNSPOKEN: [(&str, &str); 5] = [
    ("proxy_url", NO_PROXY),
    ("proxy_from_environment", NO_PROXY),
    ("proxy_connect_header", NO_PROXY),
    ("no_proxy", NO_PROXY),
    ("oauth2", "OAuth 2 is not spoken; use authorization with credentials_file, which may be replaced"),
];

/// `http_config`, as far as it is spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// `basic_auth`, `authorization` or the older `bearer_token`.
    pub auth: Auth,
    /// `tls_config`.
    pub tls: Arc<TlsConfig>,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Further headers and their values.
    pub headers: Vec<(String, Secret)>,
    /// Keys that Alertmanager knows and that are not spoken here, and why: [`Integration::faults`] names them, so that
    /// whoever would send refuses them, while the file can be read and checked.
    ///
    /// [`Integration::faults`]: super::Integration::faults
    pub unspoken: Vec<(String, &'static str)>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            auth: Auth::None,
            tls: Arc::default(),
            follow_redirects: true,
            headers: Vec::new(),
            unspoken: Vec::new(),
        }
    }
}

/// How a request proves who sends it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// User and password.
    Basic(Secret, Option<Secret>),
    /// A scheme such as `Bearer`, and what follows it.
    Scheme(String, Secret),
}

/// `tls_config` as Prometheus and Alertmanager have it. Files are read by whoever connects.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// PEM certificates that servers are verified against instead of the system's.
    pub ca: Option<String>,
    /// A file of them.
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and those above it, PEM.
    pub cert: Option<String>,
    /// A file of them.
    pub cert_file: Option<PathBuf>,
    /// The client's key, PEM.
    pub key: Option<String>,
    /// A file of it.
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must have, instead of the address's.
    pub server_name: Option<String>,
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// Whether TLS 1.3 is the least that is spoken; else 1.2 is.
    pub is_13_least: bool,
    /// Whether TLS 1.2 is the most that is spoken.
    pub is_12_most: bool,
}

/// Without what is secret: settings stand in logs.
impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ca_file, cert_file, server_name, insecure_skip_verify, .. } = self;
        write!(f, "TlsConfig({ca_file:?}, {cert_file:?}, {server_name:?}, {insecure_skip_verify})")
    }
}

impl HttpConfig {
    /// Reads the mapping at `key`.
    pub(super) fn read(value: &Value, key: &str, checks: &mut Checks<'_>) -> Self {
        let mut node = Mapping::new(Some(value), key, checks);
        let mut ways = Vec::new();
        if let Some(mut basic) = node.child("basic_auth", checks) {
            let (user, password) = (basic.secret("username", checks), basic.secret("password", checks));
            if user.is_none() {
                checks.fault(&basic.at("username"), "a name is expected");
            }
            basic.finish(checks);
            ways.extend(user.map(|user| Auth::Basic(user, password)));
        }
        if let Some(mut authorization) = node.child("authorization", checks) {
            let scheme = authorization.text_or("type", "Bearer", checks);
            if scheme.eq_ignore_ascii_case("basic") {
                checks.fault(&authorization.at("type"), "basic_auth is for that: another scheme is expected");
            }
            let credentials = authorization.secret("credentials", checks);
            authorization.finish(checks);
            ways.push(Auth::Scheme(scheme, credentials.unwrap_or(Secret::Text(String::new()))));
        }
        if let Some(token) = node.secret("bearer_token", checks) {
            ways.push(Auth::Scheme("Bearer".into(), token));
        }
        if ways.len() > 1 {
            checks.fault(key, "at most one of basic_auth, authorization and bearer_token is expected");
        }
        let mut unspoken = Vec::new();
        for (name, why) in UNSPOKEN {
            if node.take(name).is_some_and(|value| !matches!(value, Value::Bool(false))) {
                unspoken.push((node.at(name), why));
            }
        }
        // HTTP/1.1 is what is spoken in any case, and every server knows it.
        node.flag("enable_http2", checks);
        let follow_redirects = node.flag("follow_redirects", checks).unwrap_or(true);
        let tls = TlsConfig::read(node.take("tls_config"), &node.at("tls_config"), checks);
        let headers = headers(&mut node, checks);
        node.finish(checks);
        Self { auth: ways.pop().unwrap_or_default(), tls: Arc::new(tls), follow_redirects, headers, unspoken }
    }
}

impl TlsConfig {
    /// Reads the mapping at `key`; nothing at all is the usual.
    pub(super) fn read(value: Option<&Value>, key: &str, checks: &mut Checks<'_>) -> Self {
        let mut node = Mapping::new(value, key, checks);
        let mut pair = |name: &str, checks: &mut Checks<'_>| match node.secret(name, checks) {
            Some(Secret::Text(pem)) => (Some(pem), None),
            Some(Secret::File(path)) => (None, Some(path)),
            None => (None, None),
        };
        let (ca, ca_file) = pair("ca", checks);
        let (cert, cert_file) = pair("cert", checks);
        let (private, key_file) = pair("key", checks);
        if (cert.is_some() || cert_file.is_some()) != (private.is_some() || key_file.is_some()) {
            checks.fault(key, "a certificate and its key are expected together");
        }
        let server_name = node.text("server_name", checks).filter(|name| !name.is_empty());
        let insecure_skip_verify = node.flag("insecure_skip_verify", checks).unwrap_or(false);
        let mut version = |name: &str, checks: &mut Checks<'_>| {
            let text = node.text(name, checks)?;
            let number = ["TLS10", "TLS11", "TLS12", "TLS13"].iter().position(|known| *known == text);
            if number.is_none() {
                checks.fault(&node.at(name), "TLS10, TLS11, TLS12 or TLS13 is expected");
            }
            number
        };
        let (least, most) = (version("min_version", checks), version("max_version", checks));
        if most.is_some_and(|most| most < 2 || least.is_some_and(|least| least > most)) {
            checks.fault(&node.at("max_version"), "TLS12 at least, and no less than min_version, is expected");
        }
        node.finish(checks);
        let (is_13_least, is_12_most) = (least == Some(3), most == Some(2));
        Self {
            ca,
            ca_file,
            cert,
            cert_file,
            key: private,
            key_file,
            server_name,
            insecure_skip_verify,
            is_13_least,
            is_12_most,
        }
    }
}

/// `http_headers`: of each name its values, be they plain, secret or in files.
fn headers(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Vec<(String, Secret)> {
    let Some(value) = node.take("http_headers") else { return Vec::new() };
    let at = node.at("http_headers");
    let Value::Object(map) = value else {
        checks.fault(&at, "a mapping of names to values is expected");
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, value) in map {
        let key = format!("{at}.{name}");
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            checks.fault(&key, "this is no name of a header");
        }
        let mut one = Mapping::new(Some(value), &key, checks);
        let mut texts = one.words("values", checks);
        texts.extend(one.words("secrets", checks));
        let files = one.words("files", checks);
        headers.extend(texts.into_iter().map(|text| (name.clone(), Secret::Text(text))));
        headers.extend(files.into_iter().map(|file| (name.clone(), Secret::File(file.into()))));
        one.finish(checks);
    }
    if headers.len() > HEADERS_MAX {
        checks.fault(&at, format!("at most {HEADERS_MAX} headers are sent"));
        headers.truncate(HEADERS_MAX);
    }
    headers
}
