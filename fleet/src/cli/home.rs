//! The admin folder: where the server is, the API token, and the signing keys.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use skerry_seal::{FleetId, PublicKey, SigningKey};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// `admin.yaml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    /// The fleet's id.
    pub(super) fleet: String,
    /// Where the server's API is.
    pub(super) url: String,
    /// The token for it.
    pub(super) api_token: String,
    /// SHA-256 of root document 1, 64 hex digits.
    pub(super) root_hash: String,
    /// CA of the server's HTTPS certificate, beside this file; absent where a public one vouches for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<String>,
}

/// An opened admin folder.
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) file: AdminFile,
    pub(super) fleet: FleetId,
    pub(super) root_hash: [u8; 32],
}

/// The folder that is meant.
pub(super) fn folder(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    if let Some(home) = std::env::var_os("SKERRY_HOME").filter(|home| !home.is_empty()) {
        return Ok(home.into());
    }
    let home = std::env::var_os("HOME").context("neither --dir, SKERRY_HOME nor HOME names a folder; give --dir")?;
    Ok(PathBuf::from(home).join(".config/skerry"))
}

impl Home {
    pub(super) fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let folder = folder(given)?;
        let path = folder.join("admin.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "read {}; name the admin folder with --dir or SKERRY_HOME, or make a fleet with `skerry init`",
                path.display()
            )
        })?;
        let name = path.display().to_string();
        let file = skerry_yaml::read::<AdminFile>(&text).map_err(|fault| anyhow::anyhow!(fault.in_file(&name)))?.value;
        let fleet = file.fleet.parse().with_context(|| format!("{name}: fleet"))?;
        let root_hash = file.root_hash.parse::<PublicKey>().with_context(|| format!("{name}: root_hash"))?.0;
        Ok(Self { folder, file, fleet, root_hash })
    }

    /// Reads signing keys: those given, or else the folder's own one of that name.
    pub(super) fn keys(&self, given: &[PathBuf], own: &str) -> anyhow::Result<Vec<SigningKey>> {
        if given.is_empty() {
            return Ok(vec![read_key(&self.folder.join("keys").join(format!("{own}.p8")))?]);
        }
        given.iter().map(|path| read_key(path)).collect()
    }
}

/// Reads a PKCS#8 file, DER.
pub(super) fn read_key(path: &Path) -> anyhow::Result<SigningKey> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let mode = std::fs::metadata(path)
        .with_context(|| {
            format!("read the key {shown}; if it lies on another machine, sign there: `apply --out` and `cosign`")
        })?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        bail!(
            "the key {shown} can be read by others (mode {:o}); `chmod 600 {shown}`, and think about who had it",
            mode & 0o777
        );
    }
    let der = Zeroizing::new(std::fs::read(path).with_context(|| format!("read the key {shown}"))?);
    SigningKey::from_pkcs8(&der).with_context(|| format!("{shown}"))
}
