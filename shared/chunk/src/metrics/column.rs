//! One column: choosing its form, writing it, reading it back.

use crate::DecodeError;
use crate::bytes::{Cursor, put_varint, put_zigzag};

const GAPS: u8 = 1 << 3;
const EXPONENT_SHIFT: u32 = 4;
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Integers below this are exact in binary64, and their second differences fit 64 bits with room.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    ConstantDecimal,
    ConstantBits,
    Deltas,
    DeltaOfDeltas,
    Bits,
}

impl Form {
    fn from_tag(tag: u8) -> Option<Self> {
        [Self::ConstantDecimal, Self::ConstantBits, Self::Deltas, Self::DeltaOfDeltas, Self::Bits]
            .get(usize::from(tag & 7))
            .copied()
    }
}

/// The four streams of a body, while they are written.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) directory: Vec<u8>,
    constants: Vec<u8>,
    integers: Vec<u8>,
    floats: Vec<u8>,
    values: Vec<f64>,
    scaled: Vec<i64>,
    deltas: Vec<u8>,
    seconds: Vec<u8>,
}

impl Streams {
    /// Writes one column: its tag, presence and length into the directory, its values into the stream of its form.
    pub(super) fn write(&mut self, column: &[Option<f64>]) {
        self.values.clear();
        self.values.extend(column.iter().flatten());
        let gaps = if self.values.len() < column.len() { GAPS } else { 0 };
        let exponent = scale(&self.values, &mut self.scaled);
        let first = self.values.first().copied().unwrap_or(0.0);
        let is_constant = self.values.iter().all(|v| v.to_bits() == first.to_bits());
        let (form, stream, begun) = match (exponent, is_constant) {
            (Some(_), true) => {
                let begun = self.constants.len();
                put_zigzag(&mut self.constants, self.scaled.first().copied().unwrap_or(0));
                (Form::ConstantDecimal, &self.constants, begun)
            }
            (None, true) => {
                let begun = self.constants.len();
                self.constants.extend_from_slice(&first.to_bits().to_le_bytes());
                (Form::ConstantBits, &self.constants, begun)
            }
            (Some(_), false) => {
                let begun = self.integers.len();
                differences(&self.scaled, &mut self.deltas, &mut self.seconds);
                let form = if self.seconds.len() < self.deltas.len() { Form::DeltaOfDeltas } else { Form::Deltas };
                let shorter = if form == Form::Deltas { &self.deltas } else { &self.seconds };
                self.integers.extend_from_slice(shorter);
                (form, &self.integers, begun)
            }
            (None, false) => {
                let begun = self.floats.len();
                put_bits(&self.values, &mut self.floats);
                (Form::Bits, &self.floats, begun)
            }
        };
        let length = stream.len() - begun;
        self.directory.push(form as u8 | gaps | exponent.unwrap_or(0) << EXPONENT_SHIFT);
        if gaps != 0 {
            for eight in column.chunks(8) {
                let bits = eight.iter().enumerate().fold(0u8, |bits, (i, v)| bits | u8::from(v.is_some()) << i);
                self.directory.push(bits);
            }
        }
        put_varint(&mut self.directory, length as u64);
    }

    /// The body: three lengths, then the four streams.
    pub(super) fn join(self) -> Vec<u8> {
        let mut raw = Vec::new();
        for stream in [&self.directory, &self.constants, &self.integers] {
            put_varint(&mut raw, stream.len() as u64);
        }
        for stream in [&self.directory, &self.constants, &self.integers, &self.floats] {
            raw.extend_from_slice(stream);
        }
        raw
    }
}

/// The smallest exponent with which every value is exactly `i / 10^e`, and those integers.
fn scale(values: &[f64], scaled: &mut Vec<i64>) -> Option<u8> {
    let fits = |value: f64, power: f64| {
        let rounded = (value * power).round();
        let i = rounded as i64;
        // Through the integer and back, so that negative zero does not pass for zero.
        (rounded.abs() < INTEGER_MAX && (i as f64 / power).to_bits() == value.to_bits()).then_some(i)
    };
    let mut exponent = 0;
    for value in values {
        // Values of one series mostly have as many places; a later value can only raise the exponent.
        while fits(*value, POWERS[exponent]).is_none() {
            exponent += 1;
            if exponent == POWERS.len() {
                return None;
            }
        }
    }
    scaled.clear();
    for value in values {
        scaled.push(fits(*value, POWERS[exponent])?);
    }
    Some(exponent as u8)
}

