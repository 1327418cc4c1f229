//! Peers that drain the same file.

use super::agent::{pinned, stop, wait};
use super::drain::{Backlog, Drain};
use super::timed;
use crate::lab::{Running, free_port};
use anyhow::{Context, ensure};
use std::io::Read;
use std::path::{Path, PathBuf};

const RSYSLOG: &str = "/usr/sbin/rsyslogd";

/// What the peers took: the named program at its defaults and with large chunks, or rsyslog where there is one.
pub(super) fn drains(
    peer: Option<&Path>,
    backlog: &Backlog,
    folder: &Path,
    say: &dyn Fn(&str),
) -> anyhow::Result<Vec<(&'static str, Drain)>> {
    if let Some(program) = peer {
        say("draining the same with Fluent Bit");
        backlog.warm()?;
        let plain = fluent_bit(program, backlog, &folder.join("fluent-bit"), "")?;
        let chunks = "    buffer_chunk_size 512k\n    buffer_max_size 512k\n";
        let large = fluent_bit(program, backlog, &folder.join("fluent-bit-large"), chunks)?;
        return Ok(vec![("fluent_bit", plain), ("fluent_bit_512k", large)]);
    }
    if !Path::new(RSYSLOG).exists() {
        say("no peer: give --peer-bin, or install Debian's rsyslog");
        return Ok(Vec::new());
    }
    say("draining the same with rsyslog");
    backlog.warm()?;
    Ok(vec![("rsyslog", rsyslog(backlog, &folder.join("rsyslog"))?)])
}

/// imfile, JSON parsed, a queue on disk, and the text into a file, as it is: rsyslog stores nothing compressed by blocks.
fn rsyslog(backlog: &Backlog, folder: &Path) -> anyhow::Result<Drain> {
    let work = folder.join("work");
    std::fs::create_dir_all(&work)?;
    let (shown, out, file) = (work.display(), folder.join("out.log"), folder.join("rsyslog.conf"));
    std::fs::write(
        &file,
        format!(
            "global(workDirectory=\"{shown}\" maxMessageSize=\"64k\")\n\
             module(load=\"imfile\" mode=\"inotify\")\n\
             module(load=\"mmjsonparse\")\n\
             template(name=\"line\" type=\"string\" string=\"%$!time% %$!stream% %$!log%\")\n\
             ruleset(name=\"drain\" queue.type=\"Disk\" queue.filename=\"q\" queue.maxDiskSpace=\"4g\" queue.maxFileSize=\"64m\") {{\n\
               action(type=\"mmjsonparse\" cookie=\"\")\n\
               action(type=\"omfile\" file=\"{}\" template=\"line\")\n\
             }}\n\
             input(type=\"imfile\" File=\"{}\" Tag=\"app:\" ruleset=\"drain\")\n",
            out.display(),
            backlog.path.display()
        ),
    )?;
    let (ended, seconds) = timed(|| {
        let mut command = pinned(Path::new(RSYSLOG))?;
        command.arg("-n").arg("-f").arg(&file).arg("-i").arg(folder.join("pid"));
        let mut process = Running::spawn(&mut command, &folder.join("log"))?;
        let mut lines = Lines::of(out.clone());
        wait("rsyslog to write all lines", || {
            ensure!(!process.has_ended(), "rsyslog has ended: see {}", folder.join("log").display());
            Ok(lines.count()? >= backlog.lines)
        })?;
        stop(process)
    })?;
    std::fs::remove_dir_all(folder)?;
    Ok(Drain { seconds, ended })
}

/// Counts the lines of a file that grows.
struct Lines {
    path: PathBuf,
    file: Option<std::fs::File>,
    count: u64,
    buffer: Vec<u8>,
}

impl Lines {
    fn of(path: PathBuf) -> Self {
        Self { path, file: None, count: 0, buffer: vec![0; 1 << 20] }
    }

    fn count(&mut self) -> anyhow::Result<u64> {
        if self.file.is_none() {
            self.file = std::fs::File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            loop {
                let read = file.read(&mut self.buffer)?;
                if read == 0 {
                    break;
                }
                self.count += self.buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        }
        Ok(self.count)
    }
}

/// tail with its position database and its buffer on disk, the docker parser, and nothing done with the records.
fn fluent_bit(program: &Path, backlog: &Backlog, folder: &Path, input: &str) -> anyhow::Result<Drain> {
    std::fs::create_dir_all(folder)?;
    let port = free_port()?;
    let (shown, parsers, file) = (folder.display(), folder.join("parsers.conf"), folder.join("fluent-bit.conf"));
    std::fs::write(
        &parsers,
        "[PARSER]\n    name docker\n    format json\n    time_key time\n    time_format %Y-%m-%dT%H:%M:%S.%L\n    time_keep off\n",
    )?;
    std::fs::write(
        &file,
        format!(
            "[SERVICE]\n    flush 1\n    log_level error\n    parsers_file {}\n    storage.path {shown}/storage\n    http_server on\n    http_listen 127.0.0.1\n    http_port {port}\n\
             [INPUT]\n    name tail\n    path {}\n    read_from_head true\n    parser docker\n    db {shown}/position.db\n    storage.type filesystem\n{input}\
             [OUTPUT]\n    name null\n    match *\n",
            parsers.display(),
            backlog.path.display()
        ),
    )?;
    let records = || -> Option<u64> {
        let url = format!("http://127.0.0.1:{port}/api/v1/metrics");
        let text = ureq::get(url).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str::<serde_json::Value>(&text).ok()?["output"]["null.0"]["proc_records"].as_u64()
    };
    let (ended, seconds) = timed(|| {
        let mut command = pinned(program)?;
        command.arg("-c").arg(&file);
        let mut process = Running::spawn(&mut command, &folder.join("log")).context("the program of --peer-bin")?;
        wait("Fluent Bit to pass on all lines", || {
            ensure!(!process.has_ended(), "Fluent Bit has ended: see {}", folder.join("log").display());
            Ok(records().is_some_and(|passed| passed >= backlog.lines))
        })?;
        stop(process)
    })?;
    std::fs::remove_dir_all(folder)?;
    Ok(Drain { seconds, ended })
}
