//! Requests to the API and what its answers mean.

use super::access::{Access, Places};
use super::settings::Settings;
use crate::actuate::ActuatorError;
use crate::http::{Cause, Head, HttpError, Request, SystemRoots, Trace};
use hyper::Method;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest answer: a page of pods has some 10 KiB for each, and up to twenty times that where annotations are large.
const BYTES_MAX: usize = 2 << 20;
/// Bytes of the API's own words that stand in an error.
const WORDS_BYTES_MAX: usize = 400;
/// Longest pause that is borne where the API asks for one.
const PAUSE_SECONDS_MAX: u64 = 3;

/// An API.
pub(super) struct Api {
    pub(super) settings: Settings,
    places: Places,
    system: SystemRoots,
    access: Mutex<Option<Arc<Access>>>,
}

/// A call that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// The answer's status; 0 where there was none.
    pub(super) status: u16,
    pub(super) error: ActuatorError,
}

impl From<ActuatorError> for Failed {
    fn from(error: ActuatorError) -> Self {
        Self { status: 0, error }
    }
}

impl From<Failed> for ActuatorError {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

impl Api {
    pub(super) const fn new(settings: Settings, places: Places, system: SystemRoots) -> Self {
        Self { settings, places, system, access: Mutex::new(None) }
    }

    /// The way to it, made anew where a file that it was made from has changed.
    pub(super) fn access(&self) -> Result<Arc<Access>, ActuatorError> {
        let mut known = self.access.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = known.as_ref().filter(|access| access.is_current()) {
            return Ok(access.clone());
        }
        let access = Arc::new(Access::find(&self.settings, &self.places, &self.system)?);
        *known = Some(access.clone());
        Ok(access)
    }

    /// GET.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.call(Method::GET, path, "", None).await
    }

    /// A request; `path` begins with `/`. Asked to wait a moment, it waits and tries once more.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failed> {
        let mut is_first = true;
        loop {
            let (head, body) = self.exchange(&method, path, content_type, body).await?;
            let status = head.status.as_u16();
            if head.status.is_success() {
                let unread = |error| invalid(format!("the answer to {method} {path} cannot be read: {error}"));
                return Ok(serde_json::from_slice(&body).map_err(unread)?);
            }
            if let Some(pause) = pause(&head).filter(|_| status == 429 && is_first) {
                is_first = false;
                tokio::time::sleep(pause).await;
                continue;
            }
            return Err(refused(&method, path, &head, &body));
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        path: &str,
        content_type: &str,
        body: Option<&Value>,
    ) -> Result<(Head, Vec<u8>), ActuatorError> {
        let access = self.access()?;
        let mut request = Request::get(format!("{}{path}", access.server));
        request.method = method.clone();
        request.deadline = self.settings.timeout.0;
        request.bytes_max = BYTES_MAX;
        // Credentials do not follow anybody elsewhere.
        request.redirects_max = 0;
        request = request.header("accept", "application/json").map_err(failed)?;
        if let Some(body) = body {
            request.body = body.to_string().into();
            request = request.header("content-type", content_type).map_err(failed)?;
        }
        if let Some(value) = access.authorization().map_err(failed)? {
            request = request.authorized(value);
        }
        let mut said = Vec::new();
        let mut keep = |chunk: &[u8]| {
            said.extend_from_slice(chunk);
            Ok(())
        };
        let head = access.client.stream(&request, &mut Trace::default(), &mut keep).await.map_err(failed)?;
        Ok((head, said))
    }
}

fn pause(head: &Head) -> Option<Duration> {
    let seconds: u64 = head.headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    (seconds <= PAUSE_SECONDS_MAX).then_some(Duration::from_secs(seconds))
}

/// What an exchange without an answer means.
fn failed(error: HttpError) -> ActuatorError {
    let reason = match error.cause {
        Cause::Late => "Timeout",
        Cause::Invalid | Cause::Oversize => "Invalid",
        Cause::Resolve | Cause::Connect | Cause::Tls | Cause::Exchange | Cause::Stopped => "Unreachable",
    };
    ActuatorError { reason, message: error.text }
}

/// What an answer of another status than success means, with the API's own words.
fn refused(method: &Method, path: &str, head: &Head, body: &[u8]) -> Failed {
    let status = head.status.as_u16();
    let said: Option<Value> = serde_json::from_slice(body).ok();
    let words = said.as_ref().and_then(|said| said.get("message")).and_then(Value::as_str).unwrap_or_default();
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let end = words.char_indices().map(|(at, _)| at).take_while(|at| *at <= WORDS_BYTES_MAX).last().unwrap_or(0);
    let words = if words.len() > WORDS_BYTES_MAX { &words[..end] } else { &words };
    let (reason, hint) = match status {
        401 => ("Unauthorized", "; the token or certificate that this node shows is not taken"),
        403 => ("Forbidden", "; the account needs get, patch and update of the scale subresource, and list of pods"),
        404 => ("NotFound", ""),
        409 => ("Conflict", ""),
        429 => ("TooManyRequests", ""),
        500.. => ("Unreachable", ""),
        _ => ("Refused", ""),
    };
    let path = path.split('?').next().unwrap_or(path);
    let colon = if words.is_empty() { "" } else { ": " };
    let message = format!("{method} {path} is answered with {}{colon}{words}{hint}", head.status);
    Failed { status, error: ActuatorError { reason, message } }
}

pub(super) fn invalid(message: String) -> ActuatorError {
    ActuatorError { reason: "Invalid", message }
}
