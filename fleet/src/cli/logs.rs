//! `skerry logs`: log lines of one node or of many, from the centre, from the nodes themselves, and live.
//!
//! Centre and node know the same lines by the same labels, so a line that both have is shown once: of equal lines of one
//! moment as many as one side has. The live view is opened before anything stored is read, so that no line falls between
//! the two, and a line that is in both is shown once as well.

use super::Session;
use super::args::{Direction, Format, LogsArgs, Place};
use super::client::Refused;
use super::output::{note, print};
use crate::clock::utc;
use crate::edge::selector;
use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use skerry_model::{Level, NodeId, UnixMillis};
use skerry_promapi::text_json as quoted;
use skerry_promql::MatchOp;
use skerry_wire::LIVE_LINE_BYTES_MAX;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Said when the live view is over.
const FOLLOW_ENDED: &str = "the server ended the live view; start it again, or look at the stored lines without -f";
/// A moment that lies behind all others, in nanoseconds: the live view begins without what is stored.
const NEVER: &str = "9000000000000000000";
const NANOS_PER_MILLI: i64 = 1_000_000;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    /// When, in nanoseconds.
    #[serde(skip)]
    at_nanos: i64,
    at_ms: i64,
    labels: BTreeMap<String, String>,
    line: String,
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    #[serde(default)]
    stream: BTreeMap<String, String>,
    values: Vec<(String, String)>,
}

/// A message of the live view.
#[derive(Deserialize)]
struct Live {
    streams: Vec<Stream>,
    #[serde(default)]
    dropped_entries: Vec<Dropped>,
}

#[derive(Deserialize)]
struct Dropped {
    labels: BTreeMap<String, String>,
}

pub(super) fn logs(session: &Session, args: &LogsArgs, format: Format) -> anyhow::Result<()> {
    let asked = Asked::new(args)?;
    // Opened first, so that nothing falls between what is stored and what is live.
    let live = match args.follow {
        true => {
            let query = [("query", asked.query.clone()), ("start", NEVER.into())];
            Some(session.client.lines("/loki/api/v1/tail", &query)?)
        }
        false => None,
    };
    let stored = asked.stored(session, args)?;
    print(&stored.iter().map(|line| asked.written(line, format)).collect::<String>())?;
    let Some(live) = live else { return Ok(()) };
    let mut shown: HashMap<Key, u32> = HashMap::new();
    for line in &stored {
        *shown.entry(key(line)).or_default() += 1;
    }
    for text in live {
        let text = text.context("the live view broke off")?;
        if text.is_empty() {
            continue;
        }
        let message: Live = serde_json::from_str(&text).context("a message of the live view")?;
        let mut text = String::new();
        for line in lines(message.streams)? {
            match shown.get_mut(&key(&line)) {
                Some(count) if *count > 0 => *count -= 1,
                _ => text.push_str(&asked.written(&line, format)),
            }
        }
        print(&text)?;
        for dropped in message.dropped_entries {
            let count = dropped.labels.get("skerry_left_out").map_or("some", String::as_str);
            note(&format!("{count} lines left out here: they come faster than they are shown; all of them are stored"));
        }
    }
    note(FOLLOW_ENDED);
    Ok(())
}

/// What is asked, as LogQL and as Loki's parameters.
struct Asked {
    query: String,
    /// Who answers from the nodes: `node` or `node_selector`.
    nodes: (&'static str, String),
    /// Whether lines say which node they are of.
    names_nodes: bool,
}

impl Asked {
    fn new(args: &LogsArgs) -> anyhow::Result<Self> {
        // With -l the first argument is the query.
        let (node, query) = match (&args.selector, &args.node, &args.query) {
            (Some(_), Some(_), Some(_)) => bail!("either a node or -l LABELS is expected, with one query"),
            (Some(_), query, None) | (Some(_), None, query) => (None, query.as_deref()),
            (None, node, query) => (node.as_deref(), query.as_deref()),
        };
        ensure!(query.is_none() || args.logql.is_none(), "the query is given twice: as QUERY and as --query");
        let query = args.logql.as_deref().or(query).unwrap_or_default().trim();
        let (mut conditions, nodes) = match (&args.selector, node) {
            (Some(selector), _) => (conditions(selector)?, ("node_selector", selector.clone())),
            (None, Some(node)) => {
                let node: NodeId = node.parse().with_context(|| format!("{node:?} is no name of a node"))?;
                (vec![format!("node={}", quoted(node.as_str()))], ("node", node.to_string()))
            }
            // The query itself says which.
            (None, None) => (Vec::new(), ("node_selector", String::new())),
        };
        for label in &args.labels {
            let (name, value) =
                label.split_once('=').with_context(|| format!("label {label:?}: name=value is expected"))?;
            conditions.push(format!("{name}={}", quoted(value)));
        }
        if let Some(level) = &args.level {
            conditions.push(format!("level=~{}", quoted(&levels(level)?)));
        }
        let grep = args.grep.as_ref().map(|text| format!("|= {} ", quoted(text))).unwrap_or_default();
        let conditions = conditions.join(", ");
        let query = match query.strip_prefix('{').map(str::trim_start) {
            None => format!("{{{conditions}}} {grep}{query}"),
            Some(rest) if rest.starts_with('}') || conditions.is_empty() => format!("{{{conditions}{rest} {grep}"),
            Some(rest) => format!("{{{conditions}, {rest} {grep}"),
        };
        Ok(Self { query: query.trim().to_owned(), nodes, names_nodes: node.is_none() })
    }

