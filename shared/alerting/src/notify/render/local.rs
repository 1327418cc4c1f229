//! Our own kinds.

use super::{RenderError, Work, cut_bytes};
use crate::notify::config::{Exec, FileWrite, Mqtt, Syslog, SyslogFormat, SyslogTo};
use crate::notify::mqtt::{Message, Session};
use crate::notify::{DatagramTo, Dialogue, ExecDelivery, FileDelivery, Talk, Wire};
use std::sync::Arc;

/// Longest syslog message, in bytes; RFC 5424 (6.1) asks receivers for 2048, and common ones take 8 KiB.
const SYSLOG_BYTES_MAX: usize = 8 << 10;
/// Where programs look for others.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Most bytes of all arguments and variables of a program; systems take 128 KiB at least for one.
const ARGS_BYTES_MAX: usize = 64 << 10;
/// Longest text that is written to a file.
const FILE_BYTES_MAX: usize = 4 << 10;
/// The number that structured data is filed under: the one that is set aside for documentation.
const ENTERPRISE: &str = "32473";
/// Severities of RFC 5424 (table 2) by number, and other names that people give them.
const SEVERITIES: [(&str, u8); 18] = [
    ("emergency", 0),
    ("emerg", 0),
    ("panic", 0),
    ("alert", 1),
    ("page", 1),
    ("critical", 2),
    ("crit", 2),
    ("error", 3),
    ("err", 3),
    ("major", 3),
    ("warning", 4),
    ("warn", 4),
    ("minor", 4),
    ("notice", 5),
    ("info", 6),
    ("informational", 6),
    ("none", 6),
    ("debug", 7),
];
/// Severity of what names none.
const SEVERITY: u8 = 4;

