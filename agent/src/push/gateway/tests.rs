use super::*;

fn gate() -> Gate {
    Gate::restore(8, &[]).0
}

fn path(text: &str) -> Path {
    Path::parse(text).unwrap()
}

fn shown(gate: &Gate) -> Vec<String> {
    let mut lines: Vec<String> = gate.series().iter().map(|(labels, value)| format!("{labels} {value}")).collect();
    lines.sort();
    lines
}

fn push(gate: &mut Gate, verb: Verb, to: &str, body: &str, at: i64) -> Result<(), String> {
    gate.push(verb, &path(to), body.as_bytes(), UnixMillis(at)).map_err(|refusal| refusal.0)
}

#[test]
fn groups_are_replaced_updated_and_deleted() {
    let mut gate = gate();
    push(&mut gate, Verb::Update, "job/a/x/1", "# TYPE n counter\nn{x=\"other\",y=\"z\"} 1\nm 2\n", 1000).unwrap();
    push(&mut gate, Verb::Update, "job/a/x/1", "m 5\n", 2000).unwrap();
    let failed = "push_failure_time_seconds{job=\"a\",x=\"1\"} 0";
    let pushed = |at: u8| format!("push_time_seconds{{job=\"a\",x=\"1\"}} {at}");
    assert_eq!(shown(&gate), ["m{job=\"a\",x=\"1\"} 5", "n{job=\"a\",x=\"1\",y=\"z\"} 1", failed, &pushed(2)]);
    push(&mut gate, Verb::Replace, "job/a/x/1", "m 6\npush_time_seconds 7\n", 3000).unwrap();
    assert_eq!(shown(&gate), ["m{job=\"a\",x=\"1\"} 6", failed, &pushed(3)]);
    push(&mut gate, Verb::Delete, "job/a/x/1", "", 4000).unwrap();
    push(&mut gate, Verb::Delete, "job/a/x/1", "", 4000).unwrap();
    assert_eq!(shown(&gate), [""; 0]);
}

#[test]
fn what_does_not_fit_is_refused_and_told() {
    let mut gate = gate();
    push(&mut gate, Verb::Update, "job/a", "# TYPE n counter\nn 1\n", 1000).unwrap();
    for (to, body, word) in [
        ("job/b", "n 1\n", "inconsistent"),
        ("job/b", "m 1 1234\n", "timestamps"),
        ("job/b", "m 1\nm 2\n", "twice"),
        ("job/b", "m{", "no end"),
        ("job/b", "m{\n", "parsing"),
        ("job/b", "m 1", "no end"),
        ("job/b", "a 1\nb 1\nc 1\nd 1\ne 1\nf 1\ng 1\nh 1\n", "gateway_series_max"),
    ] {
        let told = push(&mut gate, Verb::Replace, to, body, 2000).unwrap_err();
        assert!(told.contains(word), "{body:?}: {told}");
    }
    // Those that could be read are failures of their group.
    let times = ["push_failure_time_seconds{job=\"b\"} 2", "push_time_seconds{job=\"b\"} 0"];
    assert_eq!(shown(&gate)[2..].iter().filter(|line| line.contains("\"b\"")).collect::<Vec<_>>(), times);
    assert_eq!(gate.len(), 2);
}

#[test]
fn families_of_histograms_are_one_metric() {
    let mut gate = gate();
    let body = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\n";
    push(&mut gate, Verb::Replace, "job/a", body, 1000).unwrap();
    push(&mut gate, Verb::Update, "job/a", "# TYPE h histogram\nh_sum 9\n", 1000).unwrap();
    let names: Vec<String> = gate.series().iter().map(|(labels, _)| labels.metric().to_owned()).collect();
    assert_eq!(names, ["push_time_seconds", "push_failure_time_seconds", "h_sum", "s", "s_sum"]);
}

#[test]
fn groups_survive_a_restart() {
    let mut gate = gate();
    push(&mut gate, Verb::Update, "job/a", "# TYPE n counter\nn 1\nnan NaN\n", 1000).unwrap();
    push(&mut gate, Verb::Update, "job/b", "m +Inf\n", 1000).unwrap();
    let (changes, large) = gate.keep();
    assert!(large.is_empty() && gate.keep().0.is_empty());
    gate.keep_again(&changes[..1]);
    assert_eq!(gate.keep().0.len(), 1);
    let mut state: Vec<(String, Vec<u8>)> = changes.into_iter().map(|(key, value)| (key, value.unwrap())).collect();
    state.push(("push/x".into(), b"{".to_vec()));
    let (mut again, unread) = Gate::restore(8, &state);
    assert_eq!((shown(&again), unread), (shown(&gate), vec!["push/x".to_owned()]));
    assert!(push(&mut again, Verb::Update, "job/c", "n 1\n", 2000).is_err(), "types are kept");
    push(&mut again, Verb::Delete, "job/a", "", 2000).unwrap();
    let changes = again.keep().0;
    assert_eq!(changes.iter().filter(|(_, value)| value.is_none()).count(), 1);
}
