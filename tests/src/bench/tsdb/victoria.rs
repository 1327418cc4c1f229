//! VictoriaMetrics, single-node, taking in the same samples by remote write.
//!
//! One request for each batch that a node sends to the fleet: the same four scrapes, as protobuf of remote write 1.0
//! in snappy's framing without compression, which is less work for the receiver than with it. The requests are made
//! beforehand; as many connections as there are nodes send them, each waiting for its answer. VictoriaMetrics answers
//! when a request is parsed and in memory; the fleet when a batch is on the disk.

use super::centre::Load;
use super::node::PER_MINUTE;
use super::{Scraped, timed};
use crate::bench::recording::Recording;
use crate::lab::{Running, free_port, wait_for};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its program.
pub(super) struct Victoria(PathBuf);

impl Victoria {
    pub(super) fn find() -> Option<Self> {
        let path = PathBuf::from("/usr/bin/victoria-metrics");
        path.exists().then_some(Self(path))
    }

    /// Seconds that it took to take everything in.
    pub(super) fn ingest(
        &self,
        folder: &Path,
        recording: &Recording,
        day: &[Scraped],
        loads: &[Load],
    ) -> anyhow::Result<f64> {
        std::fs::create_dir_all(folder)?;
        let port = free_port()?;
        let mut command = Command::new(&self.0);
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}")).arg("-retentionPeriod=100y");
        command.arg(format!("-storageDataPath={}", folder.join("data").display()));
        let running = Running::spawn(&mut command, &folder.join("log"))?;
        let metrics = || {
            let mut answer = ureq::get(format!("http://127.0.0.1:{port}/metrics")).call()?;
            anyhow::Ok(answer.body_mut().read_to_string()?)
        };
        wait_for("VictoriaMetrics", metrics)?;
        let requests: Vec<Vec<Vec<u8>>> =
            loads.iter().map(|load| requests(load.node.as_str(), recording, &day[load.part.clone()])).collect();
        let send = |requests: &[Vec<u8>]| -> anyhow::Result<()> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            for request in requests {
                stream.write_all(request)?;
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") {
                    stream.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                ensure!(head.starts_with(b"HTTP/1.1 204"), "{}", String::from_utf8_lossy(&head));
            }
            Ok(())
        };
        let seconds = timed(|| {
            std::thread::scope(|scope| {
                let senders: Vec<_> = requests.iter().map(|requests| scope.spawn(|| send(requests))).collect();
                for sender in senders {
                    sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
                }
                Ok(())
            })
        })?
        .1;
        let inserted = metrics()?
            .lines()
            .filter_map(|line| line.strip_prefix("vm_rows_inserted_total{type=\"promremotewrite\"} "))
            .find_map(|value| value.parse::<f64>().ok())
            .context("vm_rows_inserted_total")?;
        let total: f64 = loads.iter().map(|load| load.samples).sum();
        ensure!(inserted == total, "{inserted} samples taken in, {total} were sent");
        running.stop()?;
        Ok(seconds)
    }
}

fn requests(node: &str, recording: &Recording, day: &[Scraped]) -> Vec<Vec<u8>> {
    day.chunks(PER_MINUTE as usize).map(|part| request(node, recording, part)).collect()
}

fn request(node: &str, recording: &Recording, part: &[Scraped]) -> Vec<u8> {
    let mut series: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for scraped in part {
        for (id, value) in &scraped.values {
            let series = series.entry(id.0).or_insert_with(|| {
                let mut message = Vec::new();
                let labels = &recording.series[id.0 as usize - 1];
                for (name, value) in labels.iter().chain([("node", node)]) {
                    let mut pair = Vec::new();
                    field(&mut pair, 1, name.as_bytes());
                    field(&mut pair, 2, value.as_bytes());
                    field(&mut message, 1, &pair);
                }
                message
            });
            let mut sample = vec![0x09];
            sample.extend_from_slice(&value.to_le_bytes());
            sample.push(0x10);
            varint(&mut sample, scraped.at.0.unsigned_abs());
            field(series, 2, &sample);
        }
    }
    let mut message = Vec::new();
    for series in series.values() {
        field(&mut message, 1, series);
    }
    let mut body = Vec::new();
    varint(&mut body, message.len() as u64);
    for part in message.chunks(1 << 16) {
        // A literal whose length stands in two bytes.
        body.push(61 << 2);
        body.extend_from_slice(&((part.len() - 1) as u16).to_le_bytes());
        body.extend_from_slice(part);
    }
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
         X-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body].concat()
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
