//! Receivers' settings, as alertmanager.yml has them and with our own kinds beside.
//!
//! A receiver's lists (`slack_configs` and so on) are read from the YAML tree by [`Receiver::read`]; what they leave out comes from
//! [`Globals`] and from Alertmanager's defaults.
//!
//! Invariants:
//! - An [`Integration`] that exists can be rendered: what it needs is there, and its bounds were checked.
//! - Every fault has the key that it is about; a key that nobody knows is a fault.

mod chat;
mod email;
mod globals;
mod http;
mod local;
mod paging;
#[cfg(test)]
mod tests;

pub use chat::{Action, Chat, Field, Pushover, Slack, Telegram};
pub use email::{Email, Security, SmtpAuth};
pub use globals::Globals;
pub use http::{Auth, HttpConfig, TlsConfig};
pub use local::{Exec, FileWrite, Mqtt, Syslog, SyslogFormat, SyslogTo};
pub use paging::{OpsGenie, PagerDuty, VictorOps, Webhook};
pub use skerry_yaml::values::{Checks, Secret};
use skerry_yaml::values::{Mapping, items};

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// Most entries of one list of a receiver.
const ENTRIES_MAX: usize = 100;

/// Lists of receivers that are built, in the order in which a receiver's integrations stand: Alertmanager's, then ours.
pub const KINDS: [&str; 16] = [
    "webhook_configs",
    "email_configs",
    "pagerduty_configs",
    "opsgenie_configs",
    "slack_configs",
    "victorops_configs",
    "pushover_configs",
    "telegram_configs",
    "discord_configs",
    "webex_configs",
    "msteams_configs",
    "msteamsv2_configs",
    "mqtt_configs",
    "syslog_configs",
    "exec_configs",
    "file_configs",
];

/// Lists that Alertmanager knows and we do not, and what to do instead.
const NOT_BUILT: [(&str, &str); 6] = [
    ("sns_configs", "Amazon SNS is not built, whose requests are signed; use webhook_configs with a gateway"),
    ("wechat_configs", "WeChat is not built; use webhook_configs with a gateway"),
    ("jira_configs", "Jira is not built; use webhook_configs with a gateway"),
    ("rocketchat_configs", "Rocket.Chat is not built; its incoming webhooks take slack_configs"),
    ("mattermost_configs", "Mattermost is not built; its incoming webhooks take slack_configs"),
    ("incidentio_configs", "incident.io is not built; use webhook_configs with a gateway"),
];

/// Whom a route can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Its name; among receivers each has another.
    pub name: String,
    /// Whether the node tells it itself, where the file says so.
    pub local: Option<bool>,
    /// What it is told by, in the order of [`KINDS`].
    pub integrations: Vec<Integration>,
}

impl Receiver {
    /// Reads the mapping at `key`, such as `receivers[3]`. What has faults is left out.
    #[must_use]
    pub fn read(value: &Value, key: &str, globals: &Globals, checks: &mut Checks<'_>) -> Self {
        let mut node = Mapping::new(Some(value), key, checks);
        let name = node.text("name", checks).unwrap_or_default();
        if name.is_empty() {
            checks.fault(key, "missing name in receiver");
        }
        let local = node.flag("local", checks);
        let mut integrations = Vec::new();
        for kind in KINDS {
            if let Some(list) = node.take(kind) {
                integrations.extend(read(kind, list, &node.at(kind), globals, checks));
            }
        }
        for (kind, why) in NOT_BUILT {
            if node.take(kind).is_some() {
                checks.fault(&node.at(kind), why);
            }
        }
        node.finish(checks);
        Self { name, local, integrations }
    }
}

/// One entry of a receiver's lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Integration {
    /// Where it stands in the file: `receivers[0].slack_configs[1]`.
    pub place: String,
    /// Whether receivers hear of alerts that ended.
    pub send_resolved: bool,
    /// How requests are made; the defaults for kinds that make none.
    pub http: HttpConfig,
    /// How long one try may take, where that is set.
    pub timeout: Option<Duration>,
    /// The rest.
    pub settings: Settings,
}

