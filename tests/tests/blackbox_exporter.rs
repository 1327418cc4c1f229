//! Probes beside Debian's prometheus-blackbox-exporter: of the same targets the same series, and the same values where
//! time does not come into it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use skerry_agent::probes::{Config, Probes};
use skerry_model::UnixMillis;
use skerry_tests::web::web;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

const PROGRAM: &str = "prometheus-blackbox-exporter";

struct Exporter(Child);

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One module, as both know it, and a target: a name, a prober, its settings, a target.
struct Case {
    name: &'static str,
    prober: &'static str,
    settings: String,
    target: String,
}

/// A server that answers each connection by what `answer` makes of the request's first line.
fn serve_http(answer: fn(&str) -> String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || talk_http(stream.unwrap(), answer));
        }
    });
    port
}

fn talk_http(mut stream: impl Read + Write, answer: fn(&str) -> String) {
    let (mut asked, mut byte) = (Vec::new(), [0]);
    while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        asked.push(byte[0]);
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    // Probes that have seen enough go away.
    let _ = stream.write_all(answer(&asked).as_bytes());
    let _ = stream.flush();
}

fn site(asked: &str) -> String {
    let path = asked.split(' ').nth(1).unwrap_or_default();
    let body = "<h1>It works</h1>";
    let length = body.len();
    match path {
        "/" => format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nServer: tests\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\r\n{body}"
        ),
        "/old" => format!("HTTP/1.0 200 OK\r\n\r\n{body}"),
        "/chunks" => format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"
        ),
        "/moved" => "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n".into(),
        "/round" => "HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        "/secret" if asked.to_ascii_lowercase().contains("authorization: basic dtpw") => {
            "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".into()
        }
        "/empty" => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".into(),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngone".into(),
    }
}

/// The same site over TLS, with a chain of three; writes the root to `ca`.
fn serve_https(ca: &Path) -> u16 {
    let issuer = |name: &str, year: i32| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        params
    };
    let root = CertifiedIssuer::self_signed(issuer("Root", 2045), KeyPair::generate().unwrap()).unwrap();
    let middle = CertifiedIssuer::signed_by(issuer("Middle", 2033), KeyPair::generate().unwrap(), &root).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "other.example".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2034, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, text) in [
        (DnType::CommonName, "localhost"),
        (DnType::OrganizationName, "Tests, \"and\" more"),
        (DnType::CountryName, "DE"),
        (DnType::OrganizationalUnitName, "A+B"),
    ] {
        params.distinguished_name.push(kind, text);
    }
    let cert = params.signed_by(&key, &middle).unwrap();
    std::fs::write(ca, root.pem()).unwrap();
    let chain = vec![cert.der().clone(), middle.der().clone()];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(session, stream.unwrap());
            std::thread::spawn(move || {
                talk_http(&mut stream, site);
                stream.conn.send_close_notify();
                let _ = stream.flush();
            });
        }
    });
    port
}

/// A mail server's manners.
fn serve_lines() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(b"220 mail.example ready\r\n");
            let mut line = String::new();
            let _ = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
            let _ = stream.write_all(format!("250 {line}").as_bytes());
        }
    });
    port
}

/// A DNS server of its own: two addresses and a mail exchanger for everything but `no.example`.
fn serve_dns() -> u16 {
    let address = skerry_ports::free_address().unwrap();
    let (udp, tcp) = (UdpSocket::bind(address).unwrap(), TcpListener::bind(address).unwrap());
    let port = address.port();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        loop {
            let (read, from) = udp.recv_from(&mut query).unwrap();
            udp.send_to(&answer_dns(&query[..read]), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for stream in tcp.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut query).unwrap();
            let answer = answer_dns(&query);
            stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(&answer).unwrap();
        }
    });
    port
}

fn answer_dns(query: &[u8]) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let kind = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let mut answer = query[..name_end + 4].to_vec();
    answer[2] |= 0x80;
    (answer[10], answer[11]) = (0, 0);
    if query[12..].starts_with(b"\x02no") {
        answer[3] = 3;
        return answer;
    }
    let mut records: Vec<Vec<u8>> = Vec::new();
    let record = |kind: u16, data: &[u8]| {
        let mut record = b"\xc0\x0c".to_vec();
        record.extend(kind.to_be_bytes());
        record.extend(b"\0\x01\0\0\0\x3c");
        record.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        record.extend(data);
        record
    };
    match kind {
        1 => records.extend([record(1, &[10, 0, 0, 1]), record(1, &[10, 0, 0, 2])]),
        15 => records.push(record(15, b"\0\x0a\x04mail\xc0\x0c")),
        6 => records.push(record(6, b"\x02ns\xc0\x0c\x01h\xc0\x0c\0\0\0\x2a\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04")),
        16 => records.push(record(16, b"\x0bv=spf1 -all\x03a\"b")),
        _ => {}
    }
    answer[7] = u8::try_from(records.len()).unwrap();
    answer.extend(records.concat());
    answer
}

