use super::*;
use proptest::prelude::*;
use skerry_model::stale_nan;

fn block(timestamps: &[i64], columns: Vec<(u32, Vec<Option<f64>>)>) -> MetricBlock {
    MetricBlock {
        timestamps: timestamps.iter().copied().map(UnixMillis).collect(),
        columns: columns.into_iter().map(|(id, values)| Column { series: SeriesId(id), values }).collect(),
    }
}

/// Like a node's metrics: two thirds constant, counters, gauges with few places, a few true floats; but with more
/// randomness in each value than a real node has, so that its size is an upper bound.
fn node_like(series: u32, rows: usize) -> MetricBlock {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut draw = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut columns = Vec::new();
    for id in 0..series {
        let mut value = draw(1_000_000_000) as f64;
        let kind = draw(100);
        let values = (0..rows).map(|_| {
            match kind {
                0..65 => {}
                65..80 => value += draw(2_000) as f64,
                80..92 => value = (value * 100.0 + draw(300) as f64).round() / 100.0,
                92..98 => value = 4096.0 * draw(100_000) as f64,
                _ => value = draw(1 << 50) as f64 / 3.0,
            }
            Some(value)
        });
        columns.push((id, values.collect()));
    }
    let timestamps: Vec<i64> = (0..rows as i64).map(|row| 1_700_000_000_000 + row * 15_000 + row % 3).collect();
    block(&timestamps, columns)
}

#[test]
fn every_kind_of_value_reads_back_bit_for_bit() {
    let odd = [f64::NAN, stale_nan(), f64::INFINITY, f64::NEG_INFINITY, -0.0, 0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX];
    let mut columns: Vec<(u32, Vec<Option<f64>>)> =
        odd.iter().map(|v| vec![Some(*v); 3]).zip(1..).map(|(v, i)| (i, v)).collect();
    columns.push((50, vec![Some(0.1), Some(0.2), Some(0.30000000000000004)]));
    columns.push((60, vec![Some(1.5), None, Some(-0.25)]));
    columns.push((70, vec![None, None, None]));
    columns.push((80, vec![Some(9e15), Some(-9e15), Some(9.007199254740993e15)]));
    columns.push((u32::MAX, vec![Some(-0.0), Some(0.0), None]));
    let block = block(&[5, -7, i64::MAX], columns);
    let bytes = block.encode().unwrap();
    assert_eq!(MetricBlock::decode(&bytes, &Limits::default()).unwrap(), block);
}

#[test]
fn one_series_reads_without_the_others_and_info_without_the_body() {
    let block = node_like(500, 20);
    let bytes = block.encode().unwrap();
    let reader = MetricReader::open(&bytes, &Limits::default()).unwrap();
    assert_eq!(reader.timestamps(), block.timestamps);
    assert!(reader.series().map(Result::unwrap).eq(block.columns.iter().map(|column| column.series)));
    for column in &block.columns {
        assert_eq!(reader.read(column.series).unwrap().as_ref(), Some(&column.values));
    }
    let odd = |id: SeriesId| (id.0 % 2 == 1).then_some(id);
    let mut taken = Vec::new();
    reader.samples_of(odd, |id, at, value| taken.push((id, at, value.to_bits()))).unwrap();
    let mut expected = Vec::new();
    for id in (0..500).map(SeriesId).filter(|id| odd(*id).is_some()) {
        reader.samples(id, |at, value| expected.push((id, at, value.to_bits()))).unwrap();
    }
    assert_eq!((taken.len(), taken == expected), (5000, true));
    assert_eq!(reader.read(SeriesId(500)).unwrap(), None);
    let info = info(&bytes, &Limits::default()).unwrap();
    assert_eq!((info.rows, info.series, info.samples), (20, 500, 10_000));
    assert_eq!(info.range, block.range());
}

#[test]
fn twenty_scrapes_take_about_a_byte_a_sample_where_much_is_random() {
    let block = node_like(500, 20);
    let bytes = block.encode().unwrap().len();
    assert!(bytes < 10_500, "{bytes} bytes for {} samples", block.sample_count());
}

#[test]
fn a_slice_holds_its_rows_alone() {
    let block = block(&[1, 2, 3], vec![(1, vec![Some(1.0), None, Some(3.0)]), (2, vec![Some(9.0), None, None])]);
    let expected = MetricBlock {
        timestamps: vec![UnixMillis(2), UnixMillis(3)],
        columns: vec![Column { series: SeriesId(1), values: vec![None, Some(3.0)] }],
    };
    assert_eq!(block.slice(1, 3), expected);
}

#[test]
fn mistakes_of_the_writer_are_named() {
    let ragged = block(&[1, 2], vec![(1, vec![Some(1.0)])]);
    assert_eq!(ragged.encode(), Err(EncodeError::Ragged { column: 0, values: 1, rows: 2 }));
    let unsorted = block(&[1], vec![(2, vec![None]), (1, vec![None])]);
    assert_eq!(unsorted.encode(), Err(EncodeError::Unsorted(1)));
}

#[test]
fn limits_hold_before_anything_is_allocated() {
    let bytes = node_like(50, 20).encode().unwrap();
    let limits = Limits { cells_max: 999, ..Limits::default() };
    assert!(matches!(MetricBlock::decode(&bytes, &limits), Err(DecodeError::Limit { what: "number of cells", .. })));
    let limits = Limits { rows_max: 19, ..Limits::default() };
    assert!(matches!(info(&bytes, &limits), Err(DecodeError::Limit { what: "number of rows", .. })));
    let limits = Limits { raw_bytes_max: 10, ..Limits::default() };
    assert!(matches!(MetricBlock::decode(&bytes, &limits), Err(DecodeError::Limit { .. })));
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let bytes = node_like(20, 4).encode().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            assert!(MetricBlock::decode(&damaged, &Limits::default()).is_err(), "byte {at} bit {bit}");
        }
    }
    for cut in 0..bytes.len() {
        assert!(MetricBlock::decode(&bytes[..cut], &Limits::default()).is_err());
    }
}

proptest! {
    #[test]
    fn any_block_reads_back(rows in 0usize..12, seeds in proptest::collection::btree_map(any::<u32>(), (any::<u64>(), 0u8..8), 0..12), times in proptest::collection::vec(any::<i64>(), 12)) {
        let columns = seeds.into_iter().map(|(id, (seed, kind))| {
            let value = |row: usize| {
                let n = seed.wrapping_mul(row as u64 * 2 + 1);
                match kind {
                    0 => Some(f64::from_bits(n)),
                    1 => Some((n % 100_000) as f64 / 1000.0),
                    2 => (!n.is_multiple_of(3)).then_some((n % 1000) as f64),
                    5 => Some((n % 100_000) as f64 * f64::from(1u32 << [9, 10, 12, 16, 20][(seed % 5) as usize])),
                    6 => (!n.is_multiple_of(5)).then_some(f64::from_bits(n)),
                    3 => Some(f64::from_bits(seed)),
                    _ => None,
                }
            };
            (id, (0..rows).map(value).collect())
        }).collect();
        let block = block(&times[..rows], columns);
        prop_assert_eq!(MetricBlock::decode(&block.encode().unwrap(), &Limits::default()).unwrap(), block);
    }

    #[test]
    fn random_bodies_never_panic(rows in 0u64..20, series in 0u64..20, raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut header = Vec::new();
        for n in [rows, series, 0, 0, 0] {
            put_varint(&mut header, n);
        }
        let bytes = frame::seal(KIND, &header, &raw, LEVEL).unwrap();
        let _ = MetricBlock::decode(&bytes, &Limits::default());
    }
}
