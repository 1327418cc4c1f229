//! Remote write out to Debian's Prometheus and VictoriaMetrics, and in from Prometheus: what arrives is what was there.
//! Skipped, and said so, where a peer is not installed.

use anyhow::{Context, ensure};
use skerry_fleet::store::{self, Matcher, SAMPLES_MAX, Select};
use skerry_model::{Labels, Sample, UnixMillis, is_stale, stale_nan};
use skerry_remote::{Protocol, Series, write};
use skerry_tests::lab::{Binaries, Lab, value_of, wait_for};
use skerry_tests::peers::{Found, Gate, Mode, Peer, is_installed, matrix, post, resident_bytes, same};
use std::collections::BTreeMap;
use std::path::Path;

/// VictoriaMetrics keeps decimals, of which up to a million twelve digits are sure: 400.29200000000003 becomes 400.292
/// there, and 191.179246427 became 191.1792464269. Which values there are is the machine's affair. By bits the same
/// samples are compared with Prometheus.
const VICTORIA_TOLERANCE: f64 = 1e-12;

/// Ends the test as skipped where a program is missing.
macro_rules! need {
    ($program:expr, $package:expr) => {
        if !is_installed($program) {
            eprintln!("SKIPPED 1 test: install the Debian package {}", $package);
            return Ok(());
        }
    };
}

/// The wall clock, from the one place that reads it.
fn now_ms() -> i64 {
    skerry_fleet::clock::system()().0
}

/// A fleet whose file ends with `sections`; its server runs.
fn lab(folder: &Path, sections: &str) -> anyhow::Result<Lab> {
    std::fs::create_dir_all(folder)?;
    let mut lab = Lab::init(Binaries::build()?, folder)?;
    let path = folder.join("server/fleet.yaml");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, format!("{text}\n{sections}"))?;
    lab.start_server()?;
    Ok(lab)
}

fn feed(lab: &Lab, protocol: Protocol, series: &[Series]) -> anyhow::Result<()> {
    let url = format!("http://127.0.0.1:{}/api/v1/write?sender=feed", lab.http);
    let (status, words) = post(&url, protocol.content_type(), &write(protocol, series), Some(&lab.api_token))?;
    ensure!(status == 204, "{status} {words}");
    Ok(())
}

fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> Series {
    Series {
        labels: Labels::new(pairs.iter().copied()).expect("sound labels"),
        samples: samples.iter().map(|(at, value)| Sample { at: UnixMillis(*at), value: *value }).collect(),
    }
}

/// What our API has for a range query.
fn ours(lab: &Lab, query: &str) -> anyhow::Result<Found> {
    let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
    matrix(&lab.text(&format!("/api/v1/query?query={query}"))?)
}

fn count(found: &Found) -> usize {
    found.values().map(BTreeMap::len).sum()
}

/// Waits until a target has everything.
fn wait_sent(lab: &Lab, target: &str) -> anyhow::Result<serde_json::Value> {
    wait_for("everything to be sent", || {
        let all = lab.api("/remote-write")?;
        let all = all["targets"].as_array().context("targets")?;
        let view = all.iter().find(|view| view["name"] == target).context("the target")?.clone();
        ensure!(view["lag_seconds"] == 0.0 && view["sent_samples"].as_u64() > Some(0), "{view}");
        Ok(view)
    })
}

/// Every sample that a stopped fleet's file holds, stale markers too, by labels without `node` and `exported_node`.
fn held(lab: &Lab, node: &str) -> anyhow::Result<BTreeMap<Labels, Vec<Sample>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (store, _writer) = store::open(&lab.folder.join("data/fleet-data.db"), store::Config::default())?;
        let matchers = vec![Matcher::equal("node", node)];
        let all = Select { matchers, from: UnixMillis(i64::MIN), to: UnixMillis(i64::MAX), samples_max: SAMPLES_MAX };
        let found = store.select(all).await?.series.into_iter().map(|series| {
            let pairs = series.labels.iter().filter(|(name, _)| !["node", "exported_node"].contains(name));
            (Labels::new(pairs).expect("fewer of sound labels"), series.samples)
        });
        Ok(found.collect())
    })
}

