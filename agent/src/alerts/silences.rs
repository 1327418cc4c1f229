//! Silences that stand in signed files: set while they stand there, ended when they do not.

use super::config::SilenceText;
use crate::store::Change;
use serde::{Deserialize, Serialize};
use skerry_alerting::manager::Manager;
use skerry_alerting::{Now, api};
use std::collections::BTreeMap;

/// Where it is kept which silence came of which document.
const KEY: &str = "alerts/silences";

/// The silences of the config, and those that were set for it.
#[derive(Debug, Default)]
pub struct Silences {
    wanted: Vec<SilenceText>,
    /// By name of the document.
    set: BTreeMap<String, Set>,
    is_changed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Set {
    body: String,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(rename = "silenceID")]
    silence_id: String,
}

impl Silences {
    /// Those of a config, and what was stored under [`KEY`].
    #[must_use]
    pub fn new(wanted: Vec<SilenceText>, stored: &[(String, Vec<u8>)]) -> Self {
        let kept = stored.iter().find(|(key, _)| key == KEY);
        let set = kept.and_then(|(_, value)| serde_json::from_slice(value).ok()).unwrap_or_default();
        Self { wanted, set, is_changed: false }
    }

    /// Sets what is new and ends what is gone.
    pub(super) fn reconcile(&mut self, manager: &mut Manager, now: Now) {
        let gone: Vec<String> =
            self.set.keys().filter(|name| !self.wanted.iter().any(|wanted| wanted.name == **name)).cloned().collect();
        for name in gone {
            if let Some(Set { id, .. }) = self.set.remove(&name) {
                // One that ended by itself is none the worse.
                let _ = api::answer(manager, "DELETE", &format!("/silence/{id}"), "", b"", now);
                tracing::info!(name, id, "a silence of the config is gone and ended");
                self.is_changed = true;
            }
        }
        for SilenceText { name, body } in &self.wanted {
            let before = self.set.get(name);
            if before.is_some_and(|before| before.body == *body) {
                continue;
            }
            let posted = match before {
                Some(Set { id, .. }) => with_id(body, id),
                None => body.clone(),
            };
            let answer = api::answer(manager, "POST", "/silences", "", posted.as_bytes(), now);
            match serde_json::from_slice::<Answer>(&answer.body) {
                Ok(Answer { silence_id: id }) if answer.status == 200 => {
                    tracing::info!(name, id, "a silence of the config is set");
                    self.set.insert(name.clone(), Set { body: body.clone(), id });
                    self.is_changed = true;
                }
                _ => {
                    let problem = String::from_utf8_lossy(&answer.body).trim().to_owned();
                    tracing::warn!(name, problem, "a silence of the config is not set");
                }
            }
        }
    }

    /// What is to be stored.
    pub(super) fn change(&mut self) -> Option<Change> {
        let is_changed = std::mem::take(&mut self.is_changed);
        is_changed.then(|| (KEY.to_owned(), serde_json::to_vec(&self.set).ok()))
    }
}

fn with_id(body: &str, id: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut fields)) => {
            fields.insert("id".into(), id.into());
            serde_json::Value::Object(fields).to_string()
        }
        _ => body.to_owned(),
    }
}
