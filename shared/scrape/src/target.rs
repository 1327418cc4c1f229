//! From what discovery found to what is fetched: a target's labels and its address.
//!
//! Facts: Prometheus's documentation of `scrape_config`. As in Prometheus 3, an address without a port keeps none in its
//! labels; the scheme's own port is only connected to.

use crate::relabel::{self, Draft, Rule};
use skerry_model::{InvalidLabels, Labels, Span};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const PARAM: &str = "__param_";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";

/// What a job gives to each of its targets.
#[derive(Debug, Clone)]
pub struct Job {
    /// Name of the job.
    pub name: String,
    /// `http` or `https`.
    pub scheme: String,
    /// Path of the metrics.
    pub path: String,
    /// Parameters of the address, by name.
    pub params: BTreeMap<String, Vec<String>>,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// `relabel_configs`.
    pub rules: Vec<Rule>,
}

/// A target that is to be scraped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Labels before relabelling.
    pub discovered: Labels,
    /// Labels that its series get: none that begins with `__`.
    pub labels: Labels,
    /// What is fetched.
    pub url: String,
    /// Time between two scrapes.
    pub interval: Duration,
    /// How long one may take, at most the interval.
    pub timeout: Duration,
}

/// What became of something that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Built {
    /// It is scraped.
    Active(Target),
    /// Relabelling dropped it; the labels before that.
    Dropped(Labels),
}

/// Why something that discovery found cannot be scraped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// Labels past a bound.
    #[error("its labels cannot be used: {0}")]
    Labels(#[from] InvalidLabels),
    /// Relabelling left no `__address__`.
    #[error("it has no address: __address__ is empty after relabelling")]
    NoAddress,
    /// A path or another scheme in the address.
    #[error("{0:?} is no address of a target: HOST or HOST:PORT is expected; a path goes to metrics_path")]
    Address(String),
    /// Relabelling made another scheme.
    #[error("{0:?} is no scheme: http or https is expected in __scheme__")]
    Scheme(String),
    /// Relabelling made no time of it.
    #[error("{label} is {value:?}: a time above 0 is expected, such as 15s")]
    Time {
        /// `__scrape_interval__` or `__scrape_timeout__`.
        label: &'static str,
        /// Its value.
        value: String,
    },
    /// A scrape may not reach into the next one.
    #[error("its timeout of {timeout} is longer than its interval of {interval}")]
    TimeoutOverInterval {
        /// The timeout.
        timeout: Span,
        /// The interval.
        interval: Span,
    },
}

impl Job {
    /// Makes a target of the labels that discovery found, `__address__` among them.
    ///
    /// # Errors
    /// [`InvalidTarget`].
    pub fn target<'a>(&self, found: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Built, InvalidTarget> {
        let mut draft: Draft = found.into_iter().collect();
        let mut default = |name: &str, value: &str| {
            if draft.value(name).is_empty() {
                draft.set(name, value);
            }
        };
        default("job", &self.name);
        default(INTERVAL, &Span(self.interval).to_string());
        default(TIMEOUT, &Span(self.timeout).to_string());
        default(PATH, &self.path);
        default(SCHEME, &self.scheme);
        for (name, values) in &self.params {
            default(&format!("{PARAM}{name}"), values.first().map_or("", String::as_str));
        }
        let discovered = draft.to_labels()?;
        if !relabel::apply(&self.rules, &mut draft) {
            return Ok(Built::Dropped(discovered));
        }
        let address = draft.value(ADDRESS).to_owned();
        if address.is_empty() {
            return Err(InvalidTarget::NoAddress);
        }
        if !is_address(&address) {
            return Err(InvalidTarget::Address(address.chars().take(80).collect()));
        }
        if !["http", "https"].contains(&draft.value(SCHEME)) {
            return Err(InvalidTarget::Scheme(draft.value(SCHEME).chars().take(80).collect()));
        }
        let (interval, timeout) = (time(&draft, INTERVAL)?, time(&draft, TIMEOUT)?);
        if timeout > interval {
            return Err(InvalidTarget::TimeoutOverInterval { timeout: Span(timeout), interval: Span(interval) });
        }
        let url = self.url(&draft, &address);
        if draft.value("instance").is_empty() {
            draft.set("instance", address);
        }
        draft.retain(|name| !name.starts_with("__"));
        Ok(Built::Active(Target { discovered, labels: draft.to_labels()?, url, interval, timeout }))
    }

    fn url(&self, draft: &Draft, address: &str) -> String {
        let mut params = self.params.clone();
        for (name, value) in draft.iter() {
            let Some(name) = name.strip_prefix(PARAM) else { continue };
            match params.get_mut(name).and_then(|values| values.first_mut()) {
                Some(first) => value.clone_into(first),
                None => drop(params.insert(name.to_owned(), vec![value.to_owned()])),
            }
        }
        let path = escaped(draft.value(PATH));
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut url = format!("{}://{address}{slash}{path}", draft.value(SCHEME));
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, values) in &params {
            query.extend_pairs(values.iter().map(|value| (name, value)));
        }
        let query = query.finish();
        if !query.is_empty() {
            url.push('?');
            url.push_str(&query);
        }
        url
    }
}

