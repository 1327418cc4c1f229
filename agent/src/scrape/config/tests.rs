use super::*;

/// What people have.
const FILE: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 1m30s
  external_labels: {site: a}
rule_files: ["rules/*.yml"]
alerting: {alertmanagers: [{static_configs: [{targets: ["a:9093"]}]}]}
remote_write: [{url: "http://x/"}]
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['localhost:9100', "[::1]:9100"]
        labels: {site: b}
  - job_name: blackbox
    metrics_path: /probe
    params: {module: [http_2xx]}
    static_configs: [{targets: ["https://example.org/x"]}]
    relabel_configs:
      - source_labels: [__address__]
        target_label: __param_target
      - target_label: __address__
        replacement: 127.0.0.1:9115
  - job_name: files
    scrape_interval: 5s
    enable_http2: false
    body_size_limit: 10MB
    honor_labels: true
    basic_auth: {username: u, password_file: secret}
    tls_config: {ca_file: ca.pem, insecure_skip_verify: true, min_version: TLS12}
    file_sd_configs:
      - files: [targets/*.json, /abs/t.yml]
        refresh_interval: 1m
    docker_sd_configs: [{host: "unix:///var/run/docker.sock", refresh_interval: 15s}]
    metric_relabel_configs:
      - {source_labels: [__name__], regex: go_.*, action: drop}
      - {source_labels: [port], regex: 80, target_label: port, replacement: 8080}
"#;

fn read(text: &str) -> Result<Prometheus, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prometheus.yml");
    std::fs::write(&path, text).unwrap();
    read_file(&path).map_err(|faults| faults.to_string())
}

#[test]
fn a_prometheus_yml_is_taken_as_it_is() {
    let read = read(FILE).unwrap();
    let [node, blackbox, files] = &read.scrape_configs[..] else { panic!() };
    assert_eq!(node.times(&read.global), (Span::secs(15), Span::secs(10)));
    assert_eq!(node.static_configs[0].targets.len(), 2);
    assert_eq!(blackbox.params["module"], ["http_2xx"]);
    assert_eq!(files.times(&read.global), (Span::secs(5), Span::secs(5)), "the global timeout bends to the interval");
    assert_eq!(files.body_size_limit, Size(10 << 20));
    let sd = &files.file_sd_configs[0];
    assert!(sd.files[0].is_absolute() && sd.files[0].ends_with("targets/*.json"), "{sd:?}");
    assert_eq!(sd.files[1], PathBuf::from("/abs/t.yml"));
    assert!(files.basic_auth.as_ref().unwrap().password_file.as_ref().unwrap().is_absolute());
    assert!(files.tls_config.ca_file.as_ref().unwrap().is_absolute());
    assert_eq!(files.metric_relabel_configs[1].regex.as_deref(), Some("80"));
    assert!(read_file(&PathBuf::from("/nowhere.yml")).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn faults_say_where_and_what_to_do() {
    let job = |text: &str| format!("scrape_configs:\n  - job_name: j\n    {text}\n");
    let table = [
        (job("kubernetes_sd_configs: [{role: pod}]"), "kubernetes_sd_configs", "file_sd_configs"),
        (job("oauth2: {client_id: x}"), "oauth2", "credentials_file"),
        (job("proxy_url: http://p"), "proxy_url", "directly"),
        (job("scrape_intervall: 5s"), "scrape_intervall", "scrape_interval"),
        (job("scrape_timeout: 2m"), "scrape_configs[0].scrape_timeout", "interval"),
        (job("scrape_interval: 0s"), "scrape_configs[0].scrape_interval", "1s to 1d"),
        (job("scheme: ftp"), "scrape_configs[0].scheme", "https"),
        (
            job("static_configs: [{targets: ['http://h/x']}]"),
            "scrape_configs[0].static_configs[0].targets[0]",
            "HOST:PORT",
        ),
        (job("file_sd_configs: [{files: [a/*/b.json]}]"), "scrape_configs[0].file_sd_configs[0].files[0]", "last part"),
        (job("relabel_configs: [{regex: '('}]"), "scrape_configs[0].relabel_configs[0].regex", "regular expression"),
        (
            job("metric_relabel_configs: [{action: hashmod, target_label: x}]"),
            "metric_relabel_configs[0].modulus",
            "modulus",
        ),
        (job("basic_auth: {username: u}\n    bearer_token: x"), "authorization", "one of"),
        (job("body_size_limit: big"), "body_size_limit", "10MB"),
        (job("x: 1\n  - job_name: j"), "x", "unknown"),
        ("scrape_configs: [{job_name: a}, {job_name: a}]".into(), "scrape_configs[1].job_name", "twice"),
        ("scrape_configs: [{}]".into(), "scrape_configs[0].job_name", "name"),
        ("global: {scrape_interval: 5}".into(), "scrape_interval", "time span"),
        ("global: {scrape_timeout: 2m}".into(), "global.scrape_timeout", "interval"),
    ];
    for (text, key, what) in table {
        let told = read(&text).unwrap_err();
        assert!(told.contains(key) && told.contains(what), "{text}\n{told}");
    }
}

#[test]
fn sizes_are_prometheuss() {
    let size = |text: &str| skerry_yaml::read::<Vec<Size>>(&format!("[{text}]")).map(|read| read.value[0].0).ok();
    for (text, bytes) in
        [("0", 0), ("100", 100), ("10B", 10), ("1KB", 1024), ("2KiB", 2048), ("3MB", 3 << 20), ("1GiB", 1 << 30)]
    {
        assert_eq!(size(text), Some(bytes), "{text}");
    }
    for bad in ["1.5MB", "MB", "-1", "1XB", "99999999999GB"] {
        assert_eq!(size(bad), None, "{bad}");
    }
}

#[test]
fn the_section_has_faults_of_its_own() {
    let config = Config { series_limit: 5, target_limit: 0, config_file: Some("x.yml".into()), ..Config::default() };
    let keys: Vec<String> = config.faults().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["series_limit", "target_limit", "config_file"]);
    assert_eq!(Config::default().faults(), []);
}

#[test]
fn a_short_interval_needs_no_time_out() {
    for (text, secs) in
        [("global: {scrape_interval: 5s}", 5), ("global: {scrape_interval: 1m}", 10), ("global: {}", 10)]
    {
        assert_eq!(read(text).unwrap().global.timeout(), Span::secs(secs), "{text}");
    }
}
