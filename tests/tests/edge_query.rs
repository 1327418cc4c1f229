//! Queries that nodes answer themselves: real processes, real links. Whatever becomes of a node, the answer says so.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::proxy::Proxy;
use skerry_tests::stall::play_again;
use skerry_tests::web::web;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const QUICK: &str = "  collect:\n    interval: 1s\n  store:\n    write_budget: 0B\n  sync:\n    reconnect_min: 100ms\n    \
                     reconnect_max: 1s\n";

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// The server's answer, also where it is an error.
fn ask(lab: &Lab, path: &str) -> anyhow::Result<(u16, Value)> {
    let request = web()
        .get(format!("http://127.0.0.1:{}/api/v1{path}", lab.http))
        .header("Authorization", format!("Bearer {}", lab.api_token));
    let mut answer = request.config().http_status_as_error(false).build().call()?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_str(&answer.body_mut().read_to_string()?)?))
}

/// Starts a node, and waits until it runs the group's config and is connected with it.
fn joined(lab: &Lab, name: &str) -> anyhow::Result<Node> {
    let mut node = lab.agent(name, "")?;
    lab.join(&mut node, "edge")?;
    lab.cli(&["assign", name, "--group", "edge", "--label", "site=lab", "--yes"])?;
    lab.wait_config(name, "group/edge", 1)?;
    wait_answer(lab, name)?;
    Ok(node)
}

fn wait_answer(lab: &Lab, name: &str) -> anyhow::Result<()> {
    wait_for("a node that answers", || {
        let (status, body) = ask(lab, &format!("/query?node={name}&query=count(node_load1)"))?;
        ensure!(status == 200 && body["data"]["result"][0]["value"][1] == "1", "{status} {body}");
        Ok(())
    })
}

fn local(node: &Node, path: &str) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&node.text(&format!("/api/v1{path}"))?)?)
}

