//! Stand-ins for stores of logs: they speak as much of Loki's push, of the bulk API and of OTLP as a sender needs, keep
//! what a real one would keep, and fail when they are told to.

use anyhow::Context;
use skerry_remote::protobuf::{Fields, Value, put_bytes, put_int64};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a stand-in is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Loki: keeps one of two entries that are equal in stream, time and line; takes the good ones of a request that it
    /// refuses.
    Loki,
    /// Elasticsearch: keeps one document of a name, and says so of each.
    Elastic,
    /// An OpenTelemetry collector: keeps everything that it is sent.
    Otlp,
}

/// How it treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Takes them.
    Take,
    /// Answers this status and takes nothing.
    Answer(u16),
    /// Takes them and closes the connection without an answer.
    Swallow,
    /// Takes nothing and says nothing.
    Silent,
}

/// Lines with this in them are refused for what they hold.
pub const REFUSED: &str = "refuse-me";
/// A bulk API has no room for lines with this in them when they come the first time.
pub const BUSY: &str = "later";

/// A stand-in; cheap to clone.
#[derive(Debug, Clone)]
pub struct LogStore {
    kind: Kind,
    /// Its port on loopback.
    pub port: u16,
    mood: Arc<Mutex<Mood>>,
    requests: Arc<AtomicU64>,
    /// Lines by the name that they are kept under.
    kept: Arc<Mutex<BTreeMap<String, String>>>,
    /// Head and body of the last request that was taken.
    last: Arc<Mutex<String>>,
    busy: Arc<Mutex<Vec<String>>>,
}

impl LogStore {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// The system's.
    pub fn start(kind: Kind) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let store = Self {
            kind,
            port,
            mood: Arc::new(Mutex::new(Mood::Take)),
            requests: Arc::default(),
            kept: Arc::default(),
            last: Arc::default(),
            busy: Arc::default(),
        };
        let own = store.clone();
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || {
                    // A request that breaks off costs its connection alone.
                    let mut reader = BufReader::new(stream);
                    while own.serve(&mut reader).is_ok_and(|goes_on| goes_on) {}
                });
            }
        });
        Ok(store)
    }

    /// Treats requests like this from now on.
    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The lines that it keeps, each as often as it keeps it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Names that lines are kept under.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Head of the last request that was taken.
    #[must_use]
    pub fn last_head(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serves one request; whether another may follow.
    fn serve(&self, reader: &mut BufReader<TcpStream>) -> anyhow::Result<bool> {
        let (mut length, mut head) = (0, String::new());
        loop {
            let mut line = String::new();
            anyhow::ensure!(reader.read_line(&mut line)? > 0, "the end");
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().unwrap_or_else(PoisonError::into_inner);
        let (status, answer) = match mood {
            Mood::Answer(status) => (status, b"as told".to_vec()),
            Mood::Silent => {
                // Until the sender has enough of it.
                let _ = reader.read(&mut [0])?;
                return Ok(false);
            }
            Mood::Take | Mood::Swallow => {
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = head;
                match self.kind {
                    Kind::Loki => self.push(&body)?,
                    Kind::Elastic => self.bulk(&body)?,
                    Kind::Otlp => self.export(&body)?,
                }
            }
        };
        if mood == Mood::Swallow {
            return Ok(false);
        }
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", answer.len());
        let mut stream = reader.get_ref();
        stream.write_all(head.as_bytes())?;
        stream.write_all(&answer)?;
        Ok(true)
    }

    fn keep(&self, name: String, line: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(name, line.to_owned());
    }

    fn push(&self, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let message = skerry_remote::unpack(body, 64 << 20)?;
        let mut refused = 0;
        for stream in messages(&message, 1)? {
            let labels = fields(stream)?.first().context("labels")?.1.text("labels")?;
            for entry in messages(stream, 2)? {
                let line = fields(entry)?.get(1).context("a line")?.1.text("a line")?;
                let time = fields(messages(entry, 1)?.first().context("a time")?)?;
                if line.contains(REFUSED) {
                    refused += 1;
                } else {
                    self.keep(format!("{labels} {time:?} {line}"), line);
                }
            }
        }
        let words = format!("entry too far behind, total ignored: {refused}");
        Ok(if refused > 0 { (400, words.into_bytes()) } else { (204, Vec::new()) })
    }

    fn bulk(&self, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let lines: Vec<serde_json::Value> =
            std::str::from_utf8(body)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let mut items = Vec::new();
        for pair in lines.chunks(2) {
            let name = pair[0]["create"]["_id"].as_str().context("a name")?;
            let line = pair[1]["message"].as_str().context("a message")?;
            let is_known = self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name);
            let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
            let status = if is_known {
                409
            } else if line.contains(REFUSED) {
                400
            } else if line.contains(BUSY) && !busy.iter().any(|seen| seen == name) {
                busy.push(name.to_owned());
                429
            } else {
                self.keep(name.to_owned(), line);
                201
            };
            items.push(serde_json::json!({"create": {"status": status, "error": {"type": "told", "reason": "told"}}}));
        }
        Ok((200, serde_json::json!({"errors": true, "items": items}).to_string().into_bytes()))
    }

    fn export(&self, body: &[u8]) -> anyhow::Result<(u16, Vec<u8>)> {
        let mut refused = 0;
        for resource in messages(body, 1)? {
            for scope in messages(resource, 2)? {
                for record in messages(scope, 2)? {
                    let body = messages(record, 5)?;
                    let line = fields(body.first().context("a body")?)?[0].1.text("a body")?;
                    if line.contains(REFUSED) {
                        refused += 1;
                    } else {
                        let next = self.kept.lock().unwrap_or_else(PoisonError::into_inner).len();
                        self.keep(format!("{next:08}"), line);
                    }
                }
            }
        }
        let (mut partial, mut answer) = (Vec::new(), Vec::new());
        if refused > 0 {
            put_int64(&mut partial, 1, refused);
            put_bytes(&mut answer, 1, &partial);
        }
        Ok((200, answer))
    }
}

/// Fields of a message.
fn fields(message: &[u8]) -> anyhow::Result<Vec<(u64, Value<'_>)>> {
    let (mut fields, mut found) = (Fields::of(message), Vec::new());
    while let Some(field) = fields.next()? {
        found.push(field);
    }
    Ok(found)
}

/// Messages at a field.
fn messages(message: &[u8], number: u64) -> anyhow::Result<Vec<&[u8]>> {
    let mut found = Vec::new();
    for (at, value) in fields(message)? {
        if at == number {
            found.push(value.bytes("a message")?);
        }
    }
    Ok(found)
}

/// A stand-in for a syslog receiver over TCP: keeps the messages, which come with their lengths. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SyslogSink {
    /// Its port on loopback.
    pub port: u16,
    messages: Arc<Mutex<Vec<String>>>,
}

impl SyslogSink {
    /// Listens on a free port of loopback.
    ///
    /// # Errors
    /// The system's.
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let sink = Self { port: listener.local_addr()?.port(), messages: Arc::default() };
        let own = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    // A message that is cut off ends its connection.
                    while own.message(&mut reader).is_ok() {}
                });
            }
        });
        Ok(sink)
    }

    /// The messages.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn message(&self, reader: &mut BufReader<TcpStream>) -> anyhow::Result<()> {
        let mut length = Vec::new();
        reader.read_until(b' ', &mut length)?;
        let length: usize = std::str::from_utf8(&length)?.trim_end().parse()?;
        let mut message = vec![0; length];
        reader.read_exact(&mut message)?;
        let text = String::from_utf8(message)?;
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(())
    }
}
