//! How aggregates are written down: about 200 bytes each, since they go to flash every hour.

use super::aggregate::{Aggregate, Instance};
use super::estimate::Amounts;
use super::histogram::{Checkpoint, Histogram};
use super::update::Gave;
use skerry_model::UnixMillis;

/// First byte.
const VERSION: u8 = 2;
/// What follows of sizes that a container was given: nothing, some that the runtime may not have taken, some that it took.
const GAVE_NOTHING: u64 = 0;
const GIVING: u64 = 1;
const GAVE: u64 = 2;
/// Most bytes that are read.
const BYTES_MAX: usize = 64 << 10;
/// Most instances of an aggregate that are written.
const INSTANCES_MAX: usize = 64;

/// Why bytes hold no aggregate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is stored of a recommendation cannot be read: {0}")]
pub struct InvalidBytes(&'static str);

/// What was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Texts that say of what it is.
    pub about: Vec<String>,
    /// What was used.
    pub aggregate: Aggregate,
    /// Containers with their names.
    pub instances: Vec<(String, Instance)>,
}

impl Aggregate {
    /// What is stored: some texts that say of what it is, itself, and its instances with their names; of these 64.
    #[must_use]
    pub fn to_bytes(&self, about: &[&str], instances: &[(&str, &Instance)]) -> Vec<u8> {
        let mut out = vec![VERSION];
        number(&mut out, about.len() as u64);
        about.iter().for_each(|word| text(&mut out, word));
        number(&mut out, self.samples);
        moment(&mut out, self.sampled.map(|(first, _)| first));
        moment(&mut out, self.sampled.map(|(_, last)| last));
        for histogram in [&self.cpu, &self.memory] {
            let Checkpoint { reference, total, weights } = histogram.checkpoint();
            moment(&mut out, reference);
            out.extend(total.to_le_bytes());
            number(&mut out, weights.len() as u64);
            for (bucket, weight) in weights {
                number(&mut out, bucket.into());
                number(&mut out, weight.into());
            }
        }
        let instances = &instances[..instances.len().min(INSTANCES_MAX)];
        number(&mut out, instances.len() as u64);
        for (name, own) in instances {
            text(&mut out, name);
            for at in [own.cpu_at, own.memory_at, own.window_end, own.killed_at] {
                moment(&mut out, at);
            }
            for amount in [own.memory_peak, own.oom_peak] {
                number(&mut out, amount);
            }
            let Some(Gave { asks, limits, at, is_told }) = own.given else {
                number(&mut out, GAVE_NOTHING);
                continue;
            };
            number(&mut out, if is_told { GAVE } else { GIVING });
            for amounts in [asks, limits] {
                number(&mut out, amounts.cpu_milli);
                number(&mut out, amounts.memory);
            }
            moment(&mut out, Some(at));
        }
        out
    }
}

impl Saved {
    /// Reads what [`Aggregate::to_bytes`] gave.
    ///
    /// # Errors
    /// [`InvalidBytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidBytes> {
        let mut from = Reader(bytes);
        if bytes.len() > BYTES_MAX || from.byte()? != VERSION {
            return Err(InvalidBytes("it is of another version"));
        }
        let about = (0..from.number()?.min(INSTANCES_MAX as u64)).map(|_| from.text()).collect::<Result<_, _>>()?;
        let mut own = Aggregate { samples: from.number()?, ..Aggregate::default() };
        own.sampled = from.moment()?.zip(from.moment()?);
        for histogram in [&mut own.cpu, &mut own.memory] {
            from.histogram(histogram)?;
        }
        let mut instances = Vec::new();
        for _ in 0..from.number()?.min(INSTANCES_MAX as u64) {
            let name = from.text()?;
            let (cpu_at, memory_at) = (from.moment()?, from.moment()?);
            let (window_end, killed_at) = (from.moment()?, from.moment()?);
            let (memory_peak, oom_peak) = (from.number()?, from.number()?);
            let given = from.given()?;
            instances.push((name, Instance { cpu_at, memory_at, window_end, memory_peak, oom_peak, killed_at, given }));
        }
        Ok(Self { about, aggregate: own, instances })
    }
}

/// Seven bits a byte, lowest first.
fn number(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Zero for none, else one more than the moment with its sign in the lowest bit.
fn moment(out: &mut Vec<u8>, at: Option<UnixMillis>) {
    let folded = |at: i64| (at.cast_unsigned() << 1) ^ (at >> 63).cast_unsigned();
    number(out, at.map_or(0, |at| folded(at.0).saturating_add(1)));
}

fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], InvalidBytes> {
        let (head, rest) = self.0.split_at_checked(count).ok_or(InvalidBytes("it ends early"))?;
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, InvalidBytes> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u64, InvalidBytes> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(InvalidBytes("a number has no end"))
    }

    fn moment(&mut self) -> Result<Option<UnixMillis>, InvalidBytes> {
        let Some(folded) = self.number()?.checked_sub(1) else { return Ok(None) };
        Ok(Some(UnixMillis((folded >> 1).cast_signed() ^ -(folded & 1).cast_signed())))
    }

    fn amounts(&mut self) -> Result<Amounts, InvalidBytes> {
        Ok(Amounts { cpu_milli: self.number()?, memory: self.number()? })
    }

    fn given(&mut self) -> Result<Option<Gave>, InvalidBytes> {
        let kind = self.number()?;
        if ![GIVING, GAVE].contains(&kind) {
            return Ok(None);
        }
        let (asks, limits) = (self.amounts()?, self.amounts()?);
        let at = self.moment()?.ok_or(InvalidBytes("a size was given at no time"))?;
        Ok(Some(Gave { asks, limits, at, is_told: kind == GAVE }))
    }

    fn text(&mut self) -> Result<String, InvalidBytes> {
        let len = usize::try_from(self.number()?).map_err(|_| InvalidBytes("a text is too long"))?;
        String::from_utf8(self.take(len)?.to_vec()).map_err(|_| InvalidBytes("a text is not UTF-8"))
    }

    fn histogram(&mut self, into: &mut Histogram) -> Result<(), InvalidBytes> {
        let reference = self.moment()?;
        let total = f64::from_le_bytes(self.take(8)?.try_into().map_err(|_| InvalidBytes("it ends early"))?);
        let mut weights = Vec::new();
        for _ in 0..self.number()? {
            let bucket = u16::try_from(self.number()?).map_err(|_| InvalidBytes("a bucket that there is not"))?;
            let weight = u32::try_from(self.number()?).map_err(|_| InvalidBytes("a weight that there is not"))?;
            weights.push((bucket, weight));
        }
        let checkpoint = Checkpoint { reference, total, weights };
        into.restore(&checkpoint).map_err(|_| InvalidBytes("a histogram of another form"))
    }
}
