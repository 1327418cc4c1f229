//! The file as it is shown: as YAML that reads back, with `<secret>` for secrets.

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
                let _ = write!(out, "{pad}{}:", scalar(&Value::String(name.clone())));
                below(value, indent, (name, key), out);
            }
        }
        Value::Array(items) => {
            for item in items {
                let _ = write!(out, "{pad}-");
                below(item, indent, (key, ""), out);
            }
        }
        _ => {}
    }
}

/// Writes what follows a key or a dash: a scalar on the same line, or a block below it. The key, and the one above it.
fn below(value: &Value, indent: usize, (key, above): (&str, &str), out: &mut String) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        write(value, indent + 1, key, out);
    } else {
        let is_empty = value.is_null() || value.as_str() == Some("");
        let shown = if is_secret(key, above) && !is_empty { "<secret>".to_owned() } else { scalar(value) };
        let _ = writeln!(out, " {shown}");
    }
}

fn is_secret(key: &str, above: &str) -> bool {
    let in_slack = above == "slack_configs" && key == "api_url";
    let in_webhook = above == "webhook_configs" && key == "url";
    // VictorOps's names a team.
    let is_plain = above == "victorops_configs" && key == "routing_key";
    in_slack
        || in_webhook
        || SECRET_URLS.contains(&key)
        || (!is_plain && SECRET_ENDS.iter().any(|end| key.ends_with(end)))
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
