//! The stage `modify`: changes fields, labels, the level and the line, in this order: `lift`, `rename`, `set`, `nest`,
//! `remove`, `labels`, `level`, `line`, `format`.
//!
//! Fields are flat; `nest: {under: http, fields: [method]}` calls the field `http_method`, as it would be called had it
//! stood in an object `http`, and `format: json` writes it into one. The line stays as it is unless `line` or `format` say
//! otherwise: `format: json` and `format: logfmt` make it of all fields, in the order they came.

use super::fields::{Field, Mark};
use super::parser::{check_label, level_of};
use super::promote::Promoter;
use super::reader::{Faults, Reader, quoted};
use super::template::Template;
use super::work::{FieldName, Work, fields};
use super::{Counts, Now};
use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Keep,
    Json,
    Logfmt,
}

#[derive(Debug)]
struct Nest {
    /// Clean, with the `_` behind it.
    prefix: String,
    fields: Vec<FieldName>,
}

/// A checked `modify`.
#[derive(Debug)]
pub(super) struct Modify {
    lift: Option<String>,
    rename: Vec<(FieldName, FieldName)>,
    set: Vec<(FieldName, Template)>,
    nest: Option<Nest>,
    remove: Vec<FieldName>,
    labels: Vec<(String, Template)>,
    level: Option<Template>,
    line: Option<Template>,
    format: Format,
    promoter: Promoter,
}

impl Modify {
    /// Reads the stage.
    pub(super) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader::new(value, key, faults)?;
        let lift = reader.name("lift", faults).map(|name| format!("{}_", FieldName::new(name).as_str()));
        let rename = reader.pairs("rename", faults);
        let rename = rename.into_iter().map(|(from, to)| (FieldName::new(from), FieldName::new(to))).collect();
        let set = templates(&mut reader, "set", faults);
        let set = set.into_iter().map(|(name, template)| (FieldName::new(name), template)).collect();
        let nest = reader.value("nest").and_then(|value| {
            let mut inner = Reader::new(value, &reader.at("nest"), faults)?;
            let (under, fields) = (inner.required("under", faults), fields(&mut inner, "fields", faults));
            if fields.is_empty() {
                inner.fault("fields", "names of fields are expected", faults);
            }
            inner.finish(faults);
            Some(Nest { prefix: format!("{}_", FieldName::new(under?).as_str()), fields })
        });
        let remove = fields(&mut reader, "remove", faults);
        let mut labels = templates(&mut reader, "labels", faults);
        for name in reader.names("remove_labels", faults) {
            labels.extend(Template::parse("").map(|empty| (name, empty)));
        }
        for (label, _) in &labels {
            check_label(label, &reader.at("labels"), faults);
        }
        let level = template(&mut reader, "level", faults);
        let line = template(&mut reader, "line", faults);
        let words = [("keep", Format::Keep), ("json", Format::Json), ("logfmt", Format::Logfmt)];
        let format = reader.word("format", &words, faults).unwrap_or(Format::Keep);
        if line.is_some() && format != Format::Keep {
            reader.fault("format", "stands beside `line`: one of the two is expected", faults);
        }
        reader.finish(faults);
        let promoter = Promoter::default();
        Some(Self { lift, rename, set, nest, remove, labels, level, line, format, promoter })
    }

    /// Changes the record.
    pub(super) fn run(&mut self, work: &mut Work<'_>, now: Now, counts: &mut Counts) {
        work.import();
        if let Some(prefix) = &self.lift {
            let below = |field: &Field<'_>| Some(field.name.strip_prefix(prefix.as_str())?.to_owned());
            let names: Vec<String> = work.fields.iter().filter_map(|field| below(&field)).collect();
            for name in names.iter().filter(|name| !name.is_empty()) {
                work.fields.rename(&format!("{prefix}{name}"), name);
            }
        }
        for (from, to) in &self.rename {
            work.fields.rename(from.as_str(), to.as_str());
        }
        // All are filled before one is set, so that their order makes no difference.
        let values: Vec<String> = self.set.iter().map(|(_, template)| template.fill(work)).collect();
        for ((name, _), value) in self.set.iter().zip(values) {
            work.fields.set(name.as_str(), &value, Mark::Kept, false);
            wipe(work, value);
        }
        if let Some(nest) = &self.nest {
            for name in &nest.fields {
                work.fields.rename(name.as_str(), &format!("{}{}", nest.prefix, name.as_str()));
            }
        }
        for name in &self.remove {
            work.fields.mark(name.as_str(), Mark::Gone);
        }
        if !self.labels.is_empty() {
            let added: Vec<(&str, String)> =
                self.labels.iter().map(|(label, template)| (label.as_str(), template.fill(work))).collect();
            counts.labels_refused += u64::from(!self.promoter.set(work, &added, now.mono));
        }
        if let Some(level) = self.level.as_ref().and_then(|template| level_of(&template.fill(work))) {
            work.record.level = level;
        }
        let line = match (&self.line, self.format) {
            (Some(template), _) => template.fill(work).into_bytes(),
            (None, Format::Keep) => return,
            (None, Format::Json) => self.json(work),
            (None, Format::Logfmt) => logfmt(work),
        };
        work.replace_line(line);
    }

    fn json(&self, work: &Work<'_>) -> Vec<u8> {
        let mut line = buffer(work);
        line.push(b'{');
        let prefix = self.nest.as_ref().map(|nest| nest.prefix.as_str());
        let nested = |field: &Field<'_>| prefix.is_some_and(|prefix| field.name.starts_with(prefix));
        let live = || work.fields.iter().filter(|field| field.mark != Mark::Gone);
        let (outer, inner) = (live().filter(|field| !nested(field)), live().filter(|field| nested(field)));
        for field in outer {
            member(&mut line, field.name, &field);
        }
        let mut open = false;
        for field in inner {
            let prefix = prefix.unwrap_or_default();
            if !open {
                separate(&mut line);
                string(&mut line, prefix.trim_end_matches('_'));
                line.extend_from_slice(b":{");
                open = true;
            }
            member(&mut line, &field.name[prefix.len()..], &field);
        }
        line.extend_from_slice(if open { b"}}" } else { b"}" });
        line
    }
}

