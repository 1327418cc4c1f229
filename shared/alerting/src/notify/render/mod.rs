//! Makes of a notice what goes over the wire.

mod chat;
mod email;
mod local;
mod mime;
mod paging;
#[cfg(test)]
mod tests;

use super::config::{Auth, HttpConfig, Integration, Secret, Settings};
use super::templates::Writer;
use super::{Data, Delivery, HttpDelivery, Outcome, Templates, Wire};
use crate::Now;
use std::path::Path;

/// Reads a small text file, such as `url_file`; an error says what, and why not.
pub type Files<'a> = dyn Fn(&Path) -> Result<String, String> + Sync + 'a;

/// Why there is nothing to send.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A file cannot be read; it may come back.
    #[error("{0}")]
    File(String),
    /// What the settings and templates made cannot be sent.
    #[error("{0}")]
    Unusable(String),
}

impl From<RenderError> for Outcome {
    fn from(error: RenderError) -> Self {
        match error {
            RenderError::File(error) => Self::retry(error),
            RenderError::Unusable(error) => Self::failed(error),
        }
    }
}

/// What is at hand while one notice is made.
struct Work<'a> {
    data: &'a Data,
    http: &'a HttpConfig,
    files: &'a Files<'a>,
    writer: Writer<'a>,
    now: Now,
}

/// What `integration` is sent about `data`. Templates that fail are in [`Delivery::problems`].
///
/// # Errors
/// [`RenderError`] where a file that settings name cannot be read, or where what must be there (an address, a key) is
/// missing after templates were carried out.
pub fn render(
    integration: &Integration,
    data: &Data,
    templates: &Templates,
    files: &Files<'_>,
    now: Now,
) -> Result<Delivery, RenderError> {
    let mut work = Work { data, http: &integration.http, files, writer: Writer::new(templates, data, now), now };
    let wire = match &integration.settings {
        Settings::Webhook(webhook) => work.webhook(webhook),
        Settings::Email(email) => work.email(email),
        Settings::PagerDuty(pagerduty) => work.pagerduty(pagerduty),
        Settings::OpsGenie(opsgenie) => work.opsgenie(opsgenie),
        Settings::Slack(slack) => work.slack(slack),
        Settings::VictorOps(victorops) => work.victorops(victorops),
        Settings::Pushover(pushover) => work.pushover(pushover),
        Settings::Telegram(telegram) => work.telegram(telegram),
        Settings::Discord(chat) => work.discord(chat),
        Settings::Webex(chat) => work.webex(chat),
        Settings::MsTeams(chat) => work.msteams(chat),
        Settings::MsTeamsV2(chat) => work.msteams_v2(chat),
        Settings::Mqtt(mqtt) => work.mqtt(mqtt),
        Settings::Syslog(syslog) => work.syslog(syslog),
        Settings::Exec(exec) => work.exec(exec),
        Settings::File(file) => work.file(file),
    }?;
    Ok(Delivery { kind: integration.kind(), wire, problems: work.writer.problems(), timeout: integration.timeout })
}

impl Work<'_> {
    /// What a template makes; its error where it fails.
    fn text(&mut self, template: &str) -> String {
        self.writer.text(template)
    }

    /// A secret's text.
    fn secret(&self, secret: &Secret) -> Result<String, RenderError> {
        match secret {
            Secret::Text(text) => Ok(text.clone()),
            Secret::File(path) => (self.files)(path).map(|text| text.trim().to_owned()).map_err(RenderError::File),
        }
    }

    /// A secret that is a template.
    fn key(&mut self, secret: &Secret, name: &str) -> Result<String, RenderError> {
        let template = self.secret(secret)?;
        let key = self.writer.word(&template, "");
        if key.is_empty() { Err(RenderError::Unusable(format!("{name} is empty"))) } else { Ok(key) }
    }

    /// An address that is secret, or a template, or both.
    fn url(&mut self, secret: &Secret) -> Result<String, RenderError> {
        let url = self.key(secret, "the URL")?;
        let is_url =
            ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains(['\r', '\n']);
        if is_url { Ok(url) } else { Err(RenderError::Unusable("the URL is none of http:// or https://".into())) }
    }

    /// A request with the entry's `http_config`.
    fn request(
        &self,
        method: &'static str,
        url: String,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<HttpDelivery, RenderError> {
        let mut headers = vec![("Content-Type".to_owned(), kind.to_owned())];
        match &self.http.auth {
            Auth::None => {}
            Auth::Basic(user, password) => {
                let password = password.as_ref().map_or(Ok(String::new()), |password| self.secret(password))?;
                headers.push(("Authorization".into(), basic(&self.secret(user)?, &password)));
            }
            Auth::Scheme(scheme, credentials) => {
                headers.push(("Authorization".into(), format!("{scheme} {}", self.secret(credentials)?)));
            }
        }
        for (name, value) in &self.http.headers {
            headers.push((name.clone(), self.secret(value)?));
        }
        let (tls, follow_redirects) = (self.http.tls.clone(), self.http.follow_redirects);
        Ok(HttpDelivery { method, url, headers, body, tls, follow_redirects })
    }

    /// One POST of JSON.
    fn post(&self, url: String, body: Vec<u8>) -> Result<Wire, RenderError> {
        Ok(Wire::Http(vec![self.request("POST", url, "application/json", body)?]))
    }

    /// The group's name as receivers know it: SHA-256 of the group key, in hex.
    fn group_hash(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.data.group_key.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// At most `most` characters; what is longer ends in `…`.
fn cut(text: String, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// At most `most` bytes, of whole characters; what is longer ends in `…`.
fn cut_bytes(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let mut end = most.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
