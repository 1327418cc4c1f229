//! `global:`: what receivers that do not say it themselves have.

use super::http::{HttpConfig, TlsConfig};
use serde_json::Value;
use skerry_yaml::values::{Checks, Mapping, Secret};
use std::sync::Arc;
use std::time::Duration;

/// `global:`.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    /// `resolve_timeout`: when an alert ends whose sender named no end.
    pub resolve_timeout: Option<Duration>,
    pub(super) http: HttpConfig,
    pub(super) slack_api_url: Option<Secret>,
    pub(super) slack_app_token: Option<Secret>,
    pub(super) slack_app_url: Option<String>,
    pub(super) pagerduty_url: Option<String>,
    pub(super) opsgenie_api_url: Option<String>,
    pub(super) opsgenie_api_key: Option<Secret>,
    pub(super) victorops_api_url: Option<String>,
    pub(super) victorops_api_key: Option<Secret>,
    pub(super) telegram_api_url: Option<String>,
    pub(super) telegram_bot_token: Option<Secret>,
    pub(super) webex_api_url: Option<String>,
    pub(super) smtp: Smtp,
}

/// `smtp_…` keys, with the names that `email_configs` has for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Smtp {
    pub(super) from: Option<String>,
    pub(super) hello: Option<String>,
    pub(super) smarthost: Option<String>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) secret: Option<Secret>,
    pub(super) identity: Option<String>,
    pub(super) require_tls: Option<bool>,
    pub(super) implicit_tls: Option<bool>,
    pub(super) tls: Arc<TlsConfig>,
}

impl Globals {
    /// Reads `global:`; nothing at all is Alertmanager's defaults.
    #[must_use]
    pub fn read(value: Option<&Value>, checks: &mut Checks<'_>) -> Self {
        let mut node = Mapping::new(value, "global", checks);
        let http = match node.take("http_config") {
            Some(http) => HttpConfig::read(http, "global.http_config", checks),
            None => HttpConfig::default(),
        };
        let smtp = Smtp {
            from: node.text("smtp_from", checks),
            hello: node.text("smtp_hello", checks),
            smarthost: node.text("smtp_smarthost", checks),
            username: node.text("smtp_auth_username", checks),
            password: node.secret("smtp_auth_password", checks),
            secret: node.secret("smtp_auth_secret", checks),
            identity: node.text("smtp_auth_identity", checks),
            require_tls: node.flag("smtp_require_tls", checks),
            implicit_tls: node.flag("smtp_force_implicit_tls", checks),
            tls: Arc::new(TlsConfig::read(node.take("smtp_tls_config"), "global.smtp_tls_config", checks)),
        };
        // Of receivers that are not built: known, so that a file that sets them is read, and of no effect.
        for unused in [
            "wechat_api_url",
            "wechat_api_secret",
            "wechat_api_secret_file",
            "wechat_api_corp_id",
            "jira_api_url",
            "rocketchat_api_url",
            "rocketchat_token",
            "rocketchat_token_file",
            "rocketchat_token_id",
            "rocketchat_token_id_file",
            "mattermost_webhook_url",
            "mattermost_webhook_url_file",
        ] {
            node.take(unused);
        }
        let globals = Self {
            resolve_timeout: node.span("resolve_timeout", checks),
            http,
            slack_api_url: node.secret("slack_api_url", checks),
            slack_app_token: node.secret("slack_app_token", checks),
            slack_app_url: node.text("slack_app_url", checks),
            pagerduty_url: node.text("pagerduty_url", checks),
            opsgenie_api_url: node.text("opsgenie_api_url", checks),
            opsgenie_api_key: node.secret("opsgenie_api_key", checks),
            victorops_api_url: node.text("victorops_api_url", checks),
            victorops_api_key: node.secret("victorops_api_key", checks),
            telegram_api_url: node.text("telegram_api_url", checks),
            telegram_bot_token: node.secret("telegram_bot_token", checks),
            webex_api_url: node.text("webex_api_url", checks),
            smtp,
        };
        node.finish(checks);
        globals
    }
}
