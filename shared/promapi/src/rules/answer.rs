//! `/api/v1/rules` and `/api/v1/alerts` in Prometheus's form.

use super::{ActiveAlert, AlertState, Alerting, Rule, RuleGroup, RuleHealth};
use crate::about::rfc3339;
use crate::params::{Bad, Params};
use crate::write::{labels, success, text};
use skerry_model::Labels;
use skerry_promql::{Matcher, Query, matches_all};

/// Most selectors of one request.
const MATCHES_MAX: usize = 64;

/// What is asked for.
struct Wanted<'a> {
    alerting: bool,
    recording: bool,
    alerts: bool,
    rules: Vec<&'a str>,
    groups: Vec<&'a str>,
    files: Vec<&'a str>,
    /// A rule's labels have to meet all of any of them.
    matches: Vec<Vec<Matcher>>,
    limit: Option<usize>,
    from: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(params: &'a Params) -> Result<Self, Bad> {
        let kind = params.first("type").unwrap_or_default().to_lowercase();
        if !["", "alert", "record"].contains(&&*kind) {
            return Err(Bad { parameter: "type", problem: format!("not supported value {kind:?}") });
        }
        let excluded = params.first("exclude_alerts").unwrap_or_default();
        let excludes = match excluded {
            "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
            "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
            other => {
                return Err(Bad {
                    parameter: "exclude_alerts",
                    problem: format!("{other:?} is neither true nor false"),
                });
            }
        };
        let limit = params.count("group_limit")?;
        let from = params.first("group_next_token").filter(|token| !token.is_empty());
        if from.is_some() && limit.is_none() {
            let problem = "group_limit needs to be present in order to paginate over the groups".to_owned();
            return Err(Bad { parameter: "group_limit", problem });
        }
        let matches = params.all("match[]").take(MATCHES_MAX).map(|selector| {
            let query = Query::parse(selector).and_then(|query| query.matchers());
            query.map_err(|error| Bad { parameter: "match[]", problem: error.to_string() })
        });
        Ok(Self {
            alerting: kind != "record",
            recording: kind != "alert",
            alerts: !excludes,
            rules: params.all("rule_name[]").collect(),
            groups: params.all("rule_group[]").collect(),
            files: params.all("file[]").collect(),
            matches: matches.collect::<Result<_, _>>()?,
            limit,
            from,
        })
    }

    fn takes_group(&self, group: &RuleGroup) -> bool {
        let is_among = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        is_among(&self.groups, &group.name) && is_among(&self.files, &group.file)
    }

    fn takes(&self, rule: &Rule) -> bool {
        let is_kind = if rule.alerting.is_some() { self.alerting } else { self.recording };
        let is_named = self.rules.is_empty() || self.rules.contains(&&*rule.name);
        is_kind && is_named && (self.matches.is_empty() || self.meets(rule))
    }

    /// Labels that are templates are none that could be compared.
    fn meets(&self, rule: &Rule) -> bool {
        let plain = Labels::new(rule.labels.iter().filter(|(_, value)| !value.contains("{{"))).unwrap_or_default();
        self.matches.iter().any(|matchers| matches_all(matchers, &plain))
    }
}

