//! `io.prometheus.write.v2.Request`.
//!
//! ```text
//! Request     4 symbols*, 5 timeseries*        symbol 0 is the empty string
//! TimeSeries  1 labels_refs* packed uint32     index of a name, then of its value, in turn
//!             2 samples*, 3 histograms*, 4 exemplars*, 5 metadata
//! Sample      1 value double, 2 timestamp int64
//! ```

use crate::protobuf::{Fields, Value, put_bytes, put_varint, varint};
use crate::v1::{put_sample, sample};
use crate::{DecodeError, Incoming, Limits, Series, Totals};
use std::collections::HashMap;

pub(crate) fn read<'a>(
    message: &'a [u8],
    limits: &Limits,
    mut each: impl FnMut(&Incoming<'a>),
) -> Result<Totals, DecodeError> {
    // Fields may stand in any order, so the strings are gathered first.
    let mut symbols = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 4 {
            symbols.push(value.text("a string")?);
            Limits::check("strings", symbols.len() as u64, limits.symbols_max)?;
        }
    }
    let (mut totals, mut series) = (Totals::default(), Incoming::default());
    let mut references = Vec::new();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 5 {
            references.clear();
            read_series(value.bytes("a series")?, limits, &mut references, &mut series)?;
            for pair in references.chunks(2) {
                let text = |at: usize| {
                    let index = usize::try_from(*pair.get(at).ok_or(DecodeError::Invalid("a list of labels"))?);
                    let found = index.ok().and_then(|index| symbols.get(index));
                    found.copied().ok_or(DecodeError::Invalid("a label's reference to a string"))
                };
                series.labels.push((text(0)?, text(1)?));
            }
            totals.add(&series, limits)?;
            each(&series);
        }
    }
    Ok(totals)
}

fn read_series(
    message: &[u8],
    limits: &Limits,
    references: &mut Vec<u64>,
    series: &mut Incoming<'_>,
) -> Result<(), DecodeError> {
    series.clear();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    references.push(varint(&mut packed)?);
                    Limits::check("labels of a series", references.len() as u64 / 2, limits.labels_max)?;
                }
            }
            (1, Value::Varint(reference)) => {
                references.push(reference);
                Limits::check("labels of a series", references.len() as u64 / 2, limits.labels_max)?;
            }
            (1, _) => return Err(DecodeError::Invalid("a list of labels")),
            (2, value) => {
                series.samples.push(sample(value.bytes("a sample")?)?);
                Limits::check("samples", series.samples.len() as u64, limits.samples_max)?;
            }
            (3, _) => series.histograms += 1,
            (4, _) => series.exemplars += 1,
            _ => {}
        }
    }
    Ok(())
}

pub(crate) fn write(series: &[Series]) -> Vec<u8> {
    let mut symbols = Symbols::default();
    symbols.reference("");
    let (mut body, mut one, mut part) = (Vec::new(), Vec::new(), Vec::new());
    for series in series {
        one.clear();
        part.clear();
        for text in series.labels.iter().flat_map(|(name, value)| [name, value]) {
            put_varint(&mut part, symbols.reference(text));
        }
        put_bytes(&mut one, 1, &part);
        for sample in &series.samples {
            put_sample(&mut one, &mut part, sample);
        }
        put_bytes(&mut body, 5, &one);
    }
    let mut message = symbols.bytes;
    message.append(&mut body);
    message
}

/// Strings in order of first use, written as they come.
#[derive(Default)]
struct Symbols<'a> {
    index: HashMap<&'a str, u64>,
    bytes: Vec<u8>,
}

impl<'a> Symbols<'a> {
    fn reference(&mut self, text: &'a str) -> u64 {
        let next = self.index.len() as u64;
        *self.index.entry(text).or_insert_with(|| {
            put_bytes(&mut self.bytes, 4, text.as_bytes());
            next
        })
    }
}
