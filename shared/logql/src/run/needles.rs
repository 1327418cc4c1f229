//! Texts that each line must hold for a query to take it.

use crate::ast::{LabelFilter, LineFilter, LineOp, LogExpr, Sought, Stage};
use regex_syntax::hir::{Hir, HirKind};
use skerry_promql::MatchOp;

/// Texts that each line must hold as it was read: of line filters before the line is written anew.
pub(crate) fn needles(log: &LogExpr) -> Vec<Vec<u8>> {
    let raw = log.stages.iter().take_while(|stage| !super::writes_line(stage));
    let filters = raw.filter_map(|stage| match stage {
        Stage::Line(filter) => needle(filter),
        _ => None,
    });
    filters.filter(|needle| !needle.is_empty()).collect()
}

fn needle(filter: &LineFilter) -> Option<Vec<u8>> {
    let [sought] = filter.alternatives.as_slice() else { return None };
    match (filter.op, sought) {
        (LineOp::Contains, Sought::Text(_, text)) => Some(text.clone().into_bytes()),
        (LineOp::Pattern, Sought::Pattern(pattern, _)) => Some(pattern.needle().as_bytes().to_vec()),
        (LineOp::Regex, Sought::Regex(regex)) => {
            let mut longest = Vec::new();
            literal(&regex_syntax::parse(regex.as_str()).ok()?, &mut longest);
            Some(longest)
        }
        _ => None,
    }
}

/// The longest text that everything an expression matches must hold.
fn literal(hir: &Hir, longest: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Literal(text) if text.0.len() > longest.len() => *longest = text.0.to_vec(),
        HirKind::Capture(group) => literal(&group.sub, longest),
        HirKind::Concat(parts) => parts.iter().for_each(|part| literal(part, longest)),
        HirKind::Repetition(repeated) if repeated.min > 0 => literal(&repeated.sub, longest),
        _ => {}
    }
}

/// Labels with the values that filters behind parsers demand of them, where such a value must stand in the line as it is.
pub(super) fn demanded(stages: &[Stage]) -> Vec<(&str, &str)> {
    let mut demanded = Vec::new();
    let mut is_parsed = false;
    for stage in stages {
        match stage {
            Stage::Line(_) => {}
            Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(..) | Stage::Pattern(..) => is_parsed = true,
            Stage::Labels(filter) if is_parsed => equalities(filter, &mut demanded),
            Stage::Labels(_) => {}
            _ => break,
        }
    }
    demanded
}

fn equalities<'a>(filter: &'a LabelFilter, demanded: &mut Vec<(&'a str, &'a str)>) {
    match filter {
        LabelFilter::And(left, right) => {
            equalities(left, demanded);
            equalities(right, demanded);
        }
        LabelFilter::Text(matcher) if matcher.op() == MatchOp::Equal && !matcher.label().starts_with("__error") => {
            let value = matcher.value();
            let is_plain = value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if is_plain && !value.is_empty() {
                demanded.push((matcher.label(), value));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::{Either, query};

    fn log(text: &str) -> LogExpr {
        match query(text) {
            Ok(Either::Log(log)) => log,
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn line_filters_give_needles() {
        for (pipeline, expected) in [
            (r#"|= "abc" != "d" |= "" |= "e" or "f""#, vec!["abc"]),
            (r#"|~ "conn(ection)? (refused)+ \\d+ by" |> "<_> took <_>""#, vec!["refused", " took "]),
            (r#"|~ "(?i)error" |~ "a|b" |~ "x*""#, vec![]),
            (r#"| json | a="b" |= "c" | line_format "{{.a}}" |= "d""#, vec!["c"]),
            (r#"| unpack |= "d""#, vec![]),
        ] {
            let found = needles(&log(&format!("{{a=\"b\"}} {pipeline}")));
            let found: Vec<String> = found.into_iter().map(|needle| String::from_utf8(needle).unwrap()).collect();
            assert_eq!(found, expected, "{pipeline}");
        }
    }

    #[test]
    fn label_filters_demand_plain_values() {
        for (pipeline, expected) in [
            (r#"| json | trace_id="abc-1" and b="c d", c="" | d=~"e""#, vec![("trace_id", "abc-1")]),
            (r#"| json | a="b" or c="d""#, vec![]),
            (r#"| x="y" | logfmt | z="1""#, vec![("z", "1")]),
            (r#"| json | label_format a=b | a="b""#, vec![]),
            (r#"| json | __error__="JSONParserErr""#, vec![]),
        ] {
            let log = log(&format!("{{a=\"b\"}} {pipeline}"));
            assert_eq!(demanded(&log.stages), expected, "{pipeline}");
        }
    }
}
