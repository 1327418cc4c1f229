//! Expressions as text again, in Prometheus's own style: short ones on one line, long ones over several.

use super::ast::{Aggregate, At, Binary, Cardinality, Expr, Grouping, Kind, Selector, Shift, Sign, Subquery};
use crate::matcher::{MatchOp, Matcher};
use skerry_model::Span;
use std::fmt::Write;
use std::time::Duration;

/// Longest line, in characters.
const LINE_MAX: usize = 100;

/// An expression on one line.
pub(crate) fn line(expr: &Expr) -> String {
    let mut text = String::new();
    write(expr, &mut text);
    text
}

/// An expression over as many lines as it needs.
pub(crate) fn pretty(expr: &Expr) -> String {
    let mut text = String::new();
    indented(expr, 0, &mut text);
    text
}

fn indent(level: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", level));
}

fn indented(expr: &Expr, level: usize, out: &mut String) {
    let flat = line(expr);
    let is_short = flat.chars().count() <= LINE_MAX;
    match &*expr.kind {
        Kind::Aggregate(aggregate) if !is_short => {
            indent(level, out);
            out.push_str(&operation(aggregate));
            out.push_str("(\n");
            for part in aggregate.param.iter().map(|param| (param, true)).chain([(&aggregate.expr, false)]) {
                indented(part.0, level + 1, out);
                out.push_str(if part.1 { ",\n" } else { "\n" });
            }
            indent(level, out);
            out.push(')');
        }
        Kind::Binary(binary) if !is_short => {
            indented(&binary.left, level, out);
            out.push('\n');
            indent(level, out);
            out.push_str(&operator(binary));
            out.push('\n');
            indented(&binary.right, level, out);
        }
        Kind::Call(call) if !is_short => {
            indent(level, out);
            out.push_str(call.name);
            out.push_str("(\n");
            for (at, arg) in call.args.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ",\n" });
                indented(arg, level + 1, out);
            }
            out.push('\n');
            indent(level, out);
            out.push(')');
        }
        Kind::Paren(inner) if !is_short => {
            indent(level, out);
            out.push_str("(\n");
            indented(inner, level + 1, out);
            out.push('\n');
            indent(level, out);
            out.push(')');
        }
        Kind::Subquery(subquery) if !is_short => {
            indented(&subquery.expr, level, out);
            out.push_str(&window(subquery));
        }
        Kind::Unary(sign, inner) if !is_short => {
            let mut child = String::new();
            indented(inner, level, &mut child);
            indent(level, out);
            out.push_str(mark(*sign));
            out.push_str(child.trim());
        }
        _ => {
            indent(level, out);
            out.push_str(&flat);
        }
    }
}

const fn mark(sign: Sign) -> &'static str {
    match sign {
        Sign::Plus => "+",
        Sign::Minus => "-",
    }
}

fn write(expr: &Expr, out: &mut String) {
    // Writing to a string does not fail.
    match &*expr.kind {
        Kind::Number(value, true) => {
            let sign = if *value < 0.0 { "-" } else { "" };
            let span = Duration::try_from_secs_f64(value.abs()).unwrap_or_default();
            let _ = write!(out, "{sign}{}", Span(span));
        }
        Kind::Number(value, false) => out.push_str(&crate::number_text(*value)),
        Kind::Text(text) => quote(text, out),
        Kind::Paren(inner) => {
            out.push('(');
            write(inner, out);
            out.push(')');
        }
        Kind::Unary(sign, inner) => {
            out.push_str(mark(*sign));
            write(inner, out);
        }
        Kind::Vector(selector) => {
            conditions(selector, out);
            shift(selector.shift, out);
        }
        Kind::Matrix(selector, range) => {
            conditions(selector, out);
            let _ = write!(out, "[{}]", millis(*range));
            shift(selector.shift, out);
        }
        Kind::Subquery(subquery) => {
            write(&subquery.expr, out);
            out.push_str(&window(subquery));
        }
        Kind::Call(call) => {
            out.push_str(call.name);
            list(call.args.iter(), out);
        }
        Kind::Aggregate(aggregate) => {
            out.push_str(&operation(aggregate));
            list(aggregate.param.iter().chain([&aggregate.expr]).map(|arg| &**arg), out);
        }
        Kind::Binary(binary) => {
            write(&binary.left, out);
            let _ = write!(out, " {} ", operator(binary));
            write(&binary.right, out);
        }
    }
}

fn list<'a>(args: impl Iterator<Item = &'a Expr>, out: &mut String) {
    out.push('(');
    for (at, arg) in args.enumerate() {
        out.push_str(if at == 0 { "" } else { ", " });
        write(arg, out);
    }
    out.push(')');
}

