//! The task that answers the centre's questions.

use super::asks::{AskQueue, Waiting, refusal};
use super::{AskStats, Queries, Scales};
use crate::clock::Clock;
use skerry_promapi::Found;
use skerry_promapi::edge::parts;
use skerry_wire::{Answer, AnswerPart, Ask, AskKind, Question, codec};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longest result that is sent, in bytes before it is packed.
const RESULT_BYTES_MAX: u64 = 4 << 20;

/// The task's ends.
pub struct AskTask {
    /// Answers them.
    pub queries: Queries,
    /// Answers those about scaling.
    pub scales: Scales,
    /// Whether the node answers at all; if not, it says so.
    pub is_on: bool,
    /// Questions, and what ends them.
    pub asks: mpsc::Receiver<Ask>,
    /// Parts of answers, encoded, to the link. The task waits where it is slow, until the question expires.
    pub answers: mpsc::Sender<Vec<u8>>,
    /// Counters.
    pub stats: Arc<AskStats>,
    /// Clocks.
    pub clock: Clock,
}

/// The question that is being answered.
struct Running {
    id: u64,
    work: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl AskTask {
    /// Answers until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut queue = AskQueue::default();
        let mut running: Option<Running> = None;
        loop {
            if running.is_none() {
                running = queue.next(self.clock.mono()).map(|next| self.begin(next));
            }
            let work = async {
                match &mut running {
                    Some(running) => (&mut running.work).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => running = None,
                ask = self.asks.recv() => {
                    let Some(Ask { id, kind }) = ask else { return stop.cancelled().await };
                    match kind {
                        AskKind::Query(_) if running.as_ref().is_some_and(|running| running.id == id) => {}
                        AskKind::Query(_) if !self.is_on => {
                            let reason = "sync.answer_queries is off on this node";
                            self.refuse(id, refusal("unavailable", reason));
                        }
                        AskKind::Query(ask) => {
                            if let Err(part) = queue.push(id, ask, self.clock.mono()) {
                                self.refuse(id, part);
                            }
                        }
                        AskKind::Stop => {
                            queue.withdraw(id);
                            running = running.filter(|running| running.id != id);
                        }
                        AskKind::FollowLogs { .. } => {}
                    }
                }
            }
        }
    }

    /// Never waits: in a flood a refusal may be left out, and the centre's own deadline tells.
    fn refuse(&self, id: u64, part: AnswerPart) {
        self.stats.refused.fetch_add(1, Ordering::Relaxed);
        let _ = self.answers.try_send(message(id, part));
    }

    fn begin(&self, next: Waiting) -> Running {
        let Waiting { id, ask, until } = next;
        let (queries, answers, stats) = (self.queries.clone(), self.answers.clone(), self.stats.clone());
        let scales = self.scales.clone();
        let left = until.since(self.clock.mono());
        let answer = async move {
            let found = match ask.question {
                Question::Scaling(ask) => scales(ask).await.map(Found::Documents),
                question => queries.evaluate(question, ask.signed).await,
            };
            let cut = found.and_then(|found| parts(found, u64::from(ask.bytes_max).min(RESULT_BYTES_MAX)));
            let told: Box<dyn Iterator<Item = AnswerPart> + Send> = match cut {
                Ok(parts) => Box::new(parts),
                Err(refused) => Box::new(std::iter::once(refusal(refused.kind, refused.text))),
            };
            for part in told {
                if answers.send(message(id, part)).await.is_err() {
                    return;
                }
            }
            stats.answered.fetch_add(1, Ordering::Relaxed);
        };
        let work = Box::pin(async move {
            // Past its time nobody waits for the rest.
            let _ = tokio::time::timeout(left, answer).await;
        });
        Running { id, work }
    }
}

fn message(id: u64, part: AnswerPart) -> Vec<u8> {
    codec::encode(&Answer { id, part })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::tests::node;
    use skerry_model::Labels;
    use skerry_promapi::Refusal;
    use skerry_wire::{Done, MESSAGE_BYTES_MAX, Piece, QueryAsk, ResultKind, ScalingAsk};

    struct Rig {
        asks: mpsc::Sender<Ask>,
        answers: mpsc::Receiver<Vec<u8>>,
        stats: Arc<AskStats>,
        stop: CancellationToken,
        _folder: tempfile::TempDir,
    }

    impl Rig {
        /// Of a node as [`node`] makes it.
        async fn start(is_on: bool, series: usize) -> Self {
            let (queries, folder) = node(series).await;
            let (stats, clock) = (queries.vitals.asks.clone(), Clock::system());
            let (asks, receiver) = mpsc::channel(32);
            let (sender, answers) = mpsc::channel(4);
            let scales: Scales = Arc::new(|ask| Box::pin(async move { stand_in(ask) }));
            let task = AskTask { queries, scales, is_on, asks: receiver, answers: sender, stats: stats.clone(), clock };
            let stop = CancellationToken::new();
            tokio::spawn(task.run(stop.clone()));
            Self { asks, answers, stats, stop, _folder: folder }
        }

        async fn ask(&self, id: u64, expr: &str, timeout_ms: u32, bytes_max: u32) {
            let question = Question::Instant { expr: expr.into(), at: None, lookback_ms: None };
            self.ask_about(id, question, timeout_ms, bytes_max).await;
        }

        async fn ask_about(&self, id: u64, question: Question, timeout_ms: u32, bytes_max: u32) {
            let signed = Labels::new([("site", "lab")]).unwrap();
            let ask = QueryAsk { question, signed, timeout_ms, bytes_max };
            self.asks.send(Ask { id, kind: AskKind::Query(ask) }).await.unwrap();
        }

        async fn answer(&mut self) -> Answer {
            codec::decode(&self.answers.recv().await.unwrap(), MESSAGE_BYTES_MAX).unwrap()
        }

        async fn failure(&mut self, id: u64) -> (String, String) {
            let answer = self.answer().await;
            assert_eq!(answer.id, id);
            let AnswerPart::Failed { kind, reason } = answer.part else { panic!("{:?}", answer.part) };
            (kind, reason)
        }
    }

    /// What a node that scales would say.
    fn stand_in(ask: ScalingAsk) -> Result<Vec<String>, Refusal> {
        match ask {
            ScalingAsk::List => Ok(vec!["{\"policy\":\"a\"}".into(), "x".repeat(300_000)]),
            ScalingAsk::Explain { policy } => {
                Err(Refusal { status: 404, kind: "not_found", text: format!("there is no policy {policy}") })
            }
            _ => Ok(Vec::new()),
        }
    }

    impl Drop for Rig {
        fn drop(&mut self) {
            self.stop.cancel();
        }
    }

    #[tokio::test]
    async fn a_question_is_answered_with_the_centres_labels() {
        let mut rig = Rig::start(true, 3).await;
        rig.ask(7, "sum by (node, site) (m{node=\"pi-4\",site=~\"l.*\"})", 10_000, 1 << 20).await;
        let AnswerPart::Result { number: 0, piece } = rig.answer().await.part else { panic!("no result") };
        let Piece::Series(series) = piece.unpack().unwrap() else { panic!("no series") };
        assert_eq!(series.len(), 1);
        assert_eq!(series[0].labels, Labels::new([("node", "pi-4"), ("site", "lab")]).unwrap());
        assert!((series[0].points.0[0].1 - 3.0).abs() < f64::EPSILON);
        let done = Done { kind: ResultKind::Vector, pieces: 1, warnings: vec![], infos: vec![] };
        assert_eq!(rig.answer().await, Answer { id: 7, part: AnswerPart::Done(done) });
        rig.ask(8, "m{node=\"other\"}", 10_000, 1 << 20).await;
        assert!(matches!(rig.answer().await.part, AnswerPart::Done(Done { pieces: 0, .. })));
        // Counted after its last part has left.
        rig.ask(9, "m{", 10_000, 1 << 20).await;
        let (kind, reason) = rig.failure(9).await;
        assert_eq!(kind, "bad_data", "{reason}");
        assert!(rig.stats.answered.load(Ordering::Relaxed) >= 2);
    }

    #[tokio::test]
    async fn what_is_too_much_is_refused_with_a_reason() {
        let mut rig = Rig::start(true, 100).await;
        rig.ask(1, "m", 10_000, 500).await;
        let (kind, reason) = rig.failure(1).await;
        assert!(kind == "execution" && reason.contains("at most 500 are sent"), "{reason}");
        rig.ask(2, "count_over_time(m[1h:1ms])", 10_000, 1 << 20).await;
        let (kind, reason) = rig.failure(2).await;
        assert!(kind == "execution" && reason.contains("250000"), "{reason}");
    }

    #[tokio::test]
    async fn questions_about_scaling_go_to_who_scales() {
        let mut rig = Rig::start(true, 1).await;
        rig.ask_about(1, Question::Scaling(ScalingAsk::List), 10_000, 1 << 20).await;
        let mut texts = Vec::new();
        let done = loop {
            match rig.answer().await.part {
                AnswerPart::Result { piece, .. } => match piece.unpack().unwrap() {
                    Piece::Texts(more) => texts.extend(more),
                    other => panic!("{other:?}"),
                },
                AnswerPart::Done(done) => break done,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(done.kind, ResultKind::Documents);
        assert_eq!((texts.len(), texts[0].as_str(), texts[1].len()), (2, "{\"policy\":\"a\"}", 300_000));
        rig.ask_about(2, Question::Scaling(ScalingAsk::Explain { policy: "b".into() }), 10_000, 1 << 20).await;
        assert_eq!(rig.failure(2).await, ("not_found".into(), "there is no policy b".into()));
        rig.ask_about(3, Question::Scaling(ScalingAsk::List), 10_000, 1000).await;
        assert_eq!(rig.failure(3).await.0, "execution", "what is too long is not sent");
    }

    #[tokio::test]
    async fn a_node_that_does_not_answer_says_so() {
        let mut rig = Rig::start(false, 1).await;
        rig.ask(1, "m", 10_000, 1 << 20).await;
        let (kind, reason) = rig.failure(1).await;
        assert_eq!((kind.as_str(), reason.as_str()), ("unavailable", "sync.answer_queries is off on this node"));
        assert_eq!(rig.stats.refused.load(Ordering::Relaxed), 1);
    }
}