#[test]
fn nodes_answer_and_what_is_missing_is_told() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
    let folder = tempfile::tempdir()?;
    let mut lab = Lab::init(Binaries::build()?, folder.path())?;
    proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
    lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
    lab.start_server()?;
    lab.apply("group/edge", QUICK)?;
    let (a, mut b) = (joined(&lab, "pi-a")?, joined(&lab, "pi-b")?);

    same_as_the_nodes_own(&lab, &a)?;
    labels_and_lists(&lab)?;
    errors_and_bounds(&lab)?;

    // By name and by label, on the command line.
    let both = lab.cli(&["query", "--at", "pi-a", "--at", "pi-b", "node_load1"])?;
    assert!(both.contains("node=\"pi-a\"") && both.contains("node=\"pi-b\""), "{both}");
    let both = lab.cli(&["query", "-l", "site=lab", "count by (site) (node_load1)", "-o", "json"])?;
    let both: Value = serde_json::from_str(&both)?;
    assert_eq!(both["data"]["result"].as_array().map(Vec::len), Some(2), "{both}");
    assert_eq!(both["data"]["result"][0]["metric"], serde_json::json!({"node": "pi-a", "site": "lab"}));
    let range = lab.cli(&["query", "--at", "pi-a", "node_boot_time_seconds", "--since", "2s", "--step", "1s"])?;
    assert!(range.lines().count() > 1, "{range}");

    // One node is killed, one does not exist: the others answer, and both are named.
    b.kill();
    wait_for("the centre to notice", || {
        ensure!(lab.node("pi-b")?["reach"] == "gone", "still connected");
        Ok(())
    })?;
    let output = lab.cli_output(&["query", "-l", "site", "--at", "pi-x", "node_load1"])?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("node=\"pi-a\"") && !out.contains("pi-b"), "{out}\n{err}");
    assert!(err.contains("node pi-b is missing: it is not connected"), "{err}");
    assert!(err.contains("node pi-x is missing: there is no node of that name"), "{err}");
    let (status, body) = ask(&lab, "/query?node=pi-a&node=pi-b&node=pi-x&query=node_load1")?;
    assert_eq!(status, 200);
    let statuses: Vec<_> = ["pi-a", "pi-b", "pi-x"].map(|node| body["nodes"][node]["status"].clone()).into();
    assert_eq!(statuses, ["answered", "unreachable", "unknown"], "{body}");
    assert_eq!(body["warnings"].as_array().map(Vec::len), Some(2), "{body}");

    // Where nobody answers it is a failure.
    for (args, words) in [
        (["query", "--at", "pi-b", "node_load1"], "node pi-b: it is not connected"),
        (["query", "--at", "pi-x", "node_load1"], "there is no node of that name"),
        (["query", "-l", "site=moon", "node_load1"], "no node has labels that meet"),
        (["query", "-l", "=", "node_load1"], "no condition on labels"),
    ] {
        let output = lab.cli_output(&args)?;
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && err.contains(words), "{args:?}: {err}");
    }
    let (status, body) = ask(&lab, "/query?node=pi-b&query=node_load1")?;
    assert_eq!((status, body["errorType"].as_str()), (503, Some("unavailable")), "{body}");
    assert_eq!(body["nodes"]["pi-b"]["status"], "unreachable");

    // The node stands still with its connection up: time is over, and that is told too.
    let pid = a.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw).context("id")?;
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    play_again(Duration::from_millis(500), || {
        #[expect(clippy::disallowed_methods, reason = "how long the answer takes is what is asked")]
        let began = Instant::now();
        let (status, body) = ask(&lab, "/query?node=pi-a&query=node_load1&timeout=2s")?;
        let took = began.elapsed();
        ensure!((status, body["errorType"].as_str()) == (503, Some("timeout")), "{body}");
        ensure!(body["nodes"]["pi-a"]["error"] == "did not answer within 2 s", "{body}");
        ensure!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
        Ok(())
    })?;
    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    wait_answer(&lab, "pi-a")?;

    // The link is cut: unreachable, and as before once it is back.
    proxy.close();
    wait_for("the centre to notice", || {
        let (status, body) = ask(&lab, "/query?node=pi-a&query=node_load1&timeout=1s")?;
        ensure!(status == 503 && body["nodes"]["pi-a"]["status"] == "unreachable", "{body}");
        Ok(())
    })?;
    assert!(local(&a, "/query?query=node_load1")?["data"]["result"][0].is_object(), "the node itself answers on");
    proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
    wait_answer(&lab, "pi-a")?;

    // The admin switches it off; the node says so.
    lab.apply("group/edge", &format!("{QUICK}    answer_queries: false\n"))?;
    lab.wait_config("pi-a", "group/edge", 2)?;
    wait_for("the refusal", || {
        let (status, body) = ask(&lab, "/query?node=pi-a&query=node_load1")?;
        let told = body["nodes"]["pi-a"]["error"].as_str().unwrap_or_default();
        ensure!(status == 503 && told.contains("sync.answer_queries is off"), "{body}");
        Ok(())
    })?;
    lab.stop_server()
}