fn cases(folder: &Path) -> Vec<Case> {
    let ca = folder.join("ca.pem");
    let (http, https, lines, dns) = (serve_http(site), serve_https(&ca), serve_lines(), serve_dns());
    let free = skerry_ports::free_port().unwrap();
    let tls = format!("tls_config: {{ca_file: {}}}", ca.display());
    let mut cases = Vec::new();
    let mut case = |name, prober, settings: &str, target: String| {
        let settings =
            format!("{{preferred_ip_protocol: ip4{}{settings}}}", if settings.is_empty() { "" } else { ", " });
        cases.push(Case { name, prober, settings, target });
    };
    let site = format!("http://127.0.0.1:{http}");
    let safe = format!("https://localhost:{https}");
    case("plain", "http", "", format!("{site}/"));
    case("no_scheme", "http", "", format!("localhost:{http}/"));
    case("old", "http", "valid_http_versions: [HTTP/1.1]", format!("{site}/old"));
    case("chunks", "http", "", format!("{site}/chunks"));
    case("empty", "http", "", format!("{site}/empty"));
    case("missing", "http", "", format!("{site}/missing"));
    case("missing_well", "http", "valid_status_codes: [404]", format!("{site}/missing"));
    case("moved", "http", "", format!("{site}/moved"));
    case("moved_not", "http", "follow_redirects: false", format!("{site}/moved"));
    case("moved_well", "http", "follow_redirects: false, valid_status_codes: [302]", format!("{site}/moved"));
    case("round", "http", "", format!("{site}/round"));
    case("keyword", "http", "fail_if_body_not_matches_regexp: [It works]", format!("{site}/"));
    case("no_keyword", "http", "fail_if_body_not_matches_regexp: [It fails]", format!("{site}/"));
    case("bad_word", "http", "fail_if_body_matches_regexp: ['(?i)IT W\\w+']", format!("{site}/"));
    case("header", "http", "fail_if_header_matches: [{header: server, regexp: '^tests$'}]", format!("{site}/"));
    case("header_gone", "http", "fail_if_header_not_matches: [{header: x-gone, regexp: '.'}]", format!("{site}/"));
    case(
        "header_may_go",
        "http",
        "fail_if_header_not_matches: [{header: x-gone, regexp: '.', allow_missing: true}]",
        format!("{site}/"),
    );
    case("basic", "http", "basic_auth: {username: u, password: p}", format!("{site}/secret"));
    case("not_ssl", "http", "fail_if_not_ssl: true", format!("{site}/"));
    case("refused", "http", "", format!("http://127.0.0.1:{free}/"));
    case("unknown", "http", "", "http://name.invalid/".to_owned());
    case("post", "http", "method: POST, headers: {x-a: b}, body: text", format!("{site}/"));
    case("tls", "http", &tls, format!("{safe}/"));
    case("tls_bad", "http", &format!("fail_if_ssl: true, {tls}"), format!("{safe}/"));
    case("tls_unverified", "http", "tls_config: {insecure_skip_verify: true}", format!("{safe}/"));
    case("tls_untrusted", "http", "", format!("{safe}/"));
    let named = tls.replace('}', ", server_name: other.example}");
    case("tls_named", "http", &named, format!("{safe}/"));
    case("tls_misnamed", "http", &named.replace("other", "another"), format!("{safe}/"));
    case("connect", "tcp", "", format!("127.0.0.1:{http}"));
    case("connect_not", "tcp", "", format!("127.0.0.1:{free}"));
    case("connect_unknown", "tcp", "", "name.invalid:1".to_owned());
    case("connect_tls", "tcp", &format!("tls: true, {tls}"), format!("localhost:{https}"));
    case("connect_untrusted", "tcp", "tls: true", format!("localhost:{https}"));
    let dialogue =
        "query_response: [{expect: '^220 ([a-z.]+)', send: 'EHLO ${1}'}, {expect: '^250 EHLO mail.example'}]";
    case("dialogue", "tcp", dialogue, format!("127.0.0.1:{lines}"));
    case("dialogue_not", "tcp", &dialogue.replace("^250", "^251"), format!("127.0.0.1:{lines}"));
    case("ping", "icmp", "", "127.0.0.1".to_owned());
    case("ping_unknown", "icmp", "", "name.invalid".to_owned());
    let server = format!("127.0.0.1:{dns}");
    for (name, settings) in [
        ("dns_a", "query_name: a.example, query_type: A"),
        ("dns_tcp", "query_name: a.example, query_type: A, transport_protocol: tcp"),
        ("dns_soa", "query_name: a.example, query_type: SOA"),
        ("dns_soa_none", "query_name: no.example, query_type: SOA"),
        ("dns_none", "query_name: no.example, query_type: A"),
        ("dns_none_well", "query_name: no.example, query_type: A, valid_rcodes: [NXDOMAIN]"),
        ("dns_some", "query_name: a.example, query_type: A, validate_answer_rrs: {fail_if_matches_regexp: ['\\.2$']}"),
        (
            "dns_each",
            "query_name: a.example, query_type: A, validate_answer_rrs: {fail_if_not_matches_regexp: ['10\\.']}",
        ),
        ("dns_all", "query_name: a.example, query_type: A, validate_answer_rrs: {fail_if_all_match_regexp: ['10\\.']}"),
        (
            "dns_part",
            "query_name: a.example, query_type: A, validate_answer_rrs: {fail_if_all_match_regexp: ['\\.2$']}",
        ),
        (
            "dns_any",
            "query_name: a.example, query_type: A, validate_answer_rrs: {fail_if_none_matches_regexp: ['\\.2$']}",
        ),
        (
            "dns_never",
            "query_name: a.example, query_type: NS, validate_answer_rrs: {fail_if_all_match_regexp: ['10\\.']}",
        ),
        (
            "dns_gone",
            "query_name: a.example, query_type: NS, validate_answer_rrs: {fail_if_none_matches_regexp: ['x']}",
        ),
        (
            "dns_text",
            "query_name: a.example, query_type: MX, validate_answer_rrs: {fail_if_not_matches_regexp: \
             ['^a\\.example\\.\\t60\\tIN\\tMX\\t10 mail\\.a\\.example\\.$']}",
        ),
        (
            "dns_quoted",
            "query_name: a.example, query_type: TXT, validate_answer_rrs: {fail_if_not_matches_regexp: \
             ['\\t\"v=spf1 -all\" \"a\\\\\"b\"$']}",
        ),
    ] {
        case(name, "dns", settings, server.clone());
    }
    case(
        "dns_refused",
        "dns",
        "query_name: a.example, query_type: A, transport_protocol: tcp",
        format!("127.0.0.1:{free}"),
    );
    cases
}

