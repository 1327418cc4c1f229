//! Loki's API and `skerry logs` on real processes: node and centre say the same of the same lines, what the centre lacks
//! comes from the node, and lines are seen live, each once.

#![expect(clippy::disallowed_methods, reason = "real processes in real time")]
#![expect(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]

use anyhow::{Context, ensure};
use futures_util::StreamExt;
use serde_json::Value;
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::stall::play_again;
use skerry_tests::web::web;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A node's config: it reads `app.log`, and hands its lines over once a second, or only every ten minutes.
fn spec(node: &Node, is_slow: bool) -> String {
    let interval = if is_slow { "10m" } else { "1s" };
    let path = node.folder.join("app.log");
    format!(
        "  store:\n    write_budget: 0B\n    log_interval: {interval}\n  sync:\n    reconnect_min: 100ms\n    \
         reconnect_max: 1s\n  logs:\n    poll: 20ms\n    rescan: 100ms\n    files:\n      - name: app\n        paths: ['{}']\n",
        path.display()
    )
}

fn joined(lab: &Lab, name: &str, site: &str, is_slow: bool) -> anyhow::Result<Node> {
    let mut node = lab.agent(name, "")?;
    let group = format!("group-{name}");
    lab.join(&mut node, &group)?;
    lab.cli(&["assign", name, "--group", &group, "--label", &format!("site={site}"), "--yes"])?;
    lab.apply(&format!("group/{group}"), &spec(&node, is_slow))?;
    lab.wait_config(name, &format!("group/{group}"), 1)?;
    Ok(node)
}

