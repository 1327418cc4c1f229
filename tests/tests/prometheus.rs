//! The same samples in Debian's Prometheus and under our evaluator: queries that people have on dashboards and in rules
//! give the same values, to 1e-12 relatively. Skipped, and said so, where Prometheus is not installed.
//!
//! Prometheus 2.42 closes ranges on the left, 3 and we do not: queries are evaluated at moments that fall on no sample
//! and whose windows begin at none, so that both see the same samples. What else differs between 2 and 3 is left out of
//! the list by name: delayed name removal, `holt_winters`'s new name, functions that came later, and the zero that a
//! counter's range is drawn out to, which 3 computes after it has looked at the distance of samples.

use anyhow::{Context, ensure};
use skerry_model::{Labels, Sample, UnixMillis};
use skerry_promql::{Limits, Matcher, Query, Selected, Source, SourceError, Span, Value};
use skerry_tests::lab::{Running, free_port, wait_for};
use skerry_tests::web::web;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// First sample: three seconds past the hour, so that no step of a subquery, which are whole, falls on one.
const START_S: i64 = 1_700_002_803;
/// Distance of samples, and their number: two hours.
const STEP_S: i64 = 15;
const SAMPLES: i64 = 480;
/// Largest relative difference.
const TOLERANCE: f64 = 1e-12;

const QUERIES: [&str; 76] = [
    "up",
    "up == 0",
    "node_load1",
    "node_load1 > 1",
    "node_load1 > bool 1",
    "avg(node_load1)",
    "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100",
    "100 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes * 100",
    "1 - avg by (instance) (rate(node_cpu_seconds_total{mode=\"idle\"}[5m]))",
    "sum by (instance, mode) (rate(node_cpu_seconds_total[5m]))",
    "sum without (cpu) (rate(node_cpu_seconds_total[2m]))",
    "irate(node_cpu_seconds_total{mode=\"user\"}[5m])",
    "increase(http_requests_total[1h])",
    "sum(increase(http_requests_total{code=~\"5..\"}[10m]))",
    "sum(rate(http_requests_total{code=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m]))",
    "sum by (code) (rate(http_requests_total[5m]))",
    "topk(3, rate(http_requests_total[5m]))",
    "bottomk(2, rate(http_requests_total[5m]))",
    "max_over_time(node_load1[10m])",
    "min_over_time(node_load1[10m])",
    "avg_over_time(node_load1[10m])",
    "sum_over_time(node_load1[10m])",
    "count_over_time(node_load1[10m])",
    "stddev_over_time(node_load1[10m])",
    "stdvar_over_time(node_load1[10m])",
    "quantile_over_time(0.9, node_load1[10m])",
    "last_over_time(node_load1[10m])",
    "present_over_time(node_load1[10m])",
    "delta(node_load1[10m])",
    "idelta(node_load1[10m])",
    "deriv(node_memory_MemAvailable_bytes[10m])",
    "predict_linear(node_filesystem_avail_bytes[1h], 4 * 3600) < 0",
    "predict_linear(node_filesystem_avail_bytes[30m], 86400)",
    "changes(up[30m])",
    "resets(http_requests_total[1h])",
    "rate(http_requests_total[5m] offset 10m)",
    "node_load1 offset 1h",
    "node_load1 - node_load1 offset 30m",
    "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
    "histogram_quantile(0.5, rate(http_request_duration_seconds_bucket[5m]))",
    "histogram_quantile(0.9, sum by (instance, le) (rate(http_request_duration_seconds_bucket[10m])))",
    "rate(http_request_duration_seconds_sum[5m]) / rate(http_request_duration_seconds_count[5m])",
    "sum(http_request_duration_seconds_bucket{le=\"0.5\"}) / sum(http_request_duration_seconds_count)",
    "absent(nonexistent{job=\"x\"})",
    "absent(up)",
    "absent_over_time(nonexistent[5m])",
    "count(up == 1)",
    "count by (job) (up)",
    "count_values(\"load\", ceil(node_load1))",
    "quantile(0.75, node_load1)",
    "stddev(node_load1)",
    "stdvar by (job) (node_load1)",
    "group by (job) (up)",
    "max by (job) (node_load1) - min by (job) (node_load1)",
    "node_load1 / on (instance) node_cpus",
    "node_load1 * on (instance) group_left (site) node_info",
    "sum by (site) (node_load1 * on (instance) group_left (site) node_info)",
    "node_cpu_seconds_total and on (instance) (node_load1 > 1.2)",
    "node_load1 unless on (instance) (up == 0)",
    "node_load1 or nonexistent",
    "label_replace(node_load1, \"host\", \"$1\", \"instance\", \"(.*):.*\")",
    "label_join(node_load1, \"key\", \"-\", \"job\", \"instance\")",
    "clamp_max(node_load1, 1)",
    "clamp(node_load1, 0.5, 1.5)",
    "round(node_load1, 0.25)",
    "ceil(node_load1) + floor(node_load1)",
    "abs(delta(node_load1[5m]))",
    "ln(node_load1 + 1) + log2(node_load1 + 1) + log10(node_load1 + 1)",
    "sqrt(node_load1) ^ 2 % 3",
    "exp(node_load1) > 3",
    "sgn(deriv(node_load1[5m]))",
    "scalar(sum(up)) * vector(2)",
    "time() - timestamp(node_load1)",
    "hour() + minute() / 100 + day_of_week()",
    "max_over_time(rate(http_requests_total[2m])[20m:1m])",
    "avg_over_time(sum(rate(http_requests_total[1m]))[10m:30s] offset 5m)",
];

