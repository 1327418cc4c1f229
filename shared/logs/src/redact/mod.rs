//! The stage `redact`: takes secrets out of lines, fields and labels.
//!
//! Invariants:
//! - Linear time. What is found is replaced in one pass; stretches that overlap are one.
//! - The memory that held a secret is overwritten before it is freed, where it belongs to the record. Labels and fields that
//!   others hold too, as those of a file's name, are not.
//! - Findings are counted, never shown.
//!
//! `hash` puts a keyed hash for each secret, SipHash-2-4 with 128 bits of key, so that equal secrets stay equal and can be counted
//! and joined. It protects against whoever reads the logs without the key, also against trying all card numbers or
//! addresses, which would undo a plain SHA-256; it does not protect against whoever has the key, which every node with this
//! config has.

mod detect;
#[cfg(test)]
mod tests;

use crate::parse::compile;
use crate::pipeline::reader::{Faults, Reader, check_name, quoted, scalar, single};
use crate::siphash::{Hasher, Key};
use detect::{Kind, Stretch};
use regex::bytes::Regex;
use serde_json::Value;
use skerry_model::{Labels, OutputStream};
use zeroize::Zeroize;

/// What is put in a secret's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    /// Its kind in brackets: `[email]`.
    Mask,
    /// Its kind and a keyed hash: `[email:0123456789abcdef]`.
    Hash,
    /// Nothing.
    Remove,
}

const ACTIONS: [(&str, Action); 3] = [("mask", Action::Mask), ("hash", Action::Hash), ("remove", Action::Remove)];
const KINDS: &str = "email, card, iban, ip, bearer, private_key or all";

#[derive(Debug)]
enum Finder {
    Kind(Kind),
    /// Its first group, or the whole match where it has none.
    Pattern(Regex),
}

#[derive(Debug)]
struct Rule {
    name: String,
    finder: Finder,
    action: Action,
}

/// Most streams that are within a private key at a time, and most lines of one.
const KEYS_MAX: usize = 64;
const KEY_LINES_MAX: u32 = 400;

#[derive(Debug)]
struct OpenKey {
    labels: Labels,
    output: OutputStream,
    lines: u32,
}

/// A checked `redact`.
#[derive(Debug)]
pub(crate) struct Redact {
    rules: Vec<Rule>,
    key: Option<Key>,
    found: Vec<(Stretch, usize)>,
    /// Streams that are within a private key whose lines come as records of their own.
    keys: Vec<OpenKey>,
    /// The last label set that came, and what was made of it with how many findings.
    labels: Option<(Labels, Labels, u64)>,
}

impl Redact {
    /// Reads `{detect: [email, {ip: hash}], patterns: […], action: mask, key: HEX}`, or the detectors alone.
    pub(crate) fn read(value: &Value, key: &str, faults: &mut Faults) -> Option<Self> {
        let short;
        let value = match value {
            Value::String(_) | Value::Array(_) => {
                short = serde_json::json!({ "detect": value });
                &short
            }
            other => other,
        };
        let mut reader = Reader::new(value, key, faults)?;
        let action = reader.word("action", &ACTIONS, faults).unwrap_or(Action::Mask);
        let mut rules = Vec::new();
        let detect = reader.value("detect").cloned();
        let names = match detect {
            Some(Value::Array(items)) => items,
            Some(one) => vec![one],
            None => Vec::new(),
        };
        for (at, item) in names.iter().enumerate() {
            detector(item, &format!("{}[{at}]", reader.at("detect")), action, &mut rules, faults);
        }
        let patterns = reader.at("patterns");
        for (at, item) in reader.list("patterns", faults).iter().enumerate() {
            pattern(item, &format!("{patterns}[{at}]"), action, &mut rules, faults);
        }
        // Never repeated in a fault.
        let told = reader.value("key").map(|key| key.as_str().and_then(Key::from_hex));
        if told == Some(None) {
            reader.fault(
                "key",
                "32 hexadecimal digits are expected, as `openssl rand -hex 16` makes them, in quotes",
                faults,
            );
        }
        let hashes = rules.iter().any(|rule| rule.action == Action::Hash);
        if hashes && told.is_none() {
            reader.fault(
                "key",
                "is missing: hashing needs 32 hexadecimal digits, as `openssl rand -hex 16` makes them",
                faults,
            );
        }
        if rules.is_empty() {
            faults.push((key.to_owned(), format!("finds nothing: detect ({KINDS}) or patterns are expected")));
        }
        reader.finish(faults);
        Some(Self { rules, key: told.flatten(), found: Vec::new(), keys: Vec::new(), labels: None })
    }