fn write(node: &Node, lines: impl IntoIterator<Item = String>) -> anyhow::Result<()> {
    let mut file = File::options().append(true).create(true).open(node.folder.join("app.log"))?;
    for line in lines {
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// The answer of the server, also where it is an error.
fn ask(lab: &Lab, path: &str) -> anyhow::Result<(u16, String)> {
    let request = web()
        .get(format!("http://127.0.0.1:{}/loki/api/v1{path}", lab.http))
        .header("Authorization", format!("Bearer {}", lab.api_token));
    let mut answer = request.config().http_status_as_error(false).build().call()?;
    Ok((answer.status().as_u16(), answer.body_mut().read_to_string()?))
}

fn at_centre(lab: &Lab, path: &str) -> anyhow::Result<Value> {
    let (status, body) = ask(lab, path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

fn at_node(node: &Node, path: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&node.text(&format!("/loki/api/v1{path}"))?)?)
}

/// What a query found, without the labels that the centre adds: labels, time and line, or labels and value.
fn found(answer: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for part in answer["data"]["result"].as_array().into_iter().flatten() {
        let mut labels = part["stream"].as_object().or(part["metric"].as_object()).cloned().unwrap_or_default();
        labels.remove("node");
        labels.remove("site");
        let labels = Value::from(labels);
        for value in part["values"].as_array().into_iter().flatten().chain(part.get("value")) {
            all.insert(format!("{labels} {value}"));
        }
    }
    all
}

fn lines_of(answer: &Value) -> usize {
    let parts = answer["data"]["result"].as_array().into_iter().flatten();
    parts.filter_map(|part| part["values"].as_array()).map(Vec::len).sum()
}

#[test]
fn node_and_centre_say_the_same_and_each_line_is_seen_once() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    lab.start_server()?;
    let (a, b) = (joined(&lab, "pi-a", "berlin", false)?, joined(&lab, "pi-b", "munich", true)?);
    let line = |n: usize| {
        let level = if n.is_multiple_of(10) { "error" } else { "info" };
        format!("level={level} number={n} took={}ms path=/p{}", n % 7, n % 3)
    };
    write(&a, (0..100).map(line))?;
    write(&b, (0..60).map(line))?;
    wait_for("the lines at the centre", || {
        let answer =
            at_centre(&lab, &format!("/query_range?limit=1000&query={}", encoded("{node=\"pi-a\",source=\"app\"}")))?;
        ensure!(lines_of(&answer) == 100, "{} lines", lines_of(&answer));
        Ok(())
    })?;
    wait_for("the lines on the other node", || {
        let answer = at_node(&b, &format!("/query_range?limit=1000&query={}", encoded("{source=\"app\"}")))?;
        ensure!(lines_of(&answer) == 60, "{} lines", lines_of(&answer));
        Ok(())
    })?;

    same_at_both(&lab, &a)?;
    lists_and_labels(&lab, &a, &b)?;
    from_the_node_itself(&lab)?;
    on_the_command_line(&lab, &a)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(tailed(&lab, &a))?;
    followed(&lab, &a, &b)?;
    lab.stop_server()
}

fn same_at_both(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let over = format!("&start={}&end={}", now - 600, now + 1);
    for (endpoint, query, at) in [
        ("query_range", "{source=\"app\"}", format!("{over}&limit=1000")),
        ("query_range", "{source=\"app\"} |= \"number=5\"", format!("{over}&limit=7&direction=forward")),
        (
            "query_range",
            "{source=\"app\",level=\"error\"} | logfmt | took>3ms | line_format \"{{.path}}\"",
            over.clone(),
        ),
        ("query_range", "{source=\"app\"} |~ \"number=(1|2)[0-9] \" != \"info\"", over.clone()),
        ("query_range", "sum by (path) (count_over_time({source=\"app\"} | logfmt [5m]))", format!("{over}&step=60")),
        ("query", "sum by (level) (count_over_time({source=\"app\"}[10m]))", format!("&time={now}")),
        (
            "query",
            "quantile_over_time(0.9, {source=\"app\"} | logfmt | unwrap duration(took) [10m]) by (path)",
            format!("&time={now}"),
        ),
        ("query", "topk(1, sum by (level) (bytes_rate({source=\"app\"}[10m])))", format!("&time={now}")),
    ] {
        let own = at_node(node, &format!("/{endpoint}?query={}{at}", encoded(query)))?;
        let narrowed = query.replacen('{', "{node=\"pi-a\",", 1);
        let centre = at_centre(lab, &format!("/{endpoint}?query={}{at}", encoded(&narrowed)))?;
        let asked = at_centre(lab, &format!("/{endpoint}?query={}{at}&node=pi-a", encoded(query)))?;
        assert_eq!(own["data"]["resultType"], centre["data"]["resultType"], "{query}");
        assert!(!found(&own).is_empty(), "{query}: nothing to compare: {own}");
        assert_eq!(found(&own), found(&centre), "{query}");
        assert_eq!(found(&own), found(&asked), "{query}, asked of the node");
        assert_eq!(asked["nodes"]["pi-a"]["status"], "answered", "{asked}");
    }
    Ok(())
}

fn lists_and_labels(lab: &Lab, a: &Node, b: &Node) -> anyhow::Result<()> {
    let data = |answer: Value| answer["data"].clone();
    let names = data(at_node(a, "/labels")?);
    assert_eq!(names, serde_json::json!(["filename", "level", "source"]));
    assert_eq!(data(at_node(b, "/label/level/values")?), serde_json::json!(["error", "info"]));
    let names = data(at_centre(lab, "/labels")?);
    assert_eq!(names, serde_json::json!(["filename", "level", "node", "site", "source"]));
    // The other node's lines are not there yet, but it can be asked.
    assert_eq!(data(at_centre(lab, "/label/node/values")?), serde_json::json!(["pi-a"]));
    assert_eq!(data(at_centre(lab, "/label/site/values?node_selector=")?), serde_json::json!(["berlin", "munich"]));
    let series = data(at_centre(lab, &format!("/series?match[]={}", encoded("{site=\"berlin\"}")))?);
    assert_eq!(series.as_array().map(Vec::len), Some(2), "{series}");
    assert_eq!(data(at_node(a, &format!("/series?match[]={}", encoded("{site=\"berlin\"}")))?), serde_json::json!([]));
    let (status, text) = ask(lab, &format!("/query_range?query={}", encoded("{site=\"berlin\"")))?;
    assert!(status == 400 && text.starts_with("parse error at line 1"), "{status} {text}");
    let (status, text) = ask(lab, &format!("/query_range?node=nobody&query={}", encoded("{site=\"berlin\"}")))?;
    assert!(status == 404 && text.contains("there is no node of that name"), "{status} {text}");
    let anybody = web().get(format!("http://127.0.0.1:{}/loki/api/v1/labels", lab.http));
    let refused = anybody.config().http_status_as_error(false).build().call()?;
    assert_eq!(refused.status(), 401);
    assert_eq!(a.text("/ready")?, "ready\n");
    Ok(())
}

fn from_the_node_itself(lab: &Lab) -> anyhow::Result<()> {
    let at = |place: &str| -> anyhow::Result<usize> {
        Ok(lab.cli(&["logs", "pi-b", "--at", place, "--label", "source=app", "--limit", "1000"])?.lines().count())
    };
    assert_eq!((at("centre")?, at("nodes")?, at("both")?), (0, 60, 60), "the node has not shipped yet");
    let all = lab.cli(&["logs", "-l", "site=~berlin|munich", "{source=\"app\"}", "-o", "json", "--limit", "1000"])?;
    let mut seen = BTreeSet::new();
    for line in all.lines() {
        let line: Value = serde_json::from_str(line)?;
        let key = format!("{} {}", line["labels"]["node"], line["line"]);
        assert!(seen.insert(key), "twice: {line}");
    }
    assert_eq!(seen.len(), 160, "what centre and node both have stands once");
    Ok(())
}

fn on_the_command_line(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    let raw = |args: &[&str]| lab.cli(&[&["logs", "pi-a", "-o", "raw"], args].concat());
    let errors = raw(&["--level", "error", "--grep", "number=10 "])?;
    assert_eq!(errors, "level=error number=10 took=3ms path=/p1\n");
    assert_eq!(raw(&["| logfmt | number>=98 | line_format \"{{.number}}\""])?, "98\n99\n");
    assert_eq!(raw(&["{source=\"app\"}", "--limit", "2", "--direction", "forward"])?.lines().count(), 2);
    assert_eq!(raw(&["{source=\"other\"}"])?, "");
    assert_eq!(raw(&["--from", "1", "--until", "5"])?, "");
    let refused = lab.cli_output(&["logs", "pi-a", "{source="])?;
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("parse error"),
        "{refused:?}"
    );
    let refused = lab.cli_output(&["logs", "nobody"])?;
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("there is no node of that name"), "{refused:?}");
    let config = node.folder.join("agent.yaml");
    let local = Command::new(&node.binary)
        .args(["logs", "|= \"number=1\"", "--raw", "--limit", "1000", "--config"])
        .arg(config)
        .output()?;
    let text = String::from_utf8(local.stdout)?;
    assert_eq!(text.lines().filter(|line| line.starts_with("level=")).count(), 11, "{text}");
    Ok(())
}