#[test]
fn a_node_s_samples_are_the_same_at_prometheus_and_victoria_metrics() -> anyhow::Result<()> {
    need!("prometheus", "prometheus");
    need!("victoria-metrics", "victoria-metrics");
    let folder = tempfile::tempdir()?;
    let prometheus = Peer::prometheus(&folder.path().join("prometheus"), "global: {}\n")?;
    let victoria = Peer::victoria_metrics(&folder.path().join("victoria"))?;
    let sections = format!(
        "remote_write:\n  - {{url: '{}', name: prometheus}}\n  - {{url: '{}', name: victoria, \
         queue_config: {{max_samples_per_send: 100, max_shards: 1}}}}\n",
        prometheus.write_url(),
        victoria.write_url()
    );
    let mut lab = lab(&folder.path().join("fleet"), &sections)?;
    let mut node = lab.agent("pi-4", "collect: {interval: 1s}\nlogs: {files: []}\n")?;
    lab.join(&mut node, "edge")?;
    lab.cli(&["assign", "pi-4", "--label", "site=north", "--yes"])?;
    let query = "{node=\"pi-4\",site=\"north\"}[10m]";
    wait_for("samples of a few rounds", || {
        let found = ours(&lab, "node_load1{node=\"pi-4\"}[10m]")?;
        ensure!(count(&found) >= 5, "{} samples", count(&found));
        Ok(())
    })?;
    // Samples from before the label was signed have been sent without it, those of a few seconds after too; the others
    // show all labels.
    wait_for("samples with the label", || {
        let theirs = prometheus.samples(query)?;
        ensure!(theirs.keys().any(|labels| labels.metric() == "node_load1"), "{} series", theirs.len());
        Ok(())
    })?;
    node.stop()?;
    let view = wait_sent(&lab, "prometheus")?;
    wait_sent(&lab, "victoria")?;
    ensure!(view["refused_samples"] == 0, "{view}");
    let without_site = |found: Found| -> Found {
        let mut merged = Found::new();
        for (labels, points) in found {
            merged.entry(labels.with("site", "").expect("fewer labels")).or_default().extend(points);
        }
        merged
    };
    // What the centre says of the node goes on while this looks.
    let sent = "{node=\"pi-4\",__name__!~\"skerry_fleet_.+\"}";
    let all = &format!("{sent}[10m]");
    // A batch that the node sent before it stopped may be stored after the target was seen to have everything.
    let at_home = wait_for("everything to be at Prometheus", || {
        let at_home = without_site(ours(&lab, all)?);
        same(&at_home, &without_site(prometheus.samples(all)?), 0.0)?;
        Ok(at_home)
    })?;
    ensure!(count(&at_home) > 1000, "{} samples", count(&at_home));
    // The export of VictoriaMetrics shows stale markers too, as not-a-number.
    let plain = |found: &Found| -> Found {
        let points =
            |points: &BTreeMap<i64, f64>| points.iter().filter(|(_, v)| !v.is_nan()).map(|(at, v)| (*at, *v)).collect();
        found
            .iter()
            .map(|(labels, all)| (labels.clone(), points(all)))
            .filter(|(_, all): &(_, BTreeMap<_, _>)| !all.is_empty())
            .collect()
    };
    wait_for("everything to be at VictoriaMetrics", || {
        same(&plain(&at_home), &plain(&without_site(victoria.exported(sent)?)), VICTORIA_TOLERANCE)
    })?;
    let shown = lab.cli(&["get", "remote-write"])?;
    ensure!(shown.contains("prometheus  ok"), "{shown}");
    // What the centre says of the node is sent too: the target is behind for a moment every quarter of a minute.
    wait_for("no lag in the metrics", || {
        let lag = value_of(&lab.text("/metrics")?, "skerry_fleet_remote_write_lag_seconds{target=\"victoria\"}")?;
        ensure!(lag == 0.0, "{lag} seconds");
        Ok(())
    })?;
    println!("{} samples of {} series are the same at both peers", count(&at_home), at_home.len());
    lab.stop_server()
}

