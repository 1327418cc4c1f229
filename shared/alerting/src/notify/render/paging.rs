//! Webhooks and services that page.

use super::{RenderError, Work, cut, cut_bytes};
use crate::notify::Wire;
use crate::notify::config::{OpsGenie, PagerDuty, Texts, VictorOps, Webhook};
use crate::notify::json::Json;

/// Longest summary of PagerDuty, in characters.
const PAGERDUTY_SUMMARY_MAX: usize = 1024;
/// Longest event that PagerDuty takes, in bytes; and what details may have where an event is longer.
const PAGERDUTY_BYTES_MAX: usize = 512_000;
/// Longest message of Opsgenie, in characters.
const OPSGENIE_MESSAGE_MAX: usize = 130;
/// Longest state message of VictorOps, in bytes.
const VICTOROPS_STATE_MAX: usize = 20_480;

impl Work<'_> {
    pub(super) fn webhook(&mut self, webhook: &Webhook) -> Result<Wire, RenderError> {
        let url = self.url(&webhook.url)?;
        self.post(url, self.data.webhook_json(webhook.alerts_max))
    }

    pub(super) fn pagerduty(&mut self, pagerduty: &PagerDuty) -> Result<Wire, RenderError> {
        let key = self.key(&pagerduty.key, "the key of PagerDuty")?;
        let texts = &pagerduty.texts;
        let summary = cut(self.text(texts.of("description")), PAGERDUTY_SUMMARY_MAX);
        let mut details = Vec::new();
        for (name, template) in &pagerduty.details {
            details.push((name.as_str(), self.text(template)));
        }
        let mut body = self.pagerduty_event(pagerduty, &key, &summary, &details);
        if body.len() > PAGERDUTY_BYTES_MAX {
            let why = format!("the details are left out: the event would have {} bytes", body.len());
            body = self.pagerduty_event(pagerduty, &key, &summary, &[("error", why)]);
        }
        self.post(pagerduty.url.clone(), body)
    }

    fn pagerduty_event(&mut self, to: &PagerDuty, key: &str, summary: &str, details: &[(&str, String)]) -> Vec<u8> {
        let texts = &to.texts;
        let action = if self.data.is_firing() { "trigger" } else { "resolve" };
        let (client, client_url) = (self.text(texts.of("client")), self.text(texts.of("client_url")));
        let mut json = Json::object();
        if to.is_v1 {
            json.text("service_key", key);
            json.text("event_type", action);
            json.text("incident_key", &self.group_hash());
            json.text("description", summary);
            if action == "trigger" {
                json.text_if("client", &client);
                json.text_if("client_url", &client_url);
            }
            pairs(&mut json, "details", details);
            return json.finish();
        }
        json.text("routing_key", key);
        json.text("event_action", action);
        json.text("dedup_key", &self.group_hash());
        json.open("payload");
        json.text("summary", summary);
        json.text("source", &self.text(texts.of("source")));
        json.text("severity", &self.writer.word(texts.of("severity"), "error"));
        for name in ["class", "component", "group"] {
            json.text_if(name, &self.text(texts.of(name)));
        }
        pairs(&mut json, "custom_details", details);
        json.close();
        json.text_if("client", &client);
        json.text_if("client_url", &client_url);
        self.pagerduty_list(&mut json, "images", &to.images, "src");
        self.pagerduty_list(&mut json, "links", &to.links, "href");
        json.finish()
    }

    /// Images or links; those whose address comes out empty are left out.
    fn pagerduty_list(&mut self, json: &mut Json, name: &str, list: &[Texts], needed: &str) {
        if list.is_empty() {
            return;
        }
        json.open_list(name);
        for texts in list {
            if self.text(texts.of(needed)).is_empty() {
                continue;
            }
            json.open_item();
            for (key, template) in texts.iter() {
                json.text_if(key, &self.text(template));
            }
            json.close();
        }
        json.close();
    }

    pub(super) fn opsgenie(&mut self, opsgenie: &OpsGenie) -> Result<Wire, RenderError> {
        let key = self.key(&opsgenie.key, "the key of Opsgenie")?;
        let (alias, texts) = (self.group_hash(), &opsgenie.texts);
        let alerts = format!("{}v2/alerts", opsgenie.api_url);
        let source = self.text(texts.of("source"));
        let mut requests = Vec::new();
        if self.data.is_firing() {
            let message = cut(self.text(texts.of("message")), OPSGENIE_MESSAGE_MAX);
            let description = self.text(texts.of("description"));
            requests.push(("POST", alerts.clone(), self.opsgenie_alert(opsgenie, &alias, &message, &description)));
            if opsgenie.update_alerts {
                for (name, text) in [("message", &message), ("description", &description)] {
                    let mut json = Json::object();
                    json.text(name, text);
                    requests.push(("PUT", format!("{alerts}/{alias}/{name}?identifierType=alias"), json.finish()));
                }
            }
        } else {
            let mut json = Json::object();
            json.text("source", &source);
            requests.push(("POST", format!("{alerts}/{alias}/close?identifierType=alias"), json.finish()));
        }
        let mut ready = Vec::new();
        for (method, url, body) in requests {
            let mut request = self.request(method, url, "application/json", body)?;
            request.headers.retain(|(name, _)| name != "Authorization");
            request.headers.push(("Authorization".into(), format!("GenieKey {key}")));
            ready.push(request);
        }
        Ok(Wire::Http(ready))
    }

    fn opsgenie_alert(&mut self, to: &OpsGenie, alias: &str, message: &str, description: &str) -> Vec<u8> {
        let texts = &to.texts;
        let mut json = Json::object();
        json.text("alias", alias);
        json.text("message", message);
        json.text_if("description", description);
        let mut details: Vec<(String, String)> =
            self.data.common_labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        for (name, template) in &to.details {
            details.retain(|(known, _)| known != name);
            details.push((name.clone(), self.text(template)));
        }
        details.sort();
        pairs(&mut json, "details", &details);
        json.text("source", &self.text(texts.of("source")));
        if !to.responders.is_empty() {
            json.open_list("responders");
            for responder in &to.responders {
                self.opsgenie_responder(&mut json, responder);
            }
            json.close();
        }
        for name in ["tags", "actions"] {
            let list = self.text(texts.of(name));
            let items: Vec<&str> = list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            if !items.is_empty() {
                json.open_list(name);
                items.iter().for_each(|item| json.item(item));
                json.close();
            }
        }
        for name in ["note", "priority", "entity"] {
            json.text_if(name, &self.text(texts.of(name)));
        }
        json.finish()
    }

    /// One responder; those that come out empty are left out, and `teams` is one for each of its names.
    fn opsgenie_responder(&mut self, json: &mut Json, responder: &Texts) {
        let kind = self.text(responder.of("type")).to_ascii_lowercase();
        let named: Vec<(&str, String)> =
            ["id", "name", "username"].into_iter().map(|key| (key, self.text(responder.of(key)))).collect();
        if kind == "teams" {
            for name in named[1].1.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                json.open_item();
                json.text("name", name);
                json.text("type", "team");
                json.close();
            }
        } else if named.iter().any(|(_, text)| !text.is_empty()) {
            json.open_item();
            named.iter().for_each(|(key, text)| json.text_if(key, text));
            json.text("type", &kind);
            json.close();
        }
    }

    pub(super) fn victorops(&mut self, victorops: &VictorOps) -> Result<Wire, RenderError> {
        let (key, texts) = (self.secret(&victorops.key)?, &victorops.texts);
        let route = self.writer.word(texts.of("routing_key"), "");
        if key.is_empty() || route.is_empty() {
            return Err(RenderError::Unusable("the key or routing key of VictorOps is empty".into()));
        }
        let wanted = self.text(texts.of("message_type")).to_ascii_uppercase();
        let known = ["INFO", "WARNING", "CRITICAL"].into_iter().find(|kind| *kind == wanted);
        let kind = if self.data.is_firing() { known.unwrap_or("CRITICAL") } else { "RECOVERY" };
        let mut json = Json::object();
        json.text("message_type", kind);
        json.text("entity_id", &self.group_hash());
        json.text("entity_display_name", &self.text(texts.of("entity_display_name")));
        json.text("state_message", &cut_bytes(self.text(texts.of("state_message")), VICTOROPS_STATE_MAX));
        json.text("monitoring_tool", &self.text(texts.of("monitoring_tool")));
        for (name, template) in &victorops.custom_fields {
            json.text(name, &self.text(template));
        }
        self.post(format!("{}{key}/{route}", victorops.api_url), json.finish())
    }
}

fn pairs<N: AsRef<str>>(json: &mut Json, name: &str, pairs: &[(N, String)]) {
    json.open(name);
    for (name, value) in pairs {
        json.text(name.as_ref(), value);
    }
    json.close();
}
