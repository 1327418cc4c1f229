//! One column: choosing its form, writing it, reading it back.

use crate::DecodeError;
use crate::bytes::{Cursor, put_varint, put_zigzag};

pub(super) const GAPS: u8 = 1 << 3;
const SCALE_SHIFT: u32 = 4;
const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];
/// Powers of two behind the scales after the decimal ones, rising.
const SHIFTS: [u32; 5] = [9, 10, 12, 16, 20];
/// Integers below this are exact in binary64, and their second differences fit 64 bits with room.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    ConstantInteger,
    ConstantBits,
    Deltas,
    DeltaOfDeltas,
    Bits,
}

impl Form {
    pub(super) fn from_tag(tag: u8) -> Result<Self, DecodeError> {
        match tag & 7 {
            0 => Ok(Self::ConstantInteger),
            1 => Ok(Self::ConstantBits),
            2 => Ok(Self::Deltas),
            3 => Ok(Self::DeltaOfDeltas),
            4 => Ok(Self::Bits),
            _ => Err(DecodeError::Invalid("column form")),
        }
    }

    pub(super) const fn has_first(self) -> bool {
        matches!(self, Self::ConstantInteger | Self::Deltas | Self::DeltaOfDeltas)
    }

    pub(super) const fn has_length(self) -> bool {
        matches!(self, Self::Deltas | Self::DeltaOfDeltas)
    }
}

/// The streams of a body, while they are written.
#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) times: Vec<u8>,
    pub(super) ids: Vec<u8>,
    tags: Vec<u8>,
    presence: Vec<u8>,
    lengths: Vec<u8>,
    firsts: Vec<u8>,
    integers: Vec<u8>,
    floats: Vec<u8>,
    values: Vec<f64>,
    scaled: Vec<i64>,
    deltas: Vec<u8>,
    seconds: Vec<u8>,
}

impl Streams {
    /// Writes one column, all but its id.
    pub(super) fn write(&mut self, column: &[Option<f64>]) {
        self.values.clear();
        self.values.extend(column.iter().flatten());
        let gaps = if self.values.len() < column.len() { GAPS } else { 0 };
        let scale = scale(&self.values, &mut self.scaled);
        let first = self.values.first().copied().unwrap_or(0.0);
        let is_constant = self.values.iter().all(|v| v.to_bits() == first.to_bits());
        if scale.is_some() {
            put_zigzag(&mut self.firsts, self.scaled.first().copied().unwrap_or(0));
        }
        let form = match (scale, is_constant) {
            (Some(_), true) => Form::ConstantInteger,
            (None, true) => {
                self.floats.extend_from_slice(&first.to_bits().to_le_bytes());
                Form::ConstantBits
            }
            (Some(_), false) => {
                differences(&self.scaled, &mut self.deltas, &mut self.seconds);
                let form = if self.seconds.len() < self.deltas.len() { Form::DeltaOfDeltas } else { Form::Deltas };
                let shorter = if form == Form::Deltas { &self.deltas } else { &self.seconds };
                put_varint(&mut self.lengths, shorter.len() as u64);
                self.integers.extend_from_slice(shorter);
                form
            }
            (None, false) => {
                put_bits(&self.values, &mut self.floats);
                Form::Bits
            }
        };
        self.tags.push(form as u8 | gaps | scale.unwrap_or(0) << SCALE_SHIFT);
        if gaps != 0 {
            for eight in column.chunks(8) {
                let bits = eight.iter().enumerate().fold(0u8, |bits, (i, v)| bits | u8::from(v.is_some()) << i);
                self.presence.push(bits);
            }
        }
    }

    /// The body: six lengths, then the eight streams.
    pub(super) fn join(self) -> Vec<u8> {
        let mut raw = Vec::new();
        for stream in [&self.times, &self.ids, &self.presence, &self.lengths, &self.firsts, &self.integers] {
            put_varint(&mut raw, stream.len() as u64);
        }
        let (keys, content) = ([&self.times, &self.ids, &self.tags, &self.presence], [&self.lengths, &self.firsts]);
        for stream in keys.into_iter().chain(content).chain([&self.integers, &self.floats]) {
            raw.extend_from_slice(stream);
        }
        raw
    }
}

