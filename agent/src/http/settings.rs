//! Settings of HTTP clients in config files, with the names that Prometheus and its exporters gave them.

use super::{Cause, HttpError, fail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};

/// Longest file with a secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// `tls_config`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM certificates that servers are verified against instead of the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// A file of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The client's certificate and those above it, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// A file of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The client's key, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A file of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Name that the server's certificate must have, instead of the address's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Whether any certificate is taken.
    pub insecure_skip_verify: bool,
    /// Lowest version; TLS 1.2 at least in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_version: Option<TlsVersion>,
    /// Highest version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_version: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TlsVersion {
    /// 1.0: not spoken; as a lower bound it is 1.2.
    #[serde(rename = "TLS10")]
    Tls10,
    /// 1.1, as 1.0.
    #[serde(rename = "TLS11")]
    Tls11,
    /// 1.2.
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3.
    #[serde(rename = "TLS13")]
    Tls13,
}

/// `basic_auth`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// User.
    pub username: String,
    /// Password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// File with the password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// `authorization`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    /// Scheme.
    #[serde(rename = "type")]
    pub scheme: String,
    /// What stands behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// File with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self { scheme: "Bearer".into(), credentials: None, credentials_file: None }
    }
}

/// Without what is secret: settings stand in logs.
impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ca_file, cert_file, key_file, server_name, insecure_skip_verify, .. } = self;
        write!(f, "TlsSettings({ca_file:?}, {cert_file:?}, {key_file:?}, {server_name:?}, {insecure_skip_verify})")
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BasicAuth({:?})", self.username)
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorization({:?})", self.scheme)
    }
}

impl TlsSettings {
    /// Every fault, as key below `tls_config` and what was expected. Files are not looked at: they may come later.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut both = |key: &str, has: bool| {
            if has {
                faults.push((format!("{key}_file"), format!("{key} is set too: one of the two is expected")));
            }
        };
        both("ca", self.ca.is_some() && self.ca_file.is_some());
        both("cert", self.cert.is_some() && self.cert_file.is_some());
        both("key", self.key.is_some() && self.key_file.is_some());
        let (has_cert, has_key) =
            (self.cert.is_some() || self.cert_file.is_some(), self.key.is_some() || self.key_file.is_some());
        match (has_cert, has_key) {
            (true, false) => faults.push(("key_file".into(), "is missing: a certificate needs its key".into())),
            (false, true) => faults.push(("cert_file".into(), "is missing: a key needs its certificate".into())),
            _ => {}
        }
        if self.max_version.is_some_and(|version| version < TlsVersion::Tls12) {
            faults
                .push(("max_version".into(), "TLS 1.2 is the least that is spoken: TLS12 or TLS13 is expected".into()));
        } else if let (Some(least), Some(most)) = (self.min_version, self.max_version)
            && least > most
        {
            faults.push(("min_version".into(), "is above max_version".into()));
        }
        faults
    }
}

impl BasicAuth {
    /// Every fault, as key below `basic_auth` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if self.username.is_empty() || self.username.contains(':') {
            faults.push(("username".into(), "a name without ':' is expected".into()));
        }
        if self.password.is_some() && self.password_file.is_some() {
            faults.push(("password_file".into(), "password is set too: one of the two is expected".into()));
        }
        faults
    }

    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// [`Cause::Invalid`] where a file cannot be read.
    pub fn header(&self) -> Result<HeaderValue, HttpError> {
        basic(&self.username, &secret(self.password.as_deref(), self.password_file.as_deref())?)
    }
}

impl Authorization {
    /// Every fault, as key below `authorization` and what was expected.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if self.scheme.eq_ignore_ascii_case("basic") {
            faults.push(("type".into(), "basic_auth is for that: another scheme is expected".into()));
        } else if super::header("authorization", &self.scheme).is_err() || self.scheme.contains(' ') {
            faults.push(("type".into(), "a scheme such as Bearer is expected".into()));
        }
        if self.credentials.is_some() && self.credentials_file.is_some() {
            faults.push(("credentials_file".into(), "credentials is set too: one of the two is expected".into()));
        }
        faults
    }

    /// The value of the header `Authorization`.
    ///
    /// # Errors
    /// [`Cause::Invalid`] where a file cannot be read.
    pub fn header(&self) -> Result<HeaderValue, HttpError> {
        let credentials = secret(self.credentials.as_deref(), self.credentials_file.as_deref())?;
        sensitive(&format!("{} {credentials}", self.scheme))
    }
}

/// `Bearer TOKEN`.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, HttpError> {
    sensitive(&format!("Bearer {token}"))
}

/// `Basic …`.
pub(super) fn basic(user: &str, password: &str) -> Result<HeaderValue, HttpError> {
    sensitive(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

fn sensitive(text: &str) -> Result<HeaderValue, HttpError> {
    let mut value = super::header("authorization", text)?.1;
    value.set_sensitive(true);
    Ok(value)
}

fn secret(value: Option<&str>, file: Option<&Path>) -> Result<String, HttpError> {
    match (value, file) {
        (_, Some(path)) => Ok(read(path)?.trim().to_owned()),
        (value, None) => Ok(value.unwrap_or_default().to_owned()),
    }
}

/// A small text file.
pub(super) fn read(path: &Path) -> Result<String, HttpError> {
    read_up_to(path, SECRET_BYTES_MAX)
}

/// A text file of at most `bytes_max`.
pub(super) fn read_up_to(path: &Path, bytes_max: u64) -> Result<String, HttpError> {
    let bad = |why: String| fail(Cause::Invalid, format!("{} cannot be read: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| bad(error.to_string()))?;
    let mut text = String::new();
    let read = std::io::Read::read_to_string(&mut std::io::Read::take(file, bytes_max + 1), &mut text);
    let read = read.map_err(|error| bad(error.to_string()))?;
    if read as u64 > bytes_max {
        return Err(bad(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(text)
}
