//! The labels of a target's series.

use super::{Failure, Settings};
use crate::exposition::Series;
use crate::relabel::{self, Draft};
use skerry_model::Labels;

/// Prefix of labels of the exposition that the target's own labels displace.
const EXPORTED: &str = "exported_";

/// Names of the series that every target has besides its own.
const REPORTS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// Their labels.
pub(super) fn reports(target: &Labels) -> [Labels; 5] {
    REPORTS.map(|name| {
        // A target with labels up to the bounds has none left for a name; its reports go without labels then.
        let with = target.with("__name__", name);
        with.or_else(|_| Labels::new([("__name__", name)])).unwrap_or_default()
    })
}

/// The labels that a series of the exposition is stored with; `None` where relabelling drops it.
pub(super) fn stored(series: Series<'_>, target: &Labels, settings: &Settings) -> Result<Option<Labels>, Failure> {
    let unusable = |cause| Failure::Labels { series: begin(series), cause };
    // The exposition's own labels first, to find a name that stands twice.
    let exposed = series.to_labels().map_err(unusable)?;
    let mut draft: Draft = exposed.iter().collect();
    if settings.honor_labels {
        // A label that the exposition sets to nothing counts too: that is how one is kept from being added.
        for (name, value) in target.iter().filter(|(name, _)| !series.labels().any(|(own, _)| own == *name)) {
            draft.set(name, value);
        }
    } else {
        let mut displaced: Vec<(&str, &str)> = Vec::new();
        for (name, value) in target.iter() {
            let own = exposed.value(name);
            if !own.is_empty() {
                displaced.push((name, own));
            }
            draft.set(name, value);
        }
        // Shorter names first, so that names that were displaced before stay what they are.
        displaced.sort_by_key(|(name, _)| name.len());
        for (name, value) in displaced {
            let mut free = format!("{EXPORTED}{name}");
            while !draft.value(&free).is_empty() {
                free.insert_str(0, EXPORTED);
            }
            draft.set(free, value);
        }
    }
    if !relabel::apply(&settings.rules, &mut draft) {
        return Ok(None);
    }
    let labels = draft.to_labels().map_err(unusable)?;
    if labels.is_empty() {
        return Ok(None);
    }
    if labels.metric().is_empty() {
        return Err(Failure::NoName { series: begin(series) });
    }
    check(&labels, series, settings)?;
    Ok(Some(labels))
}

fn check(labels: &Labels, series: Series<'_>, settings: &Settings) -> Result<(), Failure> {
    let limit = |text: String| Err(Failure::Limit(format!("{text}, in {}", begin(series))));
    if let Some(max) = settings.labels_max.filter(|max| labels.len() > *max) {
        return limit(format!("label_limit: {} labels, at most {max} are taken", labels.len()));
    }
    for (name, value) in labels.iter() {
        if let Some(max) = settings.label_name_bytes_max.filter(|max| name.len() > *max) {
            return limit(format!("label_name_length_limit: a name of {} bytes, at most {max} are taken", name.len()));
        }
        if let Some(max) = settings.label_value_bytes_max.filter(|max| value.len() > *max) {
            let (name, bytes) = (name.chars().take(80).collect::<String>(), value.len());
            return limit(format!("label_value_length_limit: label {name} has {bytes} bytes, at most {max} are taken"));
        }
    }
    Ok(())
}

/// The begin of a series' text, for messages.
fn begin(series: Series<'_>) -> String {
    series.text().chars().take(80).collect()
}
