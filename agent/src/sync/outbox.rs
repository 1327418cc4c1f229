//! What to send next, and what is known to have arrived.
//!
//! The store holds batches; the outbox holds only numbers. Each stream has epochs, each epoch a gap-free sequence.
//! After every connect the node says hello, and only when the fleet has answered with what it holds does anything
//! flow: events first, then what is newest of metrics and logs, then the backlog, oldest first, within the bandwidth.
//! So a node that was away for weeks is useful in the first second, and a fleet that lost its memory is filled again.
//!
//! This is a sans-IO core: the shell tells it what happened and asks [`Outbox::poll`] what to do.
//!
//! Invariants:
//! - A number counts as arrived only when an [`Ack`] names it. Nothing the transport says changes that.
//! - Whatever is neither arrived nor in flight is sent; nothing is sent twice within one session unless the fleet
//!   left it unacknowledged for [`Limits::ack_timeout`] or said that it lost the dictionary.
//! - At most [`Limits::in_flight`] batches and [`Limits::in_flight_bytes`] bytes are under way.
//! - Memory is bounded by the number of epochs and of holes, not by the length of the backlog.

use skerry_model::{Epoch, Mono, Seq, SeriesId, StreamKind};
use skerry_wire::{Ack, SeqSet, StreamTip};
use std::time::Duration;

/// Bounds and waits of the outbox.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most batches under way.
    pub in_flight: usize,
    /// Most bytes under way.
    pub in_flight_bytes: u64,
    /// How long an unacknowledged batch or hello is waited for before the node asks again.
    pub ack_timeout: Duration,
    /// Longest wait between two hellos that nobody answers.
    pub hello_wait_max: Duration,
    /// Bytes per second for the backlog; `None` is unlimited. Events and what is newest are not held back.
    pub backlog_bytes_per_s: Option<u64>,
    /// How many of the newest numbers of a stream go ahead of its backlog after a connect.
    pub newest: u64,
    /// How long new scrapes wait for others after one batch of metrics has caught up; zero sends each as it comes.
    pub metrics_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 16,
            in_flight_bytes: 512 << 10,
            ack_timeout: Duration::from_secs(30),
            hello_wait_max: Duration::from_secs(300),
            backlog_bytes_per_s: None,
            newest: 4,
            metrics_wait: Duration::ZERO,
        }
    }
}

/// Where one epoch of a stream stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The stream.
    pub stream: StreamKind,
    /// The epoch.
    pub epoch: Epoch,
    /// Lowest number that the store can still answer for, as data or as gone.
    pub first: Seq,
    /// The next number to be given out.
    pub next: Seq,
    /// What the store remembers as acknowledged.
    pub have: SeqSet,
}

/// What the shell should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Publish a hello that names [`Outbox::stream_tips`].
    Hello,
    /// Load what begins at `at`, or else at the first held number after it, publish it and report
    /// [`Outbox::sent`]; report [`Outbox::absent`] where there is none.
    Load {
        /// The stream.
        stream: StreamKind,
        /// The epoch.
        epoch: Epoch,
        /// First number wanted.
        at: Seq,
        /// Dictionary that the fleet is known to hold of this epoch.
        dict_known: Option<SeriesId>,
    },
}

#[derive(Debug)]
struct Lane {
    tip: Tip,
    /// Arrived, or under way, or found absent in the store: all that must not be sent now.
    settled: SeqSet,
    dict_known: Option<SeriesId>,
    /// Numbers from here on go ahead of the backlog.
    newest_from: Seq,
}

#[derive(Debug)]
struct Flight {
    stream: StreamKind,
    epoch: Epoch,
    from: Seq,
    to: Seq,
    bytes: u64,
    since: Mono,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Down,
    /// Connected; the fleet has not yet said what it holds.
    Greeting {
        next_hello: Mono,
        tries: u32,
    },
    Ready,
}

