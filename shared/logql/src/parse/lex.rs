//! Words of a query.

use crate::error::ParseError;

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A name or keyword.
    Word(&'a str),
    /// What begins with a digit: a number, a duration (`1h30m`) or a size (`20KB`).
    Quantity(&'a str),
    Text(String),
    /// `|=`, `(` and their like.
    Mark(&'static str),
    End,
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Marks, longer ones before those they begin with.
const MARKS: [&str; 29] = [
    "|=", "|~", "|>", "!=", "!~", "!>", "=~", "==", ">=", "<=", "|", "=", ">", "<", "(", ")", "{", "}", "[", "]", ",",
    "+", "-", "*", "/", "%", "^", "@", ".",
];

/// Reads words one after the other.
#[derive(Debug, Clone)]
pub(super) struct Lexer<'a> {
    pub(super) text: &'a str,
    /// Where the next word is looked for.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next word; [`Token::End`] for ever at the end.
    pub(super) fn next(&mut self) -> Result<Placed<'a>, ParseError> {
        self.skip();
        let start = self.at;
        let token = self.token()?;
        Ok(Placed { token, start, end: self.at })
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn token(&mut self) -> Result<Token<'a>, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(Token::End) };
        if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit())) {
            return Ok(Token::Quantity(self.quantity()));
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
            self.at += length;
            return Ok(Token::Word(&rest[..length]));
        }
        if matches!(first, '"' | '\'' | '`') {
            let (text, length) = skerry_promql::unquoted(rest)
                .map_err(|(at, problem)| ParseError::at(self.text, self.at + at, problem))?;
            self.at += length;
            return Ok(Token::Text(text));
        }
        match MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
            Some(mark) => {
                self.at += mark.len();
                Ok(Token::Mark(mark))
            }
            None => Err(ParseError::at(self.text, self.at, format!("unexpected character {first:?}"))),
        }
    }

    /// Digits with the letters behind them; a sign only in an exponent.
    fn quantity(&mut self) -> &'a str {
        let rest = self.rest();
        let mut before = ' ';
        let length = rest.char_indices().find_map(|(at, c)| {
            let in_exponent = matches!(c, '+' | '-')
                && matches!(before, 'e' | 'E')
                && rest[at + 1..].starts_with(|c: char| c.is_ascii_digit());
            let goes_on = c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | 'µ' | 'μ') || in_exponent;
            before = c;
            (!goes_on).then_some(at)
        });
        let word = &rest[..length.unwrap_or(rest.len())];
        self.at += word.len();
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            match lexer.next()?.token {
                Token::End => return Ok(tokens),
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn words_marks_and_quantities() {
        use Token::{Mark, Quantity, Text, Word};
        assert_eq!(
            all("{a=~\"b\"} |= `c\\` # d\n|> 1h30m >= 1.5e-3 20KB 5µs .5").unwrap(),
            [
                Mark("{"),
                Word("a"),
                Mark("=~"),
                Text("b".into()),
                Mark("}"),
                Mark("|="),
                Text("c\\".into()),
                Mark("|>"),
                Quantity("1h30m"),
                Mark(">="),
                Quantity("1.5e-3"),
                Quantity("20KB"),
                Quantity("5µs"),
                Quantity(".5"),
            ]
        );
        assert_eq!(all("1-2").unwrap(), [Quantity("1"), Mark("-"), Quantity("2")]);
    }

    #[test]
    fn strangers_are_placed() {
        assert_eq!(
            all("a é").unwrap_err().to_string(),
            "parse error at line 1, col 3: unexpected character 'é', near \"é\""
        );
        assert_eq!(all("\n \"x").unwrap_err().line, 2);
        assert!(all("\"\\q\"").is_err());
    }
}
