//! What a shell has to do to tell a receiver, and what may come of it.

use super::config::TlsConfig;
use super::{mqtt, smtp};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What became of a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Sent,
    /// It may work later.
    Retry {
        /// Why not now.
        error: String,
        /// How long the receiver wants to be left alone.
        after: Option<Duration>,
    },
    /// It will never work as it is.
    Failed {
        /// Why.
        error: String,
    },
}

impl Outcome {
    /// To be tried again.
    #[must_use]
    pub fn retry(error: impl Into<String>) -> Self {
        Self::Retry { error: error.into(), after: None }
    }

    /// Given up.
    #[must_use]
    pub fn failed(error: impl Into<String>) -> Self {
        Self::Failed { error: error.into() }
    }

    /// Of a datagram of so many bytes to `peer`. One that is too long will not become shorter: it is given up.
    #[must_use]
    pub fn of_datagram(sent: std::io::Result<usize>, bytes: usize, peer: &str) -> Self {
        // EMSGSIZE on every architecture that Linux calls by generic numbers.
        const TOO_LONG: i32 = 90;
        match sent {
            Ok(_) => Self::Sent,
            Err(error) if error.raw_os_error() == Some(TOO_LONG) => {
                Self::failed(format!("{bytes} bytes are too long for a datagram to {peer}"))
            }
            Err(error) => Self::retry(format!("send to {peer}: {error}")),
        }
    }

    /// Why it was not sent; `None` where it was.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Sent => None,
            Self::Retry { error, .. } | Self::Failed { error } => Some(error),
        }
    }
}

/// A notice that is ready to go.
#[derive(Debug)]
pub struct Delivery {
    /// Kind of the receiver: decides what its answers mean, and counts.
    pub kind: &'static str,
    /// What is to be done.
    pub wire: Wire,
    /// Templates that failed: the notice goes out all the same, with these texts in it.
    pub problems: Vec<String>,
    /// How long one try may take, where the settings say it.
    pub timeout: Option<Duration>,
}

/// The ways out.
#[derive(Debug)]
pub enum Wire {
    /// Requests one after the other; the first that fails ends it.
    Http(Vec<HttpDelivery>),
    /// A conversation over TCP or TLS.
    Talk(Talk),
    /// One datagram.
    Datagram(DatagramTo, Vec<u8>),
    /// A program.
    Exec(ExecDelivery),
    /// A file.
    File(FileDelivery),
}

/// One request.
#[derive(Clone)]
pub struct HttpDelivery {
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// Where; may hold a secret, so no log shows it.
    pub url: String,
    /// Headers, `Content-Type` and `Authorization` among them.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// TLS.
    pub tls: Arc<TlsConfig>,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
}

/// Without address, headers and body, which may hold secrets.
impl std::fmt::Debug for HttpDelivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpDelivery({}, {} bytes)", self.method, self.body.len())
    }
}

/// A conversation: connect, then let [`Dialogue::step`] lead.
#[derive(Debug)]
pub struct Talk {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// TLS, which begins at once or when the dialogue asks for it.
    pub tls: Arc<TlsConfig>,
    /// Whether TLS begins at once.
    pub is_tls: bool,
    /// Who speaks.
    pub dialogue: Dialogue,
}

/// One side of a conversation, without its socket.
#[derive(Debug)]
pub enum Dialogue {
    /// A mail.
    Smtp(Box<smtp::Session>),
    /// A message to a broker.
    Mqtt(Box<mqtt::Session>),
    /// Bytes that nobody answers.
    Bytes(Vec<u8>),
}

/// What a conversation wants next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes (there may be none), then read.
    Send(Vec<u8>),
    /// Write these bytes, begin TLS, then call again with nothing read.
    StartTls(Vec<u8>),
    /// Write these bytes: once that is done the receiver has it, as far as anybody can tell.
    Last(Vec<u8>),
    /// Write these bytes as far as they go, which decides nothing; it is over.
    Done(Vec<u8>, Outcome),
}

impl Dialogue {
    /// What is to be done after `input` was read; at the beginning, and after TLS began, it is empty.
    pub fn step(&mut self, input: &[u8]) -> Step {
        match self {
            Self::Smtp(session) => session.step(input),
            Self::Mqtt(session) => session.step(input),
            Self::Bytes(bytes) => Step::Last(std::mem::take(bytes)),
        }
    }

    /// What it means that the peer ended the conversation.
    #[must_use]
    pub fn ended(&self) -> Outcome {
        match self {
            Self::Smtp(session) => session.ended(),
            Self::Mqtt(session) => session.ended(),
            Self::Bytes(_) => Outcome::retry("the receiver ended the connection"),
        }
    }
}

/// Where a datagram goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatagramTo {
    /// Host and port.
    Udp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecDelivery {
    /// Absolute path.
    pub program: PathBuf,
    /// Arguments.
    pub args: Vec<String>,
    /// All its variables.
    pub env: Vec<(String, String)>,
    /// The alert group as JSON.
    pub stdin: Vec<u8>,
    /// After it the program and all that it began are killed.
    pub timeout: Duration,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDelivery {
    /// Absolute path.
    pub path: PathBuf,
    /// Whether the file is created where it is not there.
    pub may_create: bool,
    /// The alert group: a file that several groups write to shows an end only when the last of them has ended.
    pub group_key: String,
    /// Whether the group fires.
    pub is_firing: bool,
    /// What is written.
    pub text: String,
}