/// Both ends' live views over WebSocket: what is kept first, and then what is written, each line once.
async fn tailed(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    let query = encoded("{source=\"app\"} |= \"tailed\"");
    write(node, (0..5).map(|n| format!("tailed {n}")))?;
    wait_for("the lines at the centre", || {
        let answer = at_centre(lab, &format!("/query_range?query={query}"))?;
        ensure!(lines_of(&answer) == 5, "{} lines", lines_of(&answer));
        Ok(())
    })?;
    for (port, token) in [(node.http, None), (lab.http, Some(&lab.api_token))] {
        let mut request =
            format!("ws://127.0.0.1:{port}/loki/api/v1/tail?query={query}&limit=100").into_client_request()?;
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        }
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let (open, before) = (format!("tailed open {port}"), format!("tailed by {port}"));
        let mut seen: Vec<String> = Vec::new();
        let (mut knocks, mut written) = (0, false);
        let all = async {
            while !seen.iter().any(|line| line == &format!("{before} 9")) {
                // The centre asks the node for new lines when it has read what is kept: open once such a line has come.
                if !written && !seen.is_empty() {
                    if seen.iter().any(|line| line.starts_with(&open)) {
                        write(node, (0..10).map(|n| format!("{before} {n}")).chain(["not this one".into()]))?;
                        written = true;
                    } else {
                        write(node, [format!("{open} {knocks}")])?;
                        knocks += 1;
                    }
                }
                let next = tokio::time::timeout(Duration::from_millis(200), socket.next());
                let Ok(next) = next.await else { continue };
                let Message::Text(text) = next.context("the view ended")?? else { continue };
                let is_first = seen.is_empty();
                let message: Value = serde_json::from_str(&text)?;
                for stream in message["streams"].as_array().into_iter().flatten() {
                    assert_eq!(stream["stream"]["source"], "app", "{stream}");
                    assert_eq!(stream["stream"].get("site").is_some(), token.is_some(), "{stream}");
                    for value in stream["values"].as_array().into_iter().flatten() {
                        assert!(value[0].as_str().is_some_and(|at| at.len() == 19), "{value}");
                        seen.push(value[1].as_str().unwrap_or_default().to_owned());
                    }
                }
                if is_first {
                    // What is kept came first, in one message.
                    assert_eq!(seen[..5], (0..5).map(|n| format!("tailed {n}")).collect::<Vec<_>>());
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(Duration::from_secs(30), all).await.context("the lines")??;
        let ours: Vec<&String> = seen.iter().filter(|line| line.starts_with(&before)).collect();
        assert_eq!(ours, (0..10).map(|n| format!("{before} {n}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        assert_eq!(seen.len(), seen.iter().collect::<BTreeSet<_>>().len(), "{seen:?}");
    }
    // A page of another site is refused on the node, which asks for no token.
    let mut request = format!("ws://127.0.0.1:{}/loki/api/v1/tail?query={query}", node.http).into_client_request()?;
    request.headers_mut().insert("origin", "http://elsewhere.example".parse()?);
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", node.http)).await?;
    assert!(tokio_tungstenite::client_async(request, stream).await.is_err());
    Ok(())
}

/// `skerry logs -f` with its lines and when each arrived.
struct Follow {
    process: Child,
    lines: mpsc::Receiver<(Instant, String)>,
}

impl Follow {
    fn start(lab: &Lab, args: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(lab.binaries.path("skerry"))
            .arg("--dir")
            .arg(lab.folder.join("admin"))
            .args(["logs", "-f", "-o", "raw"])
            .args(args)
            .stdout(Stdio::piped())
            .spawn()?;
        let out: ChildStdout = process.stdout.take().context("its output")?;
        let (sender, lines) = mpsc::sync_channel(10_000);
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { process, lines })
    }

    fn next(&self) -> anyhow::Result<(Instant, String)> {
        self.lines.recv_timeout(Duration::from_secs(30)).context("a line of the live view")
    }
}

impl Drop for Follow {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Lines are written while the view is opened and after: each is shown once, within a second.
fn followed(lab: &Lab, a: &Node, b: &Node) -> anyhow::Result<()> {
    const LINES: usize = 200;
    let (stop, stopped) = mpsc::sync_channel::<()>(0);
    let paths = [a.folder.join("app.log"), b.folder.join("app.log")];
    // One file goes on all the time, so that lines are in memory, on their way and stored when the view begins.
    let early = std::thread::spawn(move || -> anyhow::Result<usize> {
        let mut file = File::options().append(true).open(&paths[0])?;
        let mut n = 0;
        while stopped.recv_timeout(Duration::from_millis(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
            writeln!(file, "early {n} end")?;
            n += 1;
        }
        Ok(n)
    });
    std::thread::sleep(Duration::from_millis(1500));
    let follow = Follow::start(lab, &["pi-a", "|= \"early\"", "--limit", "5000"])?;
    // Once it shows lines it is open.
    let mut shown = vec![follow.next()?.1];
    std::thread::sleep(Duration::from_millis(2500));
    drop(stop);
    let count = early.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
    while shown.len() < count {
        shown.push(follow.next()?.1);
    }
    let expected: BTreeSet<String> = (0..count).map(|n| format!("early {n} end")).collect();
    assert_eq!(shown.len(), count);
    assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), expected, "each once");
    assert!(follow.lines.recv_timeout(Duration::from_millis(500)).is_err(), "and no more");
    drop(follow);

    let follow = Follow::start(lab, &["-l", "site=~.+", "|= \"timed\""])?;
    let mut files = Vec::new();
    for node in [a, b] {
        files.push(File::options().append(true).open(node.folder.join("app.log"))?);
    }
    // Open once a line of each node has come.
    for (n, file) in files.iter_mut().enumerate() {
        let mut tries = 0;
        loop {
            writeln!(file, "timed first {n} {tries}")?;
            tries += 1;
            let (_, line) = match follow.lines.recv_timeout(Duration::from_millis(300)) {
                Ok(found) => found,
                Err(_) if tries < 100 => continue,
                Err(_) => anyhow::bail!("the live view shows nothing"),
            };
            if line.starts_with(&format!("timed first {n}")) {
                break;
            }
        }
    }
    while follow.lines.recv_timeout(Duration::from_millis(500)).is_ok() {}
    let mut round = 0;
    play_again(Duration::from_millis(300), || {
        round += 1;
        let mut took = Vec::new();
        let mut written = Vec::new();
        for n in 0..LINES {
            written.push(Instant::now());
            writeln!(files[n % 2], "timed round {round} number {n}")?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let (prefix, mut numbers) = (format!("timed round {round} number "), BTreeSet::new());
        while numbers.len() < LINES {
            let (at, line) = follow.next()?;
            // One that was under way when the view was found open.
            if line.starts_with("timed first ") {
                continue;
            }
            let n: usize = line.strip_prefix(&prefix).context(line.clone())?.parse()?;
            assert!(numbers.insert(n), "{line} came twice");
            took.push(at.saturating_duration_since(written[n]));
        }
        took.sort_unstable();
        let [median, p99, max] = [LINES / 2, LINES * 99 / 100, LINES - 1].map(|at| took[at]);
        println!("live tail over {LINES} lines: median {median:?}, p99 {p99:?}, max {max:?}");
        ensure!(p99 < Duration::from_secs(1), "{took:?}");
        Ok(())
    })
}
