//! Our own kinds, which reach what stands beside a node: an MQTT broker, a syslog, a program, a lamp.

use super::http::TlsConfig;
use skerry_yaml::values::{Checks, Mapping, Secret};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a program may run where nothing else is said, and at most.
const EXEC_TIMEOUT: Duration = Duration::from_secs(10);
const EXEC_TIMEOUT_MAX: Duration = Duration::from_secs(300);
/// Most arguments, and most variables, of a program.
const ARGS_MAX: usize = 64;
/// Where the kernel shows lamps, pins and the like: files that exist to be written.
const CONTROLS: [&str; 4] = ["/sys/class/leds/", "/sys/class/gpio/", "/sys/class/backlight/", "/sys/class/pwm/"];
/// Names of syslog's facilities by their number (RFC 5424, table 1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// `mqtt_configs`: MQTT 3.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mqtt {
    /// The broker.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its TLS; `None`: plain.
    pub tls: Option<Arc<TlsConfig>>,
    /// Topic, a template.
    pub topic: String,
    /// 0, 1 or 2.
    pub qos: u8,
    /// Whether the broker keeps it for those who come later.
    pub retain: bool,
    /// What the client calls itself; empty: the broker names it.
    pub client_id: String,
    /// User; empty: none.
    pub username: String,
    /// Password.
    pub password: Option<Secret>,
    /// A template; empty: the JSON of webhooks.
    pub payload: String,
}

/// `syslog_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syslog {
    /// Where it goes.
    pub to: SyslogTo,
    /// What it looks like.
    pub format: SyslogFormat,
    /// 0 to 23.
    pub facility: u8,
    /// Name or number, a template.
    pub severity: String,
    /// Name of the program that speaks.
    pub tag: String,
    /// Name of the host, a template; empty: none.
    pub hostname: String,
    /// The message, a template.
    pub message: String,
}

/// Where syslog messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogTo {
    /// Host and port; one datagram each.
    Udp(String, u16),
    /// Host and port, messages framed by their length (RFC 6587).
    Tcp(String, u16),
    /// As `Tcp`, within TLS (RFC 5425).
    Tls(String, u16, Arc<TlsConfig>),
    /// A datagram socket, such as `/dev/log`.
    Unix(PathBuf),
}

/// The form of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyslogFormat {
    /// The current one.
    Rfc5424,
    /// The older one of BSD.
    Rfc3164,
}

/// `exec_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exec {
    /// Absolute path; has to stand in the node's `exec_allow`.
    pub program: PathBuf,
    /// Arguments, templates. No shell looks at them.
    pub args: Vec<String>,
    /// Variables, templates.
    pub env: Vec<(String, String)>,
    /// After it the program and all that it began are killed.
    pub timeout: Duration,
}

/// `file_configs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite {
    /// Absolute path.
    pub path: PathBuf,
    /// What is written while something fires, a template.
    pub firing: String,
    /// What is written when all has ended, a template.
    pub resolved: String,
}

impl FileWrite {
    /// Whether the kernel made the file to be written, as those of lamps are: others have to be allowed by the node.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.path.to_str().is_some_and(|path| CONTROLS.iter().any(|folder| path.starts_with(folder)))
    }
}

/// `SCHEME://HOST:PORT`; the port may be left out.
fn address(text: &str, ports: &[(&'static str, u16)]) -> Option<(&'static str, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let (scheme, default) = ports.iter().find(|(known, _)| *known == scheme)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let is_port = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => {
            (host, port.parse().ok().filter(|port| *port > 0)?)
        }
        _ => (rest, *default),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '[', ']']);
    is_host.then(|| (*scheme, host.to_owned(), port))
}

/// An absolute path without `..`, so that it means what it says.
fn path(node: &mut Mapping<'_>, name: &str, checks: &mut Checks<'_>) -> Option<PathBuf> {
    let path = PathBuf::from(node.text(name, checks).unwrap_or_default());
    if is_plain(&path) {
        return Some(path);
    }
    checks.fault(&node.at(name), "an absolute path without .. is expected");
    None
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute() && !path.components().any(|part| part == Component::ParentDir)
}

