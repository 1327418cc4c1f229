//! The file as it is shown: as YAML that reads back, with `<secret>` for secrets, and our own keys as comments.

use serde_json::Value;
use std::fmt::Write;

/// Ends of keys whose texts are secrets. Addresses count where they carry a token.
const SECRET_ENDS: [&str; 11] = [
    "password",
    "secret",
    "token",
    "api_key",
    "routing_key",
    "service_key",
    "user_key",
    "bearer_token",
    "credentials",
    "_auth_key",
    "token_id",
];
/// Keys of addresses that carry a token.
const SECRET_URLS: [&str; 4] = ["slack_api_url", "webhook_url", "mattermost_webhook_url", "slack_webhook_url"];

/// Keys of receivers that Alertmanager has not. Its tools read what is shown, and refuse keys that they do not know: these
/// stand there as comments.
const OWN_KEYS: [&str; 5] = ["local", "mqtt_configs", "syslog_configs", "exec_configs", "file_configs"];

/// The tree as YAML in blocks.
pub(super) fn text(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, "", &mut out);
    out
}

/// Writes what stands at `key`, or in the list at `key`. Recursion is bounded by the reader's depth.
fn write(value: &Value, indent: usize, key: &str, out: &mut String) {
    let pad = "  ".repeat(indent);
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let start = out.len();
                let _ = write!(out, "{pad}{}:", scalar(&Value::String(name.clone())));
                if is_block(value) {
                    out.push('\n');
                    write(value, indent + 1, name, out);
                } else {
                    let _ = writeln!(out, " {}", redacted(value, name, key));
                }
                if key == "receivers" && OWN_KEYS.contains(&name.as_str()) {
                    let lines = out.split_off(start);
                    for line in lines.lines() {
                        let _ = writeln!(out, "{pad}# {}", line.get(pad.len()..).unwrap_or_default());
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                if is_block(item) {
                    // The first line of the item stands behind the dash.
                    let start = out.len() + pad.len();
                    write(item, indent + 1, key, out);
                    out.replace_range(start..start + 2, "- ");
                } else {
                    let _ = writeln!(out, "{pad}- {}", redacted(item, key, ""));
                }
            }
        }
        _ => {}
    }
}

fn is_block(value: &Value) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|items| !items.is_empty())
}

/// The scalar at `key` below `above`, or what stands for it.
fn redacted(value: &Value, key: &str, above: &str) -> String {
    let text = value.as_str().unwrap_or_default();
    if value.is_null() || value.as_str() == Some("") {
        return scalar(value);
    }
    if above == "webhook_configs" && key == "url" {
        // Tools read it as an address: whom it is for may be seen, and what may be a token not.
        let host = text.find("://").map_or(0, |at| at + 3);
        let path = text[host..].find(['/', '?']).map_or(text.len(), |at| host + at + 1);
        let shown = if path < text.len() { format!("{}<secret>", &text[..path]) } else { text.to_owned() };
        return scalar(&Value::String(shown));
    }
    let in_slack = above == "slack_configs" && key == "api_url";
    // VictorOps's names a team.
    let is_plain = above == "victorops_configs" && key == "routing_key";
    let is_secret =
        in_slack || SECRET_URLS.contains(&key) || (!is_plain && SECRET_ENDS.iter().any(|end| key.ends_with(end)));
    if is_secret { "<secret>".to_owned() } else { scalar(value) }
}

/// JSON's scalars are YAML's; texts of plain characters need no quotes.
fn scalar(value: &Value) -> String {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-./".contains(c))
            && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
                .contains(&text.to_ascii_lowercase().as_str())
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        other => other.to_string(),
    }
}