/// Memory for a line of all fields. Where secrets are taken out it never grows, which would leave them behind; an escape of
/// JSON has at most six bytes.
fn buffer(work: &Work<'_>) -> Vec<u8> {
    let room = if work.wipe { 6 } else { 1 };
    Vec::with_capacity(
        work.fields.iter().map(|field| room * (field.name.len() + field.value.len()) + 8).sum::<usize>() + 64,
    )
}

fn separate(line: &mut Vec<u8>) {
    if line.last() != Some(&b'{') {
        line.push(b',');
    }
}

fn member(line: &mut Vec<u8>, name: &str, field: &Field<'_>) {
    separate(line);
    string(line, name);
    line.push(b':');
    // The reader of JSON takes what is nearly a number too.
    let bare = field.bare
        && serde_json::from_str::<Value>(field.value).is_ok_and(|value| value.is_number() || value.is_boolean());
    if bare {
        line.extend_from_slice(field.value.as_bytes());
    } else {
        string(line, field.value);
    }
}

fn string(line: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(line, text);
}

fn logfmt(work: &Work<'_>) -> Vec<u8> {
    let mut line = buffer(work);
    for field in work.fields.iter().filter(|field| field.mark != Mark::Gone) {
        if !line.is_empty() {
            line.push(b' ');
        }
        line.extend_from_slice(field.name.as_bytes());
        line.push(b'=');
        let plain =
            !field.value.is_empty() && field.value.bytes().all(|b| b > b' ' && !matches!(b, b'=' | b'"' | 0x7f));
        if plain {
            line.extend_from_slice(field.value.as_bytes());
        } else {
            string(&mut line, field.value);
        }
    }
    line
}

fn wipe(work: &Work<'_>, mut text: String) {
    if work.wipe {
        super::fields::wipe(&mut text);
    }
}

fn template(reader: &mut Reader<'_>, name: &'static str, faults: &mut Faults) -> Option<Template> {
    let text = reader.text(name, faults)?;
    let made = Template::parse(&text);
    made.map_err(|problem| reader.fault(name, format_args!("{} {problem}", quoted(&text)), faults)).ok()
}

fn templates(reader: &mut Reader<'_>, name: &'static str, faults: &mut Faults) -> Vec<(String, Template)> {
    let mut made = Vec::new();
    for (inner, text) in reader.pairs(name, faults) {
        match Template::parse(&text) {
            Ok(template) => made.push((inner, template)),
            Err(problem) => {
                faults.push((format!("{}.{inner}", reader.at(name)), format!("{} {problem}", quoted(&text))))
            }
        }
    }
    made
}
