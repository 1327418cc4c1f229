//! Where the engine gets records from.

use skerry_model::{Labels, RecordRef, TimeRange};
use skerry_promql::Matcher;
use std::ops::ControlFlow;

/// What a query demands of records before anything else is looked at.
///
/// A source may give more than that, if telling would cost more than handing on; the engine checks again.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Conditions on the labels of the stream (see [`skerry_model::stream_labels`]; at the centre also `node` and the
    /// labels that the admins gave the node).
    pub matchers: Vec<Matcher>,
    /// From when to when, both included.
    pub range: TimeRange,
    /// Texts that each line must hold, as they stand, upper and lower case told apart. A source may rule out blocks by
    /// them.
    pub needles: Vec<Vec<u8>>,
}

/// A set of records that is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The source's own name for it.
    pub key: u64,
    /// Times of its records, both included.
    pub range: TimeRange,
}

/// Records in blocks. Blocks may overlap in time; within a block records stand in the order they were read.
pub trait Source {
    /// Why something could not be read.
    type Error;

    /// Blocks that may hold records of the selection, by falling end of their range. Blocks that begin later and end at
    /// the same time come first; among equals, the newer one.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn blocks(&self, selection: &Selection) -> Result<Vec<Block>, Self::Error>;

    /// Hands on the records of a block that meet the selection, with the labels of their stream, until told to stop.
    ///
    /// A block that is gone by now has no records; one that is damaged gives those that can be read and is counted by
    /// the source.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn read(
        &self,
        block: Block,
        selection: &Selection,
        each: &mut dyn FnMut(&Labels, RecordRef<'_>) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;

    /// Label sets of the streams that may have records in the range and meet the matchers, each once.
    ///
    /// # Errors
    /// Where the store cannot be read.
    fn streams(&self, matchers: &[Matcher], range: TimeRange) -> Result<Vec<Labels>, Self::Error>;
}