/// The scale with which every value is exactly an integer, and those integers.
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
    let ones = scaled.iter().fold(0, |ones, i| ones | i);
    if exponent == 0
        && ones != 0
        && let Some(nth) = SHIFTS.iter().rposition(|shift| ones.trailing_zeros() >= *shift)
    {
        scaled.iter_mut().for_each(|i| *i >>= SHIFTS[nth]);
        return Some((POWERS.len() + nth) as u8);
    }
    Some(exponent as u8)
}

/// From the second value on.
fn differences(scaled: &[i64], deltas: &mut Vec<u8>, seconds: &mut Vec<u8>) {
    deltas.clear();
    seconds.clear();
    let mut step = 0i64;
    for pair in scaled.windows(2) {
        let delta = pair[1] - pair[0];
        put_zigzag(deltas, delta);
        put_zigzag(seconds, delta - step);
        step = delta;
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

/// One column's bytes in the streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tag: u8,
    pub(super) form: Form,
    pub(super) presence: Option<&'a [u8]>,
    /// Zero where the form has none.
    pub(super) first: i64,
    /// In the stream of integers or of floats.
    pub(super) bytes: &'a [u8],
}

/// Rows that a presence map has.
pub(super) fn present(map: &[u8], rows: usize) -> usize {
    let (whole, rest) = map.split_at((rows / 8).min(map.len()));
    let tail = rest.first().map_or(0, |byte| byte & !(0xff << (rows % 8)));
    whole.iter().map(|byte| byte.count_ones() as usize).sum::<usize>() + tail.count_ones() as usize
}

impl Place<'_> {
    /// The column's values, one entry per row.
    pub(super) fn values(&self, rows: usize) -> Result<Vec<Option<f64>>, DecodeError> {
        let mut values = vec![None; rows];
        self.each(rows, |row, value| values[row] = Some(value))?;
        Ok(values)
    }

    /// Hands on each value that is present with its row, by rising row.
    pub(super) fn each(&self, rows: usize, mut hand_on: impl FnMut(usize, f64)) -> Result<(), DecodeError> {
        let scale = usize::from(self.tag >> SCALE_SHIFT);
        if scale >= POWERS.len() + SHIFTS.len() {
            return Err(DecodeError::Invalid("scale"));
        }
        let unscaled = |i: i64| match scale.checked_sub(POWERS.len()) {
            None => i as f64 / POWERS[scale],
            Some(nth) => i as f64 * f64::from(1u32 << SHIFTS[nth]),
        };
        let count = self.presence.map_or(rows, |map| present(map, rows));
        let mut row = Rows { presence: self.presence, next: 0 };
        let mut cursor = Cursor::new(self.bytes, "column");
        match self.form {
            Form::ConstantInteger => {
                let value = unscaled(self.first);
                (0..count).for_each(|_| hand_on(row.step(), value));
            }
            Form::ConstantBits => {
                let bits = cursor.take(8)?.iter().rev().fold(0, |bits, b| bits << 8 | u64::from(*b));
                (0..count).for_each(|_| hand_on(row.step(), f64::from_bits(bits)));
            }
            Form::Deltas | Form::DeltaOfDeltas => {
                let keeps_step = self.form == Form::DeltaOfDeltas;
                let (mut value, mut step) = (self.first, 0i64);
                for at in 0..count {
                    if at > 0 {
                        step = cursor.zigzag()?.wrapping_add(if keeps_step { step } else { 0 });
                        value = value.wrapping_add(step);
                    }
                    hand_on(row.step(), unscaled(value));
                }
            }
            Form::Bits => {
                let bytes = cursor.take(count.checked_mul(8).ok_or(DecodeError::Invalid("column length"))?)?;
                let mut bits = 0;
                for at in 0..count {
                    bits ^= (0..8).rev().fold(0, |bits, position| bits << 8 | u64::from(bytes[position * count + at]));
                    hand_on(row.step(), f64::from_bits(bits));
                }
            }
        }
        if cursor.remaining() > 0 { Err(DecodeError::Invalid("column length")) } else { Ok(()) }
    }
}

/// The rows that have a value, one after the other.
struct Rows<'a> {
    presence: Option<&'a [u8]>,
    next: usize,
}

impl Rows<'_> {
    /// The next; called as often as there are such rows.
    fn step(&mut self) -> usize {
        if let Some(map) = self.presence {
            while map.get(self.next / 8).is_some_and(|byte| byte >> (self.next % 8) & 1 == 0) {
                self.next += 1;
            }
        }
        self.next += 1;
        self.next - 1
    }
}
