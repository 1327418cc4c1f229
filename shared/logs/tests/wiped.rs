//! Secrets that the pipeline takes out are nowhere in the process's memory afterwards: all of it is searched.

#![cfg(target_os = "linux")]

use skerry_logs::pipeline::{Now, Output, Pipeline, Stages};
use skerry_model::{Labels, Level, LogRecord, Mono, OutputStream, UnixMillis};
use std::io::{Read, Seek, SeekFrom};

/// Texts are made at run time and looked for by their bytes with this added, so that the search does not find itself.
const VEIL: u8 = 0x5a;

fn veiled(text: &str) -> Vec<u8> {
    text.bytes().map(|b| b ^ VEIL).collect()
}

fn unveiled(text: &[u8]) -> Vec<u8> {
    text.iter().map(|b| b ^ VEIL).collect()
}

/// How often the text stands in this process's writable memory.
fn copies(veiled: &[u8]) -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("procfs");
    let mut memory = std::fs::File::open("/proc/self/mem").expect("procfs");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
    let mut page = vec![0u8; 64 << 10];
    let mut count = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, rest) = line.split_once('-').expect("a range");
        let to = rest.split(' ').next().expect("a range");
        let (mut at, to) = (number(from), number(to));
        // The page itself holds what was read before.
        let own = page.as_ptr() as u64..page.as_ptr() as u64 + page.len() as u64;
        while at < to {
            let len = page.len().min(usize::try_from(to - at).unwrap_or(usize::MAX));
            memory.seek(SeekFrom::Start(at)).expect("a place in memory");
            if memory.read_exact(&mut page[..len]).is_ok() {
                let hit = |from: &usize| {
                    let text = page[..len].get(*from..*from + veiled.len());
                    !own.contains(&(at + *from as u64)) && text.is_some_and(|text| unveiled(text) == veiled)
                };
                count += memchr::memchr_iter(veiled[0] ^ VEIL, &page[..len]).filter(hit).count();
            }
            page.fill(0);
            at += len as u64;
        }
    }
    count
}

fn push(pipeline: &mut Pipeline, secret: &[u8], out: &mut Output) {
    let mut secret = unveiled(secret);
    let lines: [(&[u8], &[u8]); 6] = [
        (br#"{"msg":"mail, also far from where it writes, "#, br#" here","n":1}"#),
        (br#"{"drop":"yes","msg":""#, br#""}"#),
        (b"raw, far enough from where the allocator writes, ", b" and \xff bytes"),
        (br#"{"msg":"escaped \n "#, br#" ","k":{"deep":"x"},"u":""}"#),
        (br#"{"broken": ""#, b""),
        (br#"{"again":"1","msg":""#, br#""}"#),
    ];
    for round in 0..3usize {
        for (at, (before, after)) in lines.into_iter().enumerate() {
            // Of other sizes each time, so that no line comes to lie where the one before it was.
            let padding = 40 * at + 400 * round;
            let mut line = Vec::with_capacity(before.len() + secret.len() + after.len() + padding);
            line.extend_from_slice(before);
            line.extend_from_slice(&secret);
            line.extend_from_slice(after);
            line.resize(line.capacity(), b' ');
            let record = LogRecord {
                at: UnixMillis(1_795_213_080_000),
                labels: Labels::new([("source", "app")]).expect("a label set"),
                output: OutputStream::None,
                level: Level::Unknown,
                fields: Labels::new([("pid", "1")]).expect("a label set"),
                line,
            };
            let now = Now { mono: Mono(round as u64), wall: UnixMillis(1_795_213_080_000) };
            pipeline.push(record, "app", now, out);
        }
    }
    secret.fill(0);
    std::hint::black_box(&secret);
}

#[test]
fn no_secret_stays_in_memory() {
    let stored = "
- parser: {format: json, message: msg}
- drop: {field: drop, exists: true}
- redact: {detect: all}
- dedup: {window: 10s}
";
    let changed = "
- parser: {format: json, keep_fields: all}
- if: {field: again, exists: true}
  then: [{modify: {set: {copy: 'see ${msg} and ${msg}'}, format: json}}]
  else: [{modify: {line: 'line: ${line}, once more: ${line}, message: ${msg}'}}]
- parser: {regex: '(?P<before>.*?): (?P<rest>.*)', keep_fields: all}
- redact: {detect: all}
- drop: {field: drop, exists: true}
";
    for yaml in [stored, changed] {
        search(&skerry_yaml::read(yaml).unwrap().value);
    }
}

fn search(stages: &Stages) {
    for secret in ["planted.secret@example.com", "5105 1051 0510 5100", "DE89 3704 0044 0532 0130 00"] {
        let veiled = veiled(secret);
        let mut pipeline = Pipeline::new(&[stages]).expect("stages");
        // The search finds what is there.
        let held = unveiled(&veiled);
        let planted = copies(&veiled);
        assert!(planted >= 1, "{planted}");
        let mut held = held;
        held.fill(0);
        std::hint::black_box(&held);
        drop(held);
        let before = copies(&veiled);
        let mut out = Output::default();
        push(&mut pipeline, &veiled, &mut out);
        assert!(out.losses.iter().any(|loss| loss.reason == skerry_model::LossReason::Redacted), "{:?}", out.losses);
        assert_eq!(copies(&veiled), before, "copies left behind");
    }
}
