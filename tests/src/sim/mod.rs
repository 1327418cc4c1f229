//! A whole fleet in one thread: the real outbox, wire codec, block encodings and ingest core, with virtual time, a
//! network that loses, repeats and cuts, and power cuts at both ends. One seed decides everything.
//!
//! What is real: [`skerry_agent::sync::outbox::Outbox`], [`skerry_wire::codec`], [`skerry_chunk`] and
//! [`skerry_fleet::intake::core`]. What is a model: the node store ([`node`]), which follows the same rules as the one
//! on SQLite (what is committed when, what a power cut takes, a new metrics epoch after it), and the network.
//!
//! Checked at the end of every run, after faults have stopped and the links are up:
//! - every scrape taken and every log line written is at the centre exactly once, or lies in a loss entry that reached
//!   the centre;
//! - nothing is there twice, not even where the ledger names it too;
//! - every series is stored under the labels the node gave it;
//! - nothing is left waiting on any node.

mod check;
mod node;
mod random;
mod server;

use node::Node;
use random::Random;
use server::Server;
use skerry_model::{Mono, NodeId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Nodes in one run.
const NODES: usize = 20;
/// Virtual time with faults, in milliseconds.
const FAULTY_MS: u64 = 240_000;
/// Virtual time that the fleet then has to become quiet.
const QUIET_MS: u64 = 1_200_000;
/// Largest number of events in one run: a run that needs more goes in circles.
const STEPS_MAX: usize = 400_000;

/// What a run did, for those who want to see that it did something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Scrapes taken on all nodes.
    pub scrapes: u64,
    /// Log lines written on all nodes.
    pub lines: u64,
    /// Batches that reached the server, repeated ones included.
    pub batches: u64,
    /// Batches of which the server held all or part already.
    pub repeated: u64,
    /// Power cuts of nodes.
    pub node_crashes: u64,
    /// Power cuts of the server.
    pub server_crashes: u64,
    /// Connections cut.
    pub cuts: u64,
    /// Scrapes and lines that a loss entry stands for.
    pub lost: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Scrape(usize),
    Write(usize),
    CommitLogs(usize),
    Evict(usize),
    Crash(usize),
    Boot(usize),
    Cut(usize),
    Connect(usize),
    Wake(usize),
    Up { node: usize, link: u64, message: Vec<u8>, leaf: &'static str },
    Down { node: usize, link: u64, message: Vec<u8> },
    ServerCommit,
    ServerCrash,
    ServerBoot,
}

/// The run.
struct World {
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    order: u64,
    random: Random,
    nodes: Vec<Node>,
    server: Server,
    /// Connection of each node; a new number each time, `None` while there is none.
    links: Vec<Option<u64>>,
    /// Earliest moment at which the next message of a connection may arrive, each way: TCP keeps the order.
    arrivals: Vec<[u64; 2]>,
    /// When each node is to be woken; a wake at another time is one that something else overtook.
    wakes: Vec<Option<u64>>,
    next_link: u64,
    summary: Summary,
}

/// Runs one seed.
///
/// # Errors
/// The first broken promise, in words.
pub fn run(seed: u64) -> Result<Summary, String> {
    let mut world = World::new(seed);
    let mut steps = 0;
    while let Some(Reverse((at, _, event))) = world.queue.pop() {
        if at > FAULTY_MS + QUIET_MS {
            break;
        }
        steps += 1;
        if steps > STEPS_MAX {
            return Err(format!("more than {STEPS_MAX} events by {at} ms: the run goes in circles"));
        }
        world.now = at;
        world.step(event);
    }
    check::all(&world.nodes, world.server.ledger(), &mut world.summary)?;
    Ok(world.summary)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = (0..NODES)
            .map(|n| {
                let id: NodeId = format!("node-{n}").parse().expect("a valid name");
                Node::new(id, random.next())
            })
            .collect();
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            order: 0,
            random,
            nodes,
            server: Server::default(),
            links: vec![None; NODES],
            arrivals: vec![[0; 2]; NODES],
            wakes: vec![None; NODES],
            next_link: 0,
            summary: Summary::default(),
        };
        for node in 0..NODES {
            let offset = world.random.below(15_000);
            world.after(offset, Event::Boot(node));
            world.after(offset + 1, Event::Scrape(node));
            world.after(offset + 2, Event::Write(node));
            let crash = world.random.below(FAULTY_MS * 2);
            world.faulty_at(crash, Event::Crash(node));
            let cut = world.random.below(FAULTY_MS);
            world.faulty_at(cut, Event::Cut(node));
            let evict = world.random.below(FAULTY_MS * 4);
            world.faulty_at(evict, Event::Evict(node));
        }
        let crash = world.random.below(FAULTY_MS * 2);
        world.faulty_at(crash, Event::ServerCrash);
        world
    }

    fn after(&mut self, delay: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((self.now + delay, self.order, event)));
    }

    fn faulty_at(&mut self, at: u64, event: Event) {
        if at < FAULTY_MS {
            self.after(at.saturating_sub(self.now), event);
        }
    }

    fn is_faulty(&self) -> bool {
        self.now < FAULTY_MS
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Scrape(node) => {
                if self.is_faulty() {
                    self.after(15_000, Event::Scrape(node));
                    let grow = self.random.chance(5);
                    if self.nodes[node].scrape(self.now, grow) {
                        self.summary.scrapes += 1;
                    }
                }
                self.pump(node);
            }
            Event::Write(node) => {
                if self.is_faulty() {
                    let lines = self.random.below(4);
                    self.nodes[node].write(lines);
                    self.summary.lines += lines;
                    let pause = 1 + self.random.below(12_000);
                    self.after(pause, Event::Write(node));
                    self.after(pause / 2, Event::CommitLogs(node));
                }
            }
            Event::CommitLogs(node) => {
                self.nodes[node].commit_logs();
                self.pump(node);
            }
            Event::Evict(node) => self.nodes[node].evict(self.now),
            Event::Crash(node) => {
                if self.nodes[node].crash() {
                    self.summary.node_crashes += 1;
                    self.hang_up(node);
                    let pause = self.random.below(40_000);
                    self.after(pause, Event::Boot(node));
                    let again = self.now + self.random.below(FAULTY_MS);
                    self.faulty_at(again, Event::Crash(node));
                }
            }
            Event::Boot(node) => {
                let epoch = self.random.next();
                self.nodes[node].boot(self.now, epoch);
                self.after(1, Event::Connect(node));
                // Lines that were written before the cut and not committed are read again.
                self.after(2, Event::CommitLogs(node));
            }
            Event::Cut(node) => {
                if self.links[node].is_some() {
                    self.summary.cuts += 1;
                    self.hang_up(node);
                    let pause = 500 + self.random.below(60_000);
                    self.after(pause, Event::Connect(node));
                }
                let again = self.now + self.random.below(FAULTY_MS / 3);
                self.faulty_at(again, Event::Cut(node));
            }
            Event::Connect(node) => self.connect(node),
            Event::Wake(node) => {
                if self.wakes[node] == Some(self.now) {
                    self.wakes[node] = None;
                    self.pump(node);
                }
            }
            Event::Up { node, link, message, leaf } => {
                if self.links[node] == Some(link) && self.server.is_up() {
                    let id = self.nodes[node].id().clone();
                    let wakes = self.server.receive(node, link, &id, leaf, &message, self.now, &mut self.summary);
                    if wakes {
                        let delay = 1 + self.random.below(40);
                        self.after(delay, Event::ServerCommit);
                    }
                }
            }
            Event::Down { node, link, message } => {
                if self.links[node] == Some(link) {
                    self.nodes[node].receive(&message, Mono(self.now));
                    self.pump(node);
                }
            }
            Event::ServerCommit => {
                for (node, link, message) in self.server.commit() {
                    self.send(node, 1, |node| Event::Down { node, link, message });
                }
            }
            Event::ServerCrash => {
                self.summary.server_crashes += 1;
                self.server.crash();
                for node in 0..NODES {
                    if self.links[node].is_some() {
                        self.hang_up(node);
                        let pause = 500 + self.random.below(20_000);
                        self.after(pause, Event::Connect(node));
                    }
                }
                let pause = self.random.below(20_000);
                self.after(pause, Event::ServerBoot);
                let again = self.now + self.random.below(FAULTY_MS);
                self.faulty_at(again, Event::ServerCrash);
            }
            Event::ServerBoot => self.server.boot(),
        }
    }

    fn connect(&mut self, node: usize) {
        if self.links[node].is_some() || !self.nodes[node].is_up() {
            return;
        }
        if !self.server.is_up() {
            self.after(3_000, Event::Connect(node));
            return;
        }
        self.next_link += 1;
        self.links[node] = Some(self.next_link);
        self.arrivals[node] = [self.now; 2];
        self.nodes[node].connected(Mono(self.now));
        self.pump(node);
    }

    fn hang_up(&mut self, node: usize) {
        self.links[node] = None;
        self.nodes[node].disconnected();
    }

    /// Lets a node send what it wants to send.
    fn pump(&mut self, node: usize) {
        let Some(link) = self.links[node] else { return };
        while let Some((leaf, message)) = self.nodes[node].next_message(Mono(self.now)) {
            self.send(node, 0, |node| Event::Up { node, link, message, leaf });
        }
        if let Some(wake) = self.nodes[node].wake_at(Mono(self.now)) {
            let at = wake.0.max(self.now + 1);
            if self.wakes[node].is_none_or(|earlier| earlier > at) {
                self.wakes[node] = Some(at);
                self.after(at - self.now, Event::Wake(node));
            }
        }
    }

    /// Puts a message on its way: late, in order, now and then lost or twice, as a broker in between may do.
    fn send(&mut self, node: usize, way: usize, event: impl FnOnce(usize) -> Event + Clone) {
        if self.is_faulty() && self.random.chance(2) {
            return;
        }
        let copies = if self.is_faulty() && self.random.chance(2) { 2 } else { 1 };
        for _ in 0..copies {
            let at = (self.now + 1 + self.random.below(300)).max(self.arrivals[node][way]);
            self.arrivals[node][way] = at;
            let event = event.clone();
            self.after(at - self.now, event(node));
        }
    }
}
