//! Words of templates: text between actions, and what stands in actions, one at a time.

/// What a word is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    /// Between actions, trimmed where the actions ask for it; empty at most at the end.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// The end of the text.
    End,
    /// A function, keyword, `true`, `false` or `nil`.
    Word,
    /// `.a`, with the dot.
    Field,
    /// `.`
    Dot,
    /// `$` or `$x`, with the dollar.
    Variable,
    /// A text, without its quotes.
    Quoted(String),
    /// `'a'`
    Char(char),
    /// As it is written.
    Number,
    /// `(`, `)`, `|`, `,`, `:=` and `=`.
    Mark(&'static str),
    /// A character that stands for nothing.
    Other,
    /// What is wrong.
    Bad(String),
}

/// A word with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Word<'t> {
    pub(crate) token: Token,
    /// As it is written.
    pub(crate) raw: &'t str,
    /// Bytes before it.
    pub(crate) at: usize,
    /// Whether a blank stands before it: `.a .b` are two operands, `(x).b` is one.
    pub(crate) is_apart: bool,
}

/// A text with how far it is read.
pub(crate) struct Lexer<'t> {
    text: &'t str,
    at: usize,
    inside: bool,
    /// The last action ended with `-}}`.
    trims: bool,
    /// Open parentheses.
    parens: usize,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, inside: false, trims: false, parens: 0 }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn word(&mut self, token: Token, length: usize, is_apart: bool) -> Word<'t> {
        let at = self.at;
        self.at += length;
        Word { token, raw: &self.text[at..self.at], at, is_apart }
    }

    /// The next word; [`Token::End`] and [`Token::Bad`] are the last ones.
    pub(crate) fn next(&mut self) -> Word<'t> {
        if self.inside { self.next_inside() } else { self.next_outside() }
    }

    fn next_outside(&mut self) -> Word<'t> {
        loop {
            if let Some(word) = self.text_or_open() {
                return word;
            }
        }
    }

    /// `None` behind a comment.
    fn text_or_open(&mut self) -> Option<Word<'t>> {
        let rest = self.rest();
        let open = rest.find("{{");
        let mut text = &rest[..open.unwrap_or(rest.len())];
        let at = self.at;
        if std::mem::take(&mut self.trims) {
            text = text.trim_start_matches(BLANKS);
        }
        let Some(open) = open else {
            if rest.is_empty() {
                return Some(self.word(Token::End, 0, false));
            }
            return Some(self.word(Token::Text(text.to_owned()), rest.len(), false));
        };
        let inner = &rest[open + 2..];
        let is_trimming = inner.starts_with('-') && inner[1..].starts_with(BLANKS);
        if is_trimming {
            text = text.trim_end_matches(BLANKS);
        }
        if open > 0 && !text.is_empty() {
            return Some(self.word(Token::Text(text.to_owned()), open, false));
        }
        self.at = at + open;
        let marker = if is_trimming { 4 } else { 2 };
        if rest[open + marker..].starts_with("/*") {
            return self.comment(marker);
        }
        self.inside = true;
        self.parens = 0;
        let word = self.word(Token::Open, 2, false);
        self.at += marker - 2;
        Some(word)
    }

    /// Skips a comment; something where it has no end.
    fn comment(&mut self, marker: usize) -> Option<Word<'t>> {
        let rest = self.rest();
        let Some(end) = rest[marker + 2..].find("*/").map(|end| marker + 2 + end + 2) else {
            return Some(self.word(Token::Bad("unclosed comment".into()), 0, false));
        };
        let behind = &rest[end..];
        let length = match behind {
            closed if closed.starts_with("}}") => 2,
            closed if closed.starts_with(BLANKS) && closed[1..].starts_with("-}}") => {
                self.trims = true;
                4
            }
            _ => return Some(self.word(Token::Bad("comment ends before closing delimiter".into()), 0, false)),
        };
        self.at += end + length;
        None
    }

    fn next_inside(&mut self) -> Word<'t> {
        let before = self.at;
        let trimmed = self.rest().trim_start_matches(BLANKS);
        let is_apart = trimmed.len() != self.rest().len();
        self.at = self.text.len() - trimmed.len();
        let rest = trimmed;
        let is_trimming = is_apart && rest.starts_with("-}}");
        if is_trimming || rest.starts_with("}}") {
            if self.parens > 0 {
                return self.word(Token::Bad("unclosed left paren".into()), 0, is_apart);
            }
            self.inside = false;
            self.trims = is_trimming;
            return self.word(Token::Close, if is_trimming { 3 } else { 2 }, is_apart);
        }
        let Some(first) = rest.chars().next() else {
            self.at = before;
            return self.word(Token::Bad("unclosed action".into()), 0, is_apart);
        };
        let second = rest[first.len_utf8()..].chars().next();
        match first {
            '"' | '\'' => self.quoted(first, is_apart),
            '`' => match rest[1..].find('`') {
                Some(end) => {
                    let text = rest[1..=end].replace('\r', "");
                    self.word(Token::Quoted(text), end + 2, is_apart)
                }
                None => self.word(Token::Bad("unterminated raw quoted string".into()), 0, is_apart),
            },
            '.' if !second.is_some_and(|c| c.is_ascii_digit()) => {
                let length = word_length(&rest[1..]);
                match length {
                    0 => self.ended(Token::Dot, 1, is_apart),
                    length => self.ended(Token::Field, 1 + length, is_apart),
                }
            }
            '$' => {
                let length = word_length(&rest[1..]);
                self.ended(Token::Variable, 1 + length, is_apart)
            }
            c if c.is_ascii_digit() || matches!(c, '-' | '+' | '.') => {
                let sign = usize::from(matches!(c, '-' | '+'));
                let length = sign + number_length(&rest[sign..]);
                if length == sign || rest[length..].starts_with(|c: char| c.is_alphanumeric() || c == '_') {
                    let bad: String = rest.chars().take(length + 1).collect();
                    let bad = format!("bad number syntax: {}", crate::print::quoted(&bad));
                    return self.word(Token::Bad(bad), 0, is_apart);
                }
                self.word(Token::Number, length, is_apart)
            }
            c if c.is_alphabetic() || c == '_' => self.ended(Token::Word, word_length(rest), is_apart),
            _ => {
                let mark = ["(", ")", "|", ",", ":=", "="].into_iter().find(|mark| rest.starts_with(mark));
                match mark {
                    Some("(") => self.parens += 1,
                    Some(")") if self.parens == 0 => {
                        return self.word(Token::Bad("unexpected right paren".into()), 0, is_apart);
                    }
                    Some(")") => self.parens -= 1,
                    Some(_) => {}
                    None if first == ':' => return self.word(Token::Bad("expected :=".into()), 0, is_apart),
                    None if first.is_ascii_graphic() => return self.word(Token::Other, 1, is_apart),
                    None => {
                        let bad = format!("unrecognized character in action: {}", named(first));
                        return self.word(Token::Bad(bad), 0, is_apart);
                    }
                }
                let mark = mark.unwrap_or_default();
                self.word(Token::Mark(mark), mark.len(), is_apart)
            }
        }
    }

    /// A word that must be followed by something that ends it.
    fn ended(&mut self, token: Token, length: usize, is_apart: bool) -> Word<'t> {
        let behind = &self.rest()[length..];
        match behind.chars().next() {
            Some(c) if !(BLANKS.contains(&c) || matches!(c, '.' | ',' | '|' | ':' | '=' | '(' | ')' | '}')) => {
                self.word(Token::Bad(format!("bad character {}", named(c))), 0, is_apart)
            }
            _ => self.word(token, length, is_apart),
        }
    }

    /// A text or character with escapes.
    fn quoted(&mut self, quote: char, is_apart: bool) -> Word<'t> {
        let rest = self.rest();
        let mut escaped = false;
        let mut end = None;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                '\n' => break,
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            let kind = if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
            return self.word(Token::Bad(kind.into()), 0, is_apart);
        };
        let token = match unescaped(&rest[1..end]) {
            None => Token::Bad("invalid syntax".into()),
            Some(text) if quote == '"' => Token::Quoted(text),
            Some(text) => {
                let mut all = text.chars();
                match (all.next(), all.next()) {
                    (None, _) => Token::Bad("invalid syntax".into()),
                    (Some(c), None) => Token::Char(c),
                    _ => Token::Bad(malformed(&rest[..=end])),
                }
            }
        };
        self.word(token, end + 1, is_apart)
    }
}

