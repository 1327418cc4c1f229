//! Where people read along: Slack, Telegram, Pushover, Discord, Webex and Microsoft Teams.

use super::globals::Globals;
use super::http::{Auth, HttpConfig};
use super::{Texts, check_url};
use skerry_yaml::values::{Checks, Mapping, Secret};
use std::time::Duration;

const SLACK_APP_URL: &str = "https://slack.com/api/chat.postMessage";
const TELEGRAM_URL: &str = "https://api.telegram.org";
const WEBEX_URL: &str = "https://webexapis.com/v1/messages";

/// `slack_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slack {
    /// Incoming webhook, or the API that an app token is for.
    pub url: Secret,
    /// `channel`, `username`, `icon_emoji`, `icon_url`: of the message.
    pub head: Texts,
    /// Of its one attachment, under the names of Slack's API.
    pub texts: Texts,
    /// Whether a field is short that says nothing of it.
    pub short_fields: bool,
    /// `link_names`.
    pub link_names: bool,
    /// `mrkdwn_in`.
    pub mrkdwn_in: Vec<String>,
    /// `fields`.
    pub fields: Vec<Field>,
    /// `actions`.
    pub actions: Vec<Action>,
}

/// One of `fields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// `title` and `value`.
    pub texts: Texts,
    /// `short`.
    pub short: Option<bool>,
}

/// One of `actions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// `type`, `text`, `url`, `style`, `name`, `value`.
    pub texts: Texts,
    /// `confirm`: `text`, `title`, `ok_text`, `dismiss_text`.
    pub confirm: Option<Texts>,
}

/// A chat that takes a few texts at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Where they are posted.
    pub url: Secret,
    /// By their keys: `title`, `message`, `text`, `summary`, `content`, `username`, `avatar_url`, `room_id`.
    pub texts: Texts,
}

/// `telegram_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telegram {
    /// Without what follows the host.
    pub api_url: String,
    /// The bot's token.
    pub token: Secret,
    /// The chat's number.
    pub chat: Secret,
    /// The topic of a forum; 0: none.
    pub thread: i64,
    /// The message.
    pub message: String,
    /// Whether nobody's device rings.
    pub is_silent: bool,
    /// `HTML`, `Markdown`, `MarkdownV2`; empty: plain.
    pub parse_mode: String,
}

/// `pushover_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushover {
    /// Whom it is for.
    pub user: Secret,
    /// The application.
    pub token: Secret,
    /// `title`, `message`, `url`, `url_title`, `device`, `sound`, `priority`.
    pub texts: Texts,
    /// How often an emergency is said again.
    pub retry: Duration,
    /// How long it is.
    pub expire: Duration,
    /// How long the message stays.
    pub ttl: Option<Duration>,
    /// Whether the message is HTML.
    pub is_html: bool,
    /// Whether it is set in one width.
    pub is_monospace: bool,
}

fn missing(node: &Mapping<'_>, name: &str, checks: &mut Checks<'_>) {
    checks.fault(node.key(), format!("{name} is missing"));
}

