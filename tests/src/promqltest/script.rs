//! Scripts as lists of commands.

use skerry_promql::notation::{self, Line, number};

/// A command with the line where it stands.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Kind {
    /// Forget all series.
    Clear,
    /// Add series, a value each `step_ms`; `nhcb` also makes native histograms of classic ones.
    Load { step_ms: i64, lines: Vec<Line>, nhcb: bool },
    /// Evaluate.
    Eval(Box<Eval>),
}

/// An evaluation and what is expected of it.
#[derive(Debug, Default)]
pub(super) struct Eval {
    pub(super) expr: String,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// Zero for an instant.
    pub(super) step_ms: i64,
    pub(super) fails: Option<Text>,
    pub(super) warns: Option<bool>,
    pub(super) infos: Option<bool>,
    pub(super) warnings: Vec<Text>,
    pub(super) remarks: Vec<Text>,
    pub(super) ordered: bool,
    pub(super) string: Option<String>,
    pub(super) scalar: Option<f64>,
    /// Start and step of an expected range vector.
    pub(super) matrix: Option<(i64, i64)>,
    pub(super) lines: Vec<Line>,
    pub(super) has_histogram: bool,
}

/// A text that a message has to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Text {
    Any,
    Exact(String),
    Pattern(String),
}

/// Reads a script.
pub(super) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut commands = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        let at = next;
        let head = lines[at].trim();
        next += 1;
        if head.is_empty() || head.starts_with('#') {
            continue;
        }
        let begin = next;
        while next < lines.len() && is_body(lines[next]) {
            next += 1;
        }
        let body: Vec<&str> = lines[begin..next]
            .iter()
            .map(|line| line.trim())
            .filter(|l| !l.is_empty() && !l.starts_with('#'))
            .collect();
        let kind = command(head, &body).map_err(|error| format!("line {}: {error}", at + 1))?;
        commands.push(Command { at: at + 1, kind });
    }
    Ok(commands)
}

/// Whether a line belongs to the command above it.
fn is_body(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let is_command =
        matches!(word, "clear" | "load" | "load_with_nhcb" | "eval" | "resume") || word.starts_with("eval_");
    !line.trim().is_empty() && !is_command
}

fn command(head: &str, body: &[&str]) -> Result<Kind, String> {
    let (word, rest) = head.split_once(char::is_whitespace).unwrap_or((head, ""));
    match word {
        "clear" => Ok(Kind::Clear),
        "load" | "load_with_nhcb" => {
            let lines = body.iter().map(|line| notation::line(line)).collect::<Result<_, _>>()?;
            Ok(Kind::Load { step_ms: duration(rest.trim())?, lines, nhcb: word != "load" })
        }
        "eval" | "eval_fail" | "eval_warn" | "eval_ordered" | "eval_info" => {
            eval(word, rest.trim(), body).map(|eval| Kind::Eval(Box::new(eval)))
        }
        _ => Err(format!("{word:?} is no command")),
    }
}

fn eval(word: &str, head: &str, body: &[&str]) -> Result<Eval, String> {
    let mut eval = Eval::default();
    match word {
        "eval_fail" => eval.fails = Some(Text::Any),
        "eval_warn" => eval.warns = Some(true),
        "eval_info" => eval.infos = Some(true),
        "eval_ordered" => eval.ordered = true,
        _ => {}
    }
    let mut words = head.split_whitespace();
    let mut take = |wanted: &str| match words.next() {
        Some(word) if wanted.is_empty() || word == wanted => Ok(word),
        other => Err(format!("{wanted:?} is expected, not {other:?}")),
    };
    let skipped: usize;
    if take("")? == "instant" {
        take("at")?;
        eval.start_ms = duration(take("")?)?;
        eval.end_ms = eval.start_ms;
        skipped = 3;
    } else {
        take("from")?;
        eval.start_ms = duration(take("")?)?;
        take("to")?;
        eval.end_ms = duration(take("")?)?;
        take("step")?;
        eval.step_ms = duration(take("")?)?;
        skipped = 7;
    }
    let mut expr = head;
    for _ in 0..skipped {
        expr = expr.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    }
    expr.clone_into(&mut eval.expr);
    for line in body {
        expectation(&mut eval, line)?;
    }
    Ok(eval)
}

fn expectation(eval: &mut Eval, line: &str) -> Result<(), String> {
    let Some(rest) = line.strip_prefix("expect ") else {
        if line.contains("{{") {
            eval.has_histogram = true;
        } else if let Ok(scalar) = number(line) {
            eval.scalar = Some(scalar);
        } else if eval.fails.is_none() || line.starts_with(['{', '_']) {
            eval.lines.push(notation::line(line)?);
        }
        return Ok(());
    };
    let rest = rest.trim();
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let message = || match rest.trim() {
        "" => Text::Any,
        rest => match rest.split_once(':') {
            Some(("msg", text)) => Text::Exact(text.trim().to_owned()),
            Some(("regex", text)) => Text::Pattern(text.trim().to_owned()),
            _ => Text::Any,
        },
    };
    match word {
        "fail" => eval.fails = Some(message()),
        "warn" => {
            eval.warns = Some(true);
            eval.warnings.push(message());
        }
        "info" => {
            eval.infos = Some(true);
            eval.remarks.push(message());
        }
        "no_warn" => eval.warns = Some(false),
        "no_info" => eval.infos = Some(false),
        "ordered" => eval.ordered = true,
        "string" => {
            let text = rest.trim();
            let quoted = text.strip_prefix('`').and_then(|text| text.strip_suffix('`')).map(str::to_owned);
            eval.string =
                Some(quoted.or_else(|| serde_json::from_str(text).ok()).ok_or("a quoted string is expected")?);
        }
        "range" => {
            let words: Vec<&str> = rest.split_whitespace().collect();
            let ["vector", "from", start, "to", _, "step", step] = words.as_slice() else {
                return Err(format!("{line:?}: a range vector with from, to and step is expected"));
            };
            eval.matrix = Some((duration(start)?, duration(step)?));
        }
        _ => return Err(format!("{line:?} is not understood")),
    }
    Ok(())
}

/// A time span in milliseconds: `5m`, `10s53ms`, `-1h`, or a bare number of seconds.
fn duration(text: &str) -> Result<i64, String> {
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    #[expect(clippy::cast_possible_truncation, reason = "a script's times are small")]
    if let Ok(seconds) = rest.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0).round() as i64);
    }
    let span: skerry_model::Span = rest.parse().map_err(|error| format!("{text:?}: {error}"))?;
    Ok(sign * i64::try_from(span.0.as_millis()).map_err(|error| error.to_string())?)
}