    /// Takes secrets out of a text. `None` where it has none; else the new text and how many there were.
    pub(crate) fn text(&mut self, text: &[u8]) -> Option<(Vec<u8>, u64)> {
        self.found.clear();
        for (at, rule) in self.rules.iter().enumerate() {
            let mut found = |stretch: Stretch| {
                if stretch.0 < stretch.1 {
                    self.found.push((stretch, at));
                }
            };
            match &rule.finder {
                Finder::Kind(kind) => kind.find(text, &mut found),
                Finder::Pattern(regex) => matches(regex, text, &mut found),
            }
        }
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_unstable_by_key(|((start, end), rule)| (*start, usize::MAX - end, *rule));
        self.found.dedup_by(|next, kept| {
            let overlaps = next.0.0 < kept.0.1;
            if overlaps {
                kept.0.1 = kept.0.1.max(next.0.1);
            }
            overlaps
        });
        // Grown by the longest replacement for each, so that no memory with half of a text is left behind.
        let mut out = Vec::with_capacity(text.len() + self.found.len() * 160);
        let mut at = 0;
        for ((start, end), rule) in &self.found {
            out.extend_from_slice(&text[at..*start]);
            self.rules[*rule].replace(&text[*start..*end], self.key.as_ref(), &mut out);
            at = *end;
        }
        out.extend_from_slice(&text[at..]);
        Some((out, self.found.len() as u64))
    }

    /// Takes secrets out of a stream's next line and overwrites what it was. How many there were.
    pub(crate) fn line(&mut self, line: &mut Vec<u8>, labels: &Labels, output: OutputStream) -> u64 {
        let begun = if self.keys.is_empty() { 0 } else { self.continue_key(line, labels, output) };
        let Some((new, count)) = self.text(line) else { return begun };
        let reaches_end = |((_, end), rule): &(Stretch, usize)| {
            *end == line.len() && matches!(self.rules[*rule].finder, Finder::Kind(Kind::PrivateKey))
        };
        if self.found.iter().any(reaches_end) && detect::ends_in_key(line) {
            if self.keys.len() == KEYS_MAX {
                // The one that began first is the least likely to go on.
                self.keys.remove(0);
            }
            self.keys.push(OpenKey { labels: labels.clone(), output, lines: 0 });
        }
        let mut old = std::mem::replace(line, new);
        old.zeroize();
        begun + count
    }

    /// Takes out what of a line belongs to the private key that the stream is in, if it is in one.
    fn continue_key(&mut self, line: &mut Vec<u8>, labels: &Labels, output: OutputStream) -> u64 {
        let same = |key: &OpenKey| key.output == output && key.labels == *labels;
        let Some(at) = self.keys.iter().position(same) else { return 0 };
        let (len, goes_on) = detect::rest_of_key(line);
        self.keys[at].lines += 1;
        if !goes_on || self.keys[at].lines >= KEY_LINES_MAX {
            self.keys.remove(at);
        }
        let rule = self.rules.iter().find(|rule| matches!(rule.finder, Finder::Kind(Kind::PrivateKey)));
        let Some(rule) = rule.filter(|_| len > 0) else { return 0 };
        let mut new = Vec::with_capacity(line.len() + 160);
        rule.replace(&line[..len], self.key.as_ref(), &mut new);
        new.extend_from_slice(&line[len..]);
        std::mem::replace(line, new).zeroize();
        1
    }

    /// Takes secrets out of the values of a set. How many there were.
    pub(crate) fn values(&mut self, set: &mut Labels) -> u64 {
        let (mut count, mut changed) = (0, Vec::new());
        for (name, value) in set.iter() {
            if let Some((new, found)) = self.text(value.as_bytes()) {
                count += found;
                changed.push((name.to_owned(), String::from_utf8_lossy(&new).into_owned()));
            }
        }
        if changed.is_empty() {
            return 0;
        }
        let fresh = set.iter().map(|(name, value)| {
            let new = changed.iter().find(|(changed, _)| changed == name);
            (name, new.map_or(value, |(_, new)| new.as_str()))
        });
        // Masks are longer than what they stand for: a set that is full to the brim loses its values rather than show them.
        let fresh = Labels::new(fresh).unwrap_or_else(|_| {
            Labels::new(set.iter().filter(|(name, _)| changed.iter().all(|(changed, _)| changed != name)))
                .unwrap_or_default()
        });
        std::mem::replace(set, fresh).wipe();
        count
    }

