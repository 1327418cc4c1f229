//! The real agent and Debian's Prometheus scrape the same servers with the same `prometheus.yml`: `up`, series, values,
//! ends of series and targets are the same, seen through the API of both.
//!
//! Left out of the comparison: how long scrapes took, and `scrape_series_added` of scrapes that fail, which Prometheus
//! counts once and we each time, because we forget what a failed scrape brought. And the job `cut`, whose exposition fails
//! at its end: Prometheus 2.42 ends only those of its series that had not been read by then.

use anyhow::{Context, ensure};
use serde_json::Value;
use skerry_tests::lab::{Binaries, Running, free_port, wait_for};
use skerry_tests::web::web;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

/// What the test server answers with.
#[derive(Debug, Default)]
struct Pages {
    by_path: BTreeMap<String, Page>,
    /// Requests since the pages changed last, by path and asker.
    asked: BTreeMap<(String, String), usize>,
}

#[derive(Debug, Clone)]
enum Page {
    /// Content type and body.
    Text(&'static str, String),
    /// Nothing, ever.
    Hang,
    /// Lines without an end.
    Endless,
    /// 401 without the right user, else the text.
    Guarded(String),
    /// 302 to a path.
    Moved(&'static str),
}

const PLAIN: &str = "text/plain; version=0.0.4";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Shared = Arc<Mutex<Pages>>;

fn serve(pages: Shared) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().filter_map(Result::ok) {
            let pages = pages.clone();
            // An asker that is cut off is no matter of the server's.
            std::thread::spawn(move || drop(answer(stream, &pages)));
        }
    });
    Ok(port)
}

fn answer(mut stream: TcpStream, pages: &Shared) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().context("a request")??;
    let path = request.split(' ').nth(1).context("a path")?.to_owned();
    let (mut asker, mut user) = (String::new(), String::new());
    for line in lines.by_ref() {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("user-agent") => value.clone_into(&mut asker),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => value.clone_into(&mut user),
            Some(_) => {}
            None => break,
        }
    }
    let asker = asker.split('/').next().unwrap_or_default().to_owned();
    let page = {
        let mut pages = pages.lock().unwrap_or_else(PoisonError::into_inner);
        *pages.asked.entry((path.clone(), asker)).or_default() += 1;
        pages.by_path.get(&path).cloned()
    };
    let mut send = |status: &str, headers: &str, body: &str| {
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    };
    match page {
        None => send("404 Not Found", "", "no such page\n")?,
        Some(Page::Text(kind, body)) => send("200 OK", &format!("Content-Type: {kind}\r\n"), &body)?,
        Some(Page::Moved(to)) => send("302 Found", &format!("Location: {to}\r\n"), "")?,
        Some(Page::Guarded(body)) if user == "Basic dTpw" => send("200 OK", "Content-Type: text/plain\r\n", &body)?,
        Some(Page::Guarded(_)) => send("401 Unauthorized", "", "who?\n")?,
        // Until the asker gives up.
        Some(Page::Hang) => drop(stream.read(&mut [0; 1])),
        Some(Page::Endless) => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {PLAIN}\r\nConnection: close\r\n\r\n")?;
            // In large pieces: whoever reads is to meet the limit of the size and not that of time.
            let mut stream = BufWriter::new(stream);
            for n in 0u64.. {
                writeln!(stream, "endless{{n=\"{n}\"}} {n}")?;
            }
        }
    }
    Ok(())
}

