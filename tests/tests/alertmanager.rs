//! Debian's prometheus-alertmanager beside the agent's routing: the same alertmanager.yml, the same alerts posted at the
//! same moments, and the webhooks of both compared to the letter: groups, order, labels, status, counts, times. And
//! `amtool` against both.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::peers::is_installed;
use skerry_tests::routing::{Act, Place, Scene, Session, alert, compare, lines, play};
use skerry_tests::stall::play_again;
use std::time::Duration;

fn alerts(at: u64, labels: &[&str]) -> (u64, Act) {
    (at, Act::Alerts(labels.iter().map(|labels| alert(labels, false)).collect()))
}

fn ended(at: u64, labels: &[&str]) -> (u64, Act) {
    (at, Act::Alerts(labels.iter().map(|labels| alert(labels, true)).collect()))
}

/// The agent. Without it the harness itself can be tried: Alertmanager beside another one.
fn ours() -> Place {
    if std::env::var_os("SKERRY_ALERTMANAGER_TWICE").is_some() { Place::Alertmanager } else { Place::Agent }
}

/// Plays a scene at both; both have to tell `notices` notices, so that silence of both is no agreement.
fn same(scene: &Scene, notices: usize) -> anyhow::Result<()> {
    if !is_installed("prometheus-alertmanager") {
        eprintln!("SKIPPED {}: install the Debian package prometheus-alertmanager", scene.name);
        return Ok(());
    }
    // Acts stand half a second from the flushes beside them: one that comes late at one of the two changes what is told.
    play_again(Duration::from_millis(100), || {
        let folder = tempfile::tempdir()?;
        let told = play(scene, &[ours(), Place::Alertmanager], folder.path())?;
        let count = compare(&told[0], &told[1]).with_context(|| scene.name)?;
        ensure!(count == notices, "{count} notices, not {notices}:\n{}", lines(&told[1]));
        Ok(())
    })
}

const TREE: &str = "
route:
  receiver: rest
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - receiver: pager
      matchers: [severity=critical]
      continue: true
      group_by: [cluster, alertname]
    - receiver: database
      match_re: {service: 'mysql|postgres'}
      routes:
        - receiver: owner
          match: {owner: team-x}
          continue: true
        - receiver: alone
          matchers: ['node=~\"n[0-9]+\"', 'env!=test']
          group_by: ['...']
    - receiver: never
      matchers: ['alertname=~\"Dead.*\"']
      group_by: [none]
receivers:
  - name: rest
    webhook_configs: [{url: 'URL/rest'}]
  - name: pager
    webhook_configs: [{url: 'URL/pager'}, {url: 'URL/pager-too', send_resolved: false}]
  - name: database
    webhook_configs: [{url: 'URL/database', max_alerts: 1}]
  - name: owner
    webhook_configs: [{url: 'URL/owner'}]
  - name: alone
    webhook_configs: [{url: 'URL/alone'}]
  - name: never
    webhook_configs: [{url: 'URL/never'}]
";

#[test]
fn a_tree_of_routes_with_groups_and_resolved_alerts() {
    let first = [
        "alertname=Down cluster=a severity=critical instance=i1",
        "alertname=Down cluster=a severity=critical instance=i2",
        "alertname=Down cluster=b severity=critical instance=i3 service=mysql",
        "alertname=Slow service=postgres owner=team-x node=n1",
        "alertname=Slow service=postgres node=n2 env=test",
        "alertname=Slow service=postgres node=n3",
        "alertname=DeadMan",
    ];
    let scene = Scene {
        name: "tree",
        config: TREE,
        acts: vec![
            alerts(0, &first),
            alerts(1500, &["alertname=Down cluster=a severity=critical instance=i0"]),
            ended(3500, &["alertname=Down cluster=b severity=critical instance=i3 service=mysql"]),
            ended(5500, &["alertname=Down cluster=a severity=critical instance=i1", "alertname=DeadMan"]),
            ended(7500, &["alertname=Slow service=postgres node=n3"]),
        ],
        ends: 11_000,
    };
    same(&scene, 17).unwrap();
}

const SIMPLE: &str = "
route: {receiver: all, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 5s}
receivers:
  - name: all
    webhook_configs: [{url: 'URL/all'}, {url: 'URL/firing', send_resolved: false}]
";

#[test]
fn repeated_notices_and_groups_that_shrink_end_and_begin_again() {
    let scene = Scene {
        name: "repeat",
        config: SIMPLE,
        acts: vec![
            alerts(0, &["alertname=Long instance=1", "alertname=Short instance=1", "alertname=Short instance=2"]),
            // The group shrinks: told at once where ends are told, at the next repetition elsewhere.
            ended(3500, &["alertname=Short instance=1"]),
            ended(9500, &["alertname=Short instance=2"]),
            // Again, after the group has gone: it waits for group_wait anew.
            alerts(14_500, &["alertname=Short instance=2"]),
        ],
        ends: 17_000,
    };
    same(&scene, 13).unwrap();
}

