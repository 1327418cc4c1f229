//! Where requests go and how they prove who sends them: keys that every section with targets has.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// Headers that a sender sets itself.
const OWN_HEADERS: [&str; 8] = [
    "authorization",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A secret, or the file that holds it. The file is read for each request, so that it may be replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// In the config.
    Text(Secret),
    /// In a file; white space around it does not count.
    File(PathBuf),
}

impl Credential {
    /// The secret.
    ///
    /// # Errors
    /// The system's, where the file cannot be read.
    pub fn read(&self) -> std::io::Result<Zeroizing<String>> {
        match self {
            Self::Text(secret) => Ok(secret.0.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map(Zeroizing::new)?;
                Ok(Zeroizing::new(text.trim().to_owned()))
            }
        }
    }
}

/// How a request proves who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// User name and password.
    Basic(String, Option<Credential>),
    /// A scheme, such as `Bearer`, and what follows it.
    Scheme(String, Credential),
}

/// Where requests go, checked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The URL.
    pub url: Uri,
    /// How long a request may take.
    pub timeout: Duration,
    /// Further headers.
    pub headers: HeaderMap,
    /// How it proves who sends it.
    pub auth: Option<Auth>,
    /// TLS.
    pub tls: TlsFile,
}

/// TLS of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFile {
    /// PEM of the CAs that are trusted; the machine's where there is none.
    pub ca_file: Option<PathBuf>,
    /// PEM chain that the fleet proves itself with.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// Name in the target's certificate, where it is not the URL's.
    pub server_name: Option<String>,
    /// Trust any certificate.
    pub insecure_skip_verify: bool,
}

/// User name and password, as they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BasicAuth {
    username: String,
    password: Option<Secret>,
    password_file: Option<PathBuf>,
}

/// A scheme and a credential, as they are written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authorization {
    #[serde(rename = "type", default = "bearer")]
    scheme: String,
    credentials: Option<Secret>,
    credentials_file: Option<PathBuf>,
}

fn bearer() -> String {
    "Bearer".into()
}

impl TlsFile {
    /// With paths that count from `folder`.
    pub fn checked(&self, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Self {
        let mut tls = self.clone();
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            fault("tls_config.cert_file", "cert_file and key_file are expected together");
        }
        for path in [&mut tls.ca_file, &mut tls.cert_file, &mut tls.key_file].into_iter().flatten() {
            *path = folder.join(&path);
        }
        tls
    }
}

/// Whether a text can name a target: in metrics, losses and places.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// What is said of a name that is none.
pub const NAME_EXPECTED: &str = "1 to 100 visible ASCII characters without quotes and backslashes are expected";

/// Further headers of each request.
pub fn headers(given: &BTreeMap<String, String>, fault: &mut impl FnMut(&str, &str)) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let lower = name.to_ascii_lowercase();
        if OWN_HEADERS.contains(&lower.as_str()) {
            fault(
                &format!("headers.{name}"),
                "this header is set by the sender itself; use basic_auth or authorization to prove who sends",
            );
            continue;
        }
        match (HeaderName::try_from(&lower), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            _ => fault(&format!("headers.{name}"), "this is no header's name and value"),
        }
    }
    headers
}

/// The URL at `key`, such as `example`.
pub fn url(key: &str, text: &str, example: &str, fault: &mut impl FnMut(&str, &str)) -> Option<Uri> {
    let uri = text.parse::<Uri>().ok();
    let is_http = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    let Some(uri) = uri.filter(is_http) else {
        fault(key, &format!("http:// or https:// with a host is expected, such as {example}"));
        return None;
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        fault(key, "a user name in the URL would stand in logs; use basic_auth");
        return None;
    }
    Some(uri)
}

/// How a request proves who sends it. Files count from `folder`.
pub fn auth(
    basic: Option<&BasicAuth>,
    authorization: Option<&Authorization>,
    folder: &Path,
    fault: &mut impl FnMut(&str, &str),
) -> Option<Auth> {
    let mut one = |key: &str, text: &Option<Secret>, file: &Option<PathBuf>| match (text, file) {
        (Some(_), Some(_)) => {
            fault(key, "the secret or the file that holds it is expected, not both");
            None
        }
        (Some(text), None) => Some(Credential::Text(text.clone())),
        (None, Some(file)) => Some(Credential::File(folder.join(file))),
        (None, None) => None,
    };
    match (basic, authorization) {
        (Some(_), Some(_)) => {
            fault("authorization", "one of basic_auth and authorization is expected");
            None
        }
        (Some(basic), None) => {
            let password = one("basic_auth.password", &basic.password, &basic.password_file);
            Some(Auth::Basic(basic.username.clone(), password))
        }
        (None, Some(authorization)) => {
            let Authorization { scheme, credentials, credentials_file } = authorization;
            let Some(credential) = one("authorization.credentials", credentials, credentials_file) else {
                fault("authorization.credentials", "credentials or credentials_file is expected");
                return None;
            };
            Some(Auth::Scheme(scheme.clone(), credential))
        }
        (None, None) => None,
    }
}
