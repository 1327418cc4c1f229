//! Who is told of alerts: an alertmanager.yml with its templates, read and checked.

use super::config::Config;
use crate::patterns;
use crate::rules::read_text;
use crate::zone::read_zone;
use skerry_alerting::manager::{self, Manager, Options, Receiver};
use skerry_alerting::notify::{Site, Templates};
use skerry_alerting::{Now, api};
use skerry_model::{Mono, UnixMillis};
use skerry_yaml::{Fault, Faults};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most template files of all patterns together.
const FILES_MAX: usize = 32;
/// What routes where nothing is configured: alerts are known, and nobody is told here.
const NOBODY: &str = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n";

/// Who is told, and in what words.
#[derive(Debug, Clone)]
pub struct Routing {
    /// Routes and receivers.
    pub config: Arc<manager::Config>,
    /// Templates.
    pub templates: Arc<Templates>,
}

impl Routing {
    /// Reads what a config names; what has faults is left out, and its faults are told. Blocks.
    #[must_use]
    pub fn read(config: &Config, exec_allow: &[PathBuf]) -> (Self, Vec<Faults>) {
        let mut told = Vec::new();
        let mut folder = PathBuf::from("/");
        let text = match (&config.text, &config.config_file) {
            (Some(text), _) => Some((text.name.clone(), text.text.clone())),
            (None, Some(path)) => {
                let name = path.display().to_string();
                folder = path.parent().map(Path::to_owned).unwrap_or_default();
                match read_text(path) {
                    Ok(text) => Some((name, text)),
                    Err(problem) => {
                        told.push(one(&name, problem));
                        None
                    }
                }
            }
            (None, None) => None,
        };
        let routing = text.and_then(|(name, text)| match parse(&name, &text) {
            Ok(routing) => {
                let faults = here(&routing, exec_allow);
                if !faults.is_empty() {
                    told.push(Faults { file: name, faults });
                }
                Some(routing)
            }
            Err(faults) => {
                told.push(faults);
                None
            }
        });
        let routes = Arc::new(routing.unwrap_or_else(nobody));
        let mut files: Vec<(String, String)> = Vec::new();
        for pattern in routes.templates() {
            // As Alertmanager: beside its config.
            let paths = patterns::matching(&folder.join(pattern), FILES_MAX + 1);
            if paths.len() > FILES_MAX {
                told.push(one(pattern, format!("more than {FILES_MAX} files: the first ones by name are read")));
            }
            for path in paths.into_iter().take(FILES_MAX) {
                let name = path.display().to_string();
                match read_text(&path) {
                    Ok(text) => files.push((name, text)),
                    Err(problem) => told.push(one(&name, problem)),
                }
            }
        }
        files.extend(config.templates.iter().map(|(name, text)| (name.clone(), text.clone())));
        let templates = Templates::new(&files, read_zone).unwrap_or_else(|faults| {
            told.push(faults);
            Templates::new(&[], read_zone).expect("the default templates are sound")
        });
        let templates = Arc::new(templates);
        (Self { config: routes, templates }, told)
    }
}

/// Whether the node tells a receiver by itself. A receiver that says nothing of it is told here where the node stands
/// alone, or where all of its kinds reach what stands beside the node.
#[must_use]
pub fn is_local(receiver: &Receiver, has_fleet: bool) -> bool {
    let all_local = || receiver.integrations.iter().all(|integration| integration.is_local_kind());
    receiver.local.unwrap_or_else(|| !has_fleet || all_local())
}

/// Every fault of an alertmanager.yml in a config.
pub(super) fn faults(name: &str, text: &str) -> Vec<Fault> {
    parse(name, text).err().map(|faults| faults.faults).unwrap_or_default()
}

/// # Panics
/// Never: the text is checked by a test.
fn nobody() -> manager::Config {
    parse("nobody", NOBODY).expect("a route to nobody is sound")
}

fn parse(name: &str, text: &str) -> Result<manager::Config, Faults> {
    manager::Config::parse(name, text, &|zone| read_zone(zone))
}

/// Why receivers cannot be told on this node.
fn here(routing: &manager::Config, allow: &[PathBuf]) -> Vec<Fault> {
    let all = routing.receivers().iter().flat_map(|receiver| &receiver.integrations);
    let faults = all.flat_map(|integration| integration.faults(Site::Node { allow }));
    faults.map(|(key, problem)| Fault { line: None, key, problem }).collect()
}

/// What is wrong with a silence; nothing where it can be set. Its time does not matter here.
pub(super) fn silence_fault(body: &str) -> Option<String> {
    let config = Arc::new(nobody());
    let then = Now { wall: UnixMillis(0), mono: Mono(0) };
    let mut manager = Manager::new(config, Options::default(), Vec::new(), then);
    let answer = api::answer(&mut manager, "POST", "/silences", "", body.as_bytes(), then);
    (answer.status != 200).then(|| String::from_utf8_lossy(&answer.body).trim().to_owned())
}

fn one(file: &str, problem: String) -> Faults {
    Faults { file: file.to_owned(), faults: vec![Fault { line: None, key: String::new(), problem }] }
}
