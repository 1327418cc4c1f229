//! Reading a metric block: all of it, or one series.

use super::column::{Place, Rest};
use super::{Column, KIND, MetricInfo};
use crate::bytes::Cursor;
use crate::frame;
use crate::{DecodeError, Limits};
use skerry_model::{SeriesId, TimeRange, UnixMillis};

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
    streams: [usize; 4],
    directory_at: usize,
    timestamps: Vec<UnixMillis>,
    series: Vec<SeriesId>,
}

impl MetricReader {
    /// Opens a block and reads its directory.
    ///
    /// # Errors
    /// [`DecodeError`] where the bytes are no sound block or exceed `limits`.
    pub fn open(bytes: &[u8], limits: &Limits) -> Result<Self, DecodeError> {
        let (info, cursor) = header(bytes, limits)?;
        let raw = frame::body(cursor, limits.raw_bytes_max)?;
        let mut cursor = Cursor::new(&raw, "body");
        let mut streams = [0; 4];
        for length in &mut streams[..3] {
            *length = cursor.count("stream length", raw.len())?;
        }
        let begun = raw.len() - cursor.remaining();
        let mut end = begun;
        for stream in &mut streams[..3] {
            end = end.checked_add(*stream).filter(|end| *end <= raw.len()).ok_or(DecodeError::Truncated("body"))?;
            *stream = end;
        }
        streams[3] = raw.len();
        let mut directory = Cursor::new(&raw[begun..streams[0]], "directory");
        let timestamps = timestamps(&mut directory, info.rows)?;
        let directory_at = streams[0] - directory.remaining();
        let mut reader = Self { raw, streams, directory_at, timestamps, series: Vec::new() };
        // A column takes three bytes of directory at least, so a count cannot make this larger than the body.
        let mut series = Vec::with_capacity(info.series.min(reader.raw.len()));
        for place in reader.places(info.series) {
            series.push(place?.0);
        }
        reader.series = series;
        Ok(reader)
    }

    /// When each scrape was taken.
    #[must_use]
    pub fn timestamps(&self) -> &[UnixMillis] {
        &self.timestamps
    }

    /// Ids of all series, rising.
    #[must_use]
    pub fn series(&self) -> &[SeriesId] {
        &self.series
    }

    /// One series' values, one entry per timestamp; `None` where the block does not have the series.
    ///
    /// # Errors
    /// [`DecodeError`] where its column is damaged.
    pub fn read(&self, series: SeriesId) -> Result<Option<Vec<Option<f64>>>, DecodeError> {
        let Ok(at) = self.series.binary_search(&series) else { return Ok(None) };
        match self.places(self.series.len()).nth(at) {
            Some(place) => place?.1.values(self.timestamps.len()).map(Some),
            None => Ok(None),
        }
    }

    /// All columns, in rising order of ids.
    pub fn columns(&self) -> impl Iterator<Item = Result<Column, DecodeError>> {
        self.places(self.series.len()).map(|place| {
            let (series, place) = place?;
            Ok(Column { series, values: place.values(self.timestamps.len())? })
        })
    }

    fn places(&self, count: usize) -> impl Iterator<Item = Result<(SeriesId, Place<'_>), DecodeError>> {
        let [a, b, c, d] = self.streams;
        let rows = self.timestamps.len();
        let mut directory = Cursor::new(&self.raw[self.directory_at..a], "directory");
        let mut rest = Rest {
            constants: Cursor::new(&self.raw[a..b], "constants"),
            integers: Cursor::new(&self.raw[b..c], "integers"),
            floats: Cursor::new(&self.raw[c..d], "floats"),
        };
        let mut id = 0u32;
        (0..count).map(move |at| {
            let step = u32::try_from(directory.varint()?).map_err(|_| DecodeError::Invalid("series id"))?;
            if step == 0 && at > 0 {
                return Err(DecodeError::Invalid("series id"));
            }
            id = id.checked_add(step).ok_or(DecodeError::Invalid("series id"))?;
            Ok((SeriesId(id), Place::read(&mut directory, &mut rest, rows)?))
        })
    }
}

fn timestamps(directory: &mut Cursor<'_>, rows: usize) -> Result<Vec<UnixMillis>, DecodeError> {
    let mut timestamps = Vec::with_capacity(rows.min(directory.remaining()));
    let (mut previous, mut step) = (0i64, 0i64);
    for at in 0..rows {
        let n = directory.zigzag()?;
        if at == 0 {
            previous = n;
        } else {
            step = step.wrapping_add(n);
            previous = previous.wrapping_add(step);
        }
        timestamps.push(UnixMillis(previous));
    }
    Ok(timestamps)
}