/// A secret that is an address.
fn url(node: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Option<Secret> {
    let url = node.secret(name, checks);
    if let Some(Secret::Text(text)) = &url {
        check_url(text, &node.at(name), checks);
    }
    url
}

pub(super) fn slack(
    node: &mut Mapping<'_>,
    globals: &Globals,
    http: &mut HttpConfig,
    checks: &mut Checks<'_>,
) -> Option<Slack> {
    let (own, token) = (url(node, "api_url", checks), node.secret("app_token", checks));
    let app_url = node.text("app_url", checks).or_else(|| globals.slack_app_url.clone());
    if own.is_some() && token.is_some() {
        checks.fault(&node.at("app_token"), "api_url is set too: one of the two is expected");
    }
    let token = token.or_else(|| globals.slack_app_token.clone().filter(|_| own.is_none()));
    let url = match (own, token) {
        (Some(url), _) => Some(url),
        (None, Some(token)) => {
            http.auth = Auth::Scheme("Bearer".into(), token);
            Some(Secret::Text(app_url.unwrap_or_else(|| SLACK_APP_URL.into())))
        }
        (None, None) => globals.slack_api_url.clone(),
    };
    let head = Texts::read(
        node,
        &[
            ("channel", ""),
            ("username", r#"{{ template "slack.default.username" . }}"#),
            ("icon_emoji", r#"{{ template "slack.default.iconemoji" . }}"#),
            ("icon_url", r#"{{ template "slack.default.iconurl" . }}"#),
        ],
        checks,
    );
    let texts = Texts::read(
        node,
        &[
            ("title", r#"{{ template "slack.default.title" . }}"#),
            ("title_link", r#"{{ template "slack.default.titlelink" . }}"#),
            ("pretext", r#"{{ template "slack.default.pretext" . }}"#),
            ("text", r#"{{ template "slack.default.text" . }}"#),
            ("fallback", r#"{{ template "slack.default.fallback" . }}"#),
            ("callback_id", r#"{{ template "slack.default.callbackid" . }}"#),
            ("image_url", ""),
            ("thumb_url", ""),
            ("footer", r#"{{ template "slack.default.footer" . }}"#),
            ("color", r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#),
        ],
        checks,
    );
    let mut fields = Vec::new();
    for (key, value) in node.items("fields", checks) {
        let mut item = Mapping::new(Some(value), &key, checks);
        let texts = Texts::read(&mut item, &[("title", ""), ("value", "")], checks);
        if texts.of("title").is_empty() || texts.of("value").is_empty() {
            checks.fault(&key, "title and value are expected");
        }
        fields.push(Field { texts, short: item.flag("short", checks) });
        item.finish(checks);
    }
    let actions = node.items("actions", checks).into_iter().map(|(key, value)| {
        let mut item = Mapping::new(Some(value), &key, checks);
        let keys = ["type", "text", "url", "style", "name", "value"].map(|key| (key, ""));
        let texts = Texts::read(&mut item, &keys, checks);
        if texts.of("type").is_empty() || texts.of("text").is_empty() {
            checks.fault(&key, "type and text are expected");
        }
        if texts.of("url").is_empty() && texts.of("name").is_empty() {
            checks.fault(&key, "url or name is expected");
        }
        let confirm = item.child("confirm", checks).map(|mut confirm| {
            let keys = ["text", "title", "ok_text", "dismiss_text"].map(|key| (key, ""));
            let texts = Texts::read(&mut confirm, &keys, checks);
            confirm.finish(checks);
            texts
        });
        item.finish(checks);
        Action { texts, confirm }
    });
    let actions = actions.collect();
    let short_fields = node.flag("short_fields", checks).unwrap_or(false);
    let link_names = node.flag("link_names", checks).unwrap_or(false);
    let mut mrkdwn_in = node.words("mrkdwn_in", checks);
    if mrkdwn_in.is_empty() {
        mrkdwn_in = ["fallback", "pretext", "text"].map(str::to_owned).to_vec();
    }
    let Some(url) = url else {
        missing(node, "api_url, here or as global.slack_api_url,", checks);
        return None;
    };
    Some(Slack { url, head, texts, short_fields, link_names, mrkdwn_in, fields, actions })
}

pub(super) fn telegram(node: &mut Mapping<'_>, globals: &Globals, checks: &mut Checks<'_>) -> Option<Telegram> {
    let api_url = node.text("api_url", checks).or_else(|| globals.telegram_api_url.clone());
    let api_url = api_url.unwrap_or_else(|| TELEGRAM_URL.to_owned());
    check_url(&api_url, &node.at("api_url"), checks);
    let token = node.secret("bot_token", checks).or_else(|| globals.telegram_bot_token.clone());
    let chat = node.secret("chat_id", checks);
    if let Some(Secret::Text(text)) = &chat
        && !text.parse::<i64>().is_ok_and(|id| id != 0)
    {
        checks.fault(&node.at("chat_id"), "the chat's number is expected, such as -1001234567890");
    }
    let thread = node.number("message_thread_id", 0, i64::MAX, checks).unwrap_or(0);
    let message = node.text_or("message", r#"{{ template "telegram.default.message" . }}"#, checks);
    let is_silent = node.flag("disable_notifications", checks).unwrap_or(false);
    let parse_mode = node.text_or("parse_mode", "HTML", checks);
    if !["", "Markdown", "MarkdownV2", "HTML"].contains(&parse_mode.as_str()) {
        checks.fault(&node.at("parse_mode"), "HTML, Markdown, MarkdownV2 or an empty text is expected");
    }
    let (Some(token), Some(chat)) = (token, chat) else {
        missing(node, "bot_token or chat_id", checks);
        return None;
    };
    let api_url = api_url.trim_end_matches('/').to_owned();
    Some(Telegram { api_url, token, chat, thread, message, is_silent, parse_mode })
}

pub(super) fn pushover(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Pushover> {
    let (user, token) = (node.secret("user_key", checks), node.secret("token", checks));
    let texts = Texts::read(
        node,
        &[
            ("title", r#"{{ template "pushover.default.title" . }}"#),
            ("message", r#"{{ template "pushover.default.message" . }}"#),
            ("url", r#"{{ template "pushover.default.url" . }}"#),
            ("url_title", ""),
            ("device", ""),
            ("sound", ""),
            ("priority", r#"{{ if eq .Status "firing" }}2{{ else }}0{{ end }}"#),
        ],
        checks,
    );
    let retry = node.span("retry", checks).unwrap_or(Duration::from_secs(60));
    let expire = node.span("expire", checks).unwrap_or(Duration::from_secs(3600));
    let ttl = node.span("ttl", checks);
    let is_html = node.flag("html", checks).unwrap_or(false);
    let is_monospace = node.flag("monospace", checks).unwrap_or(false);
    if is_html && is_monospace {
        checks.fault(&node.at("monospace"), "html is set too: one of the two is expected");
    }
    let (Some(user), Some(token)) = (user, token) else {
        missing(node, "user_key or token", checks);
        return None;
    };
    Some(Pushover { user, token, texts, retry, expire, ttl, is_html, is_monospace })
}

fn chat(node: &mut Mapping<'_>, name: &str, keys: &[(&'static str, &str)], checks: &mut Checks<'_>) -> Option<Chat> {
    let url = url(node, name, checks);
    let texts = Texts::read(node, keys, checks);
    if url.is_none() {
        missing(node, name, checks);
    }
    Some(Chat { url: url?, texts })
}

pub(super) fn discord(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Chat> {
    let keys = [
        ("title", r#"{{ template "discord.default.title" . }}"#),
        ("message", r#"{{ template "discord.default.message" . }}"#),
        ("content", ""),
        ("username", ""),
        ("avatar_url", ""),
    ];
    chat(node, "webhook_url", &keys, checks)
}

pub(super) fn msteams(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Chat> {
    let keys = [
        ("title", r#"{{ template "msteams.default.title" . }}"#),
        ("summary", r#"{{ template "msteams.default.summary" . }}"#),
        ("text", r#"{{ template "msteams.default.text" . }}"#),
    ];
    chat(node, "webhook_url", &keys, checks)
}

pub(super) fn msteams_v2(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Chat> {
    let keys = [
        ("title", r#"{{ template "msteamsv2.default.title" . }}"#),
        ("text", r#"{{ template "msteamsv2.default.text" . }}"#),
    ];
    chat(node, "webhook_url", &keys, checks)
}

pub(super) fn webex(
    node: &mut Mapping<'_>,
    globals: &Globals,
    http: &HttpConfig,
    checks: &mut Checks<'_>,
) -> Option<Chat> {
    let url = node.text("api_url", checks).or_else(|| globals.webex_api_url.clone());
    let url = url.unwrap_or_else(|| WEBEX_URL.to_owned());
    check_url(&url, &node.at("api_url"), checks);
    let keys = [("message", r#"{{ template "webex.default.message" . }}"#), ("room_id", "")];
    let texts = Texts::read(node, &keys, checks);
    if texts.of("room_id").is_empty() {
        missing(node, "room_id", checks);
    }
    if http.auth == Auth::None {
        missing(node, "http_config.authorization", checks);
    }
    Some(Chat { url: Secret::Text(url), texts })
}
