//! The way to an API: where it is, whom to trust there, and who we are.
//!
//! The first of these that is there counts: `server` in the settings; `kubeconfig` in the settings; the account that a
//! pod is given; the kubeconfig that k3s and other distributions leave on a server node.

use super::settings::{Settings, checked_server};
use crate::actuate::ActuatorError;
use crate::http::{Authorization, BasicAuth, Client, HttpError, SystemRoots, TlsSettings};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use serde_json::Value;
use skerry_yaml::values;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Longest kubeconfig.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where a node keeps what tells of an API.
#[derive(Debug, Clone)]
pub struct Places {
    /// Folder of a pod's account: `token`, `ca.crt` and `namespace`.
    pub account: PathBuf,
    /// Address of the API as a pod is told it.
    pub service: Option<(String, String)>,
    /// Kubeconfigs of distributions.
    pub kubeconfigs: Vec<PathBuf>,
}

impl Default for Places {
    fn default() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let service = variable("KUBERNETES_SERVICE_HOST").zip(variable("KUBERNETES_SERVICE_PORT"));
        let kubeconfigs = [
            "/etc/rancher/k3s/k3s.yaml",
            "/etc/rancher/rke2/rke2.yaml",
            "/var/lib/k0s/pki/admin.conf",
            "/var/snap/microk8s/current/credentials/client.config",
            "/etc/kubernetes/admin.conf",
        ];
        Self {
            account: "/var/run/secrets/kubernetes.io/serviceaccount".into(),
            service,
            kubeconfigs: kubeconfigs.map(PathBuf::from).to_vec(),
        }
    }
}

/// A way to an API.
pub(super) struct Access {
    /// Without an ending `/`.
    pub(super) server: String,
    /// Namespace of targets that name none.
    pub(super) namespace: String,
    pub(super) client: Client,
    credential: Credential,
    /// Files that this was made from, as they were then.
    made_from: Vec<(PathBuf, Stamp)>,
}

/// Who we are.
enum Credential {
    /// A certificate, or nobody.
    None,
    /// A token; where it is a file's, that is read at each request.
    Bearer(Authorization),
    Basic(BasicAuth),
}

/// What changes when a file does; `None` where there is none.
type Stamp = Option<(i64, i64, u64, u64)>;

/// What a file or the settings say, before it is used.
#[derive(Default)]
struct Found {
    server: String,
    namespace: Option<String>,
    tls: TlsSettings,
    bearer: Option<Authorization>,
    basic: Option<BasicAuth>,
    file: Option<PathBuf>,
}

impl Access {
    /// Finds it.
    pub(super) fn find(settings: &Settings, places: &Places, system: &SystemRoots) -> Result<Self, ActuatorError> {
        let found = if let Some(server) = &settings.server {
            let bearer = settings.token_file.as_ref().map(|path| token_file(path.clone()));
            let tls = settings.tls_config.clone();
            Found { server: server.clone(), tls, bearer, ..Found::default() }
        } else if let Some(path) = &settings.kubeconfig {
            kubeconfig(path, settings.context.as_deref())?
        } else if let Some((host, port)) = places.service.as_ref().filter(|_| places.account.join("token").exists()) {
            in_pod(&places.account, host, port)
        } else if let Some(path) = places.kubeconfigs.iter().find(|path| path.exists()) {
            kubeconfig(path, settings.context.as_deref())?
        } else {
            let message = "no Kubernetes API is known here: this is no pod, and no k3s or other server node; set \
                           scaling.kubernetes.kubeconfig, or server and token_file";
            return Err(ActuatorError { reason: "Unreachable", message: message.into() });
        };
        let file = found.file.as_deref().map_or_else(|| "scaling.kubernetes".into(), |path| path.display().to_string());
        let server = checked_server(&found.server).map_err(|problem| invalid(format!("{file}: server: {problem}")))?;
        if let Some((key, problem)) = found.tls.faults().into_iter().next() {
            return Err(invalid(format!("{file}: {key}: {problem}")));
        }
        let TlsSettings { ca_file, cert_file, key_file, .. } = &found.tls;
        let files = [&found.file, ca_file, cert_file, key_file].into_iter().flatten();
        Ok(Self {
            made_from: files.map(|path| (path.clone(), stamp(path))).collect(),
            server,
            namespace: settings.namespace.clone().or(found.namespace).unwrap_or_else(|| "default".into()),
            client: Client::new(&found.tls, system),
            credential: match (found.bearer, found.basic) {
                (Some(bearer), _) => Credential::Bearer(bearer),
                (None, Some(basic)) => Credential::Basic(basic),
                (None, None) => Credential::None,
            },
        })
    }

    /// Whether the files that it was made from are as they were.
    pub(super) fn is_current(&self) -> bool {
        self.made_from.iter().all(|(path, before)| stamp(path) == *before)
    }

