//! `skerry init`: a fleet from nothing.
//!
//! What signs (role keys) goes to the admin folder, what serves (CA, TLS key, root document) to the server's. Neither
//! folder has the other's secrets but one: the admin folder holds the API token, the server its hash.

use super::args::InitArgs;
use super::home::{self, AdminFile};
use super::output::print;
use crate::pki::{FleetCa, write_private, write_public};
use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use skerry_model::UnixMillis;
use skerry_seal::{FleetId, Revision, Role, RoleKeys, RootDoc, SigningKey, hex, random, root_hash, sha256};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The server's own certificate lasts as long as the hardware it is installed on, usually.
const SERVER_VALIDITY: Duration = Duration::from_secs(10 * 365 * 86_400);
/// Root keys, and how many of them sign a new root document.
const ROOT_KEYS: usize = 3;
const ROOT_THRESHOLD: u8 = 2;

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The admin folder.
    pub admin_dir: PathBuf,
    /// The server's folder.
    pub server_dir: PathBuf,
    /// The fleet's id; random where absent.
    pub fleet: Option<FleetId>,
    /// Names and addresses of the server; the first one is told to nodes.
    pub hosts: Vec<String>,
    /// Where it listens for HTTP.
    pub http: SocketAddr,
    /// Where it listens for MQTT.
    pub mqtt: SocketAddr,
    /// Where it keeps its data.
    pub data_dir: PathBuf,
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    /// The fleet.
    pub fleet: FleetId,
    /// The API's address.
    pub url: String,
    /// The API's token.
    pub api_token: String,
}

pub(super) fn command(args: &InitArgs, dir: Option<&Path>, now: UnixMillis) -> anyhow::Result<()> {
    let admin_dir = home::folder(dir)?;
    let fleet = args.fleet.as_deref().map(str::parse).transpose()?;
    let plan = Plan {
        admin_dir: admin_dir.clone(),
        server_dir: args.server_dir.clone(),
        fleet,
        hosts: args.hosts.clone(),
        http: args.http,
        mqtt: args.mqtt,
        data_dir: args.data_dir.clone(),
    };
    let made = init(&plan, now)?;
    let (admin, server) = (admin_dir.display(), args.server_dir.display());
    let dir = if dir.is_some() { format!(" --dir {admin}") } else { String::new() };
    print(&format!(
        "Made fleet {fleet}.\n\n\
         {admin}   the admin's: keep it to yourself, and back it up\n\
         {space}   move keys/root-2.p8 and keys/root-3.p8 to two other people or safes:\n\
         {space}   two of the three root keys can replace every other key\n\
         {server}   the server's: fleet.yaml, certificates, root document; no signing key\n\n\
         Next:\n  \
         skerry-fleet serve --config {server}/fleet.yaml\n  \
         skerry{dir} enrol token            # give it to a node's agent.yaml\n  \
         skerry{dir} assign NODE --group edge\n  \
         skerry{dir} apply -f edge.yaml\n\n\
         Console: {url}/ (API token in {admin}/admin.yaml)\n",
        fleet = made.fleet,
        url = made.url,
        space = " ".repeat(admin.to_string().chars().count()),
    ))
}

