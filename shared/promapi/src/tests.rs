use super::*;
use skerry_model::{MetricKind, Sample};
use skerry_promql::{Selected, TooMuch, matches_all};
use std::time::Duration;

/// Two series with a sample every 15 s from 0 to 10 min, counting up.
struct Two;

fn all() -> Vec<Labels> {
    let of = |node: &str| Labels::new([("__name__", "up_total"), ("node", node)]).unwrap();
    vec![of("a"), of("b")]
}

impl Source for Two {
    fn select(&self, m: &[Matcher], from: UnixMillis, to: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
        if m.iter().any(|matcher| matcher.label() == "too_much") {
            return Err(SourceError(Box::new(TooMuch("more than 3 samples; ask for less".into()))));
        }
        let meets = |labels: &Labels| matches_all(m, labels);
        let sample = |n: i64| Sample { at: UnixMillis(n * 15_000), value: n as f64 };
        let samples: Vec<Sample> = (0..=40).map(sample).filter(|s| s.at >= from && s.at <= to).collect();
        let found = all().into_iter().filter(meets).map(|labels| Selected { labels, samples: samples.clone() });
        Ok(found.filter(|series| !series.samples.is_empty()).collect())
    }
}

impl Catalog for Two {
    fn series(&self, m: &[Matcher], _: UnixMillis, _: UnixMillis, _: usize) -> Result<Vec<Labels>, SourceError> {
        let meets = |labels: &Labels| matches_all(m, labels);
        Ok(all().into_iter().filter(meets).collect())
    }

    fn metadata(&self) -> Result<Vec<MetricMeta>, SourceError> {
        let up = MetricMeta::fixed("up_total", MetricKind::Counter, "Counts up.");
        let other = MetricMeta { unit: "seconds".into(), ..MetricMeta::fixed("took", MetricKind::Histogram, "") };
        Ok(vec![up.clone(), other, up])
    }

    fn targets(&self) -> Result<Targets, SourceError> {
        let target = Target {
            pool: "node".into(),
            discovered: Labels::new([("__address__", "pi:9100")]).unwrap(),
            labels: Labels::new([("instance", "pi:9100"), ("job", "node")]).unwrap(),
            url: "http://pi:9100/metrics".into(),
            health: Health::Down,
            last_error: "refused".into(),
            last_scrape: Some(UnixMillis(1_500)),
            last_took: Duration::from_millis(20),
            interval: Duration::from_secs(90),
            timeout: Duration::from_secs(10),
        };
        let dropped = vec![("node".into(), Labels::new([("__address__", "x:1")]).unwrap())];
        Ok(Targets { active: vec![target], dropped, dropped_counts: [("node".into(), 1)].into() })
    }

    fn runtime(&self) -> Runtime {
        let config = config_text(
            serde_json::json!({"password": "x", "list": [{"Authorization": "y", "port": 1}], "headers": {"X-Key": "z"}}),
        );
        Runtime { config, blocks: 7, ..Runtime::default() }
    }
}

fn ask(endpoint: &Endpoint, params: &[(&str, &str)]) -> (u16, String) {
    let params = Params::new(params.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect());
    let response = answer(endpoint, &params, &Two, UnixMillis(600_000), Limits::default());
    (response.status, response.body)
}

