//! Takes batches in exactly once.
