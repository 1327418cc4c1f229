//! What Prometheus does with a scraped target, without the network.
//!
//! [`exposition`] reads the two text formats: the Prometheus text format 0.0.4 and OpenMetrics 1.0. Whoever has bytes
//! of an exposition feeds them to a [`exposition::Parser`] in chunks as they come and gets entries as they are complete:
//!
//! ```
//! use skerry_scrape::exposition::{Entry, Format, Parser};
//!
//! let mut parser = Parser::new(Format::Prometheus);
//! let mut values = Vec::new();
//! let mut each = |entry: Entry<'_>| {
//!     if let Entry::Sample(sample) = entry {
//!         values.push((sample.series.to_labels().unwrap().to_string(), sample.value, sample.at));
//!     }
//! };
//! parser.feed(b"# TYPE up gauge\nup{job=\"a\"} 1\nload{", &mut each).unwrap();
//! parser.feed(b"} 0.5 1700000000000", &mut each).unwrap();
//! parser.finish(&mut each).unwrap();
//! assert_eq!(values.len(), 2);
//! ```
//!
//! [`relabel`] is Prometheus's relabelling, for whatever has labels. [`target`] makes what is fetched and the labels it
//! carries from what discovery found, and [`rounds`] remembers one target from scrape to scrape: what to store, which
//! series have ended, and what had to be refused.
//!
//! Invariants:
//! - No I/O, no clock. Whatever a target sends, nothing panics, and memory is bounded by the limits named in each module.
//! - The first bad line ends an exposition: Prometheus takes a scrape whole or not at all. What was handed out before is
//!   the caller's to throw away.

pub mod exposition;
pub mod md5;
pub mod relabel;
pub mod rounds;
pub mod target;
