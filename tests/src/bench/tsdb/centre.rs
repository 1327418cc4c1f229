//! The centre's side.

use super::node::PER_MINUTE;
use super::victoria::Victoria;
use super::{Limit, READS, Report, Scraped, TIMES, median, samples, timed};
use crate::bench::recording::{Recording, START};
use crate::site::{Site, node_identity};
use anyhow::{Context, bail, ensure};
use skerry_agent::clock::Clock;
use skerry_chunk::{Column, MetricBlock, dict};
use skerry_fleet::pki::FleetCa;
use skerry_fleet::store::{self, Matcher, Select};
use skerry_model::{Epoch, Labels, NodeId, Seq, SeriesId, StreamKind};
use skerry_wire::{Batch, Body, codec};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Nodes that send at the same time.
const NODES: usize = 16;
/// Scrapes that each of them sends: three hours.
const SCRAPES: usize = 720;
/// Packets of one node that may be unacknowledged, as the agent's outbox has it.
const WINDOW: usize = 16;

pub(super) fn run(
    recording: &Recording,
    day: &[Scraped],
    folder: &Path,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    say("the centre: taking in many nodes' batches over MQTT and TLS");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ca = FleetCa::generate("bench", Clock::system().wall())?;
    let loads: Vec<Load> = (0..NODES).map(|n| Load::new(n, recording, day)).collect::<anyhow::Result<_>>()?;
    let total: f64 = loads.iter().map(|load| load.samples).sum();
    report.figure("fleet_ingest_samples", total);
    report.figure("fleet_ingest_nodes", NODES as f64);
    let victoria = Victoria::find();
    let (mut rates, mut peers) = (Vec::new(), Vec::new());
    for time in 0..TIMES {
        rates.push(total / ingest(&runtime, &ca, &folder.join(format!("fleet-{time}")), &loads, total)?);
        if let Some(victoria) = &victoria {
            peers.push(total / victoria.ingest(&folder.join(format!("victoria-{time}")), recording, day, &loads)?);
        }
    }
    let rate = median(&mut rates);
    report.limited("fleet_ingest_samples_per_s", rate, Limit::Min(5e5));
    if peers.is_empty() {
        say("VictoriaMetrics is left out: install the Debian package victoria-metrics");
    } else {
        let peer = median(&mut peers);
        report.peer("victoria_ingest_samples_per_s", peer);
        report.figure("fleet_ingest_times_as_fast_as_victoria", rate / peer);
    }

    say("the centre: a day of one node, as it came and put together");
    // Parts of the day that repeat others would pack too well in a chunk that holds both.
    let fresh = &day[..recording.fresh().min(day.len())];
    let path = folder.join("fresh.db");
    fill(&runtime, &path, batches(recording, fresh, PER_MINUTE as usize)?)?;
    compact(&runtime, &path)?;
    // Labels and bookkeeping are there once, however long the day; the limit speaks of a day.
    let (chunks, rest) = (chunk_bytes(&path)?, used_bytes(&path)? - chunk_bytes(&path)?);
    report.figure("fleet_label_bytes_per_series", rest / recording.series.len() as f64);
    report.limited("fleet_bytes_per_sample", chunks / samples(fresh) + rest / samples(day), Limit::Max(0.95));
    let path = folder.join("day.db");
    fill(&runtime, &path, batches(recording, day, PER_MINUTE as usize)?)?;
    report.figure("fleet_bytes_per_sample_as_it_came", used_bytes(&path)? / samples(day));
    let mut took = read(&runtime, recording, &path, day)?;
    report.figure("fleet_read_series_ms_as_it_came", median(&mut took));
    let seconds = compact(&runtime, &path)?;
    // Every sample goes through two stages.
    report.figure("fleet_compact_samples_per_s", samples(day) / seconds);
    let mut took = read(&runtime, recording, &path, day)?;
    report.figure("fleet_read_series_ms_slowest", took.iter().copied().fold(0.0, f64::max));
    report.limited("fleet_read_series_ms", median(&mut took), Limit::Max(5.0));

    say("the centre: finding series among those of many nodes");
    select_among(&runtime, recording, day, folder, report)
}

