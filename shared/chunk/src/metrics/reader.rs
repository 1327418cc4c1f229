//! Reading a metric block: all of it, or some series.

use super::column::{Form, GAPS, Place, present};
use super::{Column, KIND, MetricInfo};
use crate::bytes::Cursor;
use crate::frame::{self, Unpacker};
use crate::{DecodeError, Limits};
use skerry_model::{SeriesId, TimeRange, UnixMillis};
use std::ops::Range;

/// Reads the header; the cursor then stands at the body.
pub(super) fn header<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(MetricInfo, Cursor<'a>), DecodeError> {
    let mut cursor = frame::open(KIND, bytes)?;
    let rows = cursor.count("number of rows", limits.rows_max)?;
    let series = cursor.count("number of series", limits.series_max)?;
    let samples = cursor.varint()?;
    let (from, to) = (UnixMillis(cursor.zigzag()?), UnixMillis(cursor.zigzag()?));
    let range = (rows > 0).then_some(TimeRange { from, to });
    Ok((MetricInfo { rows, series, samples, range }, cursor))
}

/// An opened block: decompressed once, its columns decoded when asked for.
#[derive(Debug)]
pub struct MetricReader {
    raw: Vec<u8>,
    streams: Streams,
    timestamps: Vec<UnixMillis>,
    series_count: usize,
}

/// Where the streams lie in the body.
#[derive(Debug, Default)]
struct Streams {
    ids: Range<usize>,
    tags: Range<usize>,
    presence: Range<usize>,
    lengths: Range<usize>,
    firsts: Range<usize>,
    integers: Range<usize>,
    floats: Range<usize>,
}

impl MetricReader {
    /// Opens a block.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn open(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        Self::open_with(&mut Unpacker::new(), bytes, limits)
    }

    /// As [`Self::open`], for one block after the other.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(unpacker: &mut Unpacker, bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let (info, cursor) = header(bytes, limits)?;
        let raw = frame::body(cursor, limits.raw_bytes_max, unpacker)?;
        let mut cursor = Cursor::new(&raw, "body");
        let mut length = || cursor.count("stream length", raw.len());
        let [times, ids, presence, lengths, firsts, integers] =
            [length()?, length()?, length()?, length()?, length()?, length()?];
        let mut end = raw.len() - cursor.remaining();
        let mut next = |length: usize| {
            let begun = end;
            end = begun.checked_add(length).filter(|end| *end <= raw.len()).ok_or(DecodeError::Truncated("body"))?;
            Ok(begun..end)
        };
        let times = next(times)?;
        let streams = Streams {
            ids: next(ids)?,
            tags: next(info.series)?,
            presence: next(presence)?,
            lengths: next(lengths)?,
            firsts: next(firsts)?,
            integers: next(integers)?,
            floats: end..raw.len(),
        };
        let timestamps = timestamps(Cursor::new(&raw[times], "times"), info.rows)?;
        Ok(Self { raw, streams, timestamps, series_count: info.series })
    }

    /// When each scrape was taken.
    #[must_use]
    pub fn timestamps(&self) -> &[UnixMillis] {
        &self.timestamps
    }

    /// How many series there are.
    #[must_use]
    pub const fn series_count(&self) -> usize {
        self.series_count
    }

    /// Ids of all series, rising.
    pub fn series(&self) -> impl Iterator<Item = Result<SeriesId, DecodeError>> {
        let mut ids = Ids::new(self.cursor(&self.streams.ids, "ids"));
        (0..self.series_count).map(move |_| ids.next())
    }

    /// One series' values, one entry per timestamp; `None` where the block does not have the series.
    ///
    /// # Errors
    /// [`DecodeError`] where its column is damaged.
    pub fn read(&self, series: SeriesId) -> Result<Option<Vec<Option<f64>>>, DecodeError> {
        match self.find(series)? {
            Some(place) => place.values(self.timestamps.len()).map(Some),
            None => Ok(None),
        }
    }

    /// Hands on one series' samples, in the order they were taken; none where the block does not have the series.
    ///
    /// # Errors
    /// [`DecodeError`] where its column is damaged; what was handed on before is sound.
    pub fn samples(&self, series: SeriesId, mut each: impl FnMut(UnixMillis, f64)) -> Result<(), DecodeError> {
        match self.find(series)? {
            Some(place) => place.each(self.timestamps.len(), |row, value| each(self.timestamps[row], value)),
            None => Ok(()),
        }
    }

    /// Hands on the samples of all series that `wanted` gives something for, with what it gave, series by rising id.
    ///
    /// # Errors
    /// As [`Self::samples`].
    pub fn samples_of<T: Copy>(
        &self,
        mut wanted: impl FnMut(SeriesId) -> Option<T>,
        mut each: impl FnMut(T, UnixMillis, f64),
    ) -> Result<(), DecodeError> {
        for place in self.places() {
            let (series, place) = place?;
            if let Some(told) = wanted(series) {
                place.each(self.timestamps.len(), |row, value| each(told, self.timestamps[row], value))?;
            }
        }
        Ok(())
    }

    /// All columns, in rising order of ids.
    pub fn columns(&self) -> impl Iterator<Item = Result<Column, DecodeError>> {
        self.places().map(|place| {
            let (series, place) = place?;
            Ok(Column { series, values: place.values(self.timestamps.len())? })
        })
    }

    fn cursor(&self, stream: &Range<usize>, part: &'static str) -> Cursor<'_> {
        Cursor::new(&self.raw[stream.clone()], part)
    }

    fn walk(&self) -> Walk<'_> {
        let streams = &self.streams;
        Walk {
            presence: self.cursor(&streams.presence, "presence"),
            lengths: self.cursor(&streams.lengths, "lengths"),
            firsts: self.cursor(&streams.firsts, "firsts"),
            integers: self.cursor(&streams.integers, "integers"),
            floats: self.cursor(&streams.floats, "floats"),
            rows: self.timestamps.len(),
        }
    }

    fn places(&self) -> impl Iterator<Item = Result<(SeriesId, Place<'_>), DecodeError>> {
        let mut ids = Ids::new(self.cursor(&self.streams.ids, "ids"));
        let mut walk = self.walk();
        self.raw[self.streams.tags.clone()].iter().map(move |tag| Ok((ids.next()?, walk.place(*tag)?)))
    }

    /// Where a series stands: passes over those before it as fast as can be, which is most of what reading it takes.
    fn find(&self, series: SeriesId) -> Result<Option<Place<'_>>, DecodeError> {
        let mut ids = Ids::new(self.cursor(&self.streams.ids, "ids"));
        let mut at = 0;
        while at < self.series_count && ids.next()? < series {
            at += 1;
        }
        let tags = &self.raw[self.streams.tags.clone()];
        match tags.get(at) {
            Some(tag) if ids.last == Some(series.0) => {
                let mut walk = self.walk();
                walk.skip(&tags[..at])?;
                walk.place(*tag).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Rising ids from the distances between them.
struct Ids<'a> {
    distances: Cursor<'a>,
    last: Option<u32>,
}

impl<'a> Ids<'a> {
    const fn new(distances: Cursor<'a>) -> Self {
        Self { distances, last: None }
    }

    #[inline]
    fn next(&mut self) -> Result<SeriesId, DecodeError> {
        let distance = u32::try_from(self.distances.varint()?).ok();
        let id = match self.last {
            None => distance,
            Some(last) => distance.filter(|distance| *distance > 0).and_then(|distance| last.checked_add(distance)),
        };
        self.last = id;
        id.map(SeriesId).ok_or(DecodeError::Invalid("series id"))
    }
}

/// The streams behind ids and tags, read in step with them.
struct Walk<'a> {
    presence: Cursor<'a>,
    lengths: Cursor<'a>,
    firsts: Cursor<'a>,
    integers: Cursor<'a>,
    floats: Cursor<'a>,
    rows: usize,
}