impl Work<'_> {
    pub(super) fn mqtt(&mut self, mqtt: &Mqtt) -> Result<Wire, RenderError> {
        let topic = self.writer.word(&mqtt.topic, "");
        let payload =
            if mqtt.payload.is_empty() { self.data.webhook_json(0) } else { self.text(&mqtt.payload).into_bytes() };
        let message = Message {
            topic,
            payload,
            qos: mqtt.qos,
            retain: mqtt.retain,
            client_id: mqtt.client_id.clone(),
            username: mqtt.username.clone(),
            password: mqtt.password.as_ref().map(|password| self.secret(password)).transpose()?,
        };
        if let Some(fault) = message.fault() {
            return Err(RenderError::Unusable(fault.into()));
        }
        Ok(Wire::Talk(Talk {
            host: mqtt.host.clone(),
            port: mqtt.port,
            is_tls: mqtt.tls.is_some(),
            tls: mqtt.tls.clone().unwrap_or_default(),
            dialogue: Dialogue::Mqtt(Box::new(Session::new(message))),
        }))
    }

    pub(super) fn syslog(&mut self, syslog: &Syslog) -> Result<Wire, RenderError> {
        let mut message = self.syslog_message(syslog);
        let mut talk = |host: &str, port, tls: Option<&Arc<_>>| {
            // What is framed by its length may hold anything; the older form ends with the line.
            let framed = match syslog.format {
                SyslogFormat::Rfc5424 => format!("{} {message}", message.len()),
                SyslogFormat::Rfc3164 => format!("{message}\n"),
            };
            message.clear();
            Wire::Talk(Talk {
                host: host.to_owned(),
                port,
                is_tls: tls.is_some(),
                tls: tls.cloned().unwrap_or_default(),
                dialogue: Dialogue::Bytes(framed.into_bytes()),
            })
        };
        Ok(match &syslog.to {
            SyslogTo::Tcp(host, port) => talk(host, *port, None),
            SyslogTo::Tls(host, port, tls) => talk(host, *port, Some(tls)),
            SyslogTo::Udp(host, port) => Wire::Datagram(DatagramTo::Udp(host.clone(), *port), message.into_bytes()),
            SyslogTo::Unix(path) => Wire::Datagram(DatagramTo::Unix(path.clone()), message.into_bytes()),
        })
    }

    fn syslog_message(&mut self, syslog: &Syslog) -> String {
        let named = self.writer.word(&syslog.severity, "").trim().to_ascii_lowercase();
        let known = SEVERITIES.iter().find(|(name, _)| *name == named).map(|(_, number)| *number);
        let severity = known.or_else(|| named.parse().ok()).filter(|number| *number < 8).unwrap_or(SEVERITY);
        let priority = u16::from(syslog.facility) * 8 + u16::from(severity);
        let host = header(&self.text(&syslog.hostname), 255);
        let tag = header(&self.text(&syslog.tag), 48);
        // One line, whatever a template made of it.
        let text: String = self.text(&syslog.message).split_whitespace().collect::<Vec<_>>().join(" ");
        let at = jiff::Timestamp::from_millisecond(self.now.wall.0).unwrap_or_default();
        let message = match syslog.format {
            SyslogFormat::Rfc5424 => {
                let mut data = format!("[alert@{ENTERPRISE} status=\"{}\"", self.data.status());
                for (name, value) in self.data.common_labels.iter() {
                    data.push_str(&format!(" {}=\"{}\"", parameter(name), quoted(value)));
                }
                format!("<{priority}>1 {at:.3} {host} {tag} - - {data}] {text}")
            }
            SyslogFormat::Rfc3164 => {
                let time = at.to_zoned(jiff::tz::TimeZone::UTC).strftime("%b %e %H:%M:%S").to_string();
                // The system's own socket takes no host, as it is its own.
                let host = if matches!(syslog.to, SyslogTo::Unix(_)) { String::new() } else { format!("{host} ") };
                format!("<{priority}>{time} {host}{tag}: {text}")
            }
        };
        cut_bytes(message, SYSLOG_BYTES_MAX)
    }

    pub(super) fn exec(&mut self, exec: &Exec) -> Result<Wire, RenderError> {
        let args: Vec<String> = exec.args.iter().map(|arg| self.text(arg)).collect();
        let firing = self.data.alerts.iter().filter(|alert| alert.is_firing).count();
        let mut env: Vec<(String, String)> = [
            ("PATH", PATH),
            ("ALERT_STATUS", self.data.status()),
            ("ALERT_RECEIVER", &self.data.receiver),
            ("ALERT_NAME", self.data.common_labels.value("alertname")),
            ("ALERT_FIRING", &firing.to_string()),
            ("ALERT_RESOLVED", &(self.data.alerts.len() - firing).to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        for (name, template) in &exec.env {
            let value = self.text(template);
            env.retain(|(known, _)| known != name);
            env.push((name.clone(), value));
        }
        let texts = || args.iter().chain(env.iter().map(|(_, value)| value));
        if texts().any(|text| text.contains('\0')) {
            return Err(RenderError::Unusable("an argument or variable has a zero byte".into()));
        }
        if texts().map(String::len).sum::<usize>() > ARGS_BYTES_MAX {
            return Err(RenderError::Unusable("arguments and variables are longer than 64 KiB".into()));
        }
        let stdin = self.data.webhook_json(0);
        Ok(Wire::Exec(ExecDelivery { program: exec.program.clone(), args, env, stdin, timeout: exec.timeout }))
    }

    pub(super) fn file(&mut self, file: &FileWrite) -> Result<Wire, RenderError> {
        let is_firing = self.data.is_firing();
        let text = |template: &str, work: &mut Self| cut_bytes(work.text(template), FILE_BYTES_MAX);
        Ok(Wire::File(FileDelivery {
            path: file.path.clone(),
            may_create: !file.is_control(),
            group_key: self.data.group_key.clone(),
            is_firing,
            text: if is_firing { text(&file.firing, self) } else { text(&file.resolved, self) },
        }))
    }
}

/// A header field of RFC 5424: visible ASCII, or `-`.
fn header(text: &str, most: usize) -> String {
    let visible = text.chars().take(most).map(|c| if c.is_ascii_graphic() { c } else { '_' });
    if text.is_empty() { "-".into() } else { visible.collect() }
}

/// A parameter's name: visible ASCII without `=`, `]` and `"`, at most 32.
fn parameter(name: &str) -> String {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"');
    name.chars().take(32).map(|c| if fits(c) { c } else { '_' }).collect()
}

fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}