/// Series with their values, as the peer shows them; `None` where it is not installed.
fn theirs(cases: &[Case], folder: &Path) -> Option<Vec<BTreeMap<String, f64>>> {
    let mut modules = String::from("modules:\n");
    for Case { name, prober, settings, .. } in cases {
        modules.push_str(&format!("  {name}: {{prober: {prober}, timeout: 10s, {prober}: {settings}}}\n"));
    }
    let file = folder.join("blackbox.yml");
    std::fs::write(&file, modules).unwrap();
    let free = skerry_ports::free_address().unwrap();
    let child = Command::new(PROGRAM)
        .args([format!("--web.listen-address={free}"), format!("--config.file={}", file.display())])
        .stderr(Stdio::piped())
        .spawn();
    let mut exporter = match child {
        Ok(child) => Exporter(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => panic!("{PROGRAM}: {error}"),
    };
    // Held to the end: the exporter dies where nobody can read its log.
    let mut log = BufReader::new(exporter.0.stderr.take().unwrap()).lines();
    assert!(log.any(|line| line.unwrap().contains("Listening on")), "{PROGRAM} ended before it listened");
    std::thread::spawn(move || log.for_each(drop));
    let mut found = Vec::new();
    for Case { name, target, .. } in cases {
        let mut answer =
            web().get(format!("http://{free}/probe")).query("module", name).query("target", target).call().unwrap();
        found.push(series(&answer.body_mut().read_to_string().unwrap()));
    }
    Some(found)
}

fn series(exposition: &str) -> BTreeMap<String, f64> {
    let lines = exposition.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let parts = lines.map(|line| line.rsplit_once(' ').unwrap());
    parts.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn series_and_values_are_blackbox_exporters() {
    let folder = tempfile::tempdir().unwrap();
    let cases = cases(folder.path());
    let Some(theirs) = theirs(&cases, folder.path()) else {
        println!("SKIPPED 1 test: {PROGRAM} is not installed (Debian package {PROGRAM})");
        return;
    };
    let (mut differences, mut compared) = (Vec::new(), 0);
    for (case, theirs) in cases.iter().zip(theirs) {
        let Case { name, prober, settings, target } = case;
        let yaml =
            format!("- {{name: {name}, prober: {prober}, targets: ['{target}'], timeout: 10s, {prober}: {settings}}}");
        let config = skerry_yaml::read::<Config>(&yaml).unwrap_or_else(|fault| panic!("{yaml}: {fault:?}")).value;
        let scrape = Probes::new(&config)
            .unwrap_or_else(|faults| panic!("{yaml}: {faults:?}"))
            .once(UnixMillis(1))
            .await
            .remove(0);
        let mut ours = BTreeMap::new();
        for (labels, value) in &scrape.values {
            assert_eq!((labels.value("job"), labels.value("instance")), (*name, &**target));
            let bare = labels.with("job", "").and_then(|labels| labels.with("instance", "")).unwrap();
            ours.insert(bare.to_string(), *value);
        }
        for series in theirs.keys().filter(|series| !ours.contains_key(*series)) {
            differences.push(format!("{name}: only the peer has {series} {}", theirs[series]));
        }
        for (series, value) in &ours {
            match theirs.get(series) {
                None => differences.push(format!("{name}: only we have {series} {value}")),
                Some(_) if series.contains("_seconds") && !series.contains("timestamp") => compared += 1,
                Some(theirs) if value == theirs => compared += 1,
                Some(theirs) => differences.push(format!("{name}: {series} is {value} here and {theirs} there")),
            }
        }
    }
    println!("{} modules, {compared} series alike; different: {differences:#?}", cases.len());
    assert!(differences.is_empty(), "{differences:#?}");
}