const INHIBITION: &str = "
route: {receiver: all, group_by: [alertname], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}
inhibit_rules:
  - source_matchers: [severity=critical]
    target_matchers: [severity=warning]
    equal: [cluster, zone]
  - source_match: {alertname: Maintenance}
    target_match_re: {job: '.+'}
receivers:
  - name: all
    webhook_configs: [{url: 'URL/all'}]
";

#[test]
fn inhibited_alerts_are_told_when_nothing_holds_them_back() {
    let scene = Scene {
        name: "inhibition",
        config: INHIBITION,
        acts: vec![
            alerts(
                0,
                &[
                    "alertname=Down severity=critical cluster=a",
                    "alertname=Slow severity=warning cluster=a",
                    "alertname=Slow severity=warning cluster=b",
                    "alertname=Warm severity=warning cluster=a zone=z",
                    "alertname=Maintenance",
                    "alertname=Full job=disk",
                ],
            ),
            ended(4500, &["alertname=Down severity=critical cluster=a"]),
            ended(6500, &["alertname=Maintenance"]),
            // Back while the other is told already: its end is told all the same? Only both programs agreeing counts.
            alerts(8500, &["alertname=Down severity=critical cluster=b"]),
            ended(10_500, &["alertname=Slow severity=warning cluster=b"]),
        ],
        ends: 14_000,
    };
    same(&scene, 9).unwrap();
}

#[test]
fn silences_hold_back_and_end() {
    let silence = |at, name, matchers: &[_], seconds| {
        let (matchers, lasts) = (matchers.to_vec(), Duration::from_secs(seconds));
        (at, Act::Silence { name, matchers, lasts })
    };
    let scene = Scene {
        name: "silences",
        config: SIMPLE,
        acts: vec![
            silence(0, "for four seconds", &[("alertname", "=", "Brief")], 4),
            silence(0, "by expression", &[("alertname", "=~", "Ex.+"), ("instance", "!=", "loud")], 60),
            silence(0, "all but", &[("alertname", "!~", "Brief|Ex.*|Ended")], 60),
            alerts(
                200,
                &[
                    "alertname=Brief",
                    "alertname=Expired instance=quiet",
                    "alertname=Expired instance=loud",
                    "alertname=Other",
                    "alertname=Ended",
                ],
            ),
            silence(2500, "what was told", &[("alertname", "=", "Ended")], 60),
            // It ends while silenced, and nobody is told of it.
            ended(3500, &["alertname=Ended"]),
            (6200, Act::Expire("by expression")),
            (8200, Act::Expire("all but")),
        ],
        ends: 12_500,
    };
    same(&scene, 12).unwrap();
}

const INTERVALS: &str = "
route:
  receiver: rest
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
    - {receiver: rest, matchers: [alertname=Muted], mute_time_intervals: [always]}
    - {receiver: rest, matchers: [alertname=NotMuted], mute_time_intervals: [never, new-year-2000]}
    - {receiver: rest, matchers: [alertname=Active], active_time_intervals: [never, always]}
    - {receiver: rest, matchers: [alertname=NotActive], active_time_intervals: [never]}
    - {receiver: rest, matchers: [alertname=Both], active_time_intervals: [always], mute_time_intervals: [today]}
time_intervals:
  - name: always
    time_intervals: [{weekdays: ['sunday:saturday']}]
  - name: never
    time_intervals: [{years: ['2001:2002'], months: ['january:march']}]
  - name: today
    time_intervals: [{times: [{start_time: '00:00', end_time: '24:00'}], days_of_month: ['1:31'], location: Australia/Sydney}]
mute_time_intervals:
  - name: new-year-2000
    time_intervals: [{years: ['2000'], months: ['1'], days_of_month: ['1']}]
receivers:
  - name: rest
    webhook_configs: [{url: 'URL/rest'}]
";

#[test]
fn time_intervals_mute() {
    let names = ["Muted", "NotMuted", "Active", "NotActive", "Both", "Plain"].map(|name| format!("alertname={name}"));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene =
        Scene { name: "intervals", config: INTERVALS, acts: vec![alerts(0, &names), ended(3500, &names)], ends: 7000 };
    same(&scene, 6).unwrap();
}

#[test]
fn receivers_that_fail_are_asked_again() {
    let scene = Scene {
        name: "failures",
        config: SIMPLE,
        acts: vec![
            (0, Act::Refuse("all", 503, 2)),
            (0, Act::Refuse("firing", 404, 1)),
            alerts(0, &["alertname=Told instance=1"]),
            ended(4500, &["alertname=Told instance=1"]),
        ],
        ends: 9000,
    };
    same(&scene, 6).unwrap();
}

