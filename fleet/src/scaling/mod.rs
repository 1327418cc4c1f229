//! Scaling and workloads as the centre sees them.
//!
//! Nodes decide for themselves. The centre shows what they decided ([`history`], from their events), asks them what they
//! would decide now ([`view`] has the form of their answers), and knows from their series how they stood last ([`known`]):
//! that is what is shown of a node that does not answer, and said so. [`sites`] sums up what sites have and what they lack.
//!
//! Invariants:
//! - A decision stands in the history once: its event came once, whatever happened to the link.
//! - What a node did not say now is marked with the time of which it is.

pub mod history;
pub mod known;
pub mod sites;
pub mod view;