/// What differs between kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// `webhook_configs`.
    Webhook(Webhook),
    /// `email_configs`.
    Email(Box<Email>),
    /// `pagerduty_configs`.
    PagerDuty(PagerDuty),
    /// `opsgenie_configs`.
    OpsGenie(OpsGenie),
    /// `slack_configs`.
    Slack(Slack),
    /// `victorops_configs`.
    VictorOps(VictorOps),
    /// `pushover_configs`.
    Pushover(Pushover),
    /// `telegram_configs`.
    Telegram(Telegram),
    /// `discord_configs`.
    Discord(Chat),
    /// `webex_configs`.
    Webex(Chat),
    /// `msteams_configs`: the connectors of Office 365.
    MsTeams(Chat),
    /// `msteamsv2_configs`: workflows of Power Automate.
    MsTeamsV2(Chat),
    /// `mqtt_configs`.
    Mqtt(Mqtt),
    /// `syslog_configs`.
    Syslog(Syslog),
    /// `exec_configs`.
    Exec(Exec),
    /// `file_configs`.
    File(FileWrite),
}

/// Templates by the name of the key that they stand at; a key that is absent is an empty text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts(Vec<(&'static str, String)>);

impl Texts {
    /// The template at this key.
    #[must_use]
    pub fn of(&self, name: &str) -> &str {
        self.iter().find(|(key, _)| *key == name).map_or("", |(_, text)| text)
    }

    /// All of them, in the order of their kind.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|(name, text)| (*name, text.as_str()))
    }

    /// Takes these keys, each with its default.
    fn read(node: &mut Mapping<'_>, keys: &[(&'static str, &str)], checks: &mut Checks<'_>) -> Self {
        let texts = keys.iter().map(|(name, default)| (*name, node.text_or(name, default, checks)));
        Self(texts.filter(|(_, text)| !text.is_empty()).collect())
    }
}

/// Where alerts are told: what a place may do depends on it.
#[derive(Debug, Clone, Copy)]
pub enum Site<'a> {
    /// A node, with the programs and files that its own agent.yaml allows.
    Node {
        /// `exec_allow`.
        allow: &'a [PathBuf],
    },
    /// The centre.
    Centre,
}

impl Integration {
    /// The kind's name, as it stands in metrics and in Alertmanager's notification log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.settings {
            Settings::Webhook(_) => "webhook",
            Settings::Email(_) => "email",
            Settings::PagerDuty(_) => "pagerduty",
            Settings::OpsGenie(_) => "opsgenie",
            Settings::Slack(_) => "slack",
            Settings::VictorOps(_) => "victorops",
            Settings::Pushover(_) => "pushover",
            Settings::Telegram(_) => "telegram",
            Settings::Discord(_) => "discord",
            Settings::Webex(_) => "webex",
            Settings::MsTeams(_) => "msteams",
            Settings::MsTeamsV2(_) => "msteamsv2",
            Settings::Mqtt(_) => "mqtt",
            Settings::Syslog(_) => "syslog",
            Settings::Exec(_) => "exec",
            Settings::File(_) => "file",
        }
    }

    /// Whether it hears of alerts that ended.
    #[must_use]
    pub const fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    /// Whether it reaches what stands beside the node, so that a node tells it itself unless the receiver says otherwise.
    #[must_use]
    pub const fn is_local_kind(&self) -> bool {
        matches!(self.settings, Settings::Mqtt(_) | Settings::Syslog(_) | Settings::Exec(_) | Settings::File(_))
    }

    /// Why it cannot be used at `site`: key and reason. Empty where it can.
    #[must_use]
    pub fn faults(&self, site: Site<'_>) -> Vec<(String, String)> {
        let (key, path, is_free) = match &self.settings {
            Settings::Exec(exec) => ("program", &exec.program, false),
            Settings::File(file) => ("path", &file.path, file.is_control()),
            _ => return self.http.unspoken.iter().map(|(key, why)| (key.clone(), (*why).to_owned())).collect(),
        };
        let why = match site {
            Site::Centre => {
                format!(
                    "{}_configs act on a node: the centre runs no programs and writes no files for alerts",
                    self.kind()
                )
            }
            Site::Node { allow } if !is_free && !allow.contains(path) => {
                format!("{} is not in exec_allow of this node's agent.yaml", path.display())
            }
            Site::Node { .. } => return Vec::new(),
        };
        vec![(format!("{}.{key}", self.place), why)]
    }
}

