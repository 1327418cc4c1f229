//! The server: the real ingest core over its ledger in memory, committing in groups, losing what is not committed.

use super::Summary;
use skerry_fleet::intake::MemoryLedger;
use skerry_fleet::intake::core::{self, Verdict};
use skerry_model::{NodeId, StreamKind, UnixMillis};
use skerry_wire::{Acks, Batch, Hello, MESSAGE_BYTES_MAX, codec};

#[derive(Debug, Default)]
pub(super) struct Server {
    ledger: MemoryLedger,
    is_down: bool,
    /// Acknowledgements that leave with the next commit: node, connection, message.
    waiting: Vec<(usize, u64, Vec<u8>)>,
}

impl Server {
    pub(super) fn is_up(&self) -> bool {
        !self.is_down
    }

    pub(super) fn ledger(&self) -> &MemoryLedger {
        &self.ledger
    }

    /// Takes a message; says whether a commit has to follow.
    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
    pub(super) fn receive(
        &mut self,
        node: usize,
        link: u64,
        id: &NodeId,
        leaf: &str,
        message: &[u8],
        now: u64,
        summary: &mut Summary,
    ) -> bool {
        let acks = match StreamKind::from_name(leaf) {
            None => {
                let hello: Hello = codec::decode(message, MESSAGE_BYTES_MAX).expect("nodes send sound hellos");
                let Ok(acks) = core::held(&mut self.ledger, id, &hello.streams);
                acks
            }
            Some(stream) => {
                let batch: Batch = codec::decode(message, MESSAGE_BYTES_MAX).expect("nodes send sound batches");
                let received = UnixMillis(now as i64);
                let Ok(outcome) = core::take_in(&mut self.ledger, id, stream, &batch, received);
                summary.batches += 1;
                match outcome.verdict {
                    Verdict::Duplicate => summary.repeated += 1,
                    Verdict::Stored { repeated, .. } if repeated > 0 => summary.repeated += 1,
                    Verdict::Stored { .. } | Verdict::Gone { .. } | Verdict::NeedsDict { .. } => {}
                    Verdict::Quarantined { code, reason } => panic!("{id} {stream}: quarantined, {code}: {reason}"),
                    Verdict::Refused(refusal) => panic!("{id} {stream}: refused, {refusal}"),
                }
                vec![outcome.ack]
            }
        };
        let is_first = self.waiting.is_empty();
        self.waiting.push((node, link, codec::encode(&Acks { acks })));
        is_first
    }

    /// Makes durable what was taken and gives the acknowledgements that may leave now.
    pub(super) fn commit(&mut self) -> Vec<(usize, u64, Vec<u8>)> {
        self.ledger.commit();
        std::mem::take(&mut self.waiting)
    }

    pub(super) fn crash(&mut self) {
        self.ledger.crash();
        self.waiting.clear();
        self.is_down = true;
    }

    pub(super) fn boot(&mut self) {
        self.is_down = false;
    }
}
