//! One of a target's lanes: a connection, and the requests that go over it one after the other.

use super::core::{Before, Request, Sent, Verdict, judge};
use crate::clock::WallClock;
use crate::outgoing::backoff::Backoff;
use crate::outgoing::http::{Client, Form};
use crate::outgoing::stats::TargetStats;
use crate::remote::config::Target;
use crate::store::{LossRow, unsent};
use axum::http::{HeaderName, HeaderValue, header};
use bytes::Bytes;
use rustls::ClientConfig;
use skerry_model::{LossReason, NodeId};
use skerry_remote::Protocol;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Most bytes of an answer that are read; its first words say what is wrong.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What the requests of a protocol look like.
fn form(protocol: Protocol) -> Form {
    let headers = vec![
        (header::CONTENT_TYPE, HeaderValue::from_static(protocol.content_type())),
        (header::CONTENT_ENCODING, HeaderValue::from_static("snappy")),
        (HeaderName::from_static("x-prometheus-remote-write-version"), HeaderValue::from_static(protocol.version())),
    ];
    Form { path: None, headers, answer_bytes_max: ANSWER_BYTES_MAX }
}

/// Sends one request after the other.
pub(super) struct Lane {
    target: Arc<Target>,
    client: Client,
    backoff: Backoff,
    stats: Arc<TargetStats>,
    wall: WallClock,
    is_failing: bool,
}

impl Lane {
    pub(super) fn new(
        target: &Arc<Target>,
        tls: &Option<Arc<ClientConfig>>,
        stats: &Arc<TargetStats>,
        wall: &WallClock,
    ) -> Self {
        let (min, max) = (target.queue.min_backoff.0, target.queue.max_backoff.0);
        let seed = skerry_seal::random().map_or(1, u64::from_le_bytes);
        Self {
            target: target.clone(),
            client: Client::new(target.endpoint.clone(), form(target.protocol), tls.clone()),
            backoff: Backoff::new(min, max, seed),
            stats: stats.clone(),
            wall: wall.clone(),
            is_failing: false,
        }
    }

    /// Sends all of these, however long it takes; what was refused.
    pub(super) async fn send(mut self, requests: Vec<Request>, before: Before) -> (Self, Vec<(NodeId, LossRow)>) {
        let mut losses = Vec::new();
        for request in requests {
            if let Some(loss) = self.send_one(&request, before).await {
                losses.push((request.node, loss));
            }
        }
        (self, losses)
    }

    async fn send_one(&mut self, request: &Request, before: Before) -> Option<LossRow> {
        let samples = request.samples();
        let body = Bytes::from(skerry_remote::write(self.target.protocol, &request.series));
        let mut sent = Sent { protocol: self.target.protocol, is_late: request.is_late, before };
        loop {
            let (after, why) = match self.client.post(body.clone()).await {
                Ok(answer) => match judge(&answer, &sent, (self.wall)()) {
                    Verdict::Sent => {
                        self.succeed();
                        TargetStats::add(&self.stats.sent, samples);
                        TargetStats::add(&self.stats.sent_requests, 1);
                        TargetStats::add(&self.stats.sent_bytes, body.len() as u64);
                        return None;
                    }
                    Verdict::Repeated => {
                        self.succeed();
                        TargetStats::add(&self.stats.repeated, samples);
                        return None;
                    }
                    Verdict::Refused { written, why } => {
                        self.succeed();
                        let written = written.min(samples);
                        TargetStats::add(&self.stats.sent, written);
                        return Some(self.refused(request, samples - written, &why));
                    }
                    Verdict::Retry { after, why } => (after, why),
                },
                Err(error) => (None, error.to_string()),
            };
            sent.before = Before::InDoubt;
            self.fail(samples, &why);
            tokio::time::sleep(self.backoff.pause(after)).await;
        }
    }

    fn refused(&self, request: &Request, samples: u64, why: &str) -> LossRow {
        let before = self.stats.refused.fetch_add(samples, Ordering::Relaxed);
        let (target, node) = (&self.target.name, &request.node);
        // A target that refuses everything is told of at 1, 2, 4, 8 … thousand samples.
        if before == 0 || (before / 1000).leading_zeros() != ((before + samples) / 1000).leading_zeros() {
            tracing::warn!(target, %node, samples, why, "a remote-write target refused samples; they are in the ledger");
        }
        unsent(target, LossReason::Refused, samples, request.range(), (self.wall)())
    }

    fn fail(&mut self, samples: u64, why: &str) {
        TargetStats::add(&self.stats.failed, samples);
        TargetStats::add(&self.stats.failed_requests, 1);
        let is_first = self.stats.failing.fail((self.wall)(), why, !std::mem::replace(&mut self.is_failing, true));
        if is_first {
            tracing::warn!(target = self.target.name, why, "a remote-write target fails; it is tried until it works");
        }
    }

    fn succeed(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.is_failing) && self.stats.failing.recover() {
            tracing::info!(target = self.target.name, "the remote-write target works again");
        }
    }
}