pub(super) fn mqtt(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Mqtt> {
    let broker = node.text("broker", checks).unwrap_or_default();
    let ports = [("tcp", 1883), ("mqtt", 1883), ("tls", 8883), ("ssl", 8883), ("mqtts", 8883)];
    let broker = address(&broker, &ports);
    if broker.is_none() {
        checks.fault(&node.at("broker"), "mqtt://HOST:PORT or mqtts://HOST:PORT is expected");
    }
    let topic = node.text("topic", checks).unwrap_or_default();
    if topic.is_empty() {
        checks.fault(&node.at("topic"), "is missing");
    } else if !topic.contains("{{") && topic.contains(['+', '#', '\0']) {
        checks.fault(&node.at("topic"), "a topic without + and # is expected: they are for subscriptions");
    }
    let qos = node.number("qos", 0, 2, checks).and_then(|qos| u8::try_from(qos).ok()).unwrap_or(1);
    let retain = node.flag("retain", checks).unwrap_or(false);
    let client_id = node.text_or("client_id", "", checks);
    let username = node.text_or("username", "", checks);
    let password = node.secret("password", checks);
    if password.is_some() && username.is_empty() {
        checks.fault(&node.at("username"), "is missing: MQTT has no password without a user");
    }
    let payload = node.text_or("payload", "", checks);
    let tls = TlsConfig::read(node.take("tls_config"), &node.at("tls_config"), checks);
    let (scheme, host, port) = broker?;
    let tls = (!matches!(scheme, "tcp" | "mqtt")).then(|| Arc::new(tls));
    Some(Mqtt { host, port, tls, topic, qos, retain, client_id, username, password, payload })
}

pub(super) fn syslog(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Syslog> {
    let target = node.text_or("address", "unix:///dev/log", checks);
    let tls = TlsConfig::read(node.take("tls_config"), &node.at("tls_config"), checks);
    let to = match target.strip_prefix("unix://") {
        Some(path) => Some(SyslogTo::Unix(path.into())).filter(|_| is_plain(Path::new(path))),
        None => {
            address(&target, &[("udp", 514), ("tcp", 514), ("tls", 6514)]).map(|(scheme, host, port)| match scheme {
                "udp" => SyslogTo::Udp(host, port),
                "tcp" => SyslogTo::Tcp(host, port),
                _ => SyslogTo::Tls(host, port, Arc::new(tls)),
            })
        }
    };
    if to.is_none() {
        checks.fault(
            &node.at("address"),
            "udp://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT or unix:///PATH is expected",
        );
    }
    let format = match node.text_or("format", "rfc5424", checks).as_str() {
        "rfc3164" => SyslogFormat::Rfc3164,
        "rfc5424" => SyslogFormat::Rfc5424,
        _ => {
            checks.fault(&node.at("format"), "rfc5424 or rfc3164 is expected");
            SyslogFormat::Rfc5424
        }
    };
    let facility = node.text_or("facility", "daemon", checks);
    let number = FACILITIES.iter().position(|name| *name == facility).or_else(|| facility.parse().ok());
    let number = number.and_then(|number| u8::try_from(number).ok()).filter(|number| *number < 24);
    if number.is_none() {
        checks.fault(&node.at("facility"), "0 to 23 or a name such as daemon or local0 is expected");
    }
    let severity = node.text_or("severity", r#"{{ template "syslog.default.severity" . }}"#, checks);
    let tag = node.text_or("tag", "skerry", checks);
    let hostname = node.text_or("hostname", "", checks);
    let message = node.text_or("message", r#"{{ template "syslog.default.message" . }}"#, checks);
    Some(Syslog { to: to?, format, facility: number?, severity, tag, hostname, message })
}

pub(super) fn exec(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<Exec> {
    let program = path(node, "program", checks);
    let (args, env) = (node.words("args", checks), node.texts("env", checks));
    if args.len() > ARGS_MAX || env.len() > ARGS_MAX {
        checks.fault(node.key(), format!("at most {ARGS_MAX} arguments and {ARGS_MAX} variables are given"));
        return None;
    }
    for (name, _) in &env {
        if name.is_empty() || name.contains(['=', '\0']) {
            checks.fault(&format!("{}.{name}", node.at("env")), "this is no name of a variable");
        }
    }
    let timeout = node.span("timeout", checks).unwrap_or(EXEC_TIMEOUT);
    if timeout.is_zero() || timeout > EXEC_TIMEOUT_MAX {
        checks.fault(&node.at("timeout"), "more than nothing and at most 5m is expected");
    }
    Some(Exec { program: program?, args, env, timeout })
}

pub(super) fn file(node: &mut Mapping<'_>, checks: &mut Checks<'_>) -> Option<FileWrite> {
    let path = path(node, "path", checks);
    let (firing, resolved) = (node.text_or("firing", "1", checks), node.text_or("resolved", "0", checks));
    Some(FileWrite { path: path?, firing, resolved })
}
