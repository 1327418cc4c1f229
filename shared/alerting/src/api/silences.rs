//! `/silences` and `/silence/{id}`.

use super::query::Query;
use super::{Response, time};
use crate::Now;
use crate::manager::matcher::{Matcher, Op};
use crate::manager::{Manager, Silence, SilenceError, SilenceState};
use serde_json::{Value, json};
use std::cmp::Reverse;

/// `GET /silences`: the active ones by their end, those to come by their start, those that are over by their end, the
/// last first.
pub(super) fn list(manager: &Manager, query: &Query, now: Now) -> Response {
    let filter = match query.filter() {
        Ok(filter) => filter,
        Err(problem) => return Response::text(400, &problem),
    };
    let matches = |silence: &&Silence| {
        let all = || silence.matchers.iter().flatten();
        filter.holds(|name| all().find(|matcher| matcher.name() == name).map(Matcher::value))
    };
    let mut silences: Vec<&Silence> = manager.silences().filter(matches).collect();
    silences.sort_by_key(|silence| {
        let state = silence.state(now.wall);
        let by = match state {
            SilenceState::Active => (silence.ends_at, Reverse(silence.ends_at)),
            SilenceState::Pending => (silence.starts_at, Reverse(silence.ends_at)),
            SilenceState::Expired => (skerry_model::UnixMillis(0), Reverse(silence.ends_at)),
        };
        (state, by)
    });
    Response::list(silences.into_iter().map(|silence| shown(silence, now)))
}

/// `GET /silence/{id}`.
pub(super) fn one(manager: &Manager, id: &str, now: Now) -> Response {
    if let Some(response) = refused_id(id) {
        return response;
    }
    match manager.silence(id) {
        Some(silence) => Response::json(&shown(silence, now)),
        None => Response { status: 404, body: Vec::new() },
    }
}

/// `DELETE /silence/{id}`.
pub(super) fn expire(manager: &mut Manager, id: &str, now: Now) -> Response {
    if let Some(response) = refused_id(id) {
        return response;
    }
    match manager.expire_silence(id, now) {
        Ok(()) => Response::empty(),
        Err(SilenceError::NotFound) => Response { status: 404, body: Vec::new() },
        Err(error) => Response::text(500, &error.to_string()),
    }
}

/// Says that an id is no UUID.
fn refused_id(id: &str) -> Option<Response> {
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    let is_uuid = groups == [8, 4, 4, 4, 12] && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    let problem = || format!("silenceID in path must be of type uuid: {id:?}");
    (!is_uuid).then(|| Response::fault(422, 601, &problem()))
}

/// `POST /silences`.
pub(super) fn set(manager: &mut Manager, body: &[u8], now: Now) -> Response {
    let value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => {
            return Response::fault(400, 400, &format!("parsing silence body from \"\" failed, because {error}"));
        }
    };
    let silence = match silence(&value) {
        Ok(silence) => silence,
        Err(response) => return response,
    };
    if silence.starts_at >= silence.ends_at {
        return Response::text(400, "failed to create silence: start time must be before end time");
    }
    if silence.ends_at < now.wall {
        return Response::text(400, "failed to create silence: end time can't be in the past");
    }
    match manager.set_silence(silence, now) {
        Ok(id) => Response::json(&json!({ "silenceID": id })),
        Err(error @ SilenceError::NotFound) => Response::text(404, &error.to_string()),
        Err(error) => Response::text(400, &error.to_string()),
    }
}

fn silence(value: &Value) -> Result<Silence, Response> {
    let required = |key: &str| Response::fault(422, 602, &format!("{key} in body is required"));
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let moment = |key: &str| {
        let text = text(key).ok_or_else(|| required(key))?;
        time::parse(text)
            .ok_or_else(|| Response::fault(422, 601, &format!("{key} in body must be of type date-time: {text:?}")))
    };
    let listed = value.get("matchers").and_then(Value::as_array).ok_or_else(|| required("matchers"))?;
    let matchers: Result<Vec<Matcher>, Response> = listed.iter().map(matcher).collect();
    let annotations = value.get("annotations").and_then(Value::as_object).into_iter().flatten();
    Ok(Silence {
        id: text("id").unwrap_or_default().to_owned(),
        matchers: vec![matchers?],
        starts_at: moment("startsAt")?,
        ends_at: moment("endsAt")?,
        updated_at: skerry_model::UnixMillis(0),
        created_by: text("createdBy").ok_or_else(|| required("createdBy"))?.to_owned(),
        comment: text("comment").ok_or_else(|| required("comment"))?.to_owned(),
        annotations: annotations.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect(),
    })
}

fn matcher(value: &Value) -> Result<Matcher, Response> {
    let text = |key: &str| {
        let problem = || Response::fault(422, 602, &format!("matchers.{key} in body is required"));
        value.get(key).and_then(Value::as_str).ok_or_else(problem)
    };
    // Old clients know no negation.
    let is_equal = value.get("isEqual").and_then(Value::as_bool).unwrap_or(true);
    let is_regex = value.get("isRegex").and_then(Value::as_bool).unwrap_or(false);
    let op = match (is_equal, is_regex) {
        (true, false) => Op::Equal,
        (false, false) => Op::NotEqual,
        (true, true) => Op::Regex,
        (false, true) => Op::NotRegex,
    };
    let (name, value) = (text("name")?, text("value")?);
    Matcher::new(name, op, value)
        .map_err(|problem| Response::text(400, &format!("silence invalid: invalid label matcher: {problem}")))
}

fn shown(silence: &Silence, now: Now) -> Value {
    let matcher = |matcher: &Matcher| {
        json!({
            "isEqual": matches!(matcher.op(), Op::Equal | Op::Regex), "isRegex": matcher.op().is_regex(),
            "name": matcher.name(), "value": matcher.value(),
        })
    };
    let sets: Vec<Vec<Value>> = silence.matchers.iter().map(|set| set.iter().map(matcher).collect()).collect();
    let mut value = json!({
        "id": silence.id,
        "status": { "state": silence.state(now.wall).text() },
        "updatedAt": time::text(silence.updated_at),
        "comment": silence.comment,
        "createdBy": silence.created_by,
        "endsAt": time::text(silence.ends_at),
        "matchers": sets.first(),
        "startsAt": time::text(silence.starts_at),
    });
    let parts: [(&str, bool, Value); 2] = [
        ("annotations", !silence.annotations.is_empty(), json!(silence.annotations)),
        ("matcherSets", sets.len() > 1, json!(sets)),
    ];
    for (key, is_there, part) in parts {
        if is_there {
            value[key] = part;
        }
    }
    value
}
