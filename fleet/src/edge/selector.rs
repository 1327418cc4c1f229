//! Which nodes are meant, by their labels.

use skerry_promql::{MatchOp, Matcher};

/// Most conditions of one selector.
const CONDITIONS_MAX: usize = 32;

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{condition:?} is no condition on labels ({cause}); such as site=lab,arch!=x86,rack=~\"a.*\",spare,!retired")]
pub struct InvalidSelector {
    condition: String,
    cause: String,
}

/// Reads a selector: conditions with commas between, as Kubernetes writes them (`a=b`, `a==b`, `a!=b`, `a`, `!a`), and
/// Prometheus's `=~` and `!~`. Values may stand in quotes; braces around all of it are taken too. Empty: every node.
///
/// # Errors
/// [`InvalidSelector`] with the first condition that is none.
pub fn parse(text: &str) -> Result<Vec<Matcher>, InvalidSelector> {
    let text = text.trim();
    let text = text.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(text).trim();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let conditions = conditions(text);
    if conditions.len() > CONDITIONS_MAX {
        let cause = format!("there are {} of them, at most {CONDITIONS_MAX} are taken", conditions.len());
        return Err(InvalidSelector { condition: text.chars().take(80).collect(), cause });
    }
    conditions.into_iter().map(|condition| matcher(condition.trim())).collect()
}

/// The parts between commas that stand in no quotes.
fn conditions(text: &str) -> Vec<&str> {
    let mut is_quoted = false;
    text.split(|c| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    })
    .collect()
}

fn matcher(condition: &str) -> Result<Matcher, InvalidSelector> {
    let fail =
        |cause: &str| InvalidSelector { condition: condition.chars().take(80).collect(), cause: cause.to_owned() };
    let operators = [
        ("!=", MatchOp::NotEqual),
        ("=~", MatchOp::Regex),
        ("!~", MatchOp::NotRegex),
        ("==", MatchOp::Equal),
        ("=", MatchOp::Equal),
    ];
    let first = operators
        .iter()
        .filter_map(|(sign, op)| condition.find(sign).map(|at| (at, *sign, *op)))
        .min_by_key(|(at, sign, _)| (*at, 2 - sign.len()));
    let (name, op, value) = match first {
        Some((at, sign, op)) => (&condition[..at], op, condition[at + sign.len()..].trim()),
        None => match condition.strip_prefix('!') {
            Some(name) => (name, MatchOp::Equal, ""),
            None => (condition, MatchOp::NotEqual, ""),
        },
    };
    let name = name.trim();
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    if !is_name {
        return Err(fail("a label's name is expected first"));
    }
    let unquoted = value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(value);
    Matcher::new(name, op, unquoted).map_err(|error| fail(&error.cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::Labels;
    use skerry_promql::matches_all;

    #[test]
    fn conditions_are_kubernetess_and_prometheuss() {
        let labels = Labels::new([("node", "pi-4"), ("site", "lab, north"), ("arch", "arm")]).unwrap();
        for (text, expected) in [
            ("", true),
            ("{}", true),
            ("arch=arm", true),
            ("arch == arm, node=pi-4", true),
            ("arch!=arm", false),
            ("{site=\"lab, north\",arch=~\"a.*\"}", true),
            ("node=~pi-.", true),
            ("node!~\"pi-.\"", false),
            ("arch", true),
            ("rack", false),
            ("!rack", true),
            ("!arch", false),
            ("rack=", true),
        ] {
            assert_eq!(matches_all(&parse(text).unwrap(), &labels), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_named() {
        for bad in ["=x", "a=b,,c=d", "a b=c", "a=~(", "\"a\"=b", &vec!["a"; 40].join(",")] {
            let error = parse(bad).unwrap_err().to_string();
            assert!(error.contains("no condition on labels"), "{error}");
        }
    }
}