#[test]
fn bits_survive_the_way_through_prometheus_to_another_fleet() -> anyhow::Result<()> {
    need!("prometheus", "prometheus");
    let folder = tempfile::tempdir()?;
    let mut second = lab(&folder.path().join("second"), "")?;
    let config = format!(
        "remote_write:\n  - url: http://127.0.0.1:{}/api/v1/write?sender=prom\n    authorization: {{credentials: '{}'}}\n    \
         queue_config: {{batch_send_deadline: 1s}}\n",
        second.http, second.api_token
    );
    let prometheus = Peer::prometheus(&folder.path().join("prometheus"), &config)?;
    let sections = format!("remote_write:\n  - {{url: '{}', name: p}}\n", prometheus.write_url());
    let mut first = lab(&folder.path().join("first"), &sections)?;
    // Prometheus sends on what is younger than its own start.
    let start = now_ms() + 1000;
    // Negative zero is left out: Prometheus takes it, and sends it on as zero.
    let values = [1.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1 + 0.2, f64::MIN_POSITIVE, stale_nan(), 7.0];
    let rows: Vec<(i64, f64)> = (0i64..).map(|n| start + n * 1000).zip(values).collect();
    // In two requests, of both versions.
    feed(&first, Protocol::V1, &[series(&[("__name__", "odd"), ("job", "é\"\\\n")], &rows[..4])])?;
    feed(&first, Protocol::V2, &[series(&[("__name__", "odd"), ("job", "é\"\\\n")], &rows[4..])])?;
    feed(&first, Protocol::V2, &[series(&[("__name__", "gone")], &[(start, 1.0), (start + 1, stale_nan())])])?;
    wait_sent(&first, "p")?;
    wait_for("the second fleet", || {
        let text = second.text("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix("skerry_fleet_remote_receive_samples_total "));
        ensure!(line == Some("11"), "{line:?}");
        Ok(())
    })?;
    first.stop_server()?;
    second.stop_server()?;
    let (sent, arrived) = (held(&first, "remote.feed")?, held(&second, "remote.prom")?);
    // By bits, the stale markers' too.
    assert_eq!(sent, arrived);
    assert_eq!(sent.values().flatten().filter(|sample| is_stale(sample.value)).count(), 2);
    Ok(())
}

#[test]
fn nothing_is_lost_at_a_peer_that_fails_nor_over_kill_9() -> anyhow::Result<()> {
    need!("prometheus", "prometheus");
    let folder = tempfile::tempdir()?;
    let prometheus = Peer::prometheus(&folder.path().join("prometheus"), "global: {}\n")?;
    let gate = Gate::start(prometheus.port, Mode::Answer(500))?;
    let sections = format!(
        "remote_write:\n  - {{url: '{}', name: p, remote_timeout: 5s, queue_config: {{max_samples_per_send: 50, \
         batch_send_deadline: 100ms, max_backoff: 200ms}}}}\n",
        gate.write_url()
    );
    let mut lab = lab(folder.path(), &sections)?;
    let start = now_ms() - 600_000;
    let mut next = 0i64;
    let mut more = |lab: &Lab, rounds: i64| -> anyhow::Result<()> {
        for _ in 0..rounds {
            next += 1;
            let at = start + next * 1000;
            let all: Vec<Series> = (0..20)
                .map(|n| {
                    series(
                        &[("__name__", "m"), ("n", &n.to_string())],
                        &[(at, (next * 100 + n) as f64), (at + 500, 0.5)],
                    )
                })
                .collect();
            feed(lab, Protocol::V2, &all)?;
        }
        Ok(())
    };
    // Counted from before the gate takes on a mode: what it lets pass may be few and quick.
    let wait_requests = |mode: Option<Mode>, more: u64| {
        let before = gate.requests();
        if let Some(mode) = mode {
            gate.set(mode);
        }
        wait_for("requests at the gate", || {
            ensure!(gate.requests() >= before + more, "{} requests", gate.requests());
            Ok(())
        })
    };
    more(&lab, 5)?;
    wait_requests(None, 3)?;
    let failing = lab.api("/remote-write")?;
    ensure!(failing["targets"][0]["error"].as_str().is_some_and(|error| error.contains("HTTP 500")), "{failing}");
    lab.kill_server();
    lab.start_server()?;
    more(&lab, 5)?;
    for mode in [Mode::Answer(429), Mode::Swallow] {
        wait_requests(Some(mode), 3)?;
        // Between taking and telling, which is where senders go wrong.
        lab.kill_server();
        lab.start_server()?;
        more(&lab, 5)?;
    }
    wait_requests(Some(Mode::Pass), 2)?;
    lab.kill_server();
    lab.start_server()?;
    more(&lab, 5)?;
    let everything = |lab: &Lab| -> anyhow::Result<(Found, Found)> {
        let query = "m{node=\"remote.feed\"}[30m]";
        Ok((ours(lab, query)?, prometheus.samples(query)?))
    };
    wait_for("everything to be at the peer", || {
        let (ours, theirs) = everything(&lab)?;
        ensure!(count(&theirs) >= count(&ours), "{} of {}", count(&theirs), count(&ours));
        Ok(())
    })?;
    let (ours, theirs) = everything(&lab)?;
    assert_eq!((ours.len(), count(&ours)), (20, 25 * 20 * 2));
    same(&ours, &theirs, 0.0)?;
    let view = wait_sent(&lab, "p").or_else(|_| lab.api("/remote-write").map(|all| all["targets"][0].clone()))?;
    ensure!(view["refused_samples"] == 0, "{view}");
    let losses = lab.api("/nodes/remote.feed/losses")?;
    assert_eq!(losses["losses"], serde_json::json!([]), "nothing is booked that is there");
    // What a peer refuses for good is dropped and booked, and what comes after it goes on.
    gate.set(Mode::Answer(400));
    more(&lab, 1)?;
    let booked = wait_for("the ledger", || {
        let losses = lab.api("/nodes/remote.feed/losses")?;
        ensure!(losses["losses"][0]["count"] == 40, "{losses}");
        Ok(losses["losses"][0].clone())
    })?;
    assert_eq!((booked["reason"].as_str(), booked["source"].as_str()), (Some("refused"), Some("remote_write:p")));
    gate.set(Mode::Pass);
    more(&lab, 1)?;
    wait_for("samples after those", || {
        let theirs = prometheus.samples("m{n=\"7\"}[30m]")?;
        ensure!(count(&theirs) == 26 * 2, "{} samples", count(&theirs));
        Ok(())
    })
}

#[test]
fn version_2_goes_from_fleet_to_fleet_and_is_not_lost_at_one_that_knows_1_alone() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let mut second = lab(&folder.path().join("second"), "")?;
    let mut sections = format!(
        "remote_write:\n  - {{name: two, url: 'http://127.0.0.1:{}/api/v1/write', protobuf_message: \
         io.prometheus.write.v2.Request, authorization: {{credentials: '{}'}}}}\n",
        second.http, second.api_token
    );
    let peer = is_installed("prometheus")
        .then(|| Peer::prometheus(&folder.path().join("prometheus"), "global: {}\n"))
        .transpose()?;
    if let Some(peer) = &peer {
        let (url, message) = (peer.write_url(), Protocol::V2.message());
        sections.push_str(&format!("  - {{name: one, url: '{url}', protobuf_message: {message}}}\n"));
    }
    let mut first = lab(&folder.path().join("first"), &sections)?;
    let now = now_ms();
    let all = [series(&[("__name__", "a"), ("n", "1")], &[(now, -0.0), (now + 1, stale_nan()), (now + 2, 1.0)])];
    feed(&first, Protocol::V2, &all)?;
    wait_sent(&first, "two")?;
    if peer.is_some() {
        wait_for("the target to be told wrong", || {
            let all = first.api("/remote-write")?;
            let (view, why) = (&all["targets"][1], "mend protobuf_message");
            ensure!(view["error"].as_str().is_some_and(|error| error.contains(why)), "{view}");
            ensure!(view["sent_samples"] == 0, "{view}");
            Ok(())
        })?;
    }
    first.stop_server()?;
    second.stop_server()?;
    assert_eq!(held(&first, "remote.feed")?, held(&second, "remote")?, "by bits");
    Ok(())
}

