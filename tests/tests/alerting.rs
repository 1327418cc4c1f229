//! Alerting on a node that stands alone: rule file and alertmanager.yml as they are, a receiver beside the node, crashes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use skerry_tests::alone::Alone;
use skerry_tests::lab::wait_for;
use skerry_tests::web::web;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

const RULES: &str = "\
groups:
- name: line
  interval: 1s
  rules:
  - record: temp:double
    expr: temp * 2
  - alert: Hot
    expr: temp:double > 100
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.job }} is at {{ $value | humanize }}', broken: '{{ $labels.job | humanize }}'}
  - alert: Warm
    expr: temp > 40
    for: 1h
";

/// Receivers that hang, refuse and lead elsewhere stand beside the one that works.
fn routing(port: u16, bad: u16) -> String {
    format!(
        "\
route:
  receiver: site
  group_by: [alertname]
  group_wait: 0s
  group_interval: 1s
  repeat_interval: 4h
  routes:
  - {{receiver: bad, continue: true}}
  - {{receiver: site}}
receivers:
- name: site
  local: true
  webhook_configs:
  - url: http://127.0.0.1:{port}/hook
- name: bad
  webhook_configs:
  - url: http://127.0.0.1:{bad}/hang
  - url: http://127.0.0.1:1/refused
"
    )
}

/// Everything that a webhook heard, as `firing Hot`.
#[derive(Clone, Default)]
struct Hook(Arc<Mutex<Vec<String>>>);

impl Hook {
    fn start() -> anyhow::Result<(Self, u16)> {
        let hook = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let heard = hook.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A request that breaks off is none.
                let _ = stream.map_err(anyhow::Error::from).and_then(|stream| heard.serve(stream));
            }
        });
        Ok((hook, port))
    }

    fn serve(&self, mut stream: std::net::TcpStream) -> anyhow::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if line.trim_end().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let data: Value = serde_json::from_slice(&body)?;
        let alerts = data["alerts"].as_array().context("alerts")?;
        let mut heard = self.0.lock().unwrap();
        for alert in alerts {
            heard.push(format!(
                "{} {} {}",
                alert["status"].as_str().unwrap_or_default(),
                alert["labels"]["alertname"].as_str().unwrap_or_default(),
                alert["annotations"]["summary"].as_str().unwrap_or_default()
            ));
            let broken = alert["annotations"]["broken"].as_str().unwrap_or_default();
            assert!(broken.contains("error expanding template"), "the notice goes out with the error in it: {broken}");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        Ok(())
    }

    fn heard(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn wait(&self, count: usize) -> anyhow::Result<Vec<String>> {
        wait_for("notices", || {
            let heard = self.heard();
            ensure!(heard.len() >= count, "{heard:?}");
            Ok(heard)
        })
    }
}

/// A port where nothing is ever answered.
fn hanging() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || listener.incoming().collect::<Vec<_>>());
    Ok(port)
}

fn push(node: &Alone, temp: i64) -> anyhow::Result<()> {
    wait_for("a push", || {
        let url = format!("http://127.0.0.1:{}/metrics/job/oven", node.port());
        Ok(web().put(url).send(format!("temp {temp}\n")).map(drop)?)
    })
}

fn get(node: &Alone, path: &str) -> anyhow::Result<Value> {
    let mut answer = web().get(format!("http://127.0.0.1:{}{path}", node.port())).call()?;
    Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
}

/// Names and states of the alerts of rules.
fn states(node: &Alone) -> anyhow::Result<Vec<(String, String)>> {
    let found = get(node, "/api/v1/alerts")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let alerts = found["data"]["alerts"].as_array().context("alerts")?.iter();
    let mut alerts: Vec<_> = alerts.map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"]))).collect();
    alerts.sort();
    Ok(alerts)
}

/// Seconds after which `Warm` has waited for a while: more than it waits until it is seen again after a start.
const WAITED: f64 = 8.0;

/// For how long `Warm` had waited, at each evaluation that is known; time without power does not count.
fn waited(node: &Alone) -> anyhow::Result<Vec<f64>> {
    let found = get(node, "/api/v1/query?query=ALERTS_FOR_STATE%7Balertname%3D%22Warm%22%7D%5B10m%5D")?;
    let values = found["data"]["result"][0]["values"].as_array().cloned().unwrap_or_default();
    let waited = |value: &Value| Some(value[0].as_f64()? - value[1].as_str()?.parse::<f64>().ok()?);
    Ok(values.iter().filter_map(waited).collect())
}

/// Waits for evaluations that saw what was pushed before, however many there were since the start.
fn settled(node: &Alone) -> anyhow::Result<()> {
    let file = node.folder().join("rules.yml");
    let series = format!("prometheus_rule_group_iterations_total{{rule_group=\"{};line\"}}", file.display());
    node.wait_rise(&series, 4.0)
}

fn node(folder: &Path, port: u16) -> anyhow::Result<Alone> {
    std::fs::write(folder.join("rules.yml"), RULES)?;
    std::fs::write(folder.join("alertmanager.yml"), routing(port, hanging()?))?;
    let here = folder.display();
    Alone::new(
        folder,
        &format!(
            "push: {{gateway: true, interval: 1s}}\nrules:\n  evaluation_interval: 1s\n  files: [{here}/rules.yml]\nalerting:\n  config_file: {here}/alertmanager.yml\n"
        ),
    )
}