    /// What `Authorization` is to say.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, HttpError> {
        match &self.credential {
            Credential::None => Ok(None),
            Credential::Bearer(bearer) => bearer.header().map(Some),
            Credential::Basic(basic) => basic.header().map(Some),
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}

fn token_file(path: PathBuf) -> Authorization {
    Authorization { credentials_file: Some(path), ..Authorization::default() }
}

fn in_pod(account: &Path, host: &str, port: &str) -> Found {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let namespace = text_of(&account.join("namespace")).ok().map(|text| text.trim().to_owned());
    Found {
        server: format!("https://{host}:{port}"),
        namespace: namespace.filter(|namespace| super::names::is_label(namespace)),
        tls: TlsSettings { ca_file: Some(account.join("ca.crt")), ..TlsSettings::default() },
        bearer: Some(token_file(account.join("token"))),
        ..Found::default()
    }
}

/// Reads a kubeconfig: the cluster and the user of one context.
fn kubeconfig(path: &Path, context: Option<&str>) -> Result<Found, ActuatorError> {
    let shown = path.display();
    let text = text_of(path).map_err(|error| invalid(format!("{shown} cannot be read: {error}")))?;
    let file = values::read(&text).map_err(|fault| invalid(fault.in_file(&shown.to_string())))?.value;
    let context = match context {
        Some(name) => name.to_owned(),
        None => word(&file, "current-context")
            .ok_or_else(|| invalid(format!("{shown} has no current-context; set scaling.kubernetes.context")))?,
    };
    let entry = |list: &str, kind: &str, name: &str| {
        let all = file.get(list).and_then(Value::as_array).into_iter().flatten();
        let found = all.filter(|entry| word(entry, "name").as_deref() == Some(name)).find_map(|entry| entry.get(kind));
        found.ok_or_else(|| invalid(format!("{shown} has no {kind} {name:?}")))
    };
    let chosen = entry("contexts", "context", &context)?;
    let named =
        |key: &str| word(chosen, key).ok_or_else(|| invalid(format!("{shown}: context {context:?} names no {key}")));
    let (cluster_name, user_name) = (named("cluster")?, named("user")?);
    let (cluster, user) = (entry("clusters", "cluster", &cluster_name)?, entry("users", "user", &user_name)?);
    for (entry, key, why) in [
        (user, "exec", "a program that fetches credentials is not run; let a service account's token file stand there"),
        (user, "auth-provider", "credential plugins are not there; let a service account's token file stand there"),
        (user, "as", "acting as somebody else is not done; give the account itself the rights"),
        (cluster, "proxy-url", "proxies are not spoken"),
    ] {
        if entry.get(key).is_some_and(|value| !value.is_null()) {
            return Err(invalid(format!("{shown}: {key}: {why}")));
        }
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let beside = |entry: &Value, key: &str| word(entry, key).map(|name| folder.join(name));
    let pem = |entry: &Value, key: &str| {
        let Some(encoded) = word(entry, key) else { return Ok(None) };
        let bytes = STANDARD.decode(encoded.split_ascii_whitespace().collect::<String>()).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.map(Some).ok_or_else(|| invalid(format!("{shown}: {key} is no base64 of a PEM text")))
    };
    // What stands in the file itself goes before a file's name, as kubectl has it.
    let either = |entry: &Value, key: &str| {
        let inline = pem(entry, &format!("{key}-data"))?;
        let file = beside(entry, key).filter(|_| inline.is_none());
        Ok::<_, ActuatorError>((inline, file))
    };
    let (ca, ca_file) = either(cluster, "certificate-authority")?;
    let (cert, cert_file) = either(user, "client-certificate")?;
    let (key, key_file) = either(user, "client-key")?;
    let tls = TlsSettings {
        ca,
        ca_file,
        cert,
        cert_file,
        key,
        key_file,
        server_name: word(cluster, "tls-server-name"),
        insecure_skip_verify: cluster.get("insecure-skip-tls-verify") == Some(&Value::Bool(true)),
        ..TlsSettings::default()
    };
    let bearer = match (beside(user, "tokenFile"), word(user, "token")) {
        (Some(path), _) => Some(token_file(path)),
        (None, token) => token.map(|token| Authorization { credentials: Some(token), ..Authorization::default() }),
    };
    let basic = word(user, "username").map(|username| BasicAuth {
        username,
        password: word(user, "password"),
        ..BasicAuth::default()
    });
    let namespace = word(chosen, "namespace").filter(|namespace| super::names::is_label(namespace));
    let server =
        word(cluster, "server").ok_or_else(|| invalid(format!("{shown}: cluster {cluster_name:?} has no server")))?;
    Ok(Found { server, namespace, tls, bearer, basic, file: Some(path.to_owned()) })
}

/// A text that is not empty; one that looks like a number is one too.
fn word(entry: &Value, key: &str) -> Option<String> {
    let text = match entry.get(key)? {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

fn text_of(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other("it is longer than 1 MiB"));
    }
    Ok(text)
}

fn invalid(message: String) -> ActuatorError {
    ActuatorError { reason: "Invalid", message }
}
