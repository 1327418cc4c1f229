//! Where people read along.

use super::{RenderError, Work, cut, cut_bytes};
use crate::notify::Wire;
use crate::notify::config::{Chat, Pushover, Secret, Slack, Telegram};
use crate::notify::json::Json;

/// Longest title of Slack, in characters.
const SLACK_TITLE_MAX: usize = 1024;
/// Longest message of Telegram, in characters.
const TELEGRAM_MAX: usize = 4096;
/// Longest message, title and address of Pushover, in characters.
const PUSHOVER_MAX: [(&str, usize); 3] = [("title", 250), ("message", 1024), ("url", 512)];
/// Longest title, embedded text and text of Discord, in characters.
const DISCORD_TITLE_MAX: usize = 256;
const DISCORD_EMBED_MAX: usize = 4096;
const DISCORD_CONTENT_MAX: usize = 2000;
/// Longest texts of Teams and Webex, in bytes: a message may have 28 and 7 KiB.
const TEAMS_MAX: usize = 20 << 10;
const WEBEX_MAX: usize = 7439;
const PUSHOVER_URL: &str = "https://api.pushover.net/1/messages.json";

impl Work<'_> {
    pub(super) fn slack(&mut self, slack: &Slack) -> Result<Wire, RenderError> {
        let url = self.url(&slack.url)?;
        let mut json = Json::object();
        for (name, template) in slack.head.iter() {
            json.text_if(name, &self.text(template));
        }
        if slack.link_names {
            json.flag("link_names", true);
        }
        json.open_list("attachments");
        json.open_item();
        for (name, template) in slack.texts.iter() {
            let text = self.text(template);
            json.text_if(name, &if name == "title" { cut(text, SLACK_TITLE_MAX) } else { text });
        }
        json.open_list("mrkdwn_in");
        slack.mrkdwn_in.iter().for_each(|name| json.item(name));
        json.close();
        if !slack.fields.is_empty() {
            json.open_list("fields");
            for field in &slack.fields {
                json.open_item();
                json.text("title", &self.text(field.texts.of("title")));
                json.text("value", &self.text(field.texts.of("value")));
                json.flag("short", field.short.unwrap_or(slack.short_fields));
                json.close();
            }
            json.close();
        }
        if !slack.actions.is_empty() {
            json.open_list("actions");
            for action in &slack.actions {
                json.open_item();
                for (name, template) in action.texts.iter() {
                    json.text_if(name, &self.text(template));
                }
                if let Some(confirm) = &action.confirm {
                    json.open("confirm");
                    for (name, template) in confirm.iter() {
                        json.text_if(name, &self.text(template));
                    }
                    json.close();
                }
                json.close();
            }
            json.close();
        }
        self.post(url, json.finish())
    }

    pub(super) fn telegram(&mut self, telegram: &Telegram) -> Result<Wire, RenderError> {
        let (token, chat) = (self.secret(&telegram.token)?, self.secret(&telegram.chat)?);
        let chat: i64 = chat.parse().map_err(|_| RenderError::Unusable("chat_id is no number".into()))?;
        let is_html = telegram.parse_mode == "HTML";
        let text = if is_html { self.writer.html(&telegram.message) } else { self.text(&telegram.message) };
        let text = cut(text.trim().to_owned(), TELEGRAM_MAX);
        let mut json = Json::object();
        json.raw("chat_id", &chat.to_string());
        // What has no words is refused.
        json.text("text", if text.is_empty() { self.data.status() } else { &text });
        json.text_if("parse_mode", &telegram.parse_mode);
        json.flag("disable_web_page_preview", true);
        json.flag("disable_notification", telegram.is_silent);
        if telegram.thread != 0 {
            json.raw("message_thread_id", &telegram.thread.to_string());
        }
        let url = format!("{}/bot{token}/sendMessage", telegram.api_url);
        let url = self.url(&Secret::Text(url))?;
        self.post(url, json.finish())
    }

    pub(super) fn pushover(&mut self, pushover: &Pushover) -> Result<Wire, RenderError> {
        let mut form = vec![
            ("token", self.key(&pushover.token, "the token of Pushover")?),
            ("user", self.key(&pushover.user, "the user key of Pushover")?),
        ];
        for (name, template) in pushover.texts.iter() {
            let is_html = name == "message" && pushover.is_html;
            let text = if is_html { self.writer.html(template) } else { self.text(template) };
            let most = PUSHOVER_MAX.iter().find(|(key, _)| *key == name).map_or(TELEGRAM_MAX, |(_, most)| *most);
            form.push((name, cut(text.trim().to_owned(), most)));
        }
        form.retain(|(_, text)| !text.is_empty());
        if !form.iter().any(|(name, _)| *name == "message") {
            form.push(("message", "(no details)".into()));
        }
        // Only emergencies are said again, and they have to be.
        form.push(("retry", pushover.retry.as_secs().to_string()));
        form.push(("expire", pushover.expire.as_secs().to_string()));
        if let Some(ttl) = pushover.ttl {
            form.push(("ttl", ttl.as_secs().to_string()));
        }
        for (name, is_set) in [("html", pushover.is_html), ("monospace", pushover.is_monospace)] {
            if is_set {
                form.push((name, "1".into()));
            }
        }
        form.push(("timestamp", (self.now.wall.0 / 1000).to_string()));
        let body: Vec<String> = form.iter().map(|(name, text)| format!("{name}={}", escaped(text))).collect();
        let kind = "application/x-www-form-urlencoded";
        Ok(Wire::Http(vec![self.request("POST", PUSHOVER_URL.into(), kind, body.join("&").into_bytes())?]))
    }

    pub(super) fn discord(&mut self, chat: &Chat) -> Result<Wire, RenderError> {
        let url = self.url(&chat.url)?;
        let mut json = Json::object();
        json.text("content", &cut(self.text(chat.texts.of("content")), DISCORD_CONTENT_MAX));
        json.open_list("embeds");
        json.open_item();
        json.text("title", &cut(self.text(chat.texts.of("title")), DISCORD_TITLE_MAX));
        json.text("description", &cut(self.text(chat.texts.of("message")), DISCORD_EMBED_MAX));
        // 0xB3261E and 0x2E6B34.
        json.raw("color", if self.data.is_firing() { "11740702" } else { "3042100" });
        json.close();
        json.close();
        for name in ["username", "avatar_url"] {
            json.text_if(name, &self.text(chat.texts.of(name)));
        }
        self.post(url, json.finish())
    }

    pub(super) fn webex(&mut self, chat: &Chat) -> Result<Wire, RenderError> {
        let url = self.url(&chat.url)?;
        let mut json = Json::object();
        json.text("roomId", &self.text(chat.texts.of("room_id")));
        json.text("markdown", &cut_bytes(self.text(chat.texts.of("message")), WEBEX_MAX));
        self.post(url, json.finish())
    }

    pub(super) fn msteams(&mut self, chat: &Chat) -> Result<Wire, RenderError> {
        let url = self.url(&chat.url)?;
        let mut json = Json::object();
        json.text("@context", "http://schema.org/extensions");
        json.text("@type", "MessageCard");
        json.text("title", &self.text(chat.texts.of("title")));
        json.text("summary", &self.text(chat.texts.of("summary")));
        json.text("text", &cut_bytes(self.text(chat.texts.of("text")), TEAMS_MAX));
        json.text("themeColor", if self.data.is_firing() { "B3261E" } else { "2E6B34" });
        self.post(url, json.finish())
    }

    pub(super) fn msteams_v2(&mut self, chat: &Chat) -> Result<Wire, RenderError> {
        let url = self.url(&chat.url)?;
        let mut json = Json::object();
        json.text("type", "message");
        json.open_list("attachments");
        json.open_item();
        json.text("contentType", "application/vnd.microsoft.card.adaptive");
        json.raw("contentUrl", "null");
        json.open("content");
        json.text("$schema", "http://adaptivecards.io/schemas/adaptive-card.json");
        json.text("type", "AdaptiveCard");
        json.text("version", "1.4");
        json.open_list("body");
        json.open_item();
        json.text("type", "TextBlock");
        json.text("text", &self.text(chat.texts.of("title")));
        json.text("weight", "Bolder");
        json.text("size", "Medium");
        json.text("style", "heading");
        json.text("color", if self.data.is_firing() { "Attention" } else { "Good" });
        json.flag("wrap", true);
        json.close();
        json.open_item();
        json.text("type", "TextBlock");
        json.text("text", &cut_bytes(self.text(chat.texts.of("text")), TEAMS_MAX));
        json.flag("wrap", true);
        json.close();
        json.close();
        json.open("msteams");
        json.text("width", "full");
        self.post(url, json.finish())
    }
}

/// For a form: all but letters, digits and `-._~` as `%XX`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
