//! One call: path, version, bounds, and what its answer means.

use super::engine::{Engine, Version};
use super::{EngineError, answer};
use crate::http::{Cause, FileBody, Head, HttpError, Request, unix};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserializer as _;
use serde::de::{SeqAccess, Visitor};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Most of an error's text that is kept, in bytes.
const MESSAGE_BYTES_MAX: usize = 512;
/// Version of Podman's own API, which all versions since 4 speak.
const LIBPOD: &str = "/v4.0.0";
/// How long asking for the version may take.
const VERSION_MAX: Duration = Duration::from_secs(5);
/// Longest answer that says the version.
const VERSION_BYTES_MAX: usize = 64 << 10;

/// What is sent.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Path and query below the version.
    pub(super) path: String,
    /// JSON, where the call has one.
    pub(super) body: Option<&'a Value>,
    /// Sent in place of the JSON.
    pub(super) file: Option<FileBody>,
    /// From the connection to the last byte.
    pub(super) limit: Duration,
    /// Longest answer.
    pub(super) bytes_max: usize,
}

impl Call<'_> {
    pub(super) const fn get(path: String, limit: Duration, bytes_max: usize) -> Self {
        Self { method: Method::GET, path, body: None, file: None, limit, bytes_max }
    }
}

impl Engine {
    /// Sends a call with the version in its path and hands the body of a good answer over as it comes.
    pub(super) async fn stream(
        &self,
        call: Call<'_>,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), String> + Send),
    ) -> Result<u16, EngineError> {
        let (major, minor) = self.version().await?.spoken;
        let path = if call.path.starts_with("/libpod/") {
            format!("{LIBPOD}{}", call.path)
        } else {
            format!("/v{major}.{minor}{}", call.path)
        };
        self.exchange(call, path, sink).await
    }

    /// Sends a call and reads the whole answer.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Bytes, EngineError> {
        let mut body = Vec::new();
        let mut keep = |chunk: &[u8]| {
            body.extend_from_slice(chunk);
            Ok(())
        };
        self.stream(call, &mut keep).await?;
        Ok(body.into())
    }

    /// Sends a call whose answer is JSON.
    pub(super) async fn json(&self, call: Call<'_>) -> Result<Value, EngineError> {
        let shown = self.shown(&call);
        parse(&self.call(call).await?, &shown)
    }

    /// Sends a call whose answer is a list in JSON, and hands its items over one by one: as one tree a thousand containers
    /// take ten times their text. Podman's lists may be `null` where they are empty.
    pub(super) async fn items(&self, call: Call<'_>, take: &mut (dyn FnMut(Value) + Send)) -> Result<(), EngineError> {
        let shown = self.shown(&call);
        let body = self.call(call).await?;
        serde_json::Deserializer::from_slice(&body)
            .deserialize_any(Items(take))
            .map_err(|error| malformed(&shown, &error))
    }

    /// Asks for the version, at a path that every version has.
    pub(super) async fn ask_version(&self) -> Result<Version, EngineError> {
        let call = Call::get("/version".into(), VERSION_MAX, VERSION_BYTES_MAX);
        let shown = self.shown(&call);
        let mut body = Vec::new();
        let mut keep = |chunk: &[u8]| {
            body.extend_from_slice(chunk);
            Ok(())
        };
        self.exchange(call, "/version".into(), &mut keep).await?;
        let answer = parse(&body, &shown)?;
        Version::read(&answer).ok_or_else(|| EngineError::Malformed {
            message: format!("{shown} tells no version of the API as ApiVersion, so this is no Docker or Podman"),
        })
    }

    fn shown(&self, call: &Call<'_>) -> String {
        let path = call.path.split('?').next().unwrap_or_default();
        format!("{} {}{path}", call.method, self.socket().display())
    }

    /// One exchange. Texts of refusals are taken out of their JSON.
    async fn exchange(
        &self,
        call: Call<'_>,
        path: String,
        sink: &mut (dyn FnMut(&[u8]) -> Result<(), String> + Send),
    ) -> Result<u16, EngineError> {
        let shown = self.shown(&call);
        let Call { method, body, file, limit, bytes_max, .. } = call;
        let mut request = Request { method, deadline: limit, bytes_max, redirects_max: 0, ..Request::get(path) };
        if let Some(body) = body {
            request.body = body.to_string().into();
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        } else if file.is_some() {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        }
        let mut problem = Vec::new();
        let mut sorted = |head: &Head, chunk: &[u8]| {
            if head.status.is_success() {
                return sink(chunk);
            }
            let room = (8 * MESSAGE_BYTES_MAX).saturating_sub(problem.len());
            problem.extend_from_slice(&chunk[..chunk.len().min(room)]);
            Ok(())
        };
        let outcome = unix(self.socket(), &request, file, &mut sorted).await;
        let head = outcome.map_err(|error| self.failed(error, &shown, limit))?;
        let status = head.status.as_u16();
        // 304: it is so already, such as a container that runs and is started.
        if head.status.is_success() || status == 304 {
            return Ok(status);
        }
        let message = format!("{shown}: {}", said(&problem));
        Err(match status {
            404 => EngineError::NotFound { message },
            409 => EngineError::Conflict { message },
            // Podman has no status of its own for these.
            500 if ["already in use", "container state improper"].iter().any(|text| message.contains(text)) => {
                EngineError::Conflict { message }
            }
            _ => EngineError::Refused { status, message },
        })
    }

    fn failed(&self, error: HttpError, shown: &str, limit: Duration) -> EngineError {
        match error.cause {
            Cause::Late => EngineError::Timeout { call: shown.to_owned(), limit },
            Cause::Oversize | Cause::Stopped | Cause::Invalid => {
                EngineError::Malformed { message: format!("{shown}: {}", error.text) }
            }
            _ => {
                // The daemon may come back as another version.
                self.forget_version();
                EngineError::Unreachable { message: error.text }
            }
        }
    }
}

fn parse(body: &[u8], shown: &str) -> Result<Value, EngineError> {
    serde_json::from_slice(body).map_err(|error| malformed(shown, &error))
}

fn malformed(shown: &str, error: &serde_json::Error) -> EngineError {
    EngineError::Malformed { message: format!("{shown}: an answer of another form: {error}") }
}

/// Takes the items of a list.
struct Items<'a>(&'a mut (dyn FnMut(Value) + Send));

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

/// The text of an error: `{"message": …}`; Podman adds `cause`, which is in the message already.
fn said(body: &[u8]) -> String {
    let told: Option<Value> = serde_json::from_slice(body).ok();
    let told = told.as_ref().and_then(|value| value["message"].as_str());
    let text = told.map_or_else(|| String::from_utf8_lossy(body), Into::into);
    let text = text.trim();
    text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

/// A text as one segment of a path or one value of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        // A dot may stand for a folder; `%2E` does too by the RFC, but not by the runtimes' routers, where slashes are gone.
        if byte.is_ascii_alphanumeric() || b"-_~.".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// A query's `filters`: by labels, each a name alone or with a value.
pub(super) fn filters(labels: &[(&str, &str)]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(name, value)| if value.is_empty() { (*name).to_owned() } else { format!("{name}={value}") })
        .collect();
    escaped(&serde_json::json!({ "label": labels }).to_string())
}

/// The id in an answer.
pub(super) fn id_of(answer: &Value, call: &str) -> Result<String, EngineError> {
    let id = answer["Id"].as_str().filter(|id| answer::is_id(id)).map(str::to_owned);
    id.ok_or_else(|| EngineError::Malformed { message: format!("{call}: the answer has no id") })
}
