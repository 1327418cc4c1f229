//! What both versions have in common.

use crate::snappy::pack;
use crate::{DecodeError, v1, v2};
use skerry_model::{Labels, Sample};

/// Version of the protocol; each has its own message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// 1.0.
    #[default]
    V1,
    /// 2.0, which names each string once.
    V2,
}

impl Protocol {
    /// Full name of its protobuf message.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }

    /// The protocol with that message.
    #[must_use]
    pub fn of_message(name: &str) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|protocol| protocol.message() == name)
    }

    /// Value of the header `Content-Type`. Receivers of 1.0 know the plain one alone.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The protocol that a `Content-Type` names; without the parameter `proto` it is 1.0. `None` where it names
    /// something else.
    #[must_use]
    pub fn of_content_type(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let named = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
        });
        named.map_or(Some(Self::V1), Self::of_message)
    }

    /// Value of the header `X-Prometheus-Remote-Write-Version`.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }
}

/// A series to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// Its samples, oldest first.
    pub samples: Vec<Sample>,
}

/// A series as it was read. Labels are in the order they came in and not checked: a name may be empty or repeat.
#[derive(Debug, Default)]
pub struct Incoming<'a> {
    /// Names and values.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Samples in the order they came in.
    pub samples: Vec<Sample>,
    /// Native histograms that were passed over.
    pub histograms: u64,
    /// Exemplars that were passed over.
    pub exemplars: u64,
}

impl Incoming<'_> {
    pub(crate) fn clear(&mut self) {
        self.labels.clear();
        self.samples.clear();
        (self.histograms, self.exemplars) = (0, 0);
    }
}

/// Bounds on what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series in a request.
    pub series_max: u64,
    /// Labels of a series.
    pub labels_max: u64,
    /// Samples in a request.
    pub samples_max: u64,
    /// Strings in a request of 2.0.
    pub symbols_max: u64,
}

impl Default for Limits {
    /// Twenty times what Prometheus sends at most, in less than 20 MB of tables.
    fn default() -> Self {
        Self { series_max: 100_000, labels_max: 256, samples_max: 500_000, symbols_max: 200_000 }
    }
}

impl Limits {
    pub(crate) fn check(what: &'static str, found: u64, limit: u64) -> Result<(), DecodeError> {
        if found > limit { Err(DecodeError::TooLarge { what, found, limit }) } else { Ok(()) }
    }
}

/// What a request held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Series.
    pub series: u64,
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, series: &Incoming<'_>, limits: &Limits) -> Result<(), DecodeError> {
        self.series += 1;
        self.samples += series.samples.len() as u64;
        self.histograms += series.histograms;
        self.exemplars += series.exemplars;
        Limits::check("series", self.series, limits.series_max)?;
        Limits::check("samples", self.samples, limits.samples_max)
    }
}

/// Reads a message that [`unpack`](crate::unpack) gave, handing each series to `each` in turn. What `each` was given
/// is of use only if the whole message can be read; reading it twice, first with an empty `each`, costs little.
///
/// # Errors
/// [`DecodeError`].
pub fn read<'a>(
    protocol: Protocol,
    message: &'a [u8],
    limits: &Limits,
    each: impl FnMut(&Incoming<'a>),
) -> Result<Totals, DecodeError> {
    match protocol {
        Protocol::V1 => v1::read(message, limits, each),
        Protocol::V2 => v2::read(message, limits, each),
    }
}

/// The body of a request.
#[must_use]
pub fn write(protocol: Protocol, series: &[Series]) -> Vec<u8> {
    pack(&match protocol {
        Protocol::V1 => v1::write(series),
        Protocol::V2 => v2::write(series),
    })
}