    /// What was written before, oldest first.
    fn stored(&self, session: &Session, args: &LogsArgs) -> anyhow::Result<Vec<Line>> {
        let since = i64::try_from(args.since.0.as_millis()).unwrap_or(i64::MAX);
        let start = || session.now.0.saturating_sub(since).saturating_mul(NANOS_PER_MILLI).to_string();
        let direction = if args.direction == Direction::Forward { "forward" } else { "backward" };
        let mut params = vec![
            ("query", self.query.clone()),
            ("start", args.from.clone().unwrap_or_else(start)),
            ("limit", args.limit.to_string()),
            ("direction", direction.into()),
        ];
        match &args.until {
            Some(until) => params.push(("end", until.clone())),
            // What bears a time that is still to come belongs to it too.
            None => params
                .push(("end", session.now.0.saturating_add(86_400_000).saturating_mul(NANOS_PER_MILLI).to_string())),
        }
        let ask = |params: &[(&str, String)], wait| -> anyhow::Result<Vec<Line>> {
            let answer: Answer = session.client.get_at("/loki/api/v1/query_range", params, wait)?;
            ensure!(
                answer.data.result_type == "streams",
                "the query makes numbers of log lines; `skerry logs` shows lines: leave out what counts them"
            );
            for warning in answer.warnings {
                note(&format!("warning: {warning}"));
            }
            lines(answer.data.result)
        };
        let of_centre = if args.at == Place::Nodes { Vec::new() } else { ask(&params, Duration::ZERO)? };
        let mut of_nodes = Vec::new();
        if args.at != Place::Centre {
            params.push((self.nodes.0, self.nodes.1.clone()));
            params.push(("timeout", args.timeout.to_string()));
            of_nodes = match ask(&params, args.timeout.0) {
                Ok(lines) => lines,
                // What the centre has is an answer too; of a node that there is not, nothing is.
                Err(error)
                    if args.at == Place::Both
                        && error.downcast_ref::<Refused>().is_some_and(|refused| refused.status != 404) =>
                {
                    note(&format!("only what the centre has is shown: {error:#}"));
                    Vec::new()
                }
                Err(error) => return Err(error),
            };
        }
        let mut all = united(of_centre, of_nodes);
        let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
        if all.len() >= limit {
            note(&format!("there may be more lines; --limit {limit} was reached"));
        }
        match args.direction {
            Direction::Backward => drop(all.drain(..all.len().saturating_sub(limit))),
            Direction::Forward => all.truncate(limit),
        }
        Ok(all)
    }

    /// One line: JSON, the text alone, or time and text, with its node or its labels.
    fn written(&self, line: &Line, format: Format) -> String {
        match format {
            Format::Json => return serde_json::to_string(line).map(|text| text + "\n").unwrap_or_default(),
            Format::Raw => return format!("{}\n", line.line),
            Format::Yaml => {
                return serde_saphyr::to_string(line).map(|text| format!("---\n{text}")).unwrap_or_default();
            }
            Format::Table | Format::Wide => {}
        }
        let text: String = line.line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
        let at = utc(UnixMillis(line.at_ms));
        if format == Format::Wide {
            let labels = line.labels.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",");
            return format!("{at}  {labels}  {text}\n");
        }
        match line.labels.get("node").filter(|_| self.names_nodes) {
            Some(node) => format!("{at}  {node}  {text}\n"),
            None => format!("{at}  {text}\n"),
        }
    }
}

