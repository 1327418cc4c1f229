//! `prometheus.WriteRequest`.
//!
//! ```text
//! WriteRequest  1 timeseries*, 3 metadata*
//! TimeSeries    1 labels*, 2 samples*, 3 exemplars*, 4 histograms*
//! Label         1 name, 2 value
//! Sample        1 value double, 2 timestamp int64
//! ```

use crate::protobuf::{Fields, put_bytes, put_double, put_int64};
use crate::{DecodeError, Incoming, Limits, Series, Totals};
use skerry_model::{Sample, UnixMillis};

pub(crate) fn read<'a>(
    message: &'a [u8],
    limits: &Limits,
    mut each: impl FnMut(&Incoming<'a>),
) -> Result<Totals, DecodeError> {
    let (mut totals, mut series) = (Totals::default(), Incoming::default());
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            read_series(value.bytes("a series")?, limits, &mut series)?;
            totals.add(&series, limits)?;
            each(&series);
        }
    }
    Ok(totals)
}

fn read_series<'a>(message: &'a [u8], limits: &Limits, series: &mut Incoming<'a>) -> Result<(), DecodeError> {
    series.clear();
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => {
                series.labels.push(label(value.bytes("a label")?)?);
                Limits::check("labels of a series", series.labels.len() as u64, limits.labels_max)?;
            }
            2 => {
                series.samples.push(sample(value.bytes("a sample")?)?);
                Limits::check("samples", series.samples.len() as u64, limits.samples_max)?;
            }
            3 => series.exemplars += 1,
            4 => series.histograms += 1,
            _ => {}
        }
    }
    Ok(())
}

fn label(message: &[u8]) -> Result<(&str, &str), DecodeError> {
    let (mut name, mut text) = ("", "");
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => name = value.text("a label's name")?,
            2 => text = value.text("a label's value")?,
            _ => {}
        }
    }
    Ok((name, text))
}

/// A sample, which both versions write the same.
pub(crate) fn sample(message: &[u8]) -> Result<Sample, DecodeError> {
    let mut sample = Sample { at: UnixMillis(0), value: 0.0 };
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => sample.value = value.double("a sample's value")?,
            2 => sample.at = UnixMillis(value.int64("a sample's time")?),
            _ => {}
        }
    }
    Ok(sample)
}

pub(crate) fn put_sample(bytes: &mut Vec<u8>, part: &mut Vec<u8>, sample: &Sample) {
    part.clear();
    put_double(part, 1, sample.value);
    put_int64(part, 2, sample.at.0);
    put_bytes(bytes, 2, part);
}

pub(crate) fn write(series: &[Series]) -> Vec<u8> {
    let (mut message, mut one, mut part) = (Vec::new(), Vec::new(), Vec::new());
    for series in series {
        one.clear();
        for (name, value) in series.labels.iter() {
            part.clear();
            put_bytes(&mut part, 1, name.as_bytes());
            put_bytes(&mut part, 2, value.as_bytes());
            put_bytes(&mut one, 1, &part);
        }
        for sample in &series.samples {
            put_sample(&mut one, &mut part, sample);
        }
        put_bytes(&mut message, 1, &one);
    }
    message
}