#[test]
fn answers_have_prometheuss_form() {
    let (status, body) = ask(&Endpoint::Query, &[("query", "rate(up_total{node=\"a\"}[1m])"), ("time", "600")]);
    assert_eq!(status, 200);
    let expected = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"node":"a"},"value":[600,"0.06666666666666665"]}]}}"#;
    assert_eq!(body, expected);
    let (_, body) = ask(
        &Endpoint::QueryRange,
        &[("query", "sum(up_total)"), ("start", "0"), ("end", "1970-01-01T00:00:30Z"), ("step", "15s")],
    );
    let expected = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"0"],[15,"2"],[30,"4"]]}]}}"#;
    assert_eq!(body, expected);
    let (_, body) = ask(&Endpoint::QueryRange, &[("query", "1 + 1"), ("start", "5"), ("end", "5"), ("step", "15s")]);
    let expected = r#"{"resultType":"matrix","result":[{"metric":{},"values":[[5,"2"]]}]}"#;
    assert!(body.contains(expected), "a range of one step is a matrix too: {body}");
    let (_, body) = ask(&Endpoint::Query, &[("query", "1 + 1"), ("time", "1.5")]);
    assert_eq!(body, r#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"2"]}}"#);
    let (_, body) = ask(&Endpoint::Query, &[("query", "up_total"), ("limit", "1")]);
    assert!(body.ends_with(r#""warnings":["results truncated due to limit"]}"#), "{body}");
    let (_, body) = ask(&Endpoint::Query, &[("query", "rate(up[1m])")]);
    assert_eq!(body, r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#);
}

#[test]
fn lists_are_sorted_and_bounded() {
    assert_eq!(ask(&Endpoint::Labels, &[]).1, r#"{"status":"success","data":["__name__","node"]}"#);
    let values = Endpoint::LabelValues("node".into());
    assert_eq!(ask(&values, &[("match[]", "up_total{node!=\"a\"}")]).1, r#"{"status":"success","data":["b"]}"#);
    let (_, body) = ask(&Endpoint::Series, &[("match[]", "up_total"), ("match[]", "{node=\"a\"}"), ("limit", "1")]);
    let expected = r#"{"status":"success","data":[{"__name__":"up_total","node":"a"}],"warnings":["results truncated due to limit"]}"#;
    assert_eq!(body, expected);
    assert_eq!(ask(&Endpoint::FormatQuery, &[("query", "sum( a )")]).1, r#"{"status":"success","data":"sum(a)"}"#);
}

#[test]
fn what_is_wrong_is_named() {
    for (endpoint, params, status, words) in [
        (Endpoint::Query, vec![], 400, "invalid parameter \\\"query\\\""),
        (Endpoint::Query, vec![("query", "up{")], 400, "bad_data"),
        (Endpoint::Query, vec![("query", "up"), ("time", "soon")], 400, "valid timestamp"),
        (Endpoint::Query, vec![("query", "up_total + on() up_total")], 422, "many-to-many matching not allowed"),
        (Endpoint::QueryRange, vec![("query", "up"), ("start", "0"), ("end", "1")], 400, "step"),
        (Endpoint::Exemplars, vec![("query", "up)")], 400, "1:3: parse error"),
        (
            Endpoint::QueryRange,
            vec![("query", "up"), ("start", "0"), ("end", "99999"), ("step", "1")],
            400,
            "resolution",
        ),
        (Endpoint::QueryRange, vec![("query", "up"), ("start", "9"), ("end", "1"), ("step", "1")], 400, "end"),
        (
            Endpoint::QueryRange,
            vec![("query", "up[5m]"), ("start", "0"), ("end", "1"), ("step", "1")],
            400,
            "range query",
        ),
        (Endpoint::Series, vec![], 400, "no match[] parameter provided"),
        (Endpoint::Series, vec![("match[]", "rate(up[1m])")], 400, "selector"),
        (Endpoint::Labels, vec![("limit", "many")], 400, "limit"),
    ] {
        let (found, body) = ask(&endpoint, &params);
        assert_eq!(found, status, "{endpoint:?} {params:?}: {body}");
        assert!(body.contains(words), "{endpoint:?} {params:?}: {body}");
    }
}

#[test]
fn times_and_numbers_at_their_ends_do_not_panic() {
    let times = ["-100000000000000", "100000000000000", "0", "600"];
    let queries = [
        "up_total",
        "rate(up_total[292y])",
        "up_total offset 292y",
        "up_total offset -292y",
        "up_total @ 9e15",
        "up_total @ -9e15",
        "up_total @ 9e18",
        "up_total @ 1e300",
        "up_total @ NaN",
        "up_total @ start() offset -292y",
        "max_over_time(up_total[292y:1ms])",
        "max_over_time(up_total[1m:1ms] offset -292y)",
        "sum_over_time(rate(up_total[1m] @ -9e15)[292y:146y])",
        "year(vector(1e300)) + month(vector(-1e300)) + days_in_month(vector(NaN))",
        "timestamp(up_total) * 1e308 * 1e308",
        "predict_linear(up_total[292y], 1e308)",
        "topk(1e18, up_total)",
        "topk(-1e18, up_total)",
        "bottomk(NaN, up_total)",
        "quantile(1e308, up_total)",
        "round(up_total, 0)",
        "clamp(up_total, 1e308, -1e308)",
        "histogram_quantile(1e308, up_total)",
        "label_replace(up_total, \"x\", \"$99999999999999999999\", \"node\", \"(.*)\")",
        "double_exponential_smoothing(up_total[292y], 0.5, 0.5)",
        "limitk(1e18, up_total)",
        "limit_ratio(NaN, up_total)",
        "count_values(\"__name__\", up_total / 0)",
    ];
    for query in queries {
        for time in times {
            let (status, body) = ask(&Endpoint::Query, &[("query", query), ("time", time)]);
            assert!([200, 400, 422].contains(&status), "{query} at {time}: {body}");
            let range = [("query", query), ("start", time), ("end", time), ("step", "100000000000")];
            let (status, body) = ask(&Endpoint::QueryRange, &range);
            assert!([200, 400, 422].contains(&status), "{query} from {time}: {body}");
        }
        let range = [("query", query), ("start", times[0]), ("end", times[1]), ("step", "100000000000")];
        let (status, body) = ask(&Endpoint::QueryRange, &range);
        assert!([200, 400, 422].contains(&status), "{query} over all: {body}");
    }
}

fn data(endpoint: &Endpoint, params: &[(&str, &str)]) -> serde_json::Value {
    let (status, body) = ask(endpoint, params);
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<serde_json::Value>(&body).unwrap()["data"].take()
}

#[test]
fn metadata_is_told_once_a_metric_and_cut_where_asked() {
    let all = r#"{"took":[{"help":"","type":"histogram","unit":"seconds"}],"up_total":[{"help":"Counts up.","type":"counter","unit":""}]}"#;
    assert_eq!(data(&Endpoint::Metadata, &[]).to_string(), all);
    assert_eq!(data(&Endpoint::Metadata, &[("metric", "took")]).as_object().unwrap().len(), 1);
    assert_eq!(data(&Endpoint::Metadata, &[("limit", "1")]).as_object().unwrap().len(), 1);
    assert_eq!(ask(&Endpoint::Metadata, &[("limit_per_metric", "many")]).0, 400);
}

#[test]
fn targets_are_filtered_by_state_and_pool() {
    let shown = data(&Endpoint::Targets, &[]);
    let active = &shown["activeTargets"][0];
    assert_eq!(active["lastScrape"], "1970-01-01T00:00:01.5Z");
    assert_eq!((&active["health"], &active["scrapeInterval"]), (&"down".into(), &"1m30s".into()));
    assert_eq!(shown["droppedTargetCounts"]["node"], 1);
    let count = |params: &[(&str, &str)], list: &str| data(&Endpoint::Targets, params)[list].as_array().unwrap().len();
    assert_eq!(count(&[("state", "dropped")], "activeTargets"), 0);
    assert_eq!(count(&[("state", "active")], "droppedTargets"), 0);
    assert_eq!(count(&[("scrapePool", "other")], "activeTargets"), 0);
    assert_eq!(ask(&Endpoint::Targets, &[("state", "lost")]).0, 400);
    assert_eq!(data(&Endpoint::ScrapePools, &[])["scrapePools"][0], "node");
}

#[test]
fn status_tells_of_the_program_and_hides_secrets() {
    let config = data(&Endpoint::Config, &[])["yaml"].as_str().unwrap().to_owned();
    assert_eq!(config.matches("<secret>").count(), 3, "{config}");
    let tsdb = data(&Endpoint::Tsdb, &[]);
    assert_eq!((&tsdb["headStats"]["numSeries"], &tsdb["headStats"]["chunkCount"]), (&2.into(), &7.into()));
    assert_eq!(tsdb["seriesCountByMetricName"][0]["value"], 2);
    assert_eq!(tsdb["labelValueCountByLabelName"][0]["name"], "node");
    assert!(data(&Endpoint::Rules, &[])["groups"].as_array().unwrap().is_empty());
    for (path, endpoint) in ROUTES.iter().filter(|(path, _)| path.starts_with("status/")) {
        assert!(data(endpoint, &[]).is_object(), "{path}");
    }
}

#[test]
fn a_query_that_asks_for_too_much_is_told_so() {
    let (status, body) = ask(&Endpoint::Query, &[("query", "{too_much=\"x\"}")]);
    let told: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        (status, &told["errorType"], &told["error"]),
        (422, &"execution".into(), &"more than 3 samples; ask for less".into())
    );
}