/// Ids and moments are each program's own.
fn without_own(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_own),
        Value::Object(fields) => {
            for (key, value) in fields {
                if ["id", "startsAt", "endsAt", "updatedAt", "silencedBy"].contains(&key.as_str()) {
                    *value = Value::from(if value.is_array() { value.to_string().len() } else { 0 });
                }
                without_own(value);
            }
        }
        _ => {}
    }
}

/// What `amtool` prints as JSON.
fn printed(session: &Session, args: &[&str]) -> anyhow::Result<Value> {
    let (ok, out, err) = session.amtool(&[args, &["-o", "json"]].concat())?;
    ensure!(ok, "{args:?}: {out} {err}");
    let mut value = serde_json::from_str(&out).with_context(|| format!("{args:?}: {out}"))?;
    without_own(&mut value);
    Ok(value)
}

/// What an operator does with `amtool`, and what it answers at each step.
fn operate(session: &Session) -> anyhow::Result<Vec<(String, Value)>> {
    let mut told = Vec::new();
    let mut run = |args: &[&str]| {
        let (ok, out, err) = session.amtool(args)?;
        // Ids differ; that there is one does not.
        let is_id = |word: &str| word.len() == 36 && word.matches('-').count() == 4;
        let out: Vec<&str> = out.split_whitespace().map(|word| if is_id(word) { "ID" } else { word }).collect();
        // It remarks that its version is not the server's, which each says of itself.
        let remark = |line: &&str| line.starts_with("Warning: amtool version");
        let err: Vec<&str> = err.lines().filter(|line| !remark(line)).collect();
        let err = err.join("\n").replace(session.url(), "URL");
        // A silence that there is not: 500 of Alertmanager 0.25, 404 of newer ones and of ours.
        let err = if args.starts_with(&["silence", "expire"]) { String::new() } else { err };
        told.push((args.join(" "), serde_json::json!({"ok": ok, "out": out.join(" "), "err": err})));
        anyhow::Ok(())
    };
    run(&["alert", "add", "alertname=Hot", "node=n1", "severity=warning", "--annotation=summary=too hot"])?;
    run(&["alert", "add", "Cold", "node=n2", "severity=critical"])?;
    run(&["silence", "add", "alertname=Hot", "node=~n.", "--comment=known", "--author=me", "--duration=1h"])?;
    run(&["silence", "add", "alertname=Cold", "--comment=x", "--author=me", "--duration=1h"])?;
    run(&["silence", "add", "alertname=~.*", "--comment=matches the empty text", "--author=me"])?;
    run(&["silence", "add", "alertname=Hot", "--author=me"])?;
    run(&["silence", "query", "-q"])?;
    run(&["silence", "expire", "11111111-1111-4111-8111-111111111111"])?;
    run(&["check-config", "/nonexistent"])?;
    for args in [
        &["alert", "query"][..],
        &["alert", "query", "--silenced"],
        &["alert", "query", "--active=false", "severity=critical"],
        &["alert", "query", "node=~n[12]", "severity!=critical", "--silenced"],
        &["alert", "query", "--receiver=all", "--silenced"],
        &["silence", "query"],
        &["silence", "query", "alertname=Hot"],
        &["silence", "query", "--expired"],
    ] {
        told.push((args.join(" "), printed(session, args)?));
    }
    let (_, ids, _) = session.amtool(&["silence", "query", "alertname=Cold", "-q"])?;
    let (ok, _, err) = session.amtool(&["silence", "expire", ids.trim()])?;
    ensure!(ok, "{err}");
    told.push(("after expire".into(), printed(session, &["silence", "query"])?));
    told.push(("expired".into(), printed(session, &["silence", "query", "--expired"])?));
    told.push(("alerts".into(), printed(session, &["alert", "query"])?));
    let mut sorted = told;
    for (_, value) in &mut sorted {
        if let Some(items) = value.as_array_mut() {
            items.sort_by_key(ToString::to_string);
        }
    }
    Ok(sorted)
}

#[test]
fn amtool_works_against_both() {
    if !is_installed("amtool") || !is_installed("prometheus-alertmanager") {
        eprintln!("SKIPPED amtool: install the Debian package prometheus-alertmanager");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = SIMPLE.replace("URL", "http://127.0.0.1:9");
    let start = |place: Place, name: &str| place.start(&folder.path().join(name), &config).unwrap();
    let ours = start(ours(), "ours");
    let theirs = operate(&start(Place::Alertmanager, "theirs")).unwrap();
    let has_content = |value: &Value| value.as_array().is_some_and(|items| !items.is_empty());
    assert!(theirs.iter().filter(|(_, value)| has_content(value)).count() >= 8, "{theirs:#?}");
    for ((what, ours), (_, theirs)) in operate(&ours).unwrap().into_iter().zip(theirs) {
        assert_eq!(ours, theirs, "amtool {what}");
    }
}
