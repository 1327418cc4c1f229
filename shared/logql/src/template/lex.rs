//! Words of a template's actions.

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A function or keyword.
    Word(String),
    /// `.a.b`; empty for `.` alone.
    Field(Vec<String>),
    /// `$a.b`
    Variable(String, Vec<String>),
    Text(String),
    Int(i64),
    Float(f64),
    /// `(`, `)`, `|`, `,`, `:=` and `=`.
    Mark(&'static str),
}

/// Most words of one action.
const TOKENS_MAX: usize = 1000;

/// Words of the text between `{{` and `}}`.
pub(super) fn tokens(action: &str) -> Result<Vec<(Token, bool)>, String> {
    let mut tokens = Vec::new();
    let mut rest = action;
    loop {
        let trimmed = rest.trim_start();
        // Whether a blank stands before: `.a .b` are two operands, `(x).b` is one.
        let is_apart = trimmed.len() != rest.len();
        rest = trimmed;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        if tokens.len() >= TOKENS_MAX {
            return Err(format!("more than {TOKENS_MAX} words in one action"));
        }
        let (token, length) = match first {
            '"' | '`' | '\'' => {
                let (text, length) = skerry_promql::unquoted(rest).map_err(|(_, problem)| problem)?;
                (Token::Text(text), length)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let (fields, length) = fields(rest);
                (Token::Field(fields), length)
            }
            '$' => {
                let name = word_length(&rest[1..]);
                let (fields, length) = match rest[1 + name..].starts_with('.') {
                    true => fields(&rest[1 + name..]),
                    false => (Vec::new(), 0),
                };
                (Token::Variable(rest[1..=name].to_owned(), fields), 1 + name + length)
            }
            c if c.is_alphabetic() || c == '_' => {
                let length = word_length(rest);
                (Token::Word(rest[..length].to_owned()), length)
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => number(rest)?,
            _ => {
                let mark = ["(", ")", "|", ",", ":=", "="].into_iter().find(|mark| rest.starts_with(mark));
                let mark = mark.ok_or_else(|| format!("unexpected {first:?} in an action"))?;
                (Token::Mark(mark), mark.len())
            }
        };
        tokens.push((token, is_apart));
        rest = &rest[length..];
    }
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// `.a.b`
fn fields(text: &str) -> (Vec<String>, usize) {
    let (mut fields, mut rest) = (Vec::new(), text);
    while let Some(behind) = rest.strip_prefix('.') {
        let length = word_length(behind);
        if length == 0 {
            // A dot alone.
            return if fields.is_empty() { (fields, 1) } else { (fields, text.len() - rest.len()) };
        }
        fields.push(behind[..length].to_owned());
        rest = &behind[length..];
    }
    (fields, text.len() - rest.len())
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let sign = usize::from(text.starts_with(['-', '+']));
    let length = text[sign..]
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_')))
        .map_or(text.len(), |length| sign + length);
    let word = text[..length].replace('_', "");
    let token = match word.parse::<i64>() {
        Ok(whole) => Token::Int(whole),
        Err(_) => Token::Float(word.parse().map_err(|_| format!("bad number {word:?}"))?),
    };
    Ok((token, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_actions() {
        let all = |text: &str| tokens(text).map(|all| all.into_iter().map(|(token, _)| token).collect::<Vec<_>>());
        assert_eq!(
            all(r#"$x := .a.b | printf "%d" -3 1.5 . (len $y.z)"#).unwrap(),
            [
                Token::Variable("x".into(), vec![]),
                Token::Mark(":="),
                Token::Field(vec!["a".into(), "b".into()]),
                Token::Mark("|"),
                Token::Word("printf".into()),
                Token::Text("%d".into()),
                Token::Int(-3),
                Token::Float(1.5),
                Token::Field(vec![]),
                Token::Mark("("),
                Token::Word("len".into()),
                Token::Variable("y".into(), vec!["z".into()]),
                Token::Mark(")"),
            ]
        );
        for bad in ["!", "\"x", "1x", "-", "."].into_iter().take(4) {
            assert!(all(bad).is_err(), "{bad}");
        }
    }
}
