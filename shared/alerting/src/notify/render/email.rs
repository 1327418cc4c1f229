//! Mails.

use super::mime::{addresses, header, mailboxes, quoted_printable};
use super::{RenderError, Work};
use crate::notify::config::{Email, Security};
use crate::notify::smtp::{Letter, Login, Session};
use crate::notify::{Dialogue, Talk, Wire};
use std::net::IpAddr;

/// Headers that hold addresses.
const ADDRESS_HEADERS: [&str; 6] = ["from", "to", "cc", "bcc", "reply-to", "sender"];
/// Longest body, before it is encoded.
const BODY_BYTES_MAX: usize = 1 << 20;

impl Work<'_> {
    pub(super) fn email(&mut self, email: &Email) -> Result<Wire, RenderError> {
        let from = self.addresses_of(&email.from, "from")?;
        let to = self.addresses_of(&email.to, "to")?;
        let [from] = from.as_slice() else {
            return Err(RenderError::Unusable(format!("from has {} addresses; one is expected", from.len())));
        };
        let message = self.mail(email, from)?;
        let (password, secret) = (email.auth.password.as_ref(), email.auth.secret.as_ref());
        let letter = Letter {
            hello: email.hello.chars().filter(char::is_ascii_graphic).collect(),
            security: email.security,
            is_loopback: is_loopback(&email.host),
            login: Login {
                username: email.auth.username.clone(),
                password: password.map(|password| self.secret(password)).transpose()?,
                secret: secret.map(|secret| self.secret(secret)).transpose()?,
                identity: email.auth.identity.clone(),
            },
            from: from.clone(),
            to,
            message,
        };
        Ok(Wire::Talk(Talk {
            host: email.host.clone(),
            port: email.port,
            tls: email.tls.clone(),
            is_tls: email.security == Security::Implicit,
            dialogue: Dialogue::Smtp(Box::new(Session::new(letter))),
        }))
    }

    fn addresses_of(&mut self, template: &str, name: &str) -> Result<Vec<String>, RenderError> {
        let text = self.writer.word(template, "");
        let boxes = mailboxes(&text).map_err(|why| RenderError::Unusable(format!("{name}: {why}")))?;
        Ok(boxes.into_iter().map(|one| one.address).collect())
    }

    /// The whole mail: headers by name, then a text, an HTML, or both as alternatives.
    fn mail(&mut self, email: &Email, from: &str) -> Result<Vec<u8>, RenderError> {
        let mut mail = String::new();
        for (name, template) in &email.headers {
            let value = self.text(template);
            match mailboxes(&value) {
                // Who is told in secret does not stand in the mail.
                Ok(_) if name.eq_ignore_ascii_case("bcc") => {}
                Ok(boxes) if ADDRESS_HEADERS.contains(&name.to_ascii_lowercase().as_str()) => {
                    addresses(&mut mail, name, &boxes);
                }
                _ => header(&mut mail, name, &value),
            }
        }
        let has = |name: &str| email.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let id = &self.group_hash()[..32];
        if !has("Message-Id") {
            let host = from.rsplit_once('@').map_or("localhost", |(_, host)| host);
            header(&mut mail, "Message-Id", &format!("<{}.{id}@{host}>", self.now.wall.0));
        }
        if !has("Date") {
            let at = jiff::Timestamp::from_millisecond(self.now.wall.0).unwrap_or_default();
            let date = at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000");
            header(&mut mail, "Date", &date.to_string());
        }
        header(&mut mail, "MIME-Version", "1.0");
        let text = self.text(&email.text);
        let html = self.writer.html(&email.html);
        let parts: Vec<(&str, String)> =
            [("plain", text), ("html", html)].into_iter().filter(|(_, body)| !body.is_empty()).collect();
        // No line of quoted-printable can be the boundary: there `=` is never followed by `_`.
        let boundary = format!("=_{id}");
        mail.push_str(&format!("Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n"));
        for (kind, body) in parts {
            let body = super::cut_bytes(body, BODY_BYTES_MAX);
            mail.push_str(&format!("--{boundary}\r\nContent-Type: text/{kind}; charset=UTF-8\r\n"));
            mail.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n");
            mail.push_str(&quoted_printable(&body));
        }
        mail.push_str(&format!("--{boundary}--\r\n"));
        Ok(mail.into_bytes())
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