/// Nodes whose series are in the file when selectors are measured.
const MANY_NODES: usize = 1000;

/// Milliseconds that selectors take over one scrape of many nodes, samples included.
fn select_among(
    runtime: &tokio::runtime::Runtime,
    recording: &Recording,
    day: &[Scraped],
    folder: &Path,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (data, thread) = store::open(&folder.join("many.db"), store::Config::default())?;
    let batch = batches(recording, &day[..1], 1)?.pop().context("a batch")?;
    let (_, seconds) = timed(|| {
        runtime.block_on(async {
            for n in 0..MANY_NODES {
                let node = format!("many-{n:04}").parse()?;
                data.ingest(&node, StreamKind::Metrics, batch.clone(), START).await?;
            }
            Ok(())
        })
    })?;
    report.figure("select_series_in_file", MANY_NODES as f64 * recording.series.len() as f64);
    report.figure("register_series_per_s", MANY_NODES as f64 * recording.series.len() as f64 / seconds);
    let regex = |label: &str, value: &str| Matcher::new(label, store::MatchOp::Regex, value);
    let cases = [
        ("select_ms_by_name", vec![Matcher::equal("__name__", "node_load1")], MANY_NODES),
        (
            "select_ms_by_name_and_labels_of_one_node",
            vec![
                Matcher::equal("__name__", "node_cpu_seconds_total"),
                Matcher::equal("cpu", "0"),
                Matcher::equal("mode", "idle"),
                Matcher::equal("node", "many-0500"),
            ],
            1,
        ),
        ("select_ms_by_expression", vec![regex("__name__", "node_load(1|5)")?], 2 * MANY_NODES),
        ("select_ms_nothing", vec![Matcher::equal("__name__", "node_load1"), Matcher::equal("x", "y")], 0),
    ];
    for (name, matchers, expected) in cases {
        let mut took = Vec::new();
        for _ in 0..TIMES {
            let query = Select {
                matchers: matchers.clone(),
                from: START,
                to: START + Duration::from_secs(60),
                samples_max: 1 << 20,
            };
            let (found, seconds) = timed(|| Ok(runtime.block_on(data.select(query))?))?;
            ensure!(found.series.len() == expected, "{name}: {} series", found.series.len());
            took.push(seconds * 1000.0);
        }
        report.figure(name, median(&mut took));
    }
    runtime.block_on(data.close());
    drop(data);
    thread.join();
    Ok(())
}

/// Bytes of a closed file that hold something; the rest is given back little by little.
fn used_bytes(path: &Path) -> anyhow::Result<f64> {
    let file = rusqlite::Connection::open(path)?;
    let pragma = |name: &str| file.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, f64>(0));
    Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
}

/// Bytes of the pages that hold chunks and their indexes.
fn chunk_bytes(path: &Path) -> anyhow::Result<f64> {
    let file = rusqlite::Connection::open(path)?;
    let sum = "SELECT total(pgsize) FROM dbstat WHERE name LIKE 'metric_chunk%'";
    Ok(file.query_row(sum, [], |row| row.get(0))?)
}

/// Puts everything together; the seconds that took.
fn compact(runtime: &tokio::runtime::Runtime, path: &Path) -> anyhow::Result<f64> {
    let (data, thread) = store::open(path, store::Config::default())?;
    let now = START + Duration::from_secs(3 * 86_400);
    let (_, seconds) = timed(|| {
        runtime.block_on(async {
            while data.compact(now).await?.worked {}
            Ok(())
        })
    })?;
    runtime.block_on(data.close());
    drop(data);
    thread.join();
    Ok(seconds)
}

