//! Webhooks, and services that page: PagerDuty, Opsgenie, Splunk On-Call (VictorOps).

use super::globals::Globals;
use super::{Texts, check_url};
use skerry_yaml::values::{Checks, Mapping, Secret};

const PAGERDUTY_URL: &str = "https://events.pagerduty.com/v2/enqueue";
const PAGERDUTY_V1_URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
const OPSGENIE_URL: &str = "https://api.opsgenie.com/";
const VICTOROPS_URL: &str = "https://alert.victorops.com/integrations/generic/20131114/alert/";

/// `webhook_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where it is posted.
    pub url: Secret,
    /// Most alerts in one message; 0: all.
    pub alerts_max: usize,
}

/// `pagerduty_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PagerDuty {
    /// The key, a template.
    pub key: Secret,
    /// Whether it is a `service_key`, of the first version of the events API.
    pub is_v1: bool,
    /// Where events are posted.
    pub url: String,
    /// `client`, `client_url`, `description`, `severity`, `source`, `class`, `component`, `group`.
    pub texts: Texts,
    /// `details`.
    pub details: Vec<(String, String)>,
    /// `links`: `href`, `text`.
    pub links: Vec<Texts>,
    /// `images`: `src`, `href`, `alt`.
    pub images: Vec<Texts>,
}

/// `opsgenie_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpsGenie {
    /// The key, a template.
    pub key: Secret,
    /// Ends in `/`.
    pub api_url: String,
    /// `message`, `description`, `source`, `tags`, `note`, `priority`, `entity`, `actions`.
    pub texts: Texts,
    /// `details`.
    pub details: Vec<(String, String)>,
    /// `responders`: `id`, `name`, `username`, `type`.
    pub responders: Vec<Texts>,
    /// Whether message and description of an alert that is open are set anew.
    pub update_alerts: bool,
}

/// `victorops_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VictorOps {
    /// The key.
    pub key: Secret,
    /// Ends in `/`.
    pub api_url: String,
    /// `routing_key`, `message_type`, `entity_display_name`, `state_message`, `monitoring_tool`.
    pub texts: Texts,
    /// `custom_fields`.
    pub custom_fields: Vec<(String, String)>,
}

/// An address from the entry, else from `global:`, else the service's own.
fn api_url(node: &mut Mapping<'_>, name: &str, global: Option<&String>, own: &str, checks: &mut Checks<'_>) -> String {
    let mut url = node.text(name, checks).or_else(|| global.cloned()).unwrap_or_else(|| own.to_owned());
    check_url(&url, &node.at(name), checks);
    if own.ends_with('/') && !url.ends_with('/') {
        url.push('/');
    }
    url
}

/// The mappings of a list.
fn list(node: &mut Mapping<'_>, name: &str, keys: &[(&'static str, &str)], checks: &mut Checks<'_>) -> Vec<Texts> {
    let items = node.items(name, checks);
    let read = |(key, value): (String, _)| {
        let mut item = Mapping::new(Some(value), &key, checks);
        let texts = Texts::read(&mut item, keys, checks);
        item.finish(checks);
        texts
    };
    items.into_iter().map(read).collect()
}