fn malformed(raw: &str) -> String {
    format!("malformed character constant: {raw}")
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// How long a number without its sign is: digits of its base, a point, an exponent with its own sign.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut at, is_digit): (usize, fn(&u8) -> bool) = match text.get(..2) {
        Some("0x" | "0X") => (2, u8::is_ascii_hexdigit),
        Some("0b" | "0B" | "0o" | "0O") => (2, u8::is_ascii_digit),
        _ => (0, u8::is_ascii_digit),
    };
    let digits = |from: usize, is_digit: fn(&u8) -> bool| {
        bytes[from..].iter().take_while(|byte| is_digit(byte) || **byte == b'_').count()
    };
    let is_hex = at == 2 && is_digit(&b'f');
    at += digits(at, is_digit);
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        at += digits(at, is_digit);
    }
    let marks: &[u8] = if is_hex { b"pP" } else { b"eE" };
    if at > 0 && bytes.get(at).is_some_and(|byte| marks.contains(byte)) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at += digits(at, u8::is_ascii_digit);
    }
    at
}

/// A character as Go's `%#U` writes it.
fn named(c: char) -> String {
    let number = u32::from(c);
    if c.is_control() || (c.is_whitespace() && c != ' ') {
        format!("U+{number:04X}")
    } else {
        format!("U+{number:04X} '{c}'")
    }
}

