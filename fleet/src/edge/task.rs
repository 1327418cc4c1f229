//! Carries a query out: asks over MQTT, gathers, and minds the time.

use super::core::{Fanout, Fate, Limits, Silence, Target};
use crate::ingest::{AskError, Asks, Budget, Liveness, Ticket};
use crate::mqtt::SendError;
use skerry_model::{Mono, NodeId};
use skerry_promapi::edge::Merge;
use skerry_promql::QueryError;
use skerry_wire::{ASKS_LOGS_VERSION, AskKind, QueryAsk, Question};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior};

/// Queries at a time; more wait for their turn, at most for as long as they would wait for nodes.
const QUERIES_MAX: usize = 4;
/// Nodes that one query asks at a time.
const IN_FLIGHT_MAX: usize = 256;
/// Bytes of all results of one query: as they arrive, and in memory.
const ARRIVING_BYTES_MAX: u64 = 32 << 20;
const RESULT_BYTES_MAX: u64 = 48 << 20;
/// Bytes of one node's result.
const NODE_BYTES_MAX: u32 = 4 << 20;
/// Parts of answers that wait to be gathered.
const PARTS_MAX: usize = 4096;
/// How often is looked whether nodes that are asked are still connected.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// No turn came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{QUERIES_MAX} queries to nodes are under way; try again when one has ended")]
pub struct TooBusy;

/// What came of a query.
#[derive(Debug)]
pub struct Gathered {
    /// The results.
    pub merge: Merge,
    /// How it went with each node.
    pub fates: BTreeMap<NodeId, Fate>,
}

/// Runs queries that nodes answer; cheap to clone.
#[derive(Clone)]
pub struct EdgeQueries {
    asks: Asks,
    liveness: Liveness,
    turns: Arc<Semaphore>,
}

impl EdgeQueries {
    /// Over these ways to the nodes.
    #[must_use]
    pub fn new(asks: Asks, liveness: Liveness) -> Self {
        Self { asks, liveness, turns: Arc::new(Semaphore::new(QUERIES_MAX)) }
    }

    /// Asks all of `targets` and gathers until each has answered or `timeout` is over.
    ///
    /// # Errors
    /// [`TooBusy`] where no turn comes in time.
    pub async fn run(
        &self,
        question: &Question,
        targets: Vec<Target>,
        timeout: Duration,
    ) -> Result<Result<Gathered, QueryError>, TooBusy> {
        let began = Instant::now();
        // Never closed while anybody holds it.
        let _turn = tokio::time::timeout(timeout, self.turns.acquire()).await.map_err(|_| TooBusy)?;
        let now = move || Mono(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let limits = Limits { in_flight_max: IN_FLIGHT_MAX, bytes_max: RESULT_BYTES_MAX };
        let fanout = match Fanout::new(question, targets, Mono(0), timeout, limits) {
            Ok(fanout) => fanout,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(self.gather(question, fanout, now).await))
    }

    async fn gather(&self, question: &Question, mut fanout: Fanout, now: impl Fn() -> Mono) -> Gathered {
        let (parts, mut answers) = mpsc::channel(PARTS_MAX);
        let budget = Budget::new(ARRIVING_BYTES_MAX);
        let mut tickets: HashMap<NodeId, Ticket> = HashMap::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some((node, signed)) = fanout.next(now()) {
                if let Some((why, reason)) = self.obstacle(&node, question.version()) {
                    fanout.lost(&node, why, reason);
                    continue;
                }
                let left = fanout.until().since(now()).as_millis();
                let ask = QueryAsk {
                    question: question.clone(),
                    signed,
                    timeout_ms: u32::try_from(left).unwrap_or(u32::MAX),
                    bytes_max: NODE_BYTES_MAX,
                };
                match self.asks.ask_for(&node, AskKind::Query(ask), parts.clone(), budget.clone()).await {
                    Ok(ticket) => drop(tickets.insert(node, ticket)),
                    Err(error) => {
                        let (why, reason) = unsent(&error);
                        fanout.lost(&node, why, reason);
                    }
                }
            }
            fanout.expire(now());
            if fanout.is_done() {
                break;
            }
            let left = fanout.until().since(now());
            tokio::select! {
                Some(answered) = answers.recv() => {
                    if fanout.take(&answered.node, answered.part, now()) {
                        tickets.remove(&answered.node);
                    }
                }
                _ = look.tick() => {
                    let gone: Vec<NodeId> = fanout.asked().filter(|node| !self.is_connected(node)).cloned().collect();
                    for node in gone {
                        fanout.lost(&node, Silence::Unreachable, "its connection ended before it answered");
                        tickets.remove(&node);
                    }
                }
                // A moment more than is left, since the time is counted in whole milliseconds.
                () = tokio::time::sleep(left + Duration::from_millis(1)) => {}
            }
        }
        let (merge, fates) = fanout.finish();
        Gathered { merge, fates }
    }

    fn is_connected(&self, node: &NodeId) -> bool {
        self.liveness.node(node).is_some_and(|live| live.connected)
    }