fn differences(scaled: &[i64], deltas: &mut Vec<u8>, seconds: &mut Vec<u8>) {
    deltas.clear();
    seconds.clear();
    let (mut previous, mut step) = (0i64, 0i64);
    for (at, i) in scaled.iter().enumerate() {
        let delta = i - previous;
        put_zigzag(deltas, delta);
        put_zigzag(seconds, if at == 0 { delta } else { delta - step });
        step = if at == 0 { 0 } else { delta };
        previous = *i;
    }
}

fn put_bits(values: &[f64], out: &mut Vec<u8>) {
    for position in 0..8 {
        let mut previous = 0u64;
        for value in values {
            let bits = value.to_bits();
            out.push(((bits ^ previous) >> (8 * position)) as u8);
            previous = bits;
        }
    }
}

/// Where one column stands in the streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    form: Form,
    exponent: usize,
    present: Option<&'a [u8]>,
    bytes: &'a [u8],
}

/// The streams behind the directory, while they are read in step with it.
pub(super) struct Rest<'a> {
    pub(super) constants: Cursor<'a>,
    pub(super) integers: Cursor<'a>,
    pub(super) floats: Cursor<'a>,
}

impl<'a> Place<'a> {
    /// Reads one column's directory entry behind its id, and skips its values.
    pub(super) fn read(directory: &mut Cursor<'a>, rest: &mut Rest<'a>, rows: usize) -> Result<Self, DecodeError> {
        let tag = directory.byte()?;
        let form = Form::from_tag(tag).ok_or(DecodeError::Invalid("column form"))?;
        let exponent = usize::from(tag >> EXPONENT_SHIFT);
        if exponent >= POWERS.len() {
            return Err(DecodeError::Invalid("decimal exponent"));
        }
        let present = if tag & GAPS == 0 { None } else { Some(directory.take(rows.div_ceil(8))?) };
        let length = usize::try_from(directory.varint()?).map_err(|_| DecodeError::Invalid("column length"))?;
        let stream = match form {
            Form::ConstantDecimal | Form::ConstantBits => &mut rest.constants,
            Form::Deltas | Form::DeltaOfDeltas => &mut rest.integers,
            Form::Bits => &mut rest.floats,
        };
        Ok(Self { form, exponent, present, bytes: stream.take(length)? })
    }

    /// Decodes the column's values, one entry per row.
    pub(super) fn values(&self, rows: usize) -> Result<Vec<Option<f64>>, DecodeError> {
        let is_present = |row: usize| self.present.is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1);
        let count = (0..rows).filter(|row| is_present(*row)).count();
        let mut values = self.decode(count)?.into_iter();
        Ok((0..rows).map(|row| if is_present(row) { values.next() } else { None }).collect())
    }

    fn decode(&self, count: usize) -> Result<Vec<f64>, DecodeError> {
        let mut cursor = Cursor::new(self.bytes, "column");
        let power = POWERS[self.exponent];
        let values = match self.form {
            Form::ConstantDecimal => vec![cursor.zigzag()? as f64 / power; count],
            Form::ConstantBits => {
                let bits = cursor.take(8)?.iter().rev().fold(0, |bits, b| bits << 8 | u64::from(*b));
                vec![f64::from_bits(bits); count]
            }
            Form::Deltas | Form::DeltaOfDeltas => {
                let is_second = self.form == Form::DeltaOfDeltas;
                let (mut previous, mut step) = (0i64, 0i64);
                let mut values = Vec::with_capacity(count);
                for at in 0..count {
                    let n = cursor.zigzag()?;
                    let delta = if is_second && at > 0 { step.wrapping_add(n) } else { n };
                    step = if at == 0 { 0 } else { delta };
                    previous = previous.wrapping_add(delta);
                    values.push(previous as f64 / power);
                }
                values
            }
            Form::Bits => {
                let bytes = cursor.take(count.checked_mul(8).ok_or(DecodeError::Invalid("column length"))?)?;
                let mut previous = 0;
                let mut value = |at: usize| {
                    let xor =
                        (0..8).rev().fold(0, |bits, position| bits << 8 | u64::from(bytes[position * count + at]));
                    previous ^= xor;
                    f64::from_bits(previous)
                };
                (0..count).map(&mut value).collect()
            }
        };
        if cursor.remaining() > 0 { Err(DecodeError::Invalid("column length")) } else { Ok(values) }
    }
}