/// Series by labels, samples by time.
type Data = BTreeMap<Labels, Vec<Sample>>;

struct Memory(Data);

impl Source for Memory {
    fn select(&self, m: &[Matcher], from: UnixMillis, to: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        let meets = |labels: &Labels| skerry_promql::matches_all(m, labels);
        let found = self.0.iter().filter(|(labels, _)| meets(labels)).map(|(labels, samples)| Selected {
            labels: labels.clone(),
            samples: samples.iter().filter(|s| s.at >= from && s.at <= to).copied().collect(),
        });
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }
}

/// Two hours of a small site: counters with resets, gauges, a histogram, one instance that goes and comes.
fn data() -> Data {
    let mut random = 7u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(random >> 33).unwrap_or(0)) / f64::from(u32::MAX / 2)
    };
    let mut data = Data::new();
    let mut add = |pairs: &[(&str, &str)], value: &mut dyn FnMut(i64) -> Option<f64>| {
        let at = |n: i64| UnixMillis((START_S + n * STEP_S) * 1000);
        let samples = (0..SAMPLES).filter_map(|n| value(n).map(|value| Sample { at: at(n), value })).collect();
        data.insert(Labels::new(pairs.iter().copied()).expect("sound labels"), samples);
    };
    for (instance, job, site) in [("a:9100", "node", "north"), ("b:9100", "node", "south"), ("c:9100", "edge", "south")]
    {
        let base = [("instance", instance), ("job", job)];
        let with = |extra: &[(&'static str, &'static str)]| {
            let mut pairs: Vec<(&str, &str)> = base.to_vec();
            pairs.extend(extra);
            pairs
        };
        add(&with(&[("__name__", "up")]), &mut |n| Some(f64::from(u8::from(instance != "c:9100" || n % 97 > 6))));
        let mut load = 1.0;
        add(&with(&[("__name__", "node_load1")]), &mut |_| {
            load = (load * 0.95 + next() * 0.12_f64).max(0.01);
            Some(load)
        });
        let mut info = with(&[("__name__", "node_info")]);
        info.push(("site", site));
        add(&info, &mut |_| Some(1.0));
        add(&with(&[("__name__", "node_cpus")]), &mut |_| Some(4.0));
        add(&with(&[("__name__", "node_memory_MemTotal_bytes")]), &mut |_| Some(8_589_934_592.0));
        add(&with(&[("__name__", "node_memory_MemAvailable_bytes")]), &mut |n| {
            Some((4e9 + next() * 1e9 - n as f64 * 1e6).floor())
        });
        add(&with(&[("__name__", "node_filesystem_avail_bytes"), ("mountpoint", "/")]), &mut |n| {
            Some(5e10 - n as f64 * 7e7 - (next() * 1e6).floor())
        });
        for (cpu, mode) in [("0", "idle"), ("0", "user"), ("1", "idle"), ("1", "user")] {
            let mut total = 100.0;
            add(&with(&[("__name__", "node_cpu_seconds_total"), ("cpu", cpu), ("mode", mode)]), &mut |_| {
                total += (next() * 1000.0).floor() / 100.0;
                Some(total)
            });
        }
        for code in ["200", "404", "500"] {
            // Far from zero: how far a range is drawn out towards zero is computed in another order since 3.
            let mut total = 100_000.0;
            add(&with(&[("__name__", "http_requests_total"), ("code", code)]), &mut |n| {
                total = if n % 211 == 210 { 50_000.0 } else { total + next() * 30.0 };
                // Scrapes that were missed.
                (n % 53 < 50).then_some(total)
            });
        }
        let mut counts = [0.0; 5];
        let mut rows: Vec<[f64; 5]> = Vec::new();
        for _ in 0..SAMPLES {
            let mut below = 0.0;
            for (place, count) in counts.iter_mut().enumerate() {
                below += (next() * [4.0, 9.0, 5.0, 2.0, 1.5][place]).floor();
                *count += below;
            }
            rows.push(counts);
        }
        for (place, le) in ["0.1", "0.5", "1", "5", "+Inf"].into_iter().enumerate() {
            let mut pairs = with(&[("__name__", "http_request_duration_seconds_bucket")]);
            pairs.push(("le", le));
            add(&pairs, &mut |n| Some(rows[usize::try_from(n).unwrap_or(0)][place]));
        }
        add(&with(&[("__name__", "http_request_duration_seconds_count")]), &mut |n| {
            Some(rows[usize::try_from(n).unwrap_or(0)][4])
        });
        add(&with(&[("__name__", "http_request_duration_seconds_sum")]), &mut |n| {
            Some(rows[usize::try_from(n).unwrap_or(0)][4] * 0.37)
        });
    }
    data
}