/// The core. One per agent.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    lanes: Vec<Lane>,
    flights: Vec<Flight>,
    session: Session,
    /// When the backlog may send again, by the bandwidth limit.
    backlog_free_at: Mono,
    /// Until when scrapes from that number on wait for others.
    held: Option<(Mono, Epoch, Seq)>,
    /// Alternates the backlog between metrics and logs, so that neither waits for the other's weeks.
    backlog_turn: StreamKind,
    /// A load was handed out and its outcome not reported yet.
    loading: Option<(StreamKind, Epoch, Seq, Lanes)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lanes {
    Urgent,
    Backlog,
}

impl Outbox {
    /// An outbox that is not connected and knows of no stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: Vec::new(),
            flights: Vec::new(),
            session: Session::Down,
            backlog_free_at: Mono(0),
            held: None,
            backlog_turn: StreamKind::Metrics,
            loading: None,
        }
    }

    /// Takes new bandwidth and window limits; what is under way stays under way.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Takes over where the store stands: the epochs of a stream oldest first, so that the last one is the current.
    /// Epochs that the store no longer names are forgotten.
    pub fn tips(&mut self, tips: Vec<Tip>) {
        let mut old = std::mem::take(&mut self.lanes);
        for tip in tips {
            let known = old.iter().position(|lane| lane.tip.stream == tip.stream && lane.tip.epoch == tip.epoch);
            let mut lane = match known {
                Some(at) => old.swap_remove(at),
                None => Lane {
                    settled: SeqSet::new(),
                    dict_known: None,
                    // A stream that begins while connected is all news; at a connect this is set anew.
                    newest_from: tip.first,
                    tip: tip.clone(),
                },
            };
            lane.settled.extend(&tip.have);
            lane.tip = tip;
            self.lanes.push(lane);
        }
        let lanes = &self.lanes;
        self.flights.retain(|f| lanes.iter().any(|l| l.tip.stream == f.stream && l.tip.epoch == f.epoch));
    }

    /// The transport is up: everything that was under way is in doubt, and the fleet is asked what it holds.
    pub fn connected(&mut self, now: Mono) {
        self.greet(now);
    }

    /// The transport is down.
    pub fn disconnected(&mut self) {
        self.session = Session::Down;
        self.forget_flights();
    }

    /// Whether the fleet has answered in this session.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.session == Session::Ready
    }

    /// What a hello should say of the streams.
    #[must_use]
    pub fn stream_tips(&self) -> Vec<StreamTip> {
        let tip = |lane: &Lane| StreamTip { stream: lane.tip.stream, epoch: lane.tip.epoch, next: lane.tip.next };
        self.lanes.iter().map(tip).collect()
    }

    /// The fleet said what it holds. An answer that names no stream still answers the hello.
    pub fn acknowledged(&mut self, acks: &[Ack], now: Mono) {
        for ack in acks {
            self.flights.retain(|f| {
                !(f.stream == ack.stream && f.epoch == ack.epoch && ack.have.missing(f.from, f.to).is_empty())
            });
            let Some(lane) = self.lanes.iter_mut().find(|l| l.tip.stream == ack.stream && l.tip.epoch == ack.epoch)
            else {
                continue;
            };
            lane.tip.have.extend(&ack.have);
            lane.settled.extend(&ack.have);
            if ack.stream == StreamKind::Metrics {
                let lost = ack.dict < lane.dict_known;
                lane.dict_known = ack.dict;
                if lost {
                    // The fleet forgot series: what is under way cannot be understood there. Send it again, with them.
                    self.flights.retain(|f| !(f.stream == ack.stream && f.epoch == ack.epoch));
                    lane.settled = lane.tip.have.clone();
                }
            }
        }
        if matches!(self.session, Session::Greeting { .. }) {
            self.session = Session::Ready;
            self.backlog_free_at = now;
            for at in 0..self.lanes.len() {
                let tip = &self.lanes[at].tip;
                let is_current = self.lanes[at + 1..].iter().all(|later| later.tip.stream != tip.stream);
                let newest = tip.next.0.saturating_sub(self.limits.newest).max(tip.first.0);
                self.lanes[at].newest_from = if is_current { Seq(newest) } else { tip.next };
            }
        }
    }

    /// The shell published the batch it was told to load; `to` is not below the number asked for.
    pub fn sent(&mut self, stream: StreamKind, epoch: Epoch, from: Seq, to: Seq, bytes: u64, now: Mono) {
        let (asked, lane_kind) = self.loading.take().map_or((from, Lanes::Urgent), |(.., at, kind)| (at, kind));
        if self.session != Session::Ready {
            return;
        }
        if let Some(lane) = self.lane(stream, epoch) {
            // What lies between the number asked for and the batch is no longer in the store.
            lane.settled.insert(asked.min(from), to);
            let has_caught_up = stream == StreamKind::Metrics && to.next() >= lane.tip.next;
            if has_caught_up && !self.limits.metrics_wait.is_zero() {
                self.held = Some((now + self.limits.metrics_wait, epoch, to.next()));
            }
            self.flights.push(Flight { stream, epoch, from, to, bytes, since: now });
        }
        if lane_kind == Lanes::Backlog
            && let Some(rate) = self.limits.backlog_bytes_per_s
        {
            let pause_ms = bytes.saturating_mul(1000) / rate.max(1);
            self.backlog_free_at = self.backlog_free_at.max(now) + Duration::from_millis(pause_ms);
        }
    }

    /// The store holds nothing from `at` up to the end of the epoch: it may have been released meanwhile.
    pub fn absent(&mut self, stream: StreamKind, epoch: Epoch, at: Seq) {
        self.loading = None;
        if let Some(lane) = self.lane(stream, epoch) {
            let last = Seq(lane.tip.next.0.saturating_sub(1));
            lane.settled.insert(at, last);
        }
    }

    /// The store could not answer just now; the same load will be asked for again.
    pub fn load_failed(&mut self) {
        self.loading = None;
    }

    /// What to do now: call until it gives nothing. One load is handed out at a time.
    pub fn poll(&mut self, now: Mono) -> Option<Action> {
        match self.session {
            Session::Down => None,
            Session::Greeting { next_hello, tries } => {
                if now < next_hello {
                    return None;
                }
                let wait = self.limits.ack_timeout * 2u32.saturating_pow(tries.min(10));
                let next_hello = now + wait.min(self.limits.hello_wait_max);
                self.session = Session::Greeting { next_hello, tries: tries.saturating_add(1) };
                Some(Action::Hello)
            }
            Session::Ready => {
                if self.flights.iter().any(|f| now.since(f.since) >= self.limits.ack_timeout) {
                    self.greet(now);
                    return self.poll(now);
                }
                self.next_load(now)
            }
        }
    }

    /// When [`Self::poll`] may have something to do although nothing happens; `None` where only an event can change it.
    #[must_use]
    pub fn wake_at(&self, now: Mono) -> Option<Mono> {
        match self.session {
            Session::Down => None,
            Session::Greeting { next_hello, .. } => Some(next_hello),
            Session::Ready => {
                let flight = self.flights.iter().map(|f| f.since + self.limits.ack_timeout).min();
                let backlog = (self.backlog_free_at > now).then_some(self.backlog_free_at);
                let held = self.held.map(|(until, ..)| until).filter(|until| *until > now);
                flight.into_iter().chain(backlog).chain(held).min()
            }
        }
    }

    /// Numbers not known to have arrived, per stream: scrapes for metrics, blocks for logs and events.
    #[must_use]
    pub fn waiting(&self, stream: StreamKind) -> u64 {
        let of = |lane: &Lane| -> u64 {
            let last = Seq(lane.tip.next.0.saturating_sub(1));
            lane.tip.have.missing(lane.tip.first, last).iter().map(|(a, b)| b.0 - a.0 + 1).sum()
        };
        self.lanes.iter().filter(|lane| lane.tip.stream == stream).map(of).sum()
    }

    fn lane(&mut self, stream: StreamKind, epoch: Epoch) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.tip.stream == stream && lane.tip.epoch == epoch)
    }

    fn greet(&mut self, now: Mono) {
        self.session = Session::Greeting { next_hello: now, tries: 0 };
        self.forget_flights();
    }

    fn forget_flights(&mut self) {
        self.flights.clear();
        self.held = None;
        self.loading = None;
        for lane in &mut self.lanes {
            lane.settled = lane.tip.have.clone();
        }
    }

    fn next_load(&mut self, now: Mono) -> Option<Action> {
        let in_flight_bytes: u64 = self.flights.iter().map(|f| f.bytes).sum();
        if self.loading.is_some()
            || self.flights.len() >= self.limits.in_flight
            || in_flight_bytes >= self.limits.in_flight_bytes
        {
            return None;
        }
        let urgent = StreamKind::ALL.into_iter().find_map(|stream| {
            let from_newest = stream != StreamKind::Events;
            self.first_unsettled(stream, from_newest, now).map(|found| (stream, found))
        });
        let (stream, (epoch, at, dict_known), kind) = match urgent {
            Some((stream, found)) => (stream, found, Lanes::Urgent),
            None if now < self.backlog_free_at => return None,
            None => {
                let other = match self.backlog_turn {
                    StreamKind::Metrics => StreamKind::Logs,
                    StreamKind::Logs | StreamKind::Events => StreamKind::Metrics,
                };
                let (stream, found) = [self.backlog_turn, other]
                    .into_iter()
                    .find_map(|stream| self.first_unsettled(stream, false, now).map(|found| (stream, found)))?;
                self.backlog_turn = if stream == StreamKind::Metrics { StreamKind::Logs } else { StreamKind::Metrics };
                (stream, found, Lanes::Backlog)
            }
        };
        self.loading = Some((stream, epoch, at, kind));
        Some(Action::Load { stream, epoch, at, dict_known })
    }

    /// Lowest number of the stream that is neither arrived nor under way; old epochs come first in the backlog.
    fn first_unsettled(
        &self,
        stream: StreamKind,
        only_newest: bool,
        now: Mono,
    ) -> Option<(Epoch, Seq, Option<SeriesId>)> {
        let held = self.held.filter(|(until, ..)| stream == StreamKind::Metrics && now < *until);
        self.lanes.iter().filter(|lane| lane.tip.stream == stream).find_map(|lane| {
            let from = if only_newest { lane.newest_from.max(lane.tip.first) } else { lane.tip.first };
            let next = match held {
                Some((_, epoch, from)) if epoch == lane.tip.epoch => lane.tip.next.min(from),
                _ => lane.tip.next,
            };
            let last = Seq(next.0.checked_sub(1)?);
            let hole = lane.settled.missing(from, last).into_iter().next()?;
            Some((lane.tip.epoch, hole.0, lane.dict_known))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn set(ranges: &[(u64, u64)]) -> SeqSet {
        ranges.to_vec().into()
    }

    fn tip(stream: StreamKind, next: u64, have: &[(u64, u64)]) -> Tip {
        Tip { stream, epoch: EPOCH, first: Seq(1), next: Seq(next), have: set(have) }
    }

    fn ack(stream: StreamKind, have: &[(u64, u64)], dict: Option<u32>) -> Ack {
        Ack { stream, epoch: EPOCH, have: set(have), dict: dict.map(SeriesId) }
    }

    fn ready(tips: Vec<Tip>, limits: Limits) -> Outbox {
        let mut outbox = Outbox::new(limits);
        outbox.tips(tips);
        outbox.connected(Mono(0));
        assert_eq!(outbox.poll(Mono(0)), Some(Action::Hello));
        assert_eq!(outbox.poll(Mono(0)), None, "nothing flows before the fleet has answered");
        outbox.acknowledged(&[], Mono(0));
        outbox
    }

    /// Answers loads with one number each and gives what was sent, until nothing is left to do.
    fn drain(outbox: &mut Outbox, now: Mono) -> Vec<(StreamKind, u64)> {
        let mut sent = Vec::new();
        while let Some(action) = outbox.poll(now) {
            let Action::Load { stream, epoch, at, .. } = action else { panic!("{action:?}") };
            outbox.sent(stream, epoch, at, at, 100, now);
            sent.push((stream, at.0));
        }
        sent
    }

    #[test]
    fn events_then_newest_then_backlog_in_turn() {
        use StreamKind::{Events, Logs, Metrics};
        let tips = vec![tip(Logs, 5, &[]), tip(Metrics, 5, &[]), tip(Events, 3, &[])];
        let mut outbox = ready(tips, Limits { newest: 1, in_flight: 99, ..Limits::default() });
        let expected = [
            (Events, 1),
            (Events, 2),
            (Metrics, 4),
            (Logs, 4),
            (Metrics, 1),
            (Logs, 1),
            (Metrics, 2),
            (Logs, 2),
            (Metrics, 3),
            (Logs, 3),
        ];
        assert_eq!(drain(&mut outbox, Mono(0)), expected);
    }

    #[test]
    fn what_the_fleet_holds_is_not_sent() {
        let mut outbox = Outbox::new(Limits::default());
        outbox.tips(vec![tip(StreamKind::Logs, 10, &[(1, 2)])]);
        outbox.connected(Mono(0));
        outbox.poll(Mono(0));
        outbox.acknowledged(&[ack(StreamKind::Logs, &[(1, 5), (8, 9)], None)], Mono(0));
        assert_eq!(drain(&mut outbox, Mono(0)), [(StreamKind::Logs, 6), (StreamKind::Logs, 7)]);
        assert_eq!(outbox.waiting(StreamKind::Logs), 2);
        outbox.acknowledged(&[ack(StreamKind::Logs, &[(1, 9)], None)], Mono(0));
        assert_eq!(outbox.waiting(StreamKind::Logs), 0);
    }

    #[test]
    fn the_window_holds_back_and_an_ack_opens_it() {
        let mut outbox =
            ready(vec![tip(StreamKind::Logs, 10, &[])], Limits { in_flight: 2, newest: 0, ..Limits::default() });
        assert_eq!(drain(&mut outbox, Mono(0)).len(), 2);
        outbox.acknowledged(&[ack(StreamKind::Logs, &[(1, 1)], None)], Mono(0));
        assert_eq!(drain(&mut outbox, Mono(0)), [(StreamKind::Logs, 3)]);
    }

    #[test]
    fn silence_leads_to_hellos_further_and_further_apart() {
        let limits = Limits { ack_timeout: Duration::from_secs(30), ..Limits::default() };
        let mut outbox = ready(vec![tip(StreamKind::Logs, 2, &[])], limits);
        assert_eq!(drain(&mut outbox, Mono(0)).len(), 1);
        assert_eq!(outbox.wake_at(Mono(0)), Some(Mono(30_000)));
        assert_eq!(outbox.poll(Mono(30_000)), Some(Action::Hello));
        assert_eq!(outbox.wake_at(Mono(30_000)), Some(Mono(60_000)));
        assert_eq!(outbox.poll(Mono(60_000)), Some(Action::Hello));
        assert_eq!(outbox.wake_at(Mono(60_000)), Some(Mono(120_000)));
        outbox.acknowledged(&[], Mono(70_000));
        assert_eq!(drain(&mut outbox, Mono(70_000)), [(StreamKind::Logs, 1)], "the unanswered batch goes again");
    }

    #[test]
    fn a_new_connection_sends_what_was_under_way() {
        let mut outbox = ready(vec![tip(StreamKind::Logs, 3, &[])], Limits::default());
        assert_eq!(drain(&mut outbox, Mono(0)).len(), 2);
        outbox.disconnected();
        assert_eq!(outbox.poll(Mono(1)), None);
        outbox.connected(Mono(2));
        assert_eq!(outbox.poll(Mono(2)), Some(Action::Hello));
        outbox.acknowledged(&[ack(StreamKind::Logs, &[(1, 1)], None)], Mono(2));
        assert_eq!(drain(&mut outbox, Mono(2)), [(StreamKind::Logs, 2)]);
    }

    #[test]
    fn a_fleet_that_lost_the_dictionary_gets_it_again() {
        let mut outbox = ready(vec![tip(StreamKind::Metrics, 3, &[])], Limits::default());
        outbox.acknowledged(&[ack(StreamKind::Metrics, &[(1, 1)], Some(9))], Mono(0));
        let load =
            Action::Load { stream: StreamKind::Metrics, epoch: EPOCH, at: Seq(2), dict_known: Some(SeriesId(9)) };
        assert_eq!(outbox.poll(Mono(0)), Some(load));
        outbox.sent(StreamKind::Metrics, EPOCH, Seq(2), Seq(2), 10, Mono(0));
        outbox.acknowledged(&[ack(StreamKind::Metrics, &[(1, 1)], None)], Mono(0));
        let load = Action::Load { stream: StreamKind::Metrics, epoch: EPOCH, at: Seq(2), dict_known: None };
        assert_eq!(outbox.poll(Mono(0)), Some(load));
    }

    #[test]
    fn the_backlog_keeps_to_its_bandwidth_but_news_do_not_wait() {
        let limits = Limits { newest: 0, backlog_bytes_per_s: Some(100), ..Limits::default() };
        let mut outbox = ready(vec![tip(StreamKind::Logs, 4, &[])], limits);
        assert_eq!(drain(&mut outbox, Mono(0)), [(StreamKind::Logs, 1)]);
        assert_eq!(outbox.wake_at(Mono(0)), Some(Mono(1000)));
        outbox.tips(vec![tip(StreamKind::Logs, 5, &[])]);
        assert_eq!(drain(&mut outbox, Mono(1)), [(StreamKind::Logs, 4)], "what is new goes at once");
        assert_eq!(drain(&mut outbox, Mono(1000)), [(StreamKind::Logs, 2)]);
    }

    #[test]
    fn numbers_that_the_store_gave_up_do_not_stop_the_stream() {
        let mut outbox = ready(vec![tip(StreamKind::Logs, 9, &[])], Limits { newest: 0, ..Limits::default() });
        assert!(matches!(outbox.poll(Mono(0)), Some(Action::Load { at: Seq(1), .. })));
        outbox.sent(StreamKind::Logs, EPOCH, Seq(5), Seq(5), 10, Mono(0));
        assert!(matches!(outbox.poll(Mono(0)), Some(Action::Load { at: Seq(6), .. })));
        outbox.absent(StreamKind::Logs, EPOCH, Seq(6));
        assert_eq!(outbox.poll(Mono(0)), None);
    }

    #[test]
    fn scrapes_wait_for_others_where_that_is_asked_and_nothing_else_does() {
        let limits = Limits { metrics_wait: Duration::from_secs(60), ..Limits::default() };
        let mut outbox = ready(vec![tip(StreamKind::Metrics, 3, &[])], limits);
        let metrics = |n| (StreamKind::Metrics, n);
        assert_eq!(drain(&mut outbox, Mono(0)), [metrics(1), metrics(2)], "what is there goes at once");
        let tips = |next| vec![tip(StreamKind::Logs, 2, &[]), tip(StreamKind::Metrics, next, &[(1, 2)])];
        outbox.tips(tips(5));
        outbox.acknowledged(&[ack(StreamKind::Metrics, &[(1, 2)], None)], Mono(15_000));
        assert_eq!(drain(&mut outbox, Mono(30_000)), [(StreamKind::Logs, 1)], "logs do not wait");
        outbox.acknowledged(&[ack(StreamKind::Logs, &[(1, 1)], None)], Mono(30_000));
        assert_eq!(outbox.wake_at(Mono(30_000)), Some(Mono(60_000)));
        assert_eq!(drain(&mut outbox, Mono(60_000)), [metrics(3), metrics(4)]);
        outbox.connected(Mono(61_000));
        assert_eq!(outbox.poll(Mono(61_000)), Some(Action::Hello));
        outbox.acknowledged(&[], Mono(61_000));
        assert_eq!(drain(&mut outbox, Mono(61_000)), [metrics(3), metrics(4)]);
    }
}
