//! The bytes of every format as they are on disks and in messages: they must decode, and be written again as they are.
//!
//! `SKERRY_GOLDEN=write` writes the files anew. That is right only with a new version number in the format.

use skerry_chunk::{Column, Limits, LogBlock, MetricBlock, dict};
use skerry_model::{Labels, LabelsBuilder, Level, LogRecord, OutputStream, SeriesId, UnixMillis, stale_nan};
use std::path::Path;

/// The file's bytes, and what they are compared with.
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("SKERRY_GOLDEN").is_some_and(|what| what == "write") {
        std::fs::write(&path, written).expect("the folder can be written");
    }
    std::fs::read(path).expect("the file is there")
}

fn block(timestamps: &[i64], columns: Vec<(u32, Vec<Option<f64>>)>) -> MetricBlock {
    MetricBlock {
        timestamps: timestamps.iter().copied().map(UnixMillis).collect(),
        columns: columns.into_iter().map(|(id, values)| Column { series: SeriesId(id), values }).collect(),
    }
}

fn metrics(name: &str, block: &MetricBlock) {
    let written = block.encode().expect("a sound block");
    let golden = golden(name, &written);
    assert_eq!(MetricBlock::decode(&golden, &Limits::default()).as_ref(), Ok(block), "{name}");
    assert_eq!(written, golden, "{name}");
}

fn whole(values: impl IntoIterator<Item = f64>) -> Vec<Option<f64>> {
    values.into_iter().map(Some).collect()
}

#[test]
fn blocks_of_samples() {
    let plain = vec![
        (3, whole([1.5; 3])),
        (9, vec![Some(1.0), None, Some(7.0)]),
        (10, whole([0.1 + 0.2; 3])),
        (11, whole([4096.0, 8192.0, 1e9 * 4096.0])),
        (500, whole([10.25, 10.5, 11.75])),
        (501, whole([100.0, 250.0, 400.0])),
    ];
    metrics("metrics-v2.bin", &block(&[1000, 2000, 3001], plain));
    metrics("metrics-empty-v2.bin", &block(&[], Vec::new()));
}

/// What equality of numbers would not tell apart.
#[test]
fn blocks_of_odd_values() {
    let nan = |bits: u64| f64::from_bits(0x7ff0_0000_0000_0000 | bits);
    let odd = [
        f64::NAN,
        -f64::NAN,
        stale_nan(),
        nan(1),
        nan(0x000f_ffff_ffff_ffff),
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        5e-324,
        -f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_991.0,
        9_007_199_254_740_993.0,
        -0.1,
    ];
    let mut columns: Vec<(u32, Vec<Option<f64>>)> = (1..).zip(odd).map(|(id, value)| (id, whole([value; 4]))).collect();
    columns.push((100, whole([stale_nan(), 1.0, -0.0, f64::INFINITY])));
    columns.push((101, vec![Some(1.0), Some(stale_nan()), None, Some(-0.0)]));
    columns.push((102, vec![None; 4]));
    columns.push((u32::MAX, whole([0.0, -0.0, 0.0, f64::NEG_INFINITY])));
    let odd_block = block(&[i64::MIN, 0, -1, i64::MAX], columns);
    metrics("metrics-odd-v2.bin", &odd_block);
    // The stale marker by its own bits, whatever the comparison above makes of them.
    let read = MetricBlock::decode(&odd_block.encode().unwrap(), &Limits::default()).unwrap();
    assert_eq!(read.columns[2].values[0].map(f64::to_bits), Some(0x7ff0_0000_0000_0002));
    assert_eq!(read.columns[8].values[3].map(f64::to_bits), Some(1 << 63));
}

#[test]
fn dictionaries() {
    let entries = vec![
        (SeriesId(1), LabelsBuilder::metric("up").build()),
        (SeriesId(2), LabelsBuilder::metric("node_cpu_seconds_total").label("cpu", "0").label("mode", "idle").build()),
        (SeriesId(9), LabelsBuilder::metric("temperature").label("where", "Küche, \"oben\"\n").build()),
    ];
    let written = dict::encode(&entries).unwrap();
    let golden = golden("dict-v1.bin", &written);
    assert_eq!(dict::decode(&golden, &Limits::default()).unwrap(), entries);
    assert_eq!(written, golden);
}

#[test]
fn blocks_of_log_records() {
    let record = |at: i64, source: &str, line: &[u8]| LogRecord {
        at: UnixMillis(at),
        labels: Labels::new([("source", source)]).unwrap(),
        output: OutputStream::Stderr,
        level: Level::Warn,
        fields: Labels::default(),
        line: line.to_vec(),
    };
    let mut block = LogBlock { records: vec![record(1000, "a", b"first line"), record(-5, "b", b"\xff\0 no text")] };
    block.records[1].fields = Labels::new([("pid", "7"), ("trace", "ü")]).unwrap();
    let written = block.encode(3).unwrap();
    let golden = golden("logs-odd-v2.bin", &written);
    assert_eq!(LogBlock::decode(&golden, &Limits::default()).unwrap(), block);
    assert_eq!(written, golden);
}