/// The data as OpenMetrics text with times, grouped by name, all of unknown type.
fn open_metrics(data: &Data) -> String {
    let mut by_name: BTreeMap<&str, Vec<(&Labels, &Vec<Sample>)>> = BTreeMap::new();
    for (labels, samples) in data {
        by_name.entry(labels.metric()).or_default().push((labels, samples));
    }
    let mut text = String::new();
    for (name, series) in by_name {
        let _ = writeln!(text, "# TYPE {name} unknown");
        for (labels, samples) in series {
            let pairs: Vec<String> =
                labels.iter().filter(|(n, _)| *n != "__name__").map(|(n, v)| format!("{n}={v:?}")).collect();
            for sample in samples {
                let _ = writeln!(text, "{name}{{{}}} {} {}", pairs.join(","), sample.value, sample.at.0 / 1000);
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn prometheus(folder: &Path, data: &Data) -> anyhow::Result<(Running, u16)> {
    let file = folder.join("data.txt");
    std::fs::write(&file, open_metrics(data))?;
    let storage = folder.join("storage");
    let made = Command::new("promtool")
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .arg(&file)
        .arg(&storage)
        .output()
        .context("promtool")?;
    ensure!(made.status.success(), "promtool: {}", String::from_utf8_lossy(&made.stderr));
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, "global: {}\n")?;
    let port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", storage.display()));
    command.arg("--storage.tsdb.retention.time=100y");
    command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
    let running = Running::spawn(&mut command, &folder.join("prometheus.log"))?;
    wait_for("Prometheus", || Ok(web().get(format!("http://127.0.0.1:{port}/-/ready")).call().map(drop)?))?;
    Ok((running, port))
}

/// Values by labels and time, in milliseconds.
type Found = BTreeMap<Labels, BTreeMap<i64, f64>>;

fn theirs(port: u16, path: &str, params: &[(&str, String)]) -> anyhow::Result<Found> {
    let mut request = web().get(format!("http://127.0.0.1:{port}/api/v1/{path}"));
    for (name, value) in params {
        request = request.query(*name, value.as_str());
    }
    let answer: serde_json::Value = serde_json::from_str(&request.call()?.body_mut().read_to_string()?)?;
    let mut found = Found::new();
    for series in answer["data"]["result"].as_array().context("a result")? {
        let pairs = series["metric"].as_object().context("a metric")?;
        let labels = Labels::new(pairs.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default())))?;
        let single = series["value"].as_array().map(|pair| vec![serde_json::Value::from(pair.clone())]);
        let points = series["values"].as_array().cloned().or(single).context("values")?;
        for point in points {
            let at = point[0].as_f64().context("a time")?;
            let value: f64 = point[1].as_str().context("a value")?.parse()?;
            #[expect(clippy::cast_possible_truncation, reason = "a time in milliseconds")]
            found.entry(labels.clone()).or_default().insert((at * 1000.0).round() as i64, value);
        }
    }
    Ok(found)
}

fn ours(memory: &Memory, text: &str, span: Span) -> anyhow::Result<Found> {
    let answer = Query::parse(text)?.evaluate(memory, span, Limits::default())?;
    let (Value::Vector(series) | Value::Matrix(series)) = answer.value else { anyhow::bail!("{:?}", answer.value) };
    let points = |series: skerry_promql::Series| {
        (series.labels, series.points.into_iter().map(|point| (point.at.0, point.value)).collect())
    };
    Ok(series.into_iter().map(points).collect())
}

/// The first difference.
fn difference(ours: &Found, theirs: &Found) -> Option<String> {
    let near = |a: f64, b: f64| {
        (a.is_nan() && b.is_nan()) || a.to_bits() == b.to_bits() || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
    };
    for (labels, points) in theirs {
        let Some(own) = ours.get(labels) else { return Some(format!("{labels} is missing")) };
        for (at, value) in points {
            match own.get(at) {
                Some(found) if near(*found, *value) => {}
                found => return Some(format!("{labels} at {at}: {found:?}, Prometheus has {value}")),
            }
        }
        if own.len() != points.len() {
            return Some(format!("{labels}: {} values, Prometheus has {}", own.len(), points.len()));
        }
    }
    ours.keys().find(|labels| !theirs.contains_key(*labels)).map(|labels| format!("{labels} is too much"))
}

#[test]
fn prometheus_gives_the_same_values() -> anyhow::Result<()> {
    if !["/usr/bin/prometheus", "/usr/bin/promtool"].iter().all(|program| Path::new(program).exists()) {
        eprintln!("SKIPPED {} queries: install the Debian package prometheus", QUERIES.len());
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let data = data();
    let (running, port) = prometheus(folder.path(), &data)?;
    let memory = Memory(data);
    let mut wrong = Vec::new();
    for text in QUERIES {
        // Seven seconds behind a sample: no window of whole minutes begins or ends on one.
        let instant = START_S + 6_007;
        let found = theirs(port, "query", &[("query", text.into()), ("time", instant.to_string())])?;
        let own = ours(&memory, text, Span::instant(UnixMillis(instant * 1000)))?;
        if let Some(difference) = difference(&own, &found) {
            wrong.push(format!("{text}: {difference}"));
        }
        let (start, end, step) = (START_S + 3_607, START_S + 7_000, 60);
        let params = [
            ("query", text.to_owned()),
            ("start", start.to_string()),
            ("end", end.to_string()),
            ("step", step.to_string()),
        ];
        let found = theirs(port, "query_range", &params)?;
        let span = Span::range(UnixMillis(start * 1000), UnixMillis(end * 1000), Duration::from_secs(step))?;
        if let Some(difference) = difference(&ours(&memory, text, span)?, &found) {
            wrong.push(format!("{text}, over a range: {difference}"));
        }
    }
    drop(running);
    ensure!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), 2 * QUERIES.len(), wrong.join("\n"));
    Ok(())
}