impl<'a> Walk<'a> {
    /// The next column.
    fn place(&mut self, tag: u8) -> Result<Place<'a>, DecodeError> {
        let form = Form::from_tag(tag)?;
        let presence = if tag & GAPS == 0 { None } else { Some(self.presence.take(self.rows.div_ceil(8))?) };
        let first = if form.has_first() { self.firsts.zigzag()? } else { 0 };
        let bytes = match form {
            Form::ConstantInteger => &[],
            Form::Deltas | Form::DeltaOfDeltas => {
                let length = usize::try_from(self.lengths.varint()?).map_err(|_| DecodeError::Invalid("length"))?;
                self.integers.take(length)?
            }
            Form::ConstantBits => self.floats.take(8)?,
            Form::Bits => self.floats.take(self.bits_length(presence)?)?,
        };
        Ok(Place { tag, form, presence, first, bytes })
    }

    /// Passes over columns.
    fn skip(&mut self, tags: &[u8]) -> Result<(), DecodeError> {
        let (mut firsts, mut lengths) = (0, 0);
        for tag in tags {
            let form = Form::from_tag(*tag)?;
            firsts += usize::from(form.has_first());
            lengths += usize::from(form.has_length());
            let presence = if tag & GAPS == 0 { None } else { Some(self.presence.take(self.rows.div_ceil(8))?) };
            match form {
                Form::ConstantBits => drop(self.floats.take(8)?),
                Form::Bits => drop(self.floats.take(self.bits_length(presence)?)?),
                _ => {}
            }
        }
        self.firsts.skip_varints(firsts)?;
        let mut integers = 0usize;
        for _ in 0..lengths {
            let length = usize::try_from(self.lengths.varint()?).map_err(|_| DecodeError::Invalid("length"))?;
            integers = integers.saturating_add(length);
        }
        self.integers.take(integers).map(drop)
    }

    fn bits_length(&self, presence: Option<&[u8]>) -> Result<usize, DecodeError> {
        let count = presence.map_or(self.rows, |map| present(map, self.rows));
        count.checked_mul(8).ok_or(DecodeError::Invalid("column length"))
    }
}

fn timestamps(mut times: Cursor<'_>, rows: usize) -> Result<Vec<UnixMillis>, DecodeError> {
    let mut timestamps = Vec::with_capacity(rows.min(times.remaining()));
    let (mut previous, mut step) = (0i64, 0i64);
    for at in 0..rows {
        let n = times.zigzag()?;
        if at == 0 {
            previous = n;
        } else {
            step = step.wrapping_add(n);
            previous = previous.wrapping_add(step);
        }
        timestamps.push(UnixMillis(previous));
    }
    if times.remaining() > 0 { Err(DecodeError::Invalid("times")) } else { Ok(timestamps) }
}