/// A selector of nodes as conditions of LogQL, of which one at least asks for something.
fn conditions(selector: &str) -> anyhow::Result<Vec<String>> {
    let matchers = selector::parse(selector)?;
    let mut conditions = Vec::new();
    for matcher in &matchers {
        let name = matcher.label();
        ensure!(
            name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
            "label {name:?} cannot be asked for in logs: its name has other characters than letters, digits and _"
        );
        let op = match matcher.op() {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        conditions.push(format!("{name}{op}{}", quoted(matcher.value())));
    }
    conditions.push("node=~\".+\"".into());
    Ok(conditions)
}

/// An expression for this severity and the higher ones.
fn levels(word: &str) -> anyhow::Result<String> {
    let least = Level::from_word(word)
        .with_context(|| format!("{word:?} is no level: trace, debug, info, warn, error and fatal are known"))?;
    let names: Vec<&str> = Level::ALL.into_iter().filter(|level| *level >= least).map(Level::as_str).collect();
    Ok(names.join("|"))
}

/// The lines of streams, oldest first.
fn lines(streams: Vec<Stream>) -> anyhow::Result<Vec<Line>> {
    let mut all = Vec::new();
    for stream in streams {
        for (at, line) in stream.values {
            let at_nanos: i64 = at.parse().with_context(|| format!("the time {at:?} of a line"))?;
            let at_ms = at_nanos.div_euclid(NANOS_PER_MILLI);
            all.push(Line { at_nanos, at_ms, labels: stream.stream.clone(), line });
        }
    }
    all.sort_by_key(|line| line.at_nanos);
    Ok(all)
}

type Key = (i64, BTreeMap<String, String>, String);

/// What tells a line from others: as much of it as a live view shows.
fn key(line: &Line) -> Key {
    let text = line.line[..line.line.floor_char_boundary(LIVE_LINE_BYTES_MAX)].to_owned();
    (line.at_nanos, line.labels.clone(), text)
}

/// The lines of both, oldest first; one that both have counts once.
fn united(one: Vec<Line>, other: Vec<Line>) -> Vec<Line> {
    let mut counts: HashMap<Key, u32> = HashMap::new();
    for line in &one {
        *counts.entry(key(line)).or_default() += 1;
    }
    let mut all = one;
    for line in other {
        match counts.get_mut(&key(&line)) {
            Some(count) if *count > 0 => *count -= 1,
            _ => all.push(line),
        }
    }
    all.sort_by_key(|line| line.at_nanos);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

    fn asked(args: &[&str]) -> anyhow::Result<Asked> {
        let cli = Cli::try_parse_from(["skerry", "logs"].iter().chain(args))?;
        let Command::Logs(args) = cli.command else { panic!("another command") };
        Asked::new(&args)
    }

    #[test]
    fn arguments_become_logql() {
        for (args, expected) in [
            (&["pi-4"][..], r#"{node="pi-4"}"#),
            (&["pi-4", "|= \"x\" | json"], r#"{node="pi-4"} |= "x" | json"#),
            (&["pi-4", "{source=\"app\"} | json"], r#"{node="pi-4", source="app"} | json"#),
            (&["pi-4", "--query", "{} | json"], r#"{node="pi-4"} | json"#),
            (&["pi-4", "--grep", "a \"b\"", "| json"], r#"{node="pi-4"} |= "a \"b\"" | json"#),
            (&["pi-4", "--grep", "x", "{a=\"b\"}"], r#"{node="pi-4", a="b"} |= "x""#),
            (&["pi-4", "--level", "warning"], r#"{node="pi-4", level=~"warn|error|fatal"}"#),
            (&["pi-4", "--label", "source=app"], r#"{node="pi-4", source="app"}"#),
            (&["-l", "site=berlin,!spare"], r#"{site="berlin", spare="", node=~".+"}"#),
            (&["-l", "", "|= \"x\""], r#"{node=~".+"} |= "x""#),
            (&["--query", "{a=\"b\"}"], r#"{a="b"}"#),
        ] {
            assert_eq!(asked(args).unwrap().query, expected, "{args:?}");
        }
        for args in [&[][..], &["No Node"], &["a", "b", "-l", "c"], &["a", "b", "--query", "c"], &["a", "--level", "x"]]
        {
            assert!(asked(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn lines_of_both_are_shown_once_and_equal_ones_as_often_as_they_are() {
        let line = |at: i64, text: &str| Line { at_nanos: at, at_ms: 0, labels: BTreeMap::new(), line: text.into() };
        let of_centre = vec![line(1, "a"), line(2, "b"), line(2, "b")];
        let of_node = vec![line(2, "b"), line(2, "b"), line(2, "b"), line(3, "c")];
        let all = united(of_centre, of_node);
        let texts: Vec<&str> = all.iter().map(|line| line.line.as_str()).collect();
        assert_eq!(texts, ["a", "b", "b", "b", "c"]);
    }
}
