//! `email_configs`.

use super::globals::Globals;
use super::http::TlsConfig;
use skerry_yaml::values::{Checks, Mapping, Secret};
use std::sync::Arc;

/// The port that speaks TLS from the first byte.
const IMPLICIT_TLS_PORT: u16 = 465;
/// Most headers that are set.
const HEADERS_MAX: usize = 32;

/// `email_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email {
    /// Whom it is for, separated by commas; a template.
    pub to: String,
    /// Whom it is from; a template.
    pub from: String,
    /// What the client calls itself.
    pub hello: String,
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept private.
    pub security: Security,
    /// Its TLS.
    pub tls: Arc<TlsConfig>,
    /// How the client proves who it is.
    pub auth: SmtpAuth,
    /// Headers, templates; names as people write them.
    pub headers: Vec<(String, String)>,
    /// The HTML body, a template; may be empty.
    pub html: String,
    /// The plain body, a template; may be empty.
    pub text: String,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// With the first byte.
    Implicit,
    /// By `STARTTLS`, which the server has to offer.
    Required,
    /// By `STARTTLS` where the server offers it.
    Offered,
}

/// How the client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SmtpAuth {
    /// User; empty: none.
    pub username: String,
    /// For PLAIN and LOGIN.
    pub password: Option<Secret>,
    /// For CRAM-MD5.
    pub secret: Option<Secret>,
    /// Whom PLAIN acts for; mostly empty.
    pub identity: String,
}

pub(super) fn read(node: &mut Mapping<'_>, globals: &Globals, checks: &mut Checks<'_>) -> Option<Email> {
    let smtp = &globals.smtp;
    let to = node.text("to", checks).unwrap_or_default();
    let from = node.text("from", checks).or_else(|| smtp.from.clone()).unwrap_or_default();
    let hello = node.text("hello", checks).or_else(|| smtp.hello.clone()).unwrap_or_else(|| "localhost".into());
    let smarthost = node.text("smarthost", checks).or_else(|| smtp.smarthost.clone()).unwrap_or_default();
    let username = node.text("auth_username", checks).or_else(|| smtp.username.clone()).unwrap_or_default();
    let password = node.secret("auth_password", checks).or_else(|| smtp.password.clone());
    let secret = node.secret("auth_secret", checks).or_else(|| smtp.secret.clone());
    let identity = node.text("auth_identity", checks).or_else(|| smtp.identity.clone()).unwrap_or_default();
    let require_tls = node.flag("require_tls", checks).or(smtp.require_tls).unwrap_or(true);
    let implicit = node.flag("force_implicit_tls", checks).or(smtp.implicit_tls);
    let tls = match node.take("tls_config") {
        Some(value) => Arc::new(TlsConfig::read(Some(value), &node.at("tls_config"), checks)),
        None => smtp.tls.clone(),
    };
    let mut headers = node.texts("headers", checks);
    if headers.len() > HEADERS_MAX {
        checks.fault(&node.at("headers"), format!("at most {HEADERS_MAX} headers are sent"));
        headers.truncate(HEADERS_MAX);
    }
    let mut seen: Vec<String> = Vec::new();
    for (name, _) in &headers {
        let key = format!("{}.{name}", node.at("headers"));
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b':') {
            checks.fault(&key, "this is no name of a header");
        }
        if seen.contains(&name.to_ascii_lowercase()) {
            checks.fault(&key, "this header is set twice");
        }
        seen.push(name.to_ascii_lowercase());
    }
    for (name, default) in
        [("Subject", r#"{{ template "email.default.subject" . }}"#), ("To", to.as_str()), ("From", from.as_str())]
    {
        if !seen.contains(&name.to_ascii_lowercase()) {
            headers.push((name.to_owned(), default.to_owned()));
        }
    }
    let html = node.text_or("html", r#"{{ template "email.default.html" . }}"#, checks);
    let text = node.text_or("text", "", checks);
    // Threads of mails are a convenience of later versions; the mails are sent all the same.
    node.take("threading");
    for (problem, value) in [
        ("missing to address in email config", &to),
        ("no global SMTP from set, and no from here", &from),
        ("no global SMTP smarthost set, and no smarthost here", &smarthost),
    ] {
        if value.is_empty() {
            checks.fault(node.key(), problem);
        }
    }
    let (host, port) = smarthost.rsplit_once(':').unwrap_or((&smarthost, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty());
    if port.is_none() && !smarthost.is_empty() {
        checks.fault(&node.at("smarthost"), "HOST:PORT is expected");
    }
    let port = port.filter(|_| !to.is_empty() && !from.is_empty())?;
    let security = match (implicit.unwrap_or(port == IMPLICIT_TLS_PORT), require_tls) {
        (true, _) => Security::Implicit,
        (false, true) => Security::Required,
        (false, false) => Security::Offered,
    };
    let auth = SmtpAuth { username, password, secret, identity };
    Some(Email { to, from, hello, host, port, security, tls, auth, headers, html, text })
}
