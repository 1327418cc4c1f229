//! The record that is at work, and what its fields are called.

use super::fields::{Field, Fields, Mark};
use super::reader::{Faults, Reader};
use crate::parse::{Text, as_text, field_name};
use skerry_model::{LABEL_BYTES_MAX, LABELS_MAX, Labels, LogRecord, OutputStream};
use zeroize::Zeroize;

/// A field's name in a config: `http.status` is the parsed field `http_status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldName {
    raw: String,
    clean: String,
}

impl FieldName {
    pub(super) fn new(raw: String) -> Self {
        let clean = field_name(&raw).into_owned();
        Self { raw, clean }
    }

    /// The name that parsers give it.
    pub(super) fn as_str(&self) -> &str {
        &self.clean
    }
}

/// The name of a field in a config.
pub(super) fn field(reader: &mut Reader<'_>, key: &'static str, faults: &mut Faults) -> Option<FieldName> {
    reader.name(key, faults).map(FieldName::new)
}

/// Names of fields in a config.
pub(super) fn fields(reader: &mut Reader<'_>, key: &'static str, faults: &mut Faults) -> Vec<FieldName> {
    reader.names(key, faults).into_iter().map(FieldName::new).collect()
}

/// One record and its fields.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) record: LogRecord,
    pub(super) fields: &'a mut Fields,
    /// Whether texts that are given up are overwritten, because a stage of this pipeline takes secrets out.
    pub(super) wipe: bool,
}

impl Work<'_> {
    /// The value of a field: parsed or set, else the record's own, else the label of that name; `level`, `stream` and
    /// `line` are the record's where no field has that name.
    pub(super) fn value(&self, name: &FieldName) -> Option<Text<'_>> {
        match self.fields.find(&name.clean) {
            Some(Field { mark: Mark::Gone, .. }) => return None,
            Some(field) => return Some(field.value.into()),
            None => {}
        }
        let own = self.record.fields.value(&name.raw);
        if !own.is_empty() {
            return Some(own.into());
        }
        match self.label(&name.raw) {
            Some(value) => Some(value.into()),
            None if name.raw == "line" => Some(as_text(&self.record.line)),
            None => None,
        }
    }

    /// The value of a label, with those that the record is queried by: `stream` and `level`.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        let value = self.record.labels.value(name);
        match (name, self.record.output) {
            _ if !value.is_empty() => Some(value),
            ("level", _) => Some(self.record.level.as_str()),
            ("stream", OutputStream::Stdout) => Some("stdout"),
            ("stream", OutputStream::Stderr) => Some("stderr"),
            _ => None,
        }
    }

    /// Gives the record another line.
    pub(super) fn replace_line(&mut self, line: Vec<u8>) {
        let mut old = std::mem::replace(&mut self.record.line, line);
        if self.wipe {
            old.zeroize();
        }
    }

    /// Gives up the record.
    pub(super) fn discard(&mut self) {
        self.replace_line(Vec::new());
    }

    /// Stores the fields that are kept as the record's own. False where some found no room.
    pub(super) fn finish(&mut self) -> bool {
        let mut kept = self.fields.iter().filter(|field| field.mark != Mark::Seen).peekable();
        let told = self.fields.iter().any(|field| field.mark == Mark::Kept);
        if !told && (self.record.fields.is_empty() || kept.peek().is_none()) {
            return !self.fields.full;
        }
        let (mut pairs, mut bytes, mut whole) = (Vec::new(), 0, !self.fields.full);
        let own =
            self.record.fields.iter().filter(|(name, _)| self.fields.find(name).is_none_or(|f| f.mark == Mark::Seen));
        let told = kept.filter(|field| field.mark == Mark::Kept).map(|field| (field.name, field.value));
        for (name, value) in own.chain(told).filter(|(_, value)| !value.is_empty()) {
            bytes += name.len() + value.len();
            if pairs.len() == LABELS_MAX || bytes > LABEL_BYTES_MAX {
                bytes -= name.len() + value.len();
                whole = false;
                continue;
            }
            pairs.push((name, value));
        }
        match Labels::new(pairs) {
            Ok(fields) => self.record.fields = fields,
            // Not reached: names are unique and not empty, and the bounds were kept.
            Err(_) => whole = false,
        }
        whole
    }

    /// Makes the record's own fields ones that stages can change.
    pub(super) fn import(&mut self) {
        if self.record.fields.is_empty() {
            return;
        }
        let own = std::mem::take(&mut self.record.fields);
        for (name, value) in own.iter() {
            // What was parsed under the same name stands before it.
            if self.fields.find(name).is_none() {
                self.fields.set(name, value, Mark::Kept, false);
            }
        }
    }
}
