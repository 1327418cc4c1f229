//! Pushed groups beside Debian's prometheus-pushgateway: of the same pushes the same answers and the same series.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use skerry_agent::push::{Gate, Path, Verb};
use skerry_model::UnixMillis;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = "prometheus-pushgateway";

struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Method, path behind `/metrics/`, body.
const PUSHES: &[(&str, &str, &str)] = &[
    (
        "POST",
        "job/j1/instance/i1",
        "# TYPE a counter\n# HELP a help a\na{l=\"x\"} 1\nb 2\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 3\ns_count 2\n",
    ),
    ("POST", "job/j1/instance/i1", "b 5\n"),
    ("POST", "job/j1/instance/i1", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 9\nh_sum 4\nh_count 9\n"),
    ("PUT", "job/j2/x/", "c 5\n"),
    ("PUT", "job/j3/x@base64/YWJj", "c{job=\"other\",x=\"y\",z=\"kept\"} 5\n"),
    ("PUT", "job/j4", "d 5 1234\n"),
    ("PUT", "job/j5", "# TYPE a gauge\na 5\n"),
    ("PUT", "job/j6", "e 5\ne 6\n"),
    ("PUT", "job/j7", "a{"),
    ("PUT", "job/j7", "a{\n"),
    ("PUT", "job/j8", "push_time_seconds 5\nf 1\n"),
    ("PUT", "job/j9", "g 5"),
    ("PUT", "job/j10", ""),
    ("PUT", "job/j11/job/x", "i 5\n"),
    ("PUT", "job/j11/0x/x", "i 5\n"),
    ("PUT", "job/j11/x", "i 5\n"),
    ("PUT", "job/j11/x/a/x/b", "i 5\n"),
    ("PUT", "job/j12/__x/a", "i 5\n"),
    ("PUT", "job/j12/y@base64/=", "i 5\n"),
    ("PUT", "job@base64/L3Zhci90bXA=/y@base64/!!", "i 5\n"),
    ("PUT", "job@base64/L3Zhci90bXA=", "i NaN\nk -Inf\nl 1e100\nm 0x1p3\n"),
    ("PUT", "job@base64/L3Zhci90bXA", "i NaN\nk -Inf\nl 1e100\n"),
    ("PUT", "job/j13", "n{a=\"x\\\\y\\n\\\"\"} 1\n"),
    ("PUT", "job/j14", "o 1\n"),
    ("PUT", "job/j14", "p 1\n"),
    ("DELETE", "job/nobody", ""),
    ("PUT", "job/j15", "q 1\n"),
    ("DELETE", "job/j15", ""),
    ("POST", "job/j10", "# TYPE i counter\ni 1\n"),
];

/// Statuses of the pushes and the series then; `None` where the peer is not installed.
fn theirs() -> Option<(Vec<u16>, BTreeMap<String, f64>)> {
    let free = skerry_ports::free_address().unwrap();
    // Debian's keeps what it has in a file that the next one finds.
    let folder = tempfile::tempdir().unwrap();
    let kept = format!("--persistence.file={}", folder.path().join("kept").display());
    let listen = format!("--web.listen-address={free}");
    let child = Command::new(PROGRAM).args([listen, kept]).stderr(Stdio::piped()).spawn();
    let mut gateway = match child {
        Ok(child) => Gateway(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{PROGRAM}: {error}"),
    };
    // Held to the end: the gateway dies where nobody can read its log.
    let mut log = BufReader::new(gateway.0.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("Listening on")), "{PROGRAM} ended before it listened");
    std::thread::spawn(move || log.for_each(drop));
    while std::net::TcpStream::connect(free).is_err() {
        std::thread::yield_now();
    }
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut statuses = Vec::new();
    for (method, path, body) in PUSHES {
        let url = format!("http://{free}/metrics/{path}");
        let answer = match *method {
            "PUT" => agent.put(url).send(*body),
            "POST" => agent.post(url).send(*body),
            _ => agent.delete(url).call(),
        };
        statuses.push(answer.unwrap().status().as_u16());
    }
    let mut answer = agent.get(format!("http://{free}/metrics")).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    let is_own = |line: &str| ["go_", "process_", "pushgateway_"].iter().any(|prefix| line.starts_with(prefix));
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty() && !is_own(line));
    let series = lines.map(|line| line.rsplit_once(' ').unwrap());
    Some((statuses, series.map(|(series, value)| (without_empty(series), value.parse().unwrap())).collect()))
}

/// Labels in the order of their names and without empty ones, which are the same as none; the peer writes them.
fn without_empty(series: &str) -> String {
    let mut labels = None;
    let mut parser = skerry_scrape::exposition::Parser::new(skerry_scrape::exposition::Format::Prometheus);
    let mut each = |entry: skerry_scrape::exposition::Entry<'_>| {
        if let skerry_scrape::exposition::Entry::Sample(sample) = entry {
            labels = Some(sample.series.to_labels().unwrap());
        }
    };
    parser.feed(format!("{series} 1\n").as_bytes(), &mut each).unwrap();
    labels.unwrap().to_string()
}

#[test]
fn series_and_answers_are_pushgateways() {
    let Some((statuses, theirs)) = theirs() else {
        println!("SKIPPED 1 test: {PROGRAM} is not installed (Debian package {PROGRAM})");
        return;
    };
    let mut gate = Gate::restore(1000, &[]).0;
    for ((method, path, body), status) in PUSHES.iter().zip(statuses) {
        let verb = match *method {
            "PUT" => Verb::Replace,
            "POST" => Verb::Update,
            _ => Verb::Delete,
        };
        let outcome = Path::parse(path).and_then(|path| gate.push(verb, &path, body.as_bytes(), UnixMillis(5000)));
        assert_eq!(outcome.is_ok(), status < 300, "{method} {path} {body:?}: {outcome:?} here, {status} there");
    }
    let ours: BTreeMap<String, f64> = gate.series().iter().map(|(l, value)| (l.to_string(), *value)).collect();
    let only = |one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>| -> Vec<String> {
        one.keys().filter(|series| !other.contains_key(*series)).cloned().collect()
    };
    let (here, there) = (only(&ours, &theirs), only(&theirs, &ours));
    assert!(here.is_empty() && there.is_empty(), "only here: {here:#?}; only there: {there:#?}");
    for (series, value) in &ours {
        let other = theirs[series];
        let is_same = if series.starts_with("push_") {
            (*value > 0.0) == (other > 0.0)
        } else {
            *value == other || (value.is_nan() && other.is_nan())
        };
        assert!(is_same, "{series}: {value} here, {other} there");
    }
    println!("{} pushes, {} series alike", PUSHES.len(), ours.len());
}