#[test]
fn prometheus_writes_to_the_fleet() -> anyhow::Result<()> {
    need!("prometheus", "prometheus");
    let folder = tempfile::tempdir()?;
    let mut lab = lab(&folder.path().join("fleet"), "")?;
    let targets = folder.path().join("targets.json");
    let home = folder.path().join("prometheus");
    let config = |port: u16| {
        std::fs::write(
            &targets,
            format!("[{{\"targets\": [\"127.0.0.1:{port}\"], \"labels\": {{\"node\": \"own\"}}}}]"),
        )
    };
    config(lab.http)?;
    // It scrapes this very fleet, until the file names nobody.
    let prometheus = Peer::prometheus(
        &home,
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: fleet\n    file_sd_configs:\n      - files: ['{}']\n        \
             refresh_interval: 1s\nremote_write:\n  - url: http://127.0.0.1:{}/api/v1/write?sender=debian\n    \
             authorization: {{credentials: '{}'}}\n    queue_config: {{batch_send_deadline: 500ms, max_shards: 4}}\n",
            targets.display(),
            lab.http,
            lab.api_token
        ),
    )?;
    wait_for("a few rounds", || {
        let found = ours(&lab, "up{node=\"remote.debian\"}[10m]")?;
        ensure!(count(&found) >= 6, "{} samples", count(&found));
        Ok(())
    })?;
    std::fs::write(&targets, "[]")?;
    let gone = |text: &str| -> anyhow::Result<()> {
        let answer: serde_json::Value = serde_json::from_str(text)?;
        ensure!(answer["data"]["result"].as_array().is_some_and(Vec::is_empty), "{text}");
        Ok(())
    };
    wait_for("the target to be gone there", || gone(&prometheus.text("/api/v1/query?query=up")?))?;
    // Every series ends with a marker of its own, which may come in another request.
    let all = "/api/v1/query?query=%7Bnode%3D%22remote.debian%22%7D";
    wait_for("the target to be gone here, by its stale markers", || gone(&lab.text(all)?))?;
    let shown = |found: Found| -> Found {
        let own = |labels: &Labels| {
            let pairs = labels.iter().filter(|(name, _)| *name != "node");
            Labels::new(pairs.map(|(name, value)| (if name == "exported_node" { "node" } else { name }, value)))
                .expect("as many labels")
        };
        found.into_iter().map(|(labels, points)| (own(&labels), points)).collect()
    };
    let (here, there) = wait_for("all samples", || {
        let here = shown(ours(&lab, "{node=\"remote.debian\"}[10m]")?);
        let there = prometheus.samples("{job=\"fleet\"}[10m]")?;
        ensure!(count(&here) >= count(&there), "{} of {}", count(&here), count(&there));
        Ok((here, there))
    })?;
    ensure!(count(&here) > 100, "{} samples", count(&here));
    same(&here, &there, 0.0)?;
    let losses = lab.api("/nodes/remote.debian/losses")?;
    assert_eq!(losses["losses"], serde_json::json!([]));
    lab.stop_server()?;
    let held = held(&lab, "remote.debian")?;
    let ended = held.values().filter(|samples| samples.last().is_some_and(|sample| is_stale(sample.value))).count();
    assert_eq!(ended, held.len(), "every series ends with the stale marker");
    println!("{} samples of {} series are the same here", count(&here), here.len());
    Ok(())
}

