//! Label sets: what names a series.

mod pack;

use pack::{Draft, Pairs};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// Most labels one series may have, `__name__` included.
pub const LABELS_MAX: usize = 64;
/// Most bytes of all names and values of one label set.
pub const LABEL_BYTES_MAX: usize = 16 * 1024;

/// A label set, sorted by label name, with unique names and no empty values; `__name__` is the metric's name.
///
/// As in Prometheus's data model a label with an empty value is the same as no label, so none is kept. Sets are ordered
/// as lists of their pairs. Immutable, one block of memory, and shared: a clone costs one counter, because every log
/// record carries the labels of its file.
#[derive(Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, String)>", into = "Vec<(String, String)>")]
pub struct Labels(Arc<str>);

/// Why pairs are no label set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLabels {
    /// The same name stands twice.
    #[error("label {0:?} stands twice")]
    Duplicate(String),
    /// More than [`LABELS_MAX`] labels.
    #[error("{0} labels, at most {LABELS_MAX} are taken")]
    TooMany(usize),
    /// More than [`LABEL_BYTES_MAX`] bytes.
    #[error("labels of {0} bytes, at most {LABEL_BYTES_MAX} are taken")]
    TooLong(usize),
    /// A name is empty.
    #[error("a label name is empty")]
    EmptyName,
}

impl Labels {
    /// The label set of these pairs, in any order.
    ///
    /// # Errors
    /// [`InvalidLabels`] if a name is empty or stands twice, or a bound is exceeded.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidLabels> {
        let mut draft = Draft::default();
        for (name, value) in pairs {
            draft.push(name.as_ref(), value.as_ref());
        }
        draft.pack().map(Self)
    }

    /// Value of a label; `""` where it is absent.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        let found = Pairs::of(&self.0).find(|(n, _)| *n >= name);
        found.filter(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    /// The metric's name; `""` where there is none.
    #[must_use]
    pub fn metric(&self) -> &str {
        self.value("__name__")
    }

    /// Names and values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        Pairs::of(&self.0)
    }

    /// Number of labels.
    #[must_use]
    pub fn len(&self) -> usize {
        pack::count(&self.0)
    }

    /// Whether there is no label at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both share one memory: quick to tell, and equal if so; sets that do not may be equal all the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// This set with one label set to `value` (replaced, added, or removed where `value` is empty).
    ///
    /// # Errors
    /// [`InvalidLabels`] if a bound is exceeded.
    pub fn with(&self, name: &str, value: &str) -> Result<Self, InvalidLabels> {
        Self::new(self.iter().filter(|(n, _)| *n != name).chain([(name, value)]))
    }

    /// The labels of this set whose names `keep` wants; this set itself where it wants all.
    #[must_use]
    pub fn retained(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let kept: Vec<(&str, &str)> = self.iter().filter(|(name, _)| keep(name)).collect();
        if kept.len() == self.len() {
            return self.clone();
        }
        // Part of a sound set is a sound set: nothing is sorted or checked again.
        let bytes = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
        Self(pack::pack(kept.iter().copied(), kept.len(), bytes))
    }

    /// Overwrites the set with zeros before it is freed, if nobody else holds it: for values that turned out to be
    /// secrets.
    pub fn wipe(mut self) {
        if let Some(text) = Arc::get_mut(&mut self.0) {
            text.zeroize();
        }
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({self})")
    }
}

impl TryFrom<Vec<(String, String)>> for Labels {
    type Error = InvalidLabels;
    fn try_from(pairs: Vec<(String, String)>) -> Result<Self, Self::Error> {
        Self::new(pairs)
    }
}

impl From<Labels> for Vec<(String, String)> {
    fn from(labels: Labels) -> Self {
        labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }
}

/// Prometheus's notation: `name{label="value",…}` with `\`, `"` and newline escaped.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric())?;
        let mut open = false;
        for (name, value) in self.iter().filter(|(name, _)| *name != "__name__") {
            f.write_str(if open { "," } else { "{" })?;
            open = true;
            write!(f, "{name}=\"")?;
            for c in value.chars() {
                match c {
                    '\\' => f.write_str("\\\\")?,
                    '"' => f.write_str("\\\"")?,
                    '\n' => f.write_str("\\n")?,
                    c => write!(f, "{c}")?,
                }
            }
            f.write_str("\"")?;
        }
        if open { f.write_str("}") } else { Ok(()) }
    }
}

/// Collects labels for a series whose label names are known not to repeat.
#[derive(Debug, Clone)]
pub struct LabelsBuilder(Draft);

impl LabelsBuilder {
    /// Begins with the metric's name.
    #[must_use]
    pub fn metric(name: &str) -> Self {
        let mut draft = Draft::default();
        draft.push("__name__", name);
        Self(draft)
    }

    /// Adds a label; a later one of the same name replaces an earlier one.
    #[must_use]
    pub fn label(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0.remove(name);
        self.0.push(name, value.as_ref());
        self
    }

