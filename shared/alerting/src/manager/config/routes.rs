//! The tree of routes as the file has it.

use super::conditions;
use crate::manager::matcher;
use crate::manager::route::{GROUP_INTERVAL, GROUP_WAIT, GroupBy, REPEAT_INTERVAL, Route, Routes};
use crate::notify::Checks;
use serde_json::Value;
use skerry_yaml::values::Mapping;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Most routes of one file.
const ROUTES_MAX: usize = 10_000;
/// Deepest nesting of routes.
const DEPTH_MAX: usize = 30;

/// What routes may name.
pub(super) struct Names<'a> {
    pub(super) receivers: BTreeSet<&'a str>,
    pub(super) intervals: BTreeSet<&'a str>,
}

/// Reads the tree from its root.
pub(super) fn read(value: &Value, names: &Names<'_>, checks: &mut Checks<'_>) -> Routes {
    let mut routes = Vec::new();
    let root = Route {
        receiver: "".into(),
        group_by: GroupBy::default(),
        group_wait: GROUP_WAIT,
        group_interval: GROUP_INTERVAL,
        repeat_interval: REPEAT_INTERVAL,
        matchers: Vec::new(),
        continues: false,
        mute_times: Vec::new(),
        active_times: Vec::new(),
        labels: BTreeMap::new(),
        key: "".into(),
        id: "".into(),
        depth: 0,
        end: 0,
    };
    read_below(value, "route", None, &root, names, &mut routes, checks);
    if let Some(root) = routes.first() {
        check_root(root, checks);
    }
    Routes(routes)
}

fn check_root(root: &Route, checks: &mut Checks<'_>) {
    let problems = [
        (root.receiver.is_empty(), "root route must specify a default receiver"),
        (!root.matchers.is_empty(), "root route must not have any matchers"),
        (!root.mute_times.is_empty(), "root route must not have any mute time intervals"),
        (!root.active_times.is_empty(), "root route must not have any active time intervals"),
        (root.continues, "cannot have continue in root route"),
    ];
    for (_, problem) in problems.iter().filter(|(is_so, _)| *is_so) {
        checks.fault("route", *problem);
    }
}

/// Reads one route and those below it, to the depth that is taken. `place` among its siblings; `None` for the root.
fn read_below(
    value: &Value,
    key: &str,
    place: Option<usize>,
    above: &Route,
    names: &Names<'_>,
    routes: &mut Vec<Route>,
    checks: &mut Checks<'_>,
) {
    let mut node = Mapping::new(Some(value), key, checks);
    let route = read_one(&mut node, place, above, names, checks);
    let children = node.items("routes", checks);
    node.finish(checks);
    let index = routes.len();
    routes.push(route.clone());
    if !children.is_empty() && route.depth >= DEPTH_MAX {
        checks.fault(key, format!("routes are nested deeper than {DEPTH_MAX}"));
        return;
    }
    for (at, (key, child)) in children.into_iter().enumerate() {
        if routes.len() >= ROUTES_MAX {
            checks.fault(&key, format!("at most {ROUTES_MAX} routes are read"));
            break;
        }
        read_below(child, &key, Some(at), &route, names, routes, checks);
    }
    routes[index].end = routes.len();
}

fn read_one(
    node: &mut Mapping<'_>,
    place: Option<usize>,
    above: &Route,
    names: &Names<'_>,
    checks: &mut Checks<'_>,
) -> Route {
    let receiver = node.text("receiver", checks).filter(|name| !name.is_empty());
    if let Some(name) = receiver.as_deref().filter(|name| !names.receivers.contains(name)) {
        checks.fault(&node.at("receiver"), format!("undefined receiver {name:?} used in route"));
    }
    let mut times = |key: &str, checks: &mut Checks<'_>| -> Vec<Box<str>> {
        let listed = node.words(key, checks);
        for name in listed.iter().filter(|name| !names.intervals.contains(name.as_str())) {
            checks.fault(&node.at(key), format!("undefined time interval {name:?} used in route"));
        }
        listed.into_iter().map(Into::into).collect()
    };
    let mute_times = times("mute_time_intervals", checks);
    let active_times = times("active_time_intervals", checks);
    let mut span = |key: &str, checks: &mut Checks<'_>| -> Option<Duration> {
        let span = node.span(key, checks)?;
        if span.is_zero() && key != "group_wait" {
            checks.fault(&node.at(key), format!("{key} cannot be zero"));
        }
        Some(span)
    };
    let group_wait = span("group_wait", checks).unwrap_or(above.group_wait);
    let group_interval = span("group_interval", checks).unwrap_or(above.group_interval);
    let repeat_interval = span("repeat_interval", checks).unwrap_or(above.repeat_interval);
    let group_by = group_by(node, &above.group_by, checks);
    let mut labels = above.labels.clone();
    labels.extend(node.texts("labels", checks));
    let matchers = conditions::matchers(node, "", checks);
    let continues = node.flag("continue", checks).unwrap_or(false);
    let own = matcher::text(&matchers);
    let (key, id) = match place {
        None => (own.clone(), own),
        Some(place) => (format!("{}/{own}", above.key), format!("{}/{own}/{place}", above.id)),
    };
    Route {
        receiver: receiver.map_or_else(|| above.receiver.clone(), Into::into),
        group_by,
        group_wait,
        group_interval,
        repeat_interval,
        matchers,
        continues,
        mute_times,
        active_times,
        labels,
        key: key.into(),
        id: id.into(),
        depth: place.map_or(0, |_| above.depth + 1),
        end: 0,
    }
}

/// `group_by`; what is left out is inherited, also by an empty list.
fn group_by(node: &mut Mapping<'_>, above: &GroupBy, checks: &mut Checks<'_>) -> GroupBy {
    let key = node.at("group_by");
    let words = node.words("group_by", checks);
    let all = words.iter().any(|word| word == "...");
    let mut names = BTreeSet::new();
    for (at, word) in words.iter().enumerate().filter(|(_, word)| *word != "...") {
        let at = format!("{key}[{at}]");
        if !matcher::is_name(word) {
            checks.fault(&at, format!("invalid label name {word:?} in group_by list"));
        } else if !names.insert(word.as_str()) {
            checks.fault(&at, format!("duplicated label {word:?} in group_by"));
        }
    }
    if all && !names.is_empty() {
        checks.fault(&key, "cannot have wildcard group_by (`...`) and other labels at the same time");
    }
    if names.is_empty() {
        GroupBy { all: all || above.all, labels: above.labels.clone() }
    } else {
        GroupBy { all: false, labels: names.into_iter().map(Into::into).collect() }
    }
}