impl Target {
    /// When within its interval it is scraped: targets are spread over it by a hash of what they are, the same one at
    /// each start.
    #[must_use]
    pub fn offset(&self) -> Duration {
        // FNV-1a, of 64 bits.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let labels = self.labels.iter().flat_map(|(name, value)| [name, "\u{ff}", value, "\u{ff}"]);
        for byte in labels.chain([self.url.as_str()]).flat_map(str::bytes) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        // The high bits are mixed best.
        let interval_ms = u64::try_from(self.interval.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis((hash >> 16) % interval_ms)
    }
}

/// Whether a text is HOST or HOST:PORT. What it means is for whoever connects to find out.
fn is_address(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && !"/?#@\\\"<>^`{|}".contains(c);
    text.chars().all(is_plain) && !text.starts_with(':')
}

fn time(draft: &Draft, label: &'static str) -> Result<Duration, InvalidTarget> {
    let value = draft.value(label);
    let span = value.parse::<Span>().ok().filter(|span| !span.0.is_zero());
    span.map(|span| span.0).ok_or_else(|| InvalidTarget::Time { label, value: value.chars().take(40).collect() })
}

/// A path as it stands in an address.
fn escaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(rules: &str) -> Job {
        let rules: Vec<relabel::Config> = serde_json::from_str(rules).unwrap();
        Job {
            name: "j".into(),
            scheme: "http".into(),
            path: "/metrics".into(),
            params: BTreeMap::new(),
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(10),
            rules: relabel::rules(&rules).unwrap(),
        }
    }

    fn active(job: &Job, found: &[(&str, &str)]) -> Target {
        match job.target(found.iter().copied()).unwrap() {
            Built::Active(target) => target,
            Built::Dropped(labels) => panic!("{labels} was dropped"),
        }
    }

    #[test]
    fn a_plain_target() {
        let target = active(&job("[]"), &[("__address__", "h:1"), ("__meta_x", "y"), ("site", "a")]);
        assert_eq!(target.labels.to_string(), "{instance=\"h:1\",job=\"j\",site=\"a\"}");
        assert_eq!(target.url, "http://h:1/metrics");
        assert_eq!((target.interval.as_secs(), target.timeout.as_secs()), (15, 10));
        let discovered = target.discovered.to_string();
        for label in
            ["__scrape_interval__=\"15s\"", "__meta_x=\"y\"", "__scheme__=\"http\"", "__metrics_path__=\"/metrics\""]
        {
            assert!(discovered.contains(label), "{discovered}");
        }
        assert!(target.offset() < target.interval);
        assert_eq!(active(&job("[]"), &[("__address__", "h")]).labels.value("instance"), "h");
        let named = active(&job("[]"), &[("__address__", "h"), ("instance", "i"), ("job", "k")]);
        assert_eq!(named.labels.to_string(), "{instance=\"i\",job=\"k\"}");
    }

    #[test]
    fn the_blackbox_pattern() {
        let mut job = job(r#"[{"source_labels":["__address__"],"target_label":"__param_target"},
            {"source_labels":["__param_target"],"target_label":"instance"},
            {"target_label":"__address__","replacement":"127.0.0.1:9115"},
            {"target_label":"__metrics_path__","replacement":"/probe me"}]"#);
        job.params.insert("module".into(), vec!["http_2xx".into(), "b c".into()]);
        let target = active(&job, &[("__address__", "https://x.y/?z=1")]);
        assert_eq!(
            target.url,
            "http://127.0.0.1:9115/probe%20me?module=http_2xx&module=b+c&target=https%3A%2F%2Fx.y%2F%3Fz%3D1"
        );
        assert_eq!(target.labels.value("instance"), "https://x.y/?z=1");
    }

    #[test]
    fn labels_choose_scheme_interval_and_timeout() {
        let found = [
            ("__address__", "h"),
            ("__scheme__", "https"),
            ("__scrape_interval__", "1m"),
            ("__scrape_timeout__", "1m"),
        ];
        let target = active(&job("[]"), &found);
        assert_eq!((target.url.as_str(), target.interval.as_secs()), ("https://h/metrics", 60));
    }

    #[test]
    fn what_cannot_be_scraped_is_told() {
        let fails = |found: &[(&str, &str)]| job("[]").target(found.iter().copied()).unwrap_err().to_string();
        assert!(fails(&[("x", "y")]).contains("no address"));
        assert!(fails(&[("__address__", "http://h")]).contains("metrics_path"));
        assert!(fails(&[("__address__", ":80")]).contains("HOST"));
        assert!(fails(&[("__address__", "h"), ("__scheme__", "ftp")]).contains("ftp"));
        assert!(fails(&[("__address__", "h"), ("__scrape_interval__", "often")]).contains("__scrape_interval__"));
        assert!(fails(&[("__address__", "h"), ("__scrape_timeout__", "0s")]).contains("__scrape_timeout__"));
        assert!(fails(&[("__address__", "h"), ("__scrape_timeout__", "1h")]).contains("longer"));
        let dropping = job(r#"[{"source_labels":["__meta_run"],"regex":"yes","action":"keep"}]"#);
        assert!(matches!(dropping.target([("__address__", "h")]).unwrap(), Built::Dropped(_)));
    }
}