/// Makes a fleet. Overwrites nothing.
///
/// # Errors
/// For people: a folder that is not empty, a name that is none, a file that cannot be written.
pub fn init(plan: &Plan, now: UnixMillis) -> anyhow::Result<Made> {
    let Plan { admin_dir, server_dir, hosts, http, mqtt, .. } = plan;
    for taken in
        [admin_dir.join("admin.yaml"), admin_dir.join("keys"), server_dir.join("fleet.yaml"), server_dir.join("pki")]
    {
        if taken.exists() {
            bail!("{} exists already; a fleet's keys are never overwritten: choose other folders", taken.display());
        }
    }
    let host = hosts.first().context("no --host is given")?;
    let fleet = plan.fleet.clone().map_or_else(FleetId::generate, Ok)?;
    let ca = FleetCa::generate(fleet.as_str(), now)?;
    let server = ca.issue_server(hosts, SERVER_VALIDITY, now)?;

    let key = || SigningKey::generate();
    let roots = (0..ROOT_KEYS).map(|_| key()).collect::<Result<Vec<_>, _>>()?;
    let (config, assign) = (key()?, key()?);
    let public = |keys: &[SigningKey]| keys.iter().map(SigningKey::public).collect::<Vec<_>>();
    let document = RootDoc {
        fleet: fleet.clone(),
        revision: Revision::new(1, 1),
        issued: now,
        roles: BTreeMap::from([
            (Role::Root, RoleKeys::new(ROOT_THRESHOLD, public(&roots))?),
            (Role::Config, RoleKeys::new(1, vec![config.public()])?),
            (Role::Assign, RoleKeys::new(1, vec![assign.public()])?),
        ]),
    };
    let signers: Vec<&SigningKey> = roots.iter().take(usize::from(ROOT_THRESHOLD)).collect();
    let root = document.seal(&signers)?;
    let api_token = URL_SAFE_NO_PAD.encode(random::<32>()?);
    let is_tls = !http.ip().is_loopback();
    let scheme = if is_tls { "https" } else { "http" };
    let http_host = if is_tls { bracketed(host) } else { bracketed(&http.ip().to_string()) };
    let url = format!("{scheme}://{http_host}:{}", http.port());

    let (pki, keys) = (server_dir.join("pki"), admin_dir.join("keys"));
    for (folder, mode) in [(admin_dir, 0o700), (&keys, 0o700), (server_dir, 0o755), (&pki, 0o700)] {
        let made = std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
        made.with_context(|| format!("make the folder {}", folder.display()))?;
    }
    ca.save(&pki.join("ca.pem"), &pki.join("ca.key"))?;
    write_private(&pki.join("server.key"), &server.key_pem)?;
    write_public(&pki.join("server.pem"), &server.cert_pem)?;
    write_new(&server_dir.join("root.cose"), &root, 0o644)?;
    write_new(&admin_dir.join("root.cose"), &root, 0o644)?;
    write_public(&admin_dir.join("ca.pem"), ca.cert_pem())?;
    let named = roots.iter().zip(1..).map(|(key, n)| (format!("root-{n}"), key));
    for (name, key) in named.chain([("config-1".to_owned(), &config), ("assign-1".to_owned(), &assign)]) {
        write_new(&keys.join(format!("{name}.p8")), &key.to_pkcs8(), 0o600)?;
    }
    let tls = if is_tls { "\n  tls: {cert: pki/server.pem, key: pki/server.key}" } else { "" };
    let hash = hex(&sha256(api_token.as_bytes()));
    let data_dir = plan.data_dir.display();
    let mqtt_host = bracketed(host);
    let file = format!(
        "# Skerry fleet server. Paths count from this folder.\n\
         data_dir: {data_dir}\n\
         http:\n  listen: {http}\n  public_url: {url}{tls}\n\
         mqtt:\n  listen: {mqtt}\n  public: {mqtt_host}:{port}\n\
         pki:\n  ca_cert: pki/ca.pem\n  ca_key: pki/ca.key\n  server_cert: pki/server.pem\n  server_key: pki/server.key\n\
         root: root.cose\n\
         api_token_sha256: {hash}\n",
        port = mqtt.port(),
    );
    write_public(&server_dir.join("fleet.yaml"), &quoted(&file))?;
    let admin = AdminFile {
        fleet: fleet.to_string(),
        url: url.clone(),
        api_token: api_token.clone(),
        root_hash: hex(&root_hash(&root)),
        ca: is_tls.then(|| "ca.pem".to_owned()),
    };
    // Last: its presence says that the fleet is complete.
    write_private(&admin_dir.join("admin.yaml"), &serde_saphyr::to_string(&admin)?)?;
    Ok(Made { fleet, url, api_token })
}

/// An IPv6 address needs brackets before a port.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// YAML reads a bracket as a list, so values that begin with one are quoted.
fn quoted(file: &str) -> String {
    let line = |line: &str| match line.split_once(": [") {
        Some((key, rest)) => format!("{key}: \"[{rest}\""),
        None => line.to_owned(),
    };
    file.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let written =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
    written.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use skerry_seal::TrustStore;
    use std::os::unix::fs::PermissionsExt;

    fn plan(folder: &Path) -> Plan {
        Plan {
            admin_dir: folder.join("admin"),
            server_dir: folder.join("server"),
            fleet: None,
            hosts: vec!["fleet.example".into(), "::1".into()],
            http: "127.0.0.1:9480".parse().unwrap(),
            mqtt: "0.0.0.0:8883".parse().unwrap(),
            data_dir: folder.join("data"),
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
        }
        found
    }

    #[test]
    fn the_server_gets_no_signing_key_and_secrets_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let made = init(&plan(folder.path()), UnixMillis(1_800_000_000_000)).unwrap();
        let server = files(&folder.path().join("server"));
        assert!(server.iter().all(|path| path.extension().is_none_or(|end| end != "p8")), "{server:?}");
        for path in server.iter().chain(&files(&folder.path().join("admin"))) {
            let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            let bytes = std::fs::read(path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            let is_secret = text.contains("PRIVATE KEY")
                || text.contains(&made.api_token)
                || path.extension().is_some_and(|end| end == "p8");
            assert_eq!(mode, if is_secret { 0o600 } else { 0o644 }, "{}", path.display());
        }
        let config = config::read(&folder.path().join("server/fleet.yaml")).unwrap();
        assert_eq!(config.mqtt.public, "fleet.example:8883");
        let home = home::Home::open(Some(&folder.path().join("admin"))).unwrap();
        let root = std::fs::read(&config.root).unwrap();
        let trust = TrustStore::bootstrap(&root, &home.root_hash).unwrap();
        assert_eq!((trust.fleet(), trust.role(Role::Root).unwrap().threshold()), (&made.fleet, 2));
        assert_eq!(config.api_token_sha256, sha256(made.api_token.as_bytes()));
        home.keys(&[], "assign-1").unwrap();
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        init(&plan(folder.path()), UnixMillis(1_800_000_000_000)).unwrap();
        let again = init(&plan(folder.path()), UnixMillis(1_800_000_000_000)).unwrap_err();
        assert!(again.to_string().contains("never overwritten"), "{again}");
    }

    #[test]
    fn off_loopback_http_speaks_tls() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan { http: "[::]:9480".parse().unwrap(), ..plan(folder.path()) };
        let made = init(&plan, UnixMillis(1_800_000_000_000)).unwrap();
        assert_eq!(made.url, "https://fleet.example:9480");
        assert!(config::read(&folder.path().join("server/fleet.yaml")).unwrap().http.tls.is_some());
    }
}
