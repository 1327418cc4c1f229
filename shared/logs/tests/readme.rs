//! The pipeline in README.md is one that works.

use skerry_logs::pipeline::{Now, Output, Pipeline, Stages};
use skerry_model::{Labels, Level, LogRecord, Mono, OutputStream, UnixMillis};

#[test]
fn the_pipeline_of_the_readme_runs() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    let (_, rest) = readme.split_once("```yaml\n# pipeline.yaml\n").expect("the block");
    let (block, _) = rest.split_once("```").expect("its end");
    let stages: Stages = skerry_yaml::read(block).unwrap().value;
    // What a file of the time zone database has (RFC 9636): twice a header and one type, and the rule that goes on for ever.
    let block = [&b"TZif2"[..], &[0; 31], &[0, 0, 0, 1, 0, 0, 0, 4], &[0; 6], b"UTC\0"].concat();
    let file = [&block[..], &block[..], b"\nCET-1CEST,M3.5.0,M10.5.0/3\n"].concat();
    let zones = |name: &str| (name == "Europe/Berlin").then(|| file.clone());
    let mut pipeline = Pipeline::with_zones(&[&stages], &zones).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let mut out = Output::default();
    let line = r#"{"ts":"2026-11-20T23:18:00","severity":"error","msg":"C-123456 paid, mail a@b.de","app":"till","usr":"u1","pid":7,"store":"4"}"#;
    for line in [line, line, r#"{"severity":"info","msg":"x","path":"/healthz"}"#] {
        let record = LogRecord {
            at: UnixMillis(0),
            labels: Labels::new([("source", "app")]).unwrap(),
            output: OutputStream::None,
            level: Level::Unknown,
            fields: Labels::default(),
            line: line.as_bytes().to_vec(),
        };
        let now = Now { mono: Mono(0), wall: UnixMillis(1_795_213_090_000) };
        pipeline.push(record, "app", now, &mut out);
    }
    let [record] = &out.records[..] else { panic!("{out:#?}") };
    assert_eq!(String::from_utf8_lossy(&record.line), "[customer] paid, mail [email]");
    assert_eq!((record.at, record.level), (UnixMillis(1_795_213_080_000), Level::Error));
    assert_eq!(record.labels.to_string(), "{app=\"till\",source=\"app\"}");
    assert_eq!(record.fields.to_string(), "{site=\"shop-4\",store=\"4\",user=\"u1\"}");
    let mut losses: Vec<_> = out.losses.iter().map(|loss| (loss.reason.as_str(), loss.count.unwrap())).collect();
    losses.sort_unstable();
    assert_eq!(losses, [("filtered", 1), ("redacted", 4), ("repeated", 1)]);
    assert_eq!(pipeline.observations()[0].value, 2.0);
}
