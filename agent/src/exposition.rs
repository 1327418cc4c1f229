//! Observations as text: Prometheus format 0.0.4 and OpenMetrics 1.0.

use skerry_model::{MetricKind, Observation};
use skerry_scrape::exposition::Format;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The observations as text, metric by metric in the order of their names.
#[must_use]
pub fn write(observations: &[Observation], format: Format) -> String {
    let mut families: BTreeMap<&str, Vec<&Observation>> = BTreeMap::new();
    for observation in observations {
        families.entry(&observation.meta.name).or_default().push(observation);
    }
    let mut text = String::with_capacity(observations.len() * 64);
    for (name, members) in families {
        let meta = &members[0].meta;
        let (family, kind) = family(name, meta.kind, format);
        let _ = writeln!(text, "# HELP {family} {}", escaped(&meta.help, format == Format::OpenMetrics));
        let _ = writeln!(text, "# TYPE {family} {kind}");
        for observation in members {
            line(&mut text, observation);
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

/// Name and type of the metric's family. OpenMetrics wants counters to end in `_total` and their family not to; one
/// that is named otherwise can only be of unknown type there.
fn family(name: &str, kind: MetricKind, format: Format) -> (&str, &'static str) {
    match (format, kind) {
        (Format::Prometheus, MetricKind::Counter) => (name, "counter"),
        (_, MetricKind::Gauge) => (name, "gauge"),
        (Format::Prometheus, MetricKind::Untyped) => (name, "untyped"),
        (Format::OpenMetrics, MetricKind::Counter) => {
            name.strip_suffix("_total").map_or((name, "unknown"), |family| (family, "counter"))
        }
        (Format::OpenMetrics, MetricKind::Untyped) => (name, "unknown"),
        (_, MetricKind::Histogram | MetricKind::Summary) => (name, kind.as_str()),
        // OpenMetrics' own types are read from nowhere but scraped targets, which are not shown here.
        (Format::Prometheus, _) => (name, "untyped"),
        (Format::OpenMetrics, _) => (name, "unknown"),
    }
}

fn line(text: &mut String, observation: &Observation) {
    // A histogram's series have other names than the histogram.
    text.push_str(observation.labels.metric());
    let mut separator = '{';
    for (label, value) in observation.labels.iter().filter(|(label, _)| *label != "__name__") {
        let _ = write!(text, "{separator}{label}=\"{}\"", escaped(value, true));
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    text.push(' ');
    match observation.value {
        value if value.is_nan() => text.push_str("NaN"),
        f64::INFINITY => text.push_str("+Inf"),
        f64::NEG_INFINITY => text.push_str("-Inf"),
        value => {
            let _ = write!(text, "{value}");
        }
    }
    text.push('\n');
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::{LabelsBuilder, MetricMeta};

    static TOTAL: MetricMeta = MetricMeta::fixed("a_total", MetricKind::Counter, "Some \"thing\" \\ of\ntwo lines.");
    static ODD: MetricMeta = MetricMeta::fixed("b_count", MetricKind::Counter, "A counter by another name.");
    static LEVEL: MetricMeta = MetricMeta::fixed("c", MetricKind::Gauge, "A level.");

    fn observations() -> Vec<Observation> {
        let observe = |meta: &'static MetricMeta, label: &str, value| {
            let builder = LabelsBuilder::metric(&meta.name);
            let builder = if label.is_empty() { builder } else { builder.label("l", label) };
            Observation { meta: meta.into(), labels: builder.build(), value }
        };
        vec![
            observe(&LEVEL, "", f64::NEG_INFINITY),
            observe(&TOTAL, "x\"y\\\n", 3.0),
            observe(&ODD, "", 1e21),
            observe(&TOTAL, "z", f64::NAN),
        ]
    }

    #[test]
    fn prometheus_text() {
        let text = write(&observations(), Format::Prometheus);
        let expected = "# HELP a_total Some \"thing\" \\\\ of\\ntwo lines.\n# TYPE a_total counter\n\
            a_total{l=\"x\\\"y\\\\\\n\"} 3\na_total{l=\"z\"} NaN\n\
            # HELP b_count A counter by another name.\n# TYPE b_count counter\nb_count 1000000000000000000000\n\
            # HELP c A level.\n# TYPE c gauge\nc -Inf\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn openmetrics_text() {
        let text = write(&observations(), Format::OpenMetrics);
        assert!(text.contains("# TYPE a counter\na_total{"), "{text}");
        assert!(text.contains("# HELP a Some \\\"thing\\\""), "{text}");
        assert!(text.contains("# TYPE b_count unknown\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_accept_header_chooses() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2";
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("*/*"), Format::Prometheus);
    }
}