/// The pages of each phase. `start` is the test's begin in seconds.
fn pages(phase: u32, start: u64) -> BTreeMap<String, Page> {
    let text = |body: &str| Page::Text(PLAIN, body.to_owned());
    let mut pages = BTreeMap::from([
        ("/phase".to_owned(), text(&format!("# HELP phase Of the test.\n# TYPE phase gauge\nphase {phase}\n"))),
        ("/labels".to_owned(), text("a{job=\"own\",instance=\"x\",exported_job=\"e\"} 1\nb{job=\"\"} 2\n")),
        ("/many".to_owned(), text("m{n=\"1\"} 1\nm{n=\"2\"} 1\nm{n=\"3\"} 1\n")),
        ("/rules".to_owned(), text("go_x 1\nold_name{code=\"200\",drop_me=\"1\"} 4\nkeep_me 5\n")),
        ("/twice".to_owned(), text("t 1\nt 2\nt{a=\"\"} 3\n")),
        ("/probe?module=http_2xx&target=https%3A%2F%2Fx.y%2Fz".to_owned(), text("probe_success 1\n")),
        ("/guarded".to_owned(), Page::Guarded("guarded 1\n".into())),
        ("/moved".to_owned(), Page::Moved("/phase")),
        ("/hang".to_owned(), Page::Hang),
        ("/endless".to_owned(), Page::Endless),
        ("/numbers".to_owned(), text("n{k=\"inf\"} +Inf\nn{k=\"ninf\"} -Inf\nn{k=\"nan\"} NaN\nn{k=\"exp\"} 1.5e-7\n")),
        ("/odd".to_owned(), text("odd{v=\"q\\\"b\\\\n\\nx é\"} 1\nspaced \t{ a = \"b\" , }\t2\n")),
        ("/label".to_owned(), text(&format!("l{{v=\"{}\"}} 1\n", "x".repeat(1 << 20)))),
    ]);
    let bad = if phase == 2 { "what is this\nsound 1\n" } else { "sound 1\n" };
    pages.insert("/bad".to_owned(), text(bad));
    let open = format!(
        "# TYPE o counter\n# UNIT o_bytes bytes\no_total{{k=\"v\"}} {phase} # {{id=\"1\"}} 0.5\no_created 5\n# TYPE own_time gauge\nown_time 7 {start}.5\n# EOF\n"
    );
    pages.insert("/open".to_owned(), Page::Text(OPEN, open.clone()));
    let cut = if phase == 2 { open.replace("# EOF\n", "") } else { open };
    pages.insert("/cut".to_owned(), Page::Text(OPEN, cut));
    match phase {
        1 => drop(pages.insert("/plain".to_owned(), text("a 1\nb{l=\"x\"} 2\nb{l=\"y\"} 3\n"))),
        2 => drop(pages.insert("/plain".to_owned(), text("a 5\nb{l=\"x\"} 2\nc 9\n"))),
        // Gone altogether.
        _ => {}
    }
    pages
}

fn jobs(port: u16, folder: &Path) -> String {
    let plain = |name: &str, more: &str| {
        format!(
            "  - job_name: {name}\n    metrics_path: /{name}\n    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n{more}"
        )
    };
    let mut text = String::from("global: {scrape_interval: 2s, scrape_timeout: 1500ms}\nscrape_configs:\n");
    for name in ["phase", "plain", "bad", "open", "cut", "numbers", "odd", "twice", "hang", "moved", "labels"] {
        text += &plain(name, "");
    }
    text += &plain("endless", "    body_size_limit: 100KB\n");
    text += &plain("many", "    sample_limit: 2\n");
    text += &plain("guarded", "    basic_auth: {username: u, password: p}\n");
    text += &plain(
        "rules",
        "    metric_relabel_configs:\n      - {source_labels: [__name__], regex: 'go_.*', action: drop}\n      - {source_labels: [__name__], regex: 'old_(.*)', target_label: __name__, replacement: 'new_$1'}\n      - {regex: drop_me, action: labeldrop}\n      - {source_labels: [code], regex: '(.)..', target_label: class, replacement: '${1}xx'}\n",
    );
    text += &plain("honored", "    honor_labels: true\n").replace("/honored", "/labels");
    text += &plain("unmoved", "    follow_redirects: false\n").replace("/unmoved", "/moved");
    text += &plain("guess", "").replace("/guess", "/guarded");
    text += &plain("wide", "    label_value_length_limit: 3\n    label_limit: 10\n").replace("/wide", "/rules");
    text += &format!(
        "  - job_name: probe\n    metrics_path: /probe\n    params: {{module: [http_2xx]}}\n    static_configs:\n      - targets: ['https://x.y/z', 'drop.me:1']\n        labels: {{site: north}}\n    relabel_configs:\n      - {{source_labels: [__address__], regex: 'drop.*', action: drop}}\n      - {{source_labels: [__address__], target_label: __param_target}}\n      - {{source_labels: [__param_target], target_label: instance}}\n      - {{target_label: __address__, replacement: '127.0.0.1:{port}'}}\n      - {{source_labels: [site, job], separator: '/', target_label: where, action: uppercase}}\n      - {{source_labels: [instance], target_label: shard, modulus: 7, action: hashmod}}\n"
    );
    text += &format!(
        "  - job_name: files\n    metrics_path: /phase\n    file_sd_configs: [{{files: ['{}/targets-*.json'], refresh_interval: 1s}}]\n",
        folder.display()
    );
    text
}

