//! The section `alerting` of `fleet.yaml`: Alertmanager's file, as it is.

use crate::rules::config::{found, text};
use serde::Deserialize;
use skerry_alerting::manager::config::Config as Routing;
use skerry_alerting::notify::{Site, Templates};
use skerry_yaml::Faults;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most files of templates.
const TEMPLATES_MAX: usize = 64;
/// Where zone files are.
const ZONES: &str = "/usr/share/zoneinfo";
/// Alerts are kept and shown, and nobody is told.
const NOBODY: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// The section, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Routes and receivers.
    pub routing: Arc<Routing>,
    /// Templates of notices.
    pub templates: Arc<Templates>,
    /// From the start of the server to the first notice, where the file says it.
    pub settle: Option<Duration>,
}

/// The section as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    config_file: Option<PathBuf>,
    settle: Option<skerry_model::Span>,
}

/// Key, default and meaning of every setting.
pub const REFERENCE: &[(&str, &str, &str)] = &[
    (
        "config_file",
        "none",
        "alertmanager.yml, as it is: who is told of alerts; receivers with `local: true` are told by nodes alone. \
         Without it alerts are shown, and nobody is told",
    ),
    (
        "settle",
        "30s",
        "from the start of the server to the first notice, so that rules were evaluated that hold others back",
    ),
];

/// Checks the section and reads its files; `fault` is told key and problem of all that is wrong. `None` where there is
/// nothing to go on with.
pub fn check(file: &File, folder: &Path, fault: &mut impl FnMut(&str, &str)) -> Option<Config> {
    let key = "alerting.config_file";
    let (name, text, folder) = match &file.config_file {
        None => (String::from("built in"), NOBODY.to_owned(), folder.to_owned()),
        Some(path) => {
            let path = folder.join(path);
            let text = match text(&path) {
                Ok(text) => text,
                Err(problem) => {
                    fault(key, &format!("{} {problem}", path.display()));
                    return None;
                }
            };
            let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
            (path.display().to_string(), text, folder)
        }
    };
    let mut told = |faults: &Faults| {
        faults.faults.iter().for_each(|found| fault(key, &found.in_file(&faults.file)));
    };
    let routing = match Routing::parse(&name, &text, &zone) {
        Ok(routing) => routing,
        Err(faults) => {
            told(&faults);
            return None;
        }
    };
    let texts = match templates(&routing, &folder) {
        Ok(texts) => texts,
        Err(problem) => {
            fault(key, &format!("{name}: templates: {problem}"));
            return None;
        }
    };
    let templates = match Templates::new(&texts, zone) {
        Ok(templates) => Arc::new(templates),
        Err(faults) => {
            told(&faults);
            return None;
        }
    };
    let mut is_fine = true;
    for receiver in routing.receivers().iter().filter(|receiver| receiver.local != Some(true)) {
        for problem in receiver.integrations.iter().flat_map(|integration| integration.faults(Site::Centre)) {
            let (at, problem) = problem;
            fault(key, &format!("{name}: receiver {:?}: {at}: {problem}", receiver.name));
            is_fine = false;
        }
    }
    let settle = file.settle.map(|span| span.0);
    is_fine.then(|| Config { routing: Arc::new(routing), templates, settle })
}

/// The files of templates that the config names, relative to its folder.
fn templates(routing: &Routing, folder: &Path) -> Result<Vec<(String, String)>, String> {
    let mut texts = Vec::new();
    for pattern in routing.templates() {
        for path in found(&folder.join(pattern))? {
            let name = path.display().to_string();
            texts.push((name.clone(), text(&path).map_err(|problem| format!("{name} {problem}"))?));
        }
    }
    if texts.len() > TEMPLATES_MAX {
        return Err(format!("{} files, at most {TEMPLATES_MAX} are read", texts.len()));
    }
    Ok(texts)
}

/// A file of the time zone database.
fn zone(name: &str) -> Option<Vec<u8>> {
    let is_plain = name.split('/').all(|part| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    });
    if !is_plain { None } else { std::fs::read(Path::new(ZONES).join(name)).ok() }
}