fn millis(millis: i64) -> Span {
    Span(Duration::from_millis(millis.unsigned_abs()))
}

fn window(subquery: &Subquery) -> String {
    let step = subquery.step_ms.map(|step| millis(step).to_string()).unwrap_or_default();
    let mut text = format!("[{}:{step}]", millis(subquery.range_ms));
    shift(subquery.shift, &mut text);
    text
}

fn shift(shift: Shift, out: &mut String) {
    match shift.at {
        None => {}
        Some(At::Start) => out.push_str(" @ start()"),
        Some(At::End) => out.push_str(" @ end()"),
        Some(At::Time(at)) => {
            let sign = if at < 0 { "-" } else { "" };
            let _ = write!(out, " @ {sign}{}.{:03}", at.unsigned_abs() / 1000, at.unsigned_abs() % 1000);
        }
    }
    if let Some(offset) = shift.offset {
        let sign = if offset < 0 { "-" } else { "" };
        let _ = write!(out, " offset {sign}{}", millis(offset));
    }
}

fn is_plain(name: &str, colon: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    !name.is_empty() && name.chars().all(good) && !name.starts_with(|c: char| c.is_ascii_digit())
}

fn conditions(selector: &Selector, out: &mut String) {
    let plain = selector.name.as_deref().filter(|name| is_plain(name, true));
    out.push_str(plain.unwrap_or_default());
    let mut parts: Vec<String> = Vec::new();
    for (at, matcher) in selector.matchers.iter().enumerate() {
        match (at, &selector.name) {
            (0, Some(_)) if plain.is_some() => {}
            (0, Some(name)) => {
                let mut part = String::new();
                quote(name, &mut part);
                parts.push(part);
            }
            _ => parts.push(condition(matcher)),
        }
    }
    if !parts.is_empty() || selector.name.is_none() {
        let _ = write!(out, "{{{}}}", parts.join(","));
    }
}

fn condition(matcher: &Matcher) -> String {
    let op = match matcher.op() {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    let mut text = label(matcher.label());
    text.push_str(op);
    quote(matcher.value(), &mut text);
    text
}

fn label(name: &str) -> String {
    if is_plain(name, false) {
        return name.to_owned();
    }
    let mut text = String::new();
    quote(name, &mut text);
    text
}

pub(super) fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn names(names: &[String]) -> String {
    names.iter().map(|name| label(name)).collect::<Vec<_>>().join(", ")
}

fn operation(aggregate: &Aggregate) -> String {
    let op = aggregate.op.as_str();
    match &aggregate.grouping {
        Some(Grouping::Without(labels)) => format!("{op} without ({}) ", names(labels)),
        Some(Grouping::Only(labels)) if !labels.is_empty() => format!("{op} by ({}) ", names(labels)),
        Some(Grouping::Only(_)) | None => op.to_owned(),
    }
}

fn operator(binary: &Binary) -> String {
    let matching = &binary.matching;
    let mut text = binary.op.as_str().to_owned();
    if matching.is_bool {
        text.push_str(" bool");
    }
    match &matching.grouping {
        Some(Grouping::Only(labels)) => {
            let _ = write!(text, " on ({})", names(labels));
        }
        Some(Grouping::Without(labels)) if !labels.is_empty() || is_grouped(&matching.card) => {
            let _ = write!(text, " ignoring ({})", names(labels));
        }
        Some(Grouping::Without(_)) | None => {}
    }
    match &matching.card {
        Cardinality::ManyToOne(labels) => {
            let _ = write!(text, " group_left ({})", names(labels));
        }
        Cardinality::OneToMany(labels) => {
            let _ = write!(text, " group_right ({})", names(labels));
        }
        Cardinality::OneToOne | Cardinality::ManyToMany => {}
    }
    let fills = [("fill_left", matching.fill_left), ("fill_right", matching.fill_right)];
    match (matching.fill_left, matching.fill_right) {
        (Some(left), Some(right)) if left.to_bits() == right.to_bits() => {
            let _ = write!(text, " fill({})", crate::number_text(left));
        }
        _ => {
            for (word, value) in fills.into_iter().filter_map(|(word, value)| value.map(|value| (word, value))) {
                let _ = write!(text, " {word}({})", crate::number_text(value));
            }
        }
    }
    text
}

const fn is_grouped(card: &Cardinality) -> bool {
    matches!(card, Cardinality::ManyToOne(_) | Cardinality::OneToMany(_))
}