/// Names a group where a list was cut.
fn token(group: &RuleGroup) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in group.file.bytes().chain([b';']).chain(group.name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// `rules`: groups by file and name, those alone that have a rule which is asked for.
pub(crate) fn rules(params: &Params, mut all: Vec<RuleGroup>) -> Result<String, Bad> {
    let wanted = Wanted::of(params)?;
    all.sort_by(|a, b| (&a.file, &a.name).cmp(&(&b.file, &b.name)));
    let begin = match wanted.from {
        None => 0,
        Some(from) => all.iter().position(|group| token(group) == from).ok_or_else(|| Bad {
            parameter: "group_next_token",
            problem: format!("invalid group_next_token {from:?}. were rule groups changed?"),
        })?,
    };
    let mut groups: Vec<String> = Vec::new();
    let mut next = String::new();
    for group in all[begin..].iter().filter(|group| wanted.takes_group(group)) {
        let rules: Vec<String> =
            group.rules.iter().filter(|rule| wanted.takes(rule)).map(|rule| self::rule(rule, wanted.alerts)).collect();
        if rules.is_empty() {
            continue;
        }
        if wanted.limit.is_some_and(|limit| groups.len() >= limit) {
            next = format!(",\"groupNextToken\":\"{}\"", token(group));
            break;
        }
        groups.push(format!(
            "{{\"name\":{},\"file\":{},\"rules\":[{}],\"interval\":{},\"limit\":{},\"evaluationTime\":{},\
             \"lastEvaluation\":\"{}\"}}",
            text(&group.name),
            text(&group.file),
            rules.join(","),
            group.interval.as_secs_f64(),
            group.limit,
            group.took.as_secs_f64(),
            rfc3339(group.last),
        ));
    }
    Ok(success(&format!("{{\"groups\":[{}]{next}}}", groups.join(",")), &[], &[]))
}

/// `alerts`: those of all rules that are pending or fire.
pub(crate) fn alerts(all: &[RuleGroup]) -> String {
    let rules = all.iter().flat_map(|group| &group.rules).filter_map(|rule| rule.alerting.as_ref());
    let alerts: Vec<String> = rules.flat_map(|rule| rule.alerts.iter().map(alert)).collect();
    success(&format!("{{\"alerts\":[{}]}}", alerts.join(",")), &[], &[])
}

fn rule(rule: &Rule, with_alerts: bool) -> String {
    let health = match rule.health {
        RuleHealth::Unknown => "unknown",
        RuleHealth::Good => "ok",
        RuleHealth::Bad => "err",
    };
    let mut said = format!("\"health\":\"{health}\"");
    if !rule.last_error.is_empty() {
        said += &format!(",\"lastError\":{}", text(&rule.last_error));
    }
    said += &format!(",\"evaluationTime\":{},\"lastEvaluation\":\"{}\"", rule.took.as_secs_f64(), rfc3339(rule.last));
    let (name, query) = (text(&rule.name), text(&rule.query));
    let Some(Alerting { hold, keep_firing, annotations, alerts }) = &rule.alerting else {
        let set = if rule.labels.is_empty() { String::new() } else { format!(",\"labels\":{}", labels(&rule.labels)) };
        return format!("{{\"name\":{name},\"query\":{query}{set},{said},\"type\":\"recording\"}}");
    };
    let state = alerts.iter().map(|alert| alert.state).max().unwrap_or(AlertState::Inactive);
    let shown = if with_alerts {
        format!("[{}]", alerts.iter().map(alert).collect::<Vec<_>>().join(","))
    } else {
        // Not an empty list, which would say that there are none.
        "null".to_owned()
    };
    format!(
        "{{\"state\":\"{}\",\"name\":{name},\"query\":{query},\"duration\":{},\"keepFiringFor\":{},\"labels\":{},\
         \"annotations\":{},\"alerts\":{shown},{said},\"type\":\"alerting\"}}",
        state.as_str(),
        hold.as_secs_f64(),
        keep_firing.as_secs_f64(),
        labels(&rule.labels),
        labels(annotations),
    )
}

fn alert(alert: &ActiveAlert) -> String {
    let since = alert.keep_firing_since.map(|at| format!(",\"keepFiringSince\":\"{}\"", rfc3339(Some(at))));
    format!(
        "{{\"labels\":{},\"annotations\":{},\"state\":\"{}\",\"activeAt\":\"{}\"{},\"value\":\"{}\"}}",
        labels(&alert.labels),
        labels(&alert.annotations),
        alert.state.as_str(),
        rfc3339(Some(alert.active_at)),
        since.unwrap_or_default(),
        scientific(alert.value),
    )
}

/// A number with the shortest digits that read back and an exponent of at least two digits, as here alone.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return skerry_promql::number_text(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_model::UnixMillis;
    use std::time::Duration;

    fn set(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    fn recording(name: &str, labels: Labels) -> Rule {
        Rule {
            name: name.into(),
            query: "sum(up) > 1".into(),
            labels,
            health: RuleHealth::Good,
            last_error: "".into(),
            took: Duration::from_micros(250),
            last: Some(UnixMillis(1_500)),
            alerting: None,
        }
    }

    fn group(file: &str, name: &str, rules: Vec<Rule>) -> RuleGroup {
        RuleGroup {
            name: name.into(),
            file: file.into(),
            interval: Duration::from_millis(1_500),
            query_offset: Duration::ZERO,
            limit: 10,
            rules,
            took: Duration::from_millis(2),
            last: None,
            evaluations: 1,
            failures: 0,
            missed: 0,
            samples: 3,
        }
    }

    fn all() -> Vec<RuleGroup> {
        let alert = |value: f64, state, keep: Option<i64>| ActiveAlert {
            labels: set(&[("alertname", "a")]),
            annotations: set(&[("s", "is \"1\"")]),
            state,
            active_at: UnixMillis(60_000),
            keep_firing_since: keep.map(UnixMillis),
            value,
        };
        let alerts = vec![alert(1.5, AlertState::Pending, None), alert(1e-9, AlertState::Firing, Some(61_000))];
        let hold = Duration::from_secs(90);
        let annotations = set(&[("s", "{{ $value }}")]);
        let alerting = Alerting { hold, keep_firing: Duration::ZERO, annotations, alerts };
        let labels = set(&[("severity", "page"), ("t", "{{ $value }}")]);
        let bad = Rule {
            alerting: Some(alerting),
            health: RuleHealth::Bad,
            last_error: "no".into(),
            ..recording("a", labels)
        };
        vec![
            group("f", "z", vec![recording("r", Labels::default())]),
            group("f", "g", vec![bad, recording("s", set(&[("x", "y")]))]),
            group("e", "empty", vec![]),
        ]
    }

    fn asked(query: &str) -> Result<serde_json::Value, String> {
        let body = rules(&Params::decode(query.as_bytes(), b""), all()).map_err(|bad| bad.problem)?;
        Ok(serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["data"].clone())
    }

    /// Names of the groups with those of their rules.
    fn names(query: &str) -> String {
        let data = asked(query).unwrap();
        let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
        let name = |value: &serde_json::Value| value["name"].as_str().unwrap().to_owned();
        let group = |group: &serde_json::Value| {
            format!("{}:{}", name(group), list(&group["rules"]).iter().map(name).collect::<String>())
        };
        list(&data["groups"]).iter().map(group).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_form_is_prometheuss() {
        let groups = &asked("").unwrap()["groups"];
        // Keys, their order aside, as Prometheus 2.42 answers.
        assert_eq!(
            groups[0],
            serde_json::json!({
                "name": "g", "file": "f", "interval": 1.5, "limit": 10, "evaluationTime": 0.002,
                "lastEvaluation": "0001-01-01T00:00:00Z",
                "rules": [
                    {
                        "state": "firing", "name": "a", "query": "sum(up) > 1", "duration": 90, "keepFiringFor": 0,
                        "labels": {"severity": "page", "t": "{{ $value }}"}, "annotations": {"s": "{{ $value }}"},
                        "alerts": [
                            {"labels": {"alertname": "a"}, "annotations": {"s": "is \"1\""}, "state": "pending",
                             "activeAt": "1970-01-01T00:01:00Z", "value": "1.5e+00"},
                            {"labels": {"alertname": "a"}, "annotations": {"s": "is \"1\""}, "state": "firing",
                             "activeAt": "1970-01-01T00:01:00Z", "keepFiringSince": "1970-01-01T00:01:01Z",
                             "value": "1e-09"},
                        ],
                        "health": "err", "lastError": "no", "evaluationTime": 0.00025,
                        "lastEvaluation": "1970-01-01T00:00:01.5Z", "type": "alerting",
                    },
                    {
                        "name": "s", "query": "sum(up) > 1", "labels": {"x": "y"}, "health": "ok",
                        "evaluationTime": 0.00025, "lastEvaluation": "1970-01-01T00:00:01.5Z", "type": "recording",
                    },
                ],
            })
        );
        assert_eq!(groups[1]["rules"][0].get("labels"), None);
        let told: serde_json::Value = serde_json::from_str(&alerts(&all())).expect("JSON");
        assert_eq!(told["data"]["alerts"], groups[0]["rules"][0]["alerts"]);
    }

    #[test]
    fn questions_narrow_it() {
        for (query, expected) in [
            ("", "g:as z:r"),
            ("type=alert", "g:a"),
            ("type=Record", "g:s z:r"),
            ("rule_name[]=r&rule_name[]=a", "g:a z:r"),
            ("rule_group[]=z", "z:r"),
            ("file[]=e&file[]=nowhere", ""),
            ("file[]=f&type=alert", "g:a"),
            ("match[]={severity=\"page\"}", "g:a"),
            ("match[]={severity=\"page\"}&match[]={x=~\".%2b\"}", "g:as"),
            ("match[]={t=~\".%2b\"}", ""),
            ("group_limit=1", "g:as"),
        ] {
            assert_eq!(names(query), expected, "{query}");
        }
        let without = asked("exclude_alerts=true").unwrap();
        assert!(without["groups"][0]["rules"][0]["alerts"].is_null());
        let token = asked("group_limit=1").unwrap()["groupNextToken"].as_str().unwrap().to_owned();
        assert_eq!(names(&format!("group_limit=1&group_next_token={token}")), "z:r");
        assert!(asked(&format!("group_limit=1&group_next_token={token}")).unwrap().get("groupNextToken").is_none());
        for bad in [
            "type=x",
            "exclude_alerts=maybe",
            "group_next_token=1",
            "group_limit=1&group_next_token=1",
            "group_limit=-1",
            "match[]=sum(x)",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_have_exponents() {
        for (value, text) in [
            (0.0, "0e+00"),
            (-12.5, "-1.25e+01"),
            (1e300, "1e+300"),
            (1e-9, "1e-09"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(scientific(value), text);
        }
    }
}
