//! Makes chunks of blocks. Pure.

use super::LIMITS;
use skerry_chunk::{Column, DecodeError, EncodeError, MetricBlock, MetricReader, Unpacker};
use skerry_model::{Sample, SeriesId, TimeRange, UnixMillis};
use std::collections::{BTreeMap, HashMap};

/// Samples at which a chunk is full: about 64 KiB, which a page's slack does not matter to, and which unpacks in a
/// fraction of a millisecond.
pub(super) const CHUNK_SAMPLES: usize = 1 << 17;
/// Most cells of a chunk: series that share few of their moments leave gaps.
const CHUNK_CELLS: usize = 1 << 19;
/// Samples up to which a chunk takes what was measured at other moments too: many short series are not to become as many
/// chunks.
const CHUNK_SAMPLES_MIN: usize = CHUNK_SAMPLES / 8;

/// A block to be merged.
pub(super) struct Input<'a> {
    pub(super) data: &'a [u8],
    /// The label sets of its series ids; `None` where its ids are label sets already.
    pub(super) names: Option<&'a HashMap<SeriesId, SeriesId>>,
}

/// A chunk.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) first: SeriesId,
    pub(super) last: SeriesId,
    pub(super) range: TimeRange,
    pub(super) samples: u64,
    pub(super) data: Vec<u8>,
}

/// Why a block cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    #[error("a block cannot be read: {0}")]
    Decode(#[from] DecodeError),
    #[error("a series of a block has no labels")]
    Unnamed,
    #[error("a chunk cannot be written: {0}")]
    Encode(#[from] EncodeError),
}

/// Samples by label set.
#[derive(Debug, Default)]
pub(super) struct Merge {
    places: BTreeMap<SeriesId, usize>,
    samples: Vec<Vec<Sample>>,
    unpacker: Unpacker,
}

impl Merge {
    /// Takes a block. Where it cannot be taken, what was merged before is of no use any more.
    ///
    /// # Errors
    /// [`MergeError`].
    pub(super) fn take(&mut self, input: &Input<'_>) -> Result<(), MergeError> {
        let reader = MetricReader::open_with(&mut self.unpacker, input.data, &LIMITS)?;
        let (places, samples) = (&mut self.places, &mut self.samples);
        let mut is_named = true;
        let mut by_place: Vec<(usize, SeriesId)> = Vec::new();
        for series in reader.series() {
            let series = series?;
            let name = input.names.map_or(Some(series), |names| names.get(&series).copied());
            is_named &= name.is_some();
            let place = name.map(|name| {
                *places.entry(name).or_insert_with(|| {
                    samples.push(Vec::new());
                    samples.len() - 1
                })
            });
            by_place.extend(place.map(|place| (place, series)));
        }
        if !is_named {
            return Err(MergeError::Unnamed);
        }
        let mut next = by_place.iter();
        reader.samples_of(
            |_| next.next().map(|(place, _)| *place),
            |place, at, value| samples[place].push(Sample { at, value }),
        )?;
        Ok(())
    }

    /// The chunks, by rising label sets. Of samples of one series and moment the one that was taken first counts.
    ///
    /// # Errors
    /// [`MergeError::Encode`].
    pub(super) fn finish(mut self) -> Result<Vec<Output>, MergeError> {
        let mut outputs = Vec::new();
        let mut group = Group::default();
        for (series, place) in self.places {
            let mut samples = std::mem::take(&mut self.samples[place]);
            if !samples.windows(2).all(|pair| pair[0].at < pair[1].at) {
                samples.sort_by_key(|sample| sample.at);
                samples.dedup_by_key(|sample| sample.at);
            }
            if samples.is_empty() {
                continue;
            }
            if !group.has_room(&samples) {
                outputs.extend(std::mem::take(&mut group).seal()?);
            }
            group.add(series, samples);
        }
        outputs.extend(group.seal()?);
        Ok(outputs)
    }
}

/// Series of one chunk to be.
#[derive(Debug, Default)]
struct Group {
    times: Vec<UnixMillis>,
    series: Vec<(SeriesId, Vec<Sample>)>,
    samples: usize,
}

impl Group {
    /// Whether a series may join: there is room, and it was measured at about the same moments or the chunk is small.
    fn has_room(&self, samples: &[Sample]) -> bool {
        if self.series.is_empty() {
            return true;
        }
        let shared = samples.iter().filter(|sample| self.times.binary_search(&sample.at).is_ok()).count();
        let rows = self.times.len() + samples.len() - shared;
        self.samples + samples.len() <= CHUNK_SAMPLES
            && rows.saturating_mul(self.series.len() + 1) <= CHUNK_CELLS
            && (shared * 2 >= samples.len() || self.samples < CHUNK_SAMPLES_MIN)
    }

    fn add(&mut self, series: SeriesId, samples: Vec<Sample>) {
        if !self.times.iter().copied().eq(samples.iter().map(|sample| sample.at)) {
            self.times.extend(samples.iter().map(|sample| sample.at));
            self.times.sort_unstable();
            self.times.dedup();
        }
        self.samples += samples.len();
        self.series.push((series, samples));
    }

    fn seal(self) -> Result<Option<Output>, MergeError> {
        let (Some((first, _)), Some((last, _))) = (self.series.first(), self.series.last()) else { return Ok(None) };
        let (first, last) = (*first, *last);
        let (Some(from), Some(to)) = (self.times.first(), self.times.last()) else { return Ok(None) };
        let range = TimeRange { from: *from, to: *to };
        let column = |(series, samples): (SeriesId, Vec<Sample>)| {
            let mut values = vec![None; self.times.len()];
            let mut row = 0;
            for sample in samples {
                while self.times[row] < sample.at {
                    row += 1;
                }
                values[row] = Some(sample.value);
            }
            Column { series, values }
        };
        let columns = self.series.into_iter().map(column).collect();
        let data = MetricBlock { timestamps: self.times.clone(), columns }.encode()?;
        Ok(Some(Output { first, last, range, samples: self.samples as u64, data }))
    }
}