/// A key that the entry or `global:` has to have.
fn needed(key: Option<Secret>, node: &Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Option<Secret> {
    if key.is_none() {
        checks.fault(node.key(), format!("{name} is missing"));
    }
    key
}

pub(super) fn webhook(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Webhook> {
    let url = node.secret("url", checks);
    if let Some(Secret::Text(url)) = &url {
        check_url(url, &node.at("url"), checks);
    }
    let alerts_max = node.number("max_alerts", 0, 1 << 20, checks).unwrap_or(0);
    let url = needed(url, node, "url or url_file", checks)?;
    Some(Webhook { url, alerts_max: usize::try_from(alerts_max).unwrap_or(0) })
}

pub(super) fn pagerduty(node: &mut Mapping<'_>, globals: &Globals, checks: &mut Checks<'_>) -> Option<PagerDuty> {
    let (service, routing) = (node.secret("service_key", checks), node.secret("routing_key", checks));
    if service.is_some() && routing.is_some() {
        checks.fault(&node.at("routing_key"), "service_key is set too: one of the two is expected");
    }
    let is_v1 = service.is_some();
    let mut url = api_url(node, "url", globals.pagerduty_url.as_ref(), PAGERDUTY_URL, checks);
    if is_v1 {
        // As Alertmanager has it: `url` is of the second version, the first has one place.
        url = PAGERDUTY_V1_URL.to_owned();
    }
    let mut texts = Texts::read(
        node,
        &[
            ("client", r#"{{ template "pagerduty.default.client" . }}"#),
            ("client_url", r#"{{ template "pagerduty.default.clientURL" . }}"#),
            ("description", r#"{{ template "pagerduty.default.description" . }}"#),
            ("severity", "error"),
            ("source", ""),
            ("class", ""),
            ("component", ""),
            ("group", ""),
        ],
        checks,
    );
    if texts.of("source").is_empty() {
        texts.0.push(("source", texts.of("client").to_owned()));
    }
    let mut details = node.texts("details", checks);
    let defaults = [
        ("firing", r#"{{ template "pagerduty.default.instances" .Alerts.Firing }}"#),
        ("resolved", r#"{{ template "pagerduty.default.instances" .Alerts.Resolved }}"#),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ];
    for (name, default) in defaults {
        if !details.iter().any(|(key, _)| key == name) {
            details.push((name.to_owned(), default.to_owned()));
        }
    }
    let links = list(node, "links", &[("href", ""), ("text", "")], checks);
    let images = list(node, "images", &[("src", ""), ("href", ""), ("alt", "")], checks);
    let key = needed(service.or(routing), node, "routing_key or service_key", checks)?;
    Some(PagerDuty { key, is_v1, url, texts, details, links, images })
}

pub(super) fn opsgenie(node: &mut Mapping<'_>, globals: &Globals, checks: &mut Checks<'_>) -> Option<OpsGenie> {
    let key = node.secret("api_key", checks).or_else(|| globals.opsgenie_api_key.clone());
    let api_url = api_url(node, "api_url", globals.opsgenie_api_url.as_ref(), OPSGENIE_URL, checks);
    let texts = Texts::read(
        node,
        &[
            ("message", r#"{{ template "opsgenie.default.message" . }}"#),
            ("description", r#"{{ template "opsgenie.default.description" . }}"#),
            ("source", r#"{{ template "opsgenie.default.source" . }}"#),
            ("tags", ""),
            ("note", ""),
            ("priority", ""),
            ("entity", ""),
            ("actions", ""),
        ],
        checks,
    );
    let details = node.texts("details", checks);
    let at = node.at("responders");
    let responders = list(node, "responders", &[("id", ""), ("name", ""), ("username", ""), ("type", "")], checks);
    for (n, responder) in responders.iter().enumerate() {
        if ["id", "name", "username"].iter().all(|key| responder.of(key).is_empty()) {
            checks.fault(&format!("{at}[{n}]"), "one of id, name and username is expected");
        }
        let kind = responder.of("type");
        let kinds = ["team", "teams", "user", "escalation", "schedule"];
        if !kind.contains("{{") && !kinds.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
            checks.fault(&format!("{at}[{n}].type"), "team, teams, user, escalation or schedule is expected");
        }
    }
    let update_alerts = node.flag("update_alerts", checks).unwrap_or(false);
    let key = needed(key, node, "api_key, here or as global.opsgenie_api_key,", checks)?;
    Some(OpsGenie { key, api_url, texts, details, responders, update_alerts })
}

pub(super) fn victorops(node: &mut Mapping<'_>, globals: &Globals, checks: &mut Checks<'_>) -> Option<VictorOps> {
    let key = node.secret("api_key", checks).or_else(|| globals.victorops_api_key.clone());
    let api_url = api_url(node, "api_url", globals.victorops_api_url.as_ref(), VICTOROPS_URL, checks);
    let texts = Texts::read(
        node,
        &[
            ("routing_key", ""),
            ("message_type", "CRITICAL"),
            ("entity_display_name", r#"{{ template "victorops.default.entity_display_name" . }}"#),
            ("state_message", r#"{{ template "victorops.default.state_message" . }}"#),
            ("monitoring_tool", r#"{{ template "victorops.default.monitoring_tool" . }}"#),
        ],
        checks,
    );
    if texts.of("routing_key").is_empty() {
        checks.fault(&node.at("routing_key"), "is missing");
    }
    let custom_fields = node.texts("custom_fields", checks);
    for (name, _) in &custom_fields {
        if texts.iter().any(|(own, _)| own == name) || ["entity_id", "entity_state"].contains(&name.as_str()) {
            checks.fault(&format!("{}.{name}", node.at("custom_fields")), "this field is set by the sender itself");
        }
    }
    let key = needed(key, node, "api_key, here or as global.victorops_api_key,", checks)?;
    Some(VictorOps { key, api_url, texts, custom_fields })
}