/// What the centre gets of a node is what the node's own API says at the same moments.
fn same_as_the_nodes_own(lab: &Lab, node: &Node) -> anyhow::Result<()> {
    // Moments that lie behind, but not before the first sample: what is there then does not change any more.
    wait_for("some samples", || {
        let count = local(node, &format!("/query?query={}", encoded("count_over_time(node_load1[2m])")))?;
        let count = count["data"]["result"][0]["value"][1].as_str().and_then(|count| count.parse::<u32>().ok());
        ensure!(count >= Some(20), "{count:?} samples");
        Ok(())
    })?;
    let now = local(node, "/query?query=time()")?["data"]["result"][0].as_f64().context("the time")?.floor() - 10.0;
    let at = format!("&time={now}");
    let over = format!("&start={}&end={now}&step=1", now - 2.0);
    for (endpoint, expr, when) in [
        ("query", "node_boot_time_seconds", &at),
        ("query", "sum by (cpu) (node_cpu_seconds_total)", &at),
        ("query", "rate(node_cpu_seconds_total{mode=\"user\"}[30s])", &at),
        ("query", "node_memory_MemTotal_bytes[30s]", &at),
        ("query", "count({__name__=~\"node_.+\"})", &at),
        ("query_range", "node_load1", &over),
        ("query_range", "sum(rate(node_context_switches_total[30s]))", &over),
    ] {
        let query = format!("/{endpoint}?query={}{when}", encoded(expr));
        let own = local(node, &query)?;
        let (status, edge) = ask(lab, &format!("{query}&node=pi-a"))?;
        assert_eq!(status, 200, "{expr}: {edge}");
        assert_eq!(edge["nodes"]["pi-a"]["status"], "answered");
        assert_eq!(edge["data"]["resultType"], own["data"]["resultType"], "{expr}");
        let strip = |answer: &Value| -> Vec<(Value, Value)> {
            let series = answer["data"]["result"].as_array().cloned().unwrap_or_default();
            let bare = |mut series: Value| {
                let points = series["value"].take();
                let points = if points.is_null() { series["values"].take() } else { points };
                let mut labels = series["metric"].take();
                if let Some(labels) = labels.as_object_mut() {
                    labels.remove("node");
                    labels.remove("site");
                }
                (labels, points)
            };
            series.into_iter().map(bare).collect()
        };
        let (own, edge) = (strip(&own), strip(&edge));
        assert!(!own.is_empty(), "{expr}: nothing to compare");
        assert_eq!(own, edge, "{expr}");
    }
    Ok(())
}

fn labels_and_lists(lab: &Lab) -> anyhow::Result<()> {
    // The expression sees the labels that the centre knows the nodes by.
    let query = encoded("node_load1{site=\"lab\",node=~\"pi-.\"}");
    let (_, body) = ask(lab, &format!("/query?node=pi-a&node=pi-b&query={query}"))?;
    assert_eq!(body["data"]["result"].as_array().map(Vec::len), Some(2), "{body}");
    let (_, body) = ask(lab, "/query?node=pi-a&node=pi-b&query=scalar(node_load1)*0")?;
    assert_eq!(body["data"]["resultType"], "vector", "{body}");
    assert_eq!(body["data"]["result"][1]["metric"], serde_json::json!({"node": "pi-b", "site": "lab"}), "{body}");
    let (_, body) = ask(lab, "/label/node/values?node_selector=")?;
    assert_eq!(body["data"], serde_json::json!(["pi-a", "pi-b"]), "{body}");
    let (_, body) = ask(lab, "/labels?node=pi-a&match[]=node_load1")?;
    assert_eq!(body["data"], serde_json::json!(["__name__", "node", "site"]), "{body}");
    let (_, body) = ask(lab, "/series?node=pi-a&node=pi-b&match[]=node_load1")?;
    let expected = serde_json::json!({"__name__": "node_load1", "node": "pi-b", "site": "lab"});
    assert_eq!(body["data"][1], expected, "{body}");
    Ok(())
}

fn errors_and_bounds(lab: &Lab) -> anyhow::Result<()> {
    for (path, status, kind, words) in [
        ("/query?node=pi-a&query=up%7B", 400, "bad_data", "invalid parameter"),
        ("/query?node=pi-a", 400, "bad_data", "query"),
        ("/targets?node=pi-a", 400, "bad_data", "are understood by"),
        ("/query?node=No%20Node&query=up", 400, "bad_data", "no name of a node"),
        // Found out on the node, in its own words.
        ("/query?node=pi-a&query=node_load1%2Bon()node_cpu_seconds_total", 422, "execution", "node pi-a: "),
        // Touches more than a node gives for one question.
        ("/query?node=pi-a&query=sum_over_time(node_load1[100d:1ms])", 422, "execution", "250000"),
        (
            "/query?node=pi-a&query=label_replace(vector(1),%22a%22,%22%22,%22b%22,%22(%22)",
            422,
            "execution",
            "node pi-a",
        ),
    ] {
        let (found, body) = ask(lab, path)?;
        assert_eq!((found, body["errorType"].as_str()), (status, Some(kind)), "{path}: {body}");
        assert!(body["error"].as_str().is_some_and(|told| told.contains(words)), "{path}: {body}");
    }
    Ok(())
}