/// Reads one list of a receiver: `kind` is one of [`KINDS`], `key` where the list stands.
fn read(kind: &str, list: &Value, key: &str, globals: &Globals, checks: &mut Checks<'_>) -> Vec<Integration> {
    let mut entries = items(list, key, checks);
    if entries.len() > ENTRIES_MAX {
        checks.fault(key, format!("at most {ENTRIES_MAX} entries are read"));
        entries.truncate(ENTRIES_MAX);
    }
    entries.into_iter().filter_map(|(key, value)| entry(kind, value, &key, globals, checks)).collect()
}

fn entry(kind: &str, value: &Value, key: &str, globals: &Globals, checks: &mut Checks<'_>) -> Option<Integration> {
    let mut node = Mapping::new(Some(value), key, checks);
    // Those that people read one by one say nothing of the end unless they are asked to.
    let default = !matches!(kind, "email_configs" | "slack_configs");
    let send_resolved = node.flag("send_resolved", checks).unwrap_or(default);
    let speaks_http =
        !matches!(kind, "email_configs" | "mqtt_configs" | "syslog_configs" | "exec_configs" | "file_configs");
    let mut http = match if speaks_http { node.take("http_config") } else { None } {
        Some(own) => HttpConfig::read(own, &node.at("http_config"), checks),
        None if speaks_http => globals.http.clone(),
        None => HttpConfig::default(),
    };
    let timeout = if speaks_http { node.span("timeout", checks) } else { None };
    let settings = match kind {
        "webhook_configs" => paging::webhook(&mut node, checks).map(Settings::Webhook),
        "pagerduty_configs" => paging::pagerduty(&mut node, globals, checks).map(Settings::PagerDuty),
        "opsgenie_configs" => paging::opsgenie(&mut node, globals, checks).map(Settings::OpsGenie),
        "victorops_configs" => paging::victorops(&mut node, globals, checks).map(Settings::VictorOps),
        "email_configs" => email::read(&mut node, globals, checks).map(|email| Settings::Email(Box::new(email))),
        "slack_configs" => chat::slack(&mut node, globals, &mut http, checks).map(Settings::Slack),
        "pushover_configs" => chat::pushover(&mut node, checks).map(Settings::Pushover),
        "telegram_configs" => chat::telegram(&mut node, globals, checks).map(Settings::Telegram),
        "discord_configs" => chat::discord(&mut node, checks).map(Settings::Discord),
        "webex_configs" => chat::webex(&mut node, globals, &http, checks).map(Settings::Webex),
        "msteams_configs" => chat::msteams(&mut node, checks).map(Settings::MsTeams),
        "msteamsv2_configs" => chat::msteams_v2(&mut node, checks).map(Settings::MsTeamsV2),
        "mqtt_configs" => local::mqtt(&mut node, checks).map(Settings::Mqtt),
        "syslog_configs" => local::syslog(&mut node, checks).map(Settings::Syslog),
        "exec_configs" => local::exec(&mut node, checks).map(Settings::Exec),
        "file_configs" => local::file(&mut node, checks).map(Settings::File),
        _ => None,
    };
    node.finish(checks);
    Some(Integration { place: key.to_owned(), send_resolved, http, timeout, settings: settings? })
}

/// Checks that a text can be an address; templates are looked at when they are known.
fn check_url(text: &str, key: &str, checks: &mut Checks<'_>) {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if !text.contains("{{") && !rest.is_some_and(|rest| rest.starts_with(|c: char| c != '/' && !c.is_whitespace())) {
        checks.fault(key, "http:// or https:// with a host is expected");
    }
}