/// Go's escapes undone; `None` where one is none. Bytes that are no text in UTF-8 become replacement characters.
fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + escape.len_utf8()..];
        let digits = match escape {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='7' => {
                let octal = format!("{escape}{}", rest.get(..2)?);
                rest = &rest[2..];
                out.push(u8::from_str_radix(&octal, 8).ok()?);
                continue;
            }
            _ => 0,
        };
        if digits > 0 {
            let number = rest.get(..digits).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            let number = u32::from_str_radix(number, 16).ok()?;
            rest = &rest[digits..];
            match u8::try_from(number) {
                Ok(byte) if escape == 'x' => out.push(byte),
                _ => out.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            continue;
        }
        out.push(match escape {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            '"' => b'"',
            '\'' => b'\'',
            _ => return None,
        });
    }
    out.extend_from_slice(rest.as_bytes());
    Some(match String::from_utf8(out) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<Token> {
        let mut lexer = Lexer::new(text);
        let mut tokens = Vec::new();
        loop {
            let word = lexer.next();
            let is_last = matches!(word.token, Token::End | Token::Bad(_));
            tokens.push(word.token);
            if is_last {
                return tokens;
            }
        }
    }

    #[test]
    fn words_of_templates() {
        let text = |text: &str| Token::Text(text.into());
        assert_eq!(
            all("a {{- .x.y | f \"q\\n\" -3 1.5 'c' `r` -}} \n b{{/* c */}}{{$x := (.)}}"),
            [
                text("a"),
                Token::Open,
                Token::Field,
                Token::Field,
                Token::Mark("|"),
                Token::Word,
                Token::Quoted("q\n".into()),
                Token::Number,
                Token::Number,
                Token::Char('c'),
                Token::Quoted("r".into()),
                Token::Close,
                text("b"),
                Token::Open,
                Token::Variable,
                Token::Mark(":="),
                Token::Mark("("),
                Token::Dot,
                Token::Mark(")"),
                Token::Close,
                Token::End,
            ]
        );
    }

    #[test]
    fn bad_words_are_told_as_go_tells_them() {
        for (template, told) in [
            ("{{", "unclosed action"),
            ("{{ .a", "unclosed action"),
            ("{{ \u{a0} }}", "unrecognized character in action: U+00A0"),
            ("{{ \"x }}", "unterminated quoted string"),
            ("{{ `x }}", "unterminated raw quoted string"),
            ("{{ 'ab' }}", "malformed character constant: 'ab'"),
            ("{{ (.a }}", "unclosed left paren"),
            ("{{ .a) }}", "unexpected right paren"),
            ("{{/* x", "unclosed comment"),
            ("{{/* x */ }}", "comment ends before closing delimiter"),
            ("{{ .a!b }}", "bad character U+0021 '!'"),
            ("{{ $x: }}", "expected :="),
        ] {
            assert_eq!(all(template).pop(), Some(Token::Bad(told.into())), "{template}");
        }
    }
}