/// One of the two programs' API.
struct Api(u16);

impl Api {
    fn ask(&self, path: &str, params: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut request = web().get(format!("http://127.0.0.1:{}/api/v1/{path}", self.0));
        for (name, value) in params {
            request = request.query(*name, *value);
        }
        Ok(serde_json::from_str(&request.call()?.body_mut().read_to_string()?)?)
    }

    /// Series of scraped targets and their values now.
    fn series(&self, expression: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let answer = self.ask("query", &[("query", expression)])?;
        let result = answer["data"]["result"].as_array().context("a result")?.clone();
        let number = |text: &str| text.parse::<f64>().map_or_else(|_| text.to_owned(), |value| format!("{value:?}"));
        let series = result
            .iter()
            .map(|series| (series["metric"].to_string(), number(series["value"][1].as_str().unwrap_or_default())));
        Ok(series.collect())
    }

    /// What is comparable about targets, by job and address.
    fn targets(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let answer = self.ask("targets", &[])?;
        let active = answer["data"]["activeTargets"].as_array().context("targets")?.clone();
        let mut told: BTreeMap<String, Value> = BTreeMap::new();
        for target in active.iter().filter(|target| target["scrapePool"] != "own") {
            let fields =
                ["discoveredLabels", "labels", "scrapePool", "scrapeUrl", "health", "scrapeInterval", "scrapeTimeout"];
            let kept: serde_json::Map<String, Value> =
                fields.iter().map(|field| ((*field).to_owned(), target[*field].clone())).collect();
            told.insert(format!("{} {}", target["scrapePool"], target["labels"]["instance"]), Value::Object(kept));
        }
        let dropped = answer["data"]["droppedTargets"].as_array().context("dropped targets")?;
        let dropped = dropped.iter().map(|target| target["discoveredLabels"].to_string()).collect::<BTreeSet<_>>();
        told.insert("dropped".into(), serde_json::to_value(dropped)?);
        Ok(told)
    }
}

/// Everything that the targets gave and that is left after the ends of series.
const COMPARED: &str = "{job!=\"\",job!~\"own|cut\",__name__!~\"scrape_duration_seconds|scrape_series_added\"}";
/// Series that were new in the last scrape, of scrapes that went well.
const ADDED: &str = "scrape_series_added{job!=\"own\"} and on (job, instance) up == 1";

fn same<T: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<String, T>,
    theirs: &BTreeMap<String, T>,
) -> anyhow::Result<()> {
    let differs = |(key, value): &(&String, &T)| theirs.get(*key) != Some(value);
    let here: Vec<_> = ours.iter().filter(differs).collect();
    let there: Vec<_> = theirs.iter().filter(|(key, value)| ours.get(*key) != Some(value)).collect();
    ensure!(here.is_empty() && there.is_empty(), "ours alone: {here:#?}\nPrometheus's alone: {there:#?}");
    Ok(())
}

