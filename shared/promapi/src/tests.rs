use super::*;
use skerry_model::Sample;
use skerry_promql::{Selected, matches_all};

/// Two series with a sample every 15 s from 0 to 10 min, counting up.
struct Two;

fn all() -> Vec<Labels> {
    let of = |node: &str| Labels::new([("__name__", "up_total"), ("node", node)]).unwrap();
    vec![of("a"), of("b")]
}

impl Source for Two {
    fn select(&self, m: &[Matcher], from: UnixMillis, to: UnixMillis, _: u64) -> Result<Vec<Selected>, SourceError> {
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
