//! Where the Kubernetes API is and who we are there: section `scaling.kubernetes`.

use super::names;
use crate::http::{Address, TlsSettings};
use serde::{Deserialize, Serialize};
use skerry_model::Span;
use std::path::PathBuf;

/// Settings of the Kubernetes API. Without any, an agent in a pod uses the pod's own account, and one on a k3s server
/// the kubeconfig that k3s writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// A kubeconfig file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Its context, instead of the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Address of the API, instead of a kubeconfig's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// File with a bearer token; read again at each request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Namespace of targets that name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// TLS with `server`.
    pub tls_config: TlsSettings,
    /// For one request and its answer.
    pub timeout: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            server: None,
            token_file: None,
            namespace: None,
            tls_config: TlsSettings::default(),
            timeout: Span::secs(10),
        }
    }
}

/// Key, default and meaning of every setting, for the reference in README.md.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    (
        "kubernetes.kubeconfig",
        "the pod's account, or k3s's file",
        "kubeconfig file; read again when it changes. Programs that it names to fetch credentials are not run",
    ),
    ("kubernetes.context", "its current one", "context of the kubeconfig"),
    ("kubernetes.server", "none", "address of the API, instead of a kubeconfig: https://HOST:PORT"),
    ("kubernetes.token_file", "none", "with `server`: file with the bearer token; read at each request"),
    ("kubernetes.namespace", "the context's, or default", "namespace of targets that name none"),
    ("kubernetes.tls_config", "the system's CAs", "with `server`: ca_file, cert_file, key_file, server_name, …"),
    ("kubernetes.timeout", "10s", "for one request and its answer; 1s to 1m"),
];

impl Settings {
    /// Every fault, as key below `scaling.kubernetes` and what was expected. Files are not looked at: they may come
    /// later.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, problem: String| faults.push((key.to_owned(), problem));
        if let Some(server) = &self.server {
            if let Err(problem) = checked_server(server) {
                fault("server", problem);
            }
            if self.kubeconfig.is_some() || self.context.is_some() {
                fault("server", "kubeconfig or context is set too: one way to the API is expected".into());
            }
        } else if self.token_file.is_some() {
            fault("token_file", "is for `server`, which is not set; a kubeconfig names its own".into());
        } else if self.tls_config != TlsSettings::default() {
            fault("tls_config", "is for `server`, which is not set; a kubeconfig has its own".into());
        }
        for (key, path) in [("kubeconfig", &self.kubeconfig), ("token_file", &self.token_file)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                fault(key, format!("{} is not absolute: a path that begins with / is expected", path.display()));
            }
        }
        if let Some(namespace) = self.namespace.as_ref().filter(|namespace| !names::is_label(namespace)) {
            fault("namespace", format!("{namespace:?} is no name of a namespace"));
        }
        if !(Span::secs(1)..=Span::secs(60)).contains(&self.timeout) {
            fault("timeout", format!("{} is out of range: 1s to 1m is expected", self.timeout));
        }
        faults
            .extend(self.tls_config.faults().into_iter().map(|(key, problem)| (format!("tls_config.{key}"), problem)));
        faults
    }
}

/// An API's address without what ends it; the error is what was expected.
pub(super) fn checked_server(url: &str) -> Result<String, String> {
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    let is_loopback = address.host == "localhost"
        || address.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if !address.is_tls && !is_loopback {
        return Err(format!("{url:?} is not encrypted, and credentials go over it: https:// is expected"));
    }
    if address.path.contains('?') {
        return Err(format!("{url:?} has a query: https://HOST:PORT is expected"));
    }
    Ok(address.url().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_have_their_key() {
        assert_eq!(Settings::default().faults(), []);
        for (yaml, key) in [
            ("server: https://10.0.0.1:6443/k8s/clusters/c-1/", ""),
            ("server: http://127.0.0.1:8001", ""),
            ("server: http://10.0.0.1:8080", "server"),
            ("server: 10.0.0.1:6443", "server"),
            ("server: https://a:b@c", "server"),
            ("server: https://c/?x=1", "server"),
            ("{server: 'https://c', kubeconfig: /k}", "server"),
            ("kubeconfig: k", "kubeconfig"),
            ("token_file: /t", "token_file"),
            ("tls_config: {ca_file: /ca}", "tls_config"),
            ("{server: 'https://c', tls_config: {key_file: /k}}", "tls_config.cert_file"),
            ("namespace: ../x", "namespace"),
            ("timeout: 2m", "timeout"),
        ] {
            let settings: Settings = skerry_yaml::read(yaml).unwrap().value;
            let keys: Vec<String> = settings.faults().into_iter().map(|(key, _)| key).collect();
            assert_eq!(keys.join(","), key, "{yaml}");
        }
        assert!(skerry_yaml::read::<Settings>("kube: 1").is_err());
    }
}