#[test]
fn the_agent_scrapes_as_prometheus_does() -> anyhow::Result<()> {
    if !Path::new("/usr/bin/prometheus").exists() {
        eprintln!("SKIPPED 1 test: install the Debian package prometheus");
        return Ok(());
    }
    let binaries = Binaries::build()?;
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let start = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec.unsigned_abs();
    let shared = Shared::default();
    let change = |phase: u32| {
        let mut held = shared.lock().unwrap_or_else(PoisonError::into_inner);
        (held.by_path, held.asked) = (pages(phase, start), BTreeMap::new());
    };
    change(1);
    let port = serve(shared.clone())?;
    std::fs::write(
        folder.join("targets-a.json"),
        format!("[{{\"targets\":[\"127.0.0.1:{port}\"],\"labels\":{{\"f\":\"1\"}}}}]"),
    )?;
    let config = folder.join("prometheus.yml");
    std::fs::write(&config, jobs(port, folder))?;

    let peer_port = free_port()?;
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("storage").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{peer_port}"));
    let _peer = Running::spawn(&mut command, &folder.join("prometheus.log"))?;
    let own_port = free_port()?;
    let local = folder.join("agent.yaml");
    let text = format!(
        "node: n1\ndata_dir: {}\nlisten: 127.0.0.1:{own_port}\nscrape:\n  config_file: {}\n  scrape_configs:\n    - job_name: own\n      scrape_interval: 1s\n      metrics_path: /label\n      static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n",
        folder.join("data").display(),
        config.display()
    );
    std::fs::write(&local, text)?;
    let mut command = Command::new(binaries.path("skerry-agent"));
    command.args(["run", "--config"]).arg(&local);
    let agent = Running::spawn(&mut command, &folder.join("agent.log"))?;
    let (ours, theirs) = (Api(own_port), Api(peer_port));

    let paths: Vec<String> = pages(1, start).into_keys().filter(|path| path != "/label").collect();
    let settled = || {
        let held = shared.lock().unwrap_or_else(PoisonError::into_inner);
        for path in &paths {
            for asker in ["skerry-agent", "Prometheus"] {
                let count = held.asked.get(&(path.clone(), asker.to_owned())).copied().unwrap_or(0);
                ensure!(count >= 2, "{asker} has asked for {path} {count} times");
            }
        }
        Ok(())
    };
    for phase in 1..=3 {
        change(phase);
        if phase == 3 {
            // A target that goes, and one that comes.
            std::fs::remove_file(folder.join("targets-a.json"))?;
            std::fs::write(folder.join("targets-b.json"), format!("[{{\"targets\":[\"localhost:{port}\"]}}]"))?;
        }
        wait_for("both to see the new pages", settled)?;
        wait_for("the same series and values", || same(&ours.series(COMPARED)?, &theirs.series(COMPARED)?))?;
        wait_for("the same counts of new series", || same(&ours.series(ADDED)?, &theirs.series(ADDED)?))?;
        wait_for("the same targets", || same(&ours.targets()?, &theirs.targets()?))?;
        let mut expected = BTreeSet::from(["endless", "guess", "hang", "many", "unmoved", "wide"]);
        expected.extend(if phase == 2 { &["bad", "cut"][..] } else { &[] });
        expected.extend((phase == 3).then_some("plain"));
        // A target that this machine makes wait for once is down until it is asked again.
        let targets = wait_for("the right targets to be down", || {
            let ups = ours.series("up{job!=\"own\"}")?;
            let down: BTreeSet<&str> = ups
                .iter()
                .filter(|(_, value)| *value == "0.0")
                .filter_map(|(series, _)| series.split("\"job\":\"").nth(1)?.split('"').next())
                .collect();
            ensure!(down == expected, "in phase {phase}: {down:?}");
            Ok(ups.len())
        })?;
        println!("phase {phase}: {} series and {targets} targets are the same", ours.series(COMPARED)?.len());
    }

    // What is wrong with targets stands in the log, once for each change and not for each scrape.
    let log = std::fs::read_to_string(folder.join("agent.log"))?;
    for job in ["hang", "endless", "many", "bad", "own"] {
        let told = log.lines().filter(|line| line.contains(&format!("job=\"{job}\"")) && line.contains("WARN")).count();
        ensure!((1..=3).contains(&told), "job {job} is told {told} times in\n{log}");
    }
    wait_for("the targets to be shown", || {
        let output = Command::new(binaries.path("skerry-agent")).args(["targets", "--config"]).arg(&local).output()?;
        let shown = String::from_utf8(output.stdout)?;
        ensure!(shown.contains("sample_limit: 3 samples") && shown.contains("phase\n  up "), "{shown}");
        Ok(())
    })?;
    let page = web().get(format!("http://127.0.0.1:{own_port}/targets")).call()?.body_mut().read_to_string()?;
    ensure!(page.contains("<tr class=down>") && page.contains("<tr class=up>"), "{page}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.id()))?;
    println!("the agent's memory: {}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default());
    ensure!(agent.stop()?.success(), "the agent did not end in order");

    // What was thrown away stands in the ledger.
    let ledger = rusqlite::Connection::open(folder.join("data/agent.db"))?;
    let mut rows = ledger.prepare("SELECT DISTINCT reason || ' ' || source FROM loss")?;
    let lost = rows.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<String>, _>>()?;
    for (reason, job) in [
        ("oversize", "own"),
        ("oversize", "endless"),
        ("parse", "bad"),
        ("limit", "many"),
        ("out_of_order", "twice"),
        ("collector_failed", "hang"),
    ] {
        let begin = format!("{reason} scrape {job} http://");
        ensure!(lost.iter().any(|entry| entry.starts_with(&begin)), "{begin} is missing: {lost:#?}");
    }
    Ok(())
}
