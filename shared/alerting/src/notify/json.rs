//! Writes JSON in the order in which it is told, as receivers' own examples have it.

use skerry_model::Labels;

/// A JSON object that is being written.
#[derive(Debug)]
pub(super) struct Json {
    out: String,
    /// What closes each open collection.
    open: Vec<char>,
}

impl Json {
    /// An empty object.
    pub(super) fn object() -> Self {
        Self { out: "{".into(), open: vec!['}'] }
    }

    /// The text.
    pub(super) fn finish(mut self) -> Vec<u8> {
        while !self.open.is_empty() {
            self.close();
        }
        self.out.into_bytes()
    }

    fn comma(&mut self) {
        if !self.out.ends_with(['{', '[']) {
            self.out.push(',');
        }
    }

    fn key(&mut self, key: &str) {
        self.comma();
        quote(&mut self.out, key);
        self.out.push(':');
    }

    /// A text.
    pub(super) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        quote(&mut self.out, value);
    }

    /// A text that is left out where it is empty.
    pub(super) fn text_if(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    /// A boolean.
    pub(super) fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    /// What is JSON already.
    pub(super) fn raw(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push_str(value);
    }

    /// An object of labels.
    pub(super) fn labels(&mut self, key: &str, labels: &Labels) {
        self.open(key);
        for (name, value) in labels.iter() {
            self.text(name, value);
        }
        self.close();
    }

    /// Begins an object at a key.
    pub(super) fn open(&mut self, key: &str) {
        self.key(key);
        self.begin('{', '}');
    }

    /// Begins a list at a key.
    pub(super) fn open_list(&mut self, key: &str) {
        self.key(key);
        self.begin('[', ']');
    }

    /// Begins an object within a list.
    pub(super) fn open_item(&mut self) {
        self.comma();
        self.begin('{', '}');
    }

    /// A text within a list.
    pub(super) fn item(&mut self, text: &str) {
        self.comma();
        quote(&mut self.out, text);
    }

    fn begin(&mut self, open: char, close: char) {
        self.out.push(open);
        self.open.push(close);
    }

    /// Ends what was begun last.
    pub(super) fn close(&mut self) {
        self.out.extend(self.open.pop());
    }
}

pub(super) fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || matches!(c, '\u{2028}' | '\u{2029}') => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