#[test]
fn somebody_on_site_is_told_at_once_and_never_twice() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (hook, port) = Hook::start()?;
    let mut node = node(folder.path(), port)?;
    node.start()?;
    push(&node, 45)?;
    wait_for("the alert that waits", || {
        let found = states(&node)?;
        ensure!(found.len() == 1 && found[0].0 == "Warm" && found[0].1 == "pending", "{found:?}");
        Ok(())
    })
    .with_context(|| node.log())?;
    push(&node, 60)?;
    assert_eq!(hook.wait(1).with_context(|| node.log())?, ["firing Hot oven is at 120"]);

    // Told and not noted yet would be told again, as with Alertmanager; the figures tell of what is on the disk.
    wait_for("the note that it was told", || {
        let noted = node.metric("alertmanager_nflog_entries ")?;
        ensure!(noted >= 1.0, "{noted}");
        Ok(())
    })
    .with_context(|| node.log())?;

    // Power loss in the middle: nobody is told again, and what waited goes on waiting.
    for _ in 0..2 {
        wait_for("a while of waiting", || {
            let waited = waited(&node)?;
            ensure!(waited.last().is_some_and(|last| *last >= WAITED), "{waited:?}");
            Ok(())
        })
        .with_context(|| node.log())?;
        // What was evaluated by now is on the disk by then.
        node.wait_rise("skerry_store_commits_total", 2.0)?;
        node.kill();
        node.start()?;
        // Programs push again and again; what was pushed last is kept once a minute.
        push(&node, 60)?;
        settled(&node).with_context(|| node.log())?;
        let found = states(&node)?;
        ensure!(found.len() == 2 && found[0].1 == "firing" && found[1].1 == "pending", "{found:?}");
        let waited = waited(&node)?;
        let goes_on = waited.iter().skip_while(|waited| **waited < WAITED).all(|waited| *waited > WAITED - 1.0);
        assert!(goes_on && waited.last() > Some(&WAITED), "`for` is not begun anew: {waited:?}");
    }
    assert_eq!(hook.heard().len(), 1, "{:?}", hook.heard());

    // Bad receivers stand on the board, and are told of once each.
    wait_for("the receiver that refuses", || {
        let status = get(&node, "/status")?;
        let problems = status["problems"].to_string();
        ensure!(problems.contains("receiver bad/webhook"), "{problems}");
        Ok(())
    })?;
    assert!(node.log().matches("a receiver cannot be told").count() <= 8, "{}", node.log());

    push(&node, 20)?;
    let heard = hook.wait(2)?;
    assert!(heard[1].starts_with("resolved Hot"), "{heard:?}");
    node.stop()?;
    Ok(())
}

#[test]
fn amtool_works_against_a_node() -> anyhow::Result<()> {
    if !skerry_tests::peers::is_installed("amtool") {
        println!("skipped: amtool is not installed");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (hook, port) = Hook::start()?;
    let mut node = node(folder.path(), port)?;
    node.start()?;
    wait_for("the API", || get(&node, "/api/v2/status"))?;
    let url = format!("--alertmanager.url=http://127.0.0.1:{}", node.port());
    let amtool = |args: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("amtool").arg(&url).args(args).output()?;
        ensure!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let id = amtool(&["silence", "add", "--author=me", "--comment=work", "alertname=Hot", "--duration=1h"])?;
    push(&node, 60)?;
    wait_for("the silenced alert", || {
        let shown = amtool(&["alert", "query", "--silenced", "alertname=Hot"])?;
        ensure!(shown.contains("Hot"), "{shown}");
        Ok(())
    })
    .with_context(|| node.log())?;
    assert_eq!(hook.heard(), [""; 0]);
    let shown =
        Command::new(node.binary()).args(["alerts", "--address"]).arg(format!("127.0.0.1:{}", node.port())).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains("silenced") && shown.contains("oven is at 120"), "{shown}");
    // A silence that was set is on the disk.
    node.kill();
    node.start()?;
    wait_for("the silence", || {
        let shown = amtool(&["silence", "query", "--output=json"])?;
        ensure!(shown.contains(id.trim()), "{shown}");
        Ok(())
    })?;
    amtool(&["silence", "expire", id.trim()])?;
    assert_eq!(hook.wait(1).with_context(|| node.log())?, ["firing Hot oven is at 120"]);
    amtool(&["alert", "add", "Manual", "summary=x"])?;
    let alerts = get(&node, "/api/v2/alerts")?;
    let names: Vec<&Value> = alerts.as_array().context("alerts")?.iter().map(|a| &a["labels"]["alertname"]).collect();
    assert!(names.contains(&&json!("Manual")), "{names:?}");
    node.stop()?;
    Ok(())
}

#[test]
fn bad_rules_are_refused_with_file_and_line() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let node = node(folder.path(), 1)?;
    let check = || -> anyhow::Result<(bool, String)> {
        let file = folder.path().join("agent.yaml");
        let output = Command::new(node.binary()).arg("check-config").arg(file).output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    let (is_good, told) = check()?;
    assert!(is_good, "{told}");
    std::fs::write(folder.path().join("rules.yml"), RULES.replace("temp * 2", "temp * "))?;
    let (is_good, told) = check()?;
    assert!(!is_good && told.contains("rules.yml:6: ") && told.contains("agent.yaml:"), "{told}");
    std::fs::write(folder.path().join("rules.yml"), RULES)?;
    std::fs::write(folder.path().join("alertmanager.yml"), "route: {receiver: nobody}\nreceivers: []\n")?;
    let (is_good, told) = check()?;
    assert!(!is_good && told.contains("alertmanager.yml"), "{told}");
    Ok(())
}