/// What one node sends, made beforehand.
pub(super) struct Load {
    pub(super) node: NodeId,
    pub(super) samples: f64,
    /// Its part of the day.
    pub(super) part: std::ops::Range<usize>,
    packets: Vec<Vec<u8>>,
}

impl Load {
    fn new(n: usize, recording: &Recording, day: &[Scraped]) -> anyhow::Result<Self> {
        let node: NodeId = format!("bench-{n:02}").parse()?;
        let count = SCRAPES.min(day.len());
        let from = n * 317 % (day.len() - count + 1);
        let part = from..from + count;
        let topic = format!("skerry/v1/{node}/up/metrics");
        let mut packets = Vec::new();
        for (number, batch) in (1u16..).zip(batches(recording, &day[part.clone()], PER_MINUTE as usize)?) {
            let payload = codec::encode(&batch);
            let mut packet = vec![0x32];
            length(&mut packet, 2 + topic.len() + 2 + payload.len());
            packet.extend_from_slice(&u16::try_from(topic.len())?.to_be_bytes());
            packet.extend_from_slice(topic.as_bytes());
            packet.extend_from_slice(&number.to_be_bytes());
            packet.extend_from_slice(&payload);
            packets.push(packet);
        }
        Ok(Self { node, samples: samples(&day[part.clone()]), part, packets })
    }

    /// Sends everything; returns when all of it is acknowledged, which is when it is committed.
    fn send(&self, address: SocketAddr, tls: Arc<rustls::ClientConfig>, go: &std::sync::Barrier) -> anyhow::Result<()> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(Duration::from_secs(60)))?;
        let session = rustls::ClientConnection::new(tls, "127.0.0.1".try_into()?)?;
        let mut stream = rustls::StreamOwned::new(session, socket);
        let name = self.node.as_str();
        let mut connect = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60];
        text(&mut connect, name)?;
        packet(&mut stream, 0x10, &connect)?;
        let mut subscribe = vec![0, 1];
        text(&mut subscribe, &format!("skerry/v1/{name}/down/ack"))?;
        subscribe.push(1);
        packet(&mut stream, 0x82, &subscribe)?;
        ensure!(receive(&mut stream)?.0 == 0x20 && receive(&mut stream)?.0 == 0x90, "no session");
        go.wait();
        let (mut sent, mut acknowledged) = (0, 0);
        while acknowledged < self.packets.len() {
            while sent < self.packets.len() && sent - acknowledged < WINDOW {
                stream.write_all(&self.packets[sent])?;
                sent += 1;
            }
            stream.flush()?;
            match receive(&mut stream)? {
                (0x40, _) => acknowledged += 1,
                (kind, body) if kind & 0xf0 == 0x30 => {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    packet(&mut stream, 0x40, &body[2 + topic..4 + topic])?;
                }
                (kind, _) => bail!("a packet of kind {kind:#x}"),
            }
        }
        Ok(())
    }
}