    /// The label set. Over-long values are cut at a character boundary rather than refused, because a device name
    /// that is too long must not cost its measurements. Callers add a bounded few; where one did not, the last ones are
    /// left out, because labels from a config or a container must not cost the agent.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "it panics for no input")]
    pub fn build(mut self) -> Labels {
        self.0.cut_values(if self.0.bytes() > LABEL_BYTES_MAX { 128 } else { 1024 });
        self.0.fit();
        Labels(self.0.pack().expect("names are unique by construction, and what does not fit is left out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_promethean_and_escapes() {
        let labels =
            LabelsBuilder::metric("up").label("job", "a\"b\\c\nd").label("instance", "x:1").label("gone", "").build();
        assert_eq!(labels.to_string(), "up{instance=\"x:1\",job=\"a\\\"b\\\\c\\nd\"}");
        assert_eq!(labels.value("gone"), "");
        assert_eq!(labels.len(), 3);
    }

    #[test]
    fn duplicates_and_bounds_are_refused() {
        assert_eq!(Labels::new([("a", "1"), ("a", "2")]), Err(InvalidLabels::Duplicate("a".into())));
        assert!(matches!(Labels::new((0..100).map(|i| (format!("l{i}"), "v"))), Err(InvalidLabels::TooMany(100))));
        assert!(matches!(Labels::new([("a", "x".repeat(20_000))]), Err(InvalidLabels::TooLong(_))));
    }

    #[test]
    fn the_builder_takes_what_a_container_may_bring() {
        let long = "é".repeat(100_000);
        let all = (0..40).fold(LabelsBuilder::metric("m"), |b, i| b.label(&format!("{i:0>144}"), long.clone()));
        assert_eq!(all.build().len(), 41);
    }

    #[test]
    fn the_builder_takes_whatever_is_added() {
        let many = (0..100).fold(LabelsBuilder::metric("m"), |b, i| b.label(&format!("l{i}"), "v")).build();
        assert_eq!((many.len(), many.metric(), many.value("l62"), many.value("l63")), (LABELS_MAX, "m", "v", ""));
        let long = (0..4).fold(LabelsBuilder::metric("m"), |b, i| b.label(&format!("{i}").repeat(4500), "v")).build();
        assert_eq!((long.len(), long.metric()), (4, "m"), "three of the four have room");
        assert_eq!(LabelsBuilder::metric("").label("", "x").build(), Labels::default());
        assert_eq!(LabelsBuilder::metric(&"m".repeat(1 << 20)).build().metric().len(), 128);
        assert_eq!(LabelsBuilder::metric("m").label(&"n".repeat(1 << 20), "v").build().len(), 1);
    }

    #[test]
    fn with_replaces_and_removes() {
        let labels = Labels::new([("a", "1"), ("b", "2")]).unwrap();
        assert_eq!(labels.with("a", "9").unwrap().value("a"), "9");
        assert_eq!(labels.with("a", "").unwrap().len(), 1);
    }

    #[test]
    fn retained_keeps_the_order_and_the_set_itself() {
        let labels = Labels::new([("a", "1"), ("b", "2"), ("c", "3")]).unwrap();
        assert_eq!(labels.retained(|name| name != "b"), Labels::new([("c", "3"), ("a", "1")]).unwrap());
        assert!(labels.retained(|_| true).is_same(&labels));
        assert_eq!(labels.retained(|_| false), Labels::default());
    }

    proptest::proptest! {
        #[test]
        fn a_set_is_what_a_sorted_list_of_its_pairs_is(
            a in proptest::collection::btree_map("[a-c]{1,3}|é{1,200}", "[a-bé]{0,3}|x{120,300}", 0..8),
            b in proptest::collection::btree_map("[a-c]{1,3}", "[a-b]{1,2}", 0..3),
        ) {
            let list = |map: &std::collections::BTreeMap<String, String>| -> Vec<(String, String)> {
                map.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.clone(), v.clone())).collect()
            };
            let (one, other) = (Labels::new(a.iter().rev()).unwrap(), Labels::new(&b).unwrap());
            proptest::prop_assert_eq!(Vec::from(one.clone()), list(&a));
            proptest::prop_assert_eq!(one.len(), list(&a).len());
            proptest::prop_assert!(a.iter().all(|(name, value)| one.value(name) == value));
            proptest::prop_assert_eq!(one.value("ab"), a.get("ab").map_or("", String::as_str));
            proptest::prop_assert_eq!(one.cmp(&other), list(&a).cmp(&list(&b)));
            proptest::prop_assert_eq!(one == other, list(&a) == list(&b));
        }
    }

    #[test]
    fn the_longest_names_and_values_are_kept() {
        let (name, value) = ("n".repeat(LABEL_BYTES_MAX - 1), "v".repeat(LABEL_BYTES_MAX - 1));
        for pair in [(name.as_str(), "v"), ("n", value.as_str())] {
            assert_eq!(Labels::new([pair]).unwrap().iter().collect::<Vec<_>>(), [pair]);
        }
        let many = (0..LABELS_MAX).map(|n| (format!("l{n:02}"), n.to_string())).collect::<Vec<_>>();
        assert_eq!(Vec::from(Labels::new(many.clone()).unwrap()), many);
    }
}