    /// What is known to keep a node from answering, so that nobody waits for it.
    fn obstacle(&self, node: &NodeId, version: u16) -> Option<(Silence, String)> {
        let live = self.liveness.node(node).filter(|live| live.connected);
        let Some(live) = live else { return Some((Silence::Unreachable, "it is not connected".into())) };
        match live.hello {
            None => Some((Silence::Unreachable, "it has connected, but not said hello yet".into())),
            Some(hello) if hello.asks < version => {
                let what = match (hello.asks, version) {
                    (0, _) => "queries",
                    (_, ASKS_LOGS_VERSION) => "queries of logs",
                    _ => "questions about scaling",
                };
                let reason = format!("its agent ({}) is too old to answer {what}; update it", hello.agent_version);
                Some((Silence::TooOld, reason))
            }
            Some(_) => None,
        }
    }
}

fn unsent(error: &AskError) -> (Silence, String) {
    match error {
        AskError::Unsent { source: SendError::NotConnected, .. } => {
            (Silence::Unreachable, "it is not connected".into())
        }
        AskError::Unsent { source, .. } => (Silence::Unreachable, source.to_string()),
        AskError::TooMany => (Silence::Error("unavailable"), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::core::{refusal, warnings};
    use crate::intake::fixture::{hello, node};
    use crate::mqtt::{Downlink, Outbound, SessionId};
    use skerry_model::{Labels, UnixMillis};
    use skerry_wire::{Answer, AnswerPart, Ask, Done, Hello, ResultKind, codec};

    struct Rig {
        queries: EdgeQueries,
        asks: Asks,
        sent: mpsc::Receiver<Outbound>,
    }

    /// Nodes that are connected, with the version of questions that each one answers.
    fn rig(nodes: &[(&str, u16)]) -> Rig {
        let (sender, sent) = mpsc::channel(16);
        let (liveness, now) = (Liveness::default(), UnixMillis(1));
        for (name, version) in nodes {
            liveness.on_connected(&node(name), SessionId(1), None, None, now);
            liveness.on_hello(&node(name), Hello { asks: *version, ..hello(&[]) }, None, now);
        }
        let asks = Asks::new(Downlink::to_channel(sender), now);
        Rig { queries: EdgeQueries::new(asks.clone(), liveness), asks, sent }
    }

    fn targets(names: &[&str]) -> Vec<Target> {
        names.iter().map(|name| Target { node: node(name), signed: Labels::default() }).collect()
    }

    fn question() -> Question {
        Question::Instant { expr: "m".into(), at: None, lookback_ms: None }
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_answer_is_not_waited_for_and_who_does_not_is_not_for_long() {
        let Rig { queries, asks, mut sent } = rig(&[("new", 1), ("old", 0), ("mute", 1)]);
        let answering = tokio::spawn(async move {
            while let Some(outbound) = sent.recv().await {
                let ask: Ask = codec::decode(&outbound.payload, 4096).unwrap();
                let AskKind::Query(query) = &ask.kind else { panic!("{ask:?}") };
                assert_eq!(query.timeout_ms, 3000);
                if outbound.node == node("new") {
                    let done = Done { kind: ResultKind::Vector, pieces: 0, warnings: vec![], infos: vec![] };
                    asks.deliver(&outbound.node, Answer { id: ask.id, part: AnswerPart::Done(done) }).await;
                }
            }
        });
        let began = Instant::now();
        let all = targets(&["new", "old", "mute", "gone"]);
        let gathered = queries.run(&question(), all, Duration::from_secs(3)).await.unwrap().unwrap();
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_millis(3100), "{took:?}");
        assert_eq!(gathered.fates[&node("new")], Fate::Answered { items: 0, took: Duration::ZERO });
        let told = warnings(&gathered.fates);
        let words = [
            "gone is missing: it is not connected",
            "mute is missing: did not answer within 3 s",
            "old is missing: its agent",
        ];
        assert_eq!(told.len(), words.len(), "{told:?}");
        assert!(told.iter().zip(words).all(|(told, words)| told.contains(words)), "{told:?}");
        // Without anybody to wait for, nothing is waited for.
        let began = Instant::now();
        let gathered =
            queries.run(&question(), targets(&["old", "gone"]), Duration::from_secs(3)).await.unwrap().unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(refusal(&gathered.fates).map(|refused| refused.kind), Some("unavailable"));
        answering.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn queries_at_a_time_are_bounded() {
        let Rig { queries, sent: _sent, .. } = rig(&[("mute", 1)]);
        let run = |queries: EdgeQueries, secs| async move {
            queries.run(&question(), targets(&["mute"]), Duration::from_secs(secs)).await
        };
        let under_way: Vec<_> = (0..QUERIES_MAX).map(|_| tokio::spawn(run(queries.clone(), 10))).collect();
        tokio::task::yield_now().await;
        assert_eq!(run(queries.clone(), 5).await.unwrap_err(), TooBusy);
        for query in under_way {
            assert!(query.await.unwrap().is_ok());
        }
        assert!(run(queries, 1).await.is_ok());
    }
}
