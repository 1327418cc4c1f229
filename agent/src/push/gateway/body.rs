//! The body of a push: an exposition of Prometheus's text format, with the group's labels laid over it.

use super::Refusal;
use skerry_model::{Labels, MetricKind};
use skerry_scrape::exposition::{Entry, Format, Parser};
use std::collections::{BTreeMap, HashSet};

/// Metrics by name: type and series.
pub(super) type Families = BTreeMap<String, (MetricKind, Vec<(Labels, f64)>)>;

/// Names that a group has of its own; what is pushed under them is left out, as Pushgateway does.
const OWN: [&str; 2] = ["push_time_seconds", "push_failure_time_seconds"];

/// Reads a body. The second is what is wrong with metrics that could be read: a failure of their group.
///
/// # Errors
/// [`Refusal`] where this is no exposition: nobody's failure but the sender's.
pub(super) fn read(body: &[u8], group: &Labels) -> Result<(Families, Option<Refusal>), Refusal> {
    if !body.is_empty() && !body.ends_with(b"\n") {
        return Err(Refusal("text format parsing error: the last line has no end; was the body cut off?".into()));
    }
    let (mut kinds, mut families): (BTreeMap<String, MetricKind>, Families) = (BTreeMap::new(), Families::new());
    let (mut seen, mut problem) = (HashSet::new(), None);
    let mut each = |entry: Entry<'_>| match entry {
        Entry::Type { name, kind } => drop(kinds.insert(name.into_owned(), kind)),
        Entry::Sample(sample) if problem.is_none() => {
            if sample.at.is_some() {
                problem = Some("pushed metrics must not have timestamps".to_owned());
                return;
            }
            match laid_over(sample.series.labels(), group) {
                Ok(labels) if OWN.contains(&labels.metric()) => {}
                Ok(labels) => {
                    if !seen.insert(labels.clone()) {
                        problem = Some(format!("{labels} stands twice"));
                    }
                    let name = family(labels.metric(), &kinds);
                    let kind = kinds.get(name).copied().unwrap_or(MetricKind::Untyped);
                    families.entry(name.to_owned()).or_insert((kind, Vec::new())).1.push((labels, sample.value));
                }
                Err(why) => problem = Some(why),
            }
        }
        _ => {}
    };
    let mut parser = Parser::new(Format::Prometheus);
    let bad = |line: skerry_scrape::exposition::BadLine| Refusal(format!("text format parsing error in {line}"));
    parser.feed(body, &mut each).map_err(bad)?;
    parser.finish(&mut each).map_err(bad)?;
    Ok((families, problem.map(|problem| Refusal(format!("pushed metrics are invalid: {problem}")))))
}

/// A sample's labels, where those of the group win.
fn laid_over<'a>(
    labels: impl Iterator<Item = (std::borrow::Cow<'a, str>, std::borrow::Cow<'a, str>)>,
    group: &Labels,
) -> Result<Labels, String> {
    let own: Vec<(String, String)> = labels.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    let given = own.iter().filter(|(name, _)| group.value(name).is_empty());
    let given = given.map(|(name, value)| (name.as_str(), value.as_str()));
    Labels::new(group.iter().chain(given)).map_err(|error| error.to_string())
}

/// The family of a series by its name: histograms and summaries have series of further names.
fn family<'a>(name: &'a str, kinds: &BTreeMap<String, MetricKind>) -> &'a str {
    let is_of = |base: &str, of: &[MetricKind]| kinds.get(base).is_some_and(|kind| of.contains(kind));
    let both = [MetricKind::Histogram, MetricKind::Summary];
    for (end, of) in [("_bucket", &both[..1]), ("_sum", &both[..]), ("_count", &both[..])] {
        if let Some(base) = name.strip_suffix(end).filter(|base| is_of(base, of)) {
            return base;
        }
    }
    name
}