    /// As [`values`](Self::values), for sets that come again and again.
    pub(crate) fn stream(&mut self, set: &mut Labels) -> u64 {
        if let Some((known, made, count)) = &self.labels
            && known == set
        {
            if *count > 0 {
                *set = made.clone();
            }
            return *count;
        }
        let known = set.clone();
        let count = self.values(set);
        self.labels = Some((known, set.clone(), count));
        count
    }
}

impl Rule {
    fn replace(&self, secret: &[u8], key: Option<&Key>, out: &mut Vec<u8>) {
        match (&self.action, key) {
            (Action::Remove, _) => {}
            (Action::Hash, Some(key)) => {
                let mut hasher = Hasher::new(key);
                hasher.write(secret);
                let hash = hasher.finish() as u64;
                out.extend_from_slice(format!("[{}:{:016x}]", self.name, hash.swap_bytes()).as_bytes());
            }
            (Action::Mask, _) | (Action::Hash, None) => {
                out.push(b'[');
                out.extend_from_slice(self.name.as_bytes());
                out.push(b']');
            }
        }
    }
}

/// Most matches of one expression in one text.
const MATCHES_MAX: usize = 1000;

/// Tells all matches of an own expression. One match takes linear time, but each may look at all the text that is left, so
/// that their number has a bound: beyond it the rest of the text counts as one secret.
fn matches(regex: &Regex, text: &[u8], found: &mut dyn FnMut(Stretch)) {
    let mut at = 0;
    for _ in 0..MATCHES_MAX {
        let hit = if regex.captures_len() == 1 {
            regex.find_at(text, at).map(|hit| (hit.end(), Some((hit.start(), hit.end()))))
        } else {
            regex
                .captures_at(text, at)
                .and_then(|hit| Some((hit.get(0)?.end(), hit.get(1).map(|group| (group.start(), group.end())))))
        };
        let Some((end, stretch)) = hit else { return };
        if let Some(stretch) = stretch {
            found(stretch);
        }
        // A match may be empty at some places, though not in the empty text.
        at = end.max(at + 1);
        if at > text.len() {
            return;
        }
    }
    found((at, text.len()));
}

/// `email`, `all`, or `{email: hash}`.
fn detector(item: &Value, key: &str, default: Action, rules: &mut Vec<Rule>, faults: &mut Faults) {
    let Some((name, told)) = single(item, key, KINDS, faults) else { return };
    let action = match scalar(told) {
        None => default,
        Some(word) => match ACTIONS.iter().find(|(known, _)| *known == word) {
            Some((_, action)) => *action,
            None => {
                faults.push((
                    format!("{key}.{name}"),
                    format!("{} is no action: mask, hash or remove is expected", quoted(&word)),
                ));
                return;
            }
        },
    };
    let kinds: Vec<Kind> =
        Kind::ALL.iter().filter(|(known, _)| name == "all" || *known == name).map(|(_, kind)| *kind).collect();
    if kinds.is_empty() {
        faults.push((key.to_owned(), format!("{} is no detector: {KINDS} is expected", quoted(name))));
    }
    for kind in kinds {
        rules.push(Rule { name: kind.name().to_owned(), finder: Finder::Kind(kind), action });
    }
}

/// An expression, or `{name: customer, regex: …, action: …}`.
fn pattern(item: &Value, key: &str, default: Action, rules: &mut Vec<Rule>, faults: &mut Faults) {
    let mut push = |name: String, regex: &str, key: String, action: Action, faults: &mut Faults| match compile(regex) {
        Ok(regex) if regex.is_match(b"") => {
            faults.push((key, "matches the empty text: more is expected of it".to_owned()))
        }
        Ok(regex) => rules.push(Rule { name, finder: Finder::Pattern(regex), action }),
        Err(problem) => faults.push((key, format!("{} {problem}", quoted(regex)))),
    };
    if let Value::String(regex) = item {
        return push("redacted".to_owned(), regex, key.to_owned(), default, faults);
    }
    let Some(mut reader) = Reader::new(item, key, faults) else { return };
    let name = reader.text("name", faults).unwrap_or_else(|| "redacted".to_owned());
    check_name(&name, &reader.at("name"), faults);
    let action = reader.word("action", &ACTIONS, faults).unwrap_or(default);
    if let Some(regex) = reader.required("regex", faults) {
        push(name, &regex, reader.at("regex"), action, faults);
    }
    reader.finish(faults);
}