fn text(out: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    out.extend_from_slice(&u16::try_from(text.len())?.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

fn packet(stream: &mut impl Write, kind: u8, body: &[u8]) -> anyhow::Result<()> {
    let mut bytes = vec![kind];
    length(&mut bytes, body.len());
    bytes.extend_from_slice(body);
    stream.write_all(&bytes)?;
    Ok(stream.flush()?)
}

fn receive(stream: &mut impl Read) -> anyhow::Result<(u8, Vec<u8>)> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    let kind = byte[0];
    let (mut length, mut shift) = (0usize, 0);
    loop {
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((kind, body))
}

/// Seconds until everything that the nodes sent was committed.
fn ingest(
    runtime: &tokio::runtime::Runtime,
    ca: &FleetCa,
    folder: &Path,
    loads: &[Load],
    total: f64,
) -> anyhow::Result<f64> {
    std::fs::create_dir_all(folder)?;
    let site = runtime.block_on(Site::start(ca, folder));
    let go = std::sync::Barrier::new(loads.len() + 1);
    let seconds = std::thread::scope(|scope| {
        let senders: Vec<_> = loads
            .iter()
            .map(|load| {
                let tls = node_identity(ca, ca, &load.node).tls;
                let (go, address) = (&go, site.address);
                scope.spawn(move || load.send(address, tls, go))
            })
            .collect();
        go.wait();
        timed(|| {
            for sender in senders {
                sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
            }
            Ok(())
        })
    })?
    .1;
    let counts: BTreeMap<NodeId, store::Counts> = runtime.block_on(site.store.counts())?;
    let stored: f64 = counts.values().map(|counts| counts.samples as f64).sum();
    runtime.block_on(site.stop());
    ensure!(stored == total, "{stored} samples are stored, {total} were sent");
    Ok(seconds)
}

/// Scrapes as a node's batches of `per_batch` scrapes each.
fn batches(recording: &Recording, day: &[Scraped], per_batch: usize) -> anyhow::Result<Vec<Batch>> {
    let entries: Vec<(SeriesId, Labels)> = (1..).map(SeriesId).zip(recording.series.iter().cloned()).collect();
    let (mut made, mut next) = (Vec::new(), 1);
    for part in day.chunks(per_batch) {
        let mut columns: BTreeMap<SeriesId, Vec<Option<f64>>> = BTreeMap::new();
        for (row, scraped) in part.iter().enumerate() {
            for (id, value) in &scraped.values {
                columns.entry(*id).or_insert_with(|| vec![None; part.len()])[row] = Some(*value);
            }
        }
        let block = MetricBlock {
            timestamps: part.iter().map(|scraped| scraped.at).collect(),
            columns: columns.into_iter().map(|(series, values)| Column { series, values }).collect(),
        };
        let dict = if next == 1 { dict::encode(&entries)? } else { Vec::new() };
        let to = next + part.len() as u64 - 1;
        made.push(Batch { epoch: Epoch(1), from: Seq(next), to: Seq(to), dict, body: Body::Block(block.encode()?) });
        next = to + 1;
    }
    Ok(made)
}

/// Stores batches as those of the node `bench`.
fn fill(runtime: &tokio::runtime::Runtime, path: &Path, batches: Vec<Batch>) -> anyhow::Result<()> {
    let (data, thread) = store::open(path, store::Config::default())?;
    runtime.block_on(async {
        let node = "bench".parse()?;
        for batch in batches {
            data.ingest(&node, StreamKind::Metrics, batch, START).await?;
        }
        data.close().await;
        anyhow::Ok(())
    })?;
    drop(data);
    thread.join();
    Ok(())
}

/// Milliseconds to read one series over the day, of many series.
fn read(
    runtime: &tokio::runtime::Runtime,
    recording: &Recording,
    path: &Path,
    day: &[Scraped],
) -> anyhow::Result<Vec<f64>> {
    let (data, thread) = store::open(path, store::Config::default())?;
    let mut took = Vec::new();
    let step = recording.series.len().div_ceil(READS);
    for (at, labels) in recording.series.iter().enumerate().step_by(step) {
        let matchers = labels.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
        let query = Select { matchers, from: START, to: day.last().context("scrapes")?.at, samples_max: u64::MAX };
        let (found, seconds) = timed(|| Ok(runtime.block_on(data.select(query))?))?;
        let id = u32::try_from(at)? + 1;
        let expected = day.iter().filter(|scraped| scraped.values.binary_search_by_key(&id, |(id, _)| id.0).is_ok());
        let most = found.series.iter().map(|series| series.samples.len()).max().unwrap_or(0);
        ensure!(most >= expected.count(), "{most} samples of {labels}");
        took.push(seconds * 1000.0);
    }
    runtime.block_on(data.close());
    drop(data);
    thread.join();
    Ok(took)
}