#[test]
fn bad_requests_cost_an_answer_and_no_memory() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let lab = lab(folder.path(), "")?;
    let now = now_ms();
    feed(&lab, Protocol::V1, &[series(&[("__name__", "a")], &[(now, 1.0)])])?;
    let url = format!("http://127.0.0.1:{}/api/v1/write?sender=feed", lab.http);
    let good = write(Protocol::V1, &[series(&[("__name__", "a")], &[(now - 1, 1.0), (now + 1, 1.0)])]);
    let before = resident_bytes(lab.server_id().context("the server runs")?)?;
    for _ in 0..50 {
        for (body, content, status, words) in [
            (b"garbage".to_vec(), "application/x-protobuf", 400, "snappy"),
            (good[..good.len() / 2].to_vec(), "application/x-protobuf", 400, "snappy"),
            (vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0], "application/x-protobuf", 413, "4294967295 bytes"),
            (good.clone(), "text/plain", 415, "text/plain"),
        ] {
            let (found, told) = post(&url, content, &body, Some(&lab.api_token))?;
            ensure!(found == status && told.contains(words), "{found} {told}");
        }
    }
    let (status, told) = post(&url, "application/x-protobuf", &good, Some(&lab.api_token))?;
    ensure!(status == 400 && told.contains("out of order sample"), "{status} {told}");
    ensure!(post(&url, "application/x-protobuf", &good, Some("wrong"))?.0 == 401, "a wrong token");
    let found = ours(&lab, "a[10m]")?;
    assert_eq!(count(&found), 2, "the good sample beside the bad one is kept");
    let losses = lab.api("/nodes/remote.feed/losses")?;
    assert_eq!(
        (losses["losses"][0]["reason"].as_str(), losses["losses"][0]["count"].as_u64()),
        (Some("out_of_order"), Some(1))
    );
    // 32 MiB of series that each take two bytes: within the bytes, beyond the count.
    let many = vec![[0x0a, 0x00]; 16 << 20].concat();
    let bomb = snap::raw::Encoder::new().compress_vec(&many)?;
    for _ in 0..5 {
        let (status, told) = post(&url, "application/x-protobuf", &bomb, Some(&lab.api_token))?;
        ensure!(status == 413 && told.contains("series"), "{status} {told}");
    }
    let after = resident_bytes(lab.server_id().context("the server runs")?)?;
    ensure!(after < before + (48 << 20), "{before} bytes before, {after} after");
    println!("resident: {} MiB before, {} MiB after {} KiB bombs", before >> 20, after >> 20, bomb.len() >> 10);
    Ok(())
}
