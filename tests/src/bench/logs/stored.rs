//! What stored lines take.
//!
//! The node's store takes in lines as they come from a file at a thousand a second, in virtual time, and commits as its
//! thread would.

use super::corpus::{BEGAN_MS, Corpus};
use super::{Extent, Limit, Report};
use anyhow::ensure;
use skerry_agent::data::LogInput;
use skerry_agent::store::{Config, Now, Retention, Writer};
use skerry_model::{Bytes, Labels, Level, LogRecord, Mono, OutputStream, Span, UnixMillis};
use std::path::{Path, PathBuf};

/// Lines that one look at a file brings, four times a second.
const LINES_PER_LOOK: u64 = 250;

/// A word that stands in one line alone, in the middle.
pub(super) const MARKED: &str = "abneedle4f7axy";

/// A database of lines.
pub(super) struct Stored {
    pub(super) path: PathBuf,
    pub(super) lines: u64,
    pub(super) text_bytes: u64,
}

pub(super) fn run(extent: &Extent, folder: &Path, report: &mut Report, say: &dyn Fn(&str)) -> anyhow::Result<Stored> {
    say(&format!("storing {} MB of lines at a steady pace", extent.search_bytes / 1_000_000));
    let stored = fill(folder.join("stored.db"), extent.search_bytes)?;
    let bytes = std::fs::metadata(&stored.path)?.len() as f64;
    report.figure("stored_lines", stored.lines as f64);
    report.figure("stored_text_bytes", stored.text_bytes as f64);
    report.limited("stored_db_bytes_per_text_byte", bytes / stored.text_bytes as f64, Limit::Max(0.15));
    Ok(stored)
}

pub(super) fn config() -> Config {
    let room = Bytes::mib(1024);
    let logs = Retention { max_bytes: room, max_age: Span::secs(0), ..Config::default().logs };
    Config { max_bytes: Bytes::mib(2048), logs, ..Config::default() }
}

fn fill(path: PathBuf, bytes_min: u64) -> anyhow::Result<Stored> {
    let mut random = 1u64;
    let next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 2
    };
    let began = i64::try_from(BEGAN_MS)?;
    let moment = |ms: u64| Now { wall: UnixMillis(began.saturating_add_unsigned(ms)), mono: Mono(ms) };
    let mut writer = Writer::open(&path, config(), moment(0), next)?.0;
    let labels = Labels::new([("source", "containers"), ("container", "shop"), ("filename", "/var/log/shop.log")])?;
    let (mut corpus, mut text_bytes, mut ms, mut marked) = (Corpus::new(), 0, 0, false);
    while text_bytes < bytes_min {
        ms += LINES_PER_LOOK;
        let now = moment(ms);
        let mut records = Vec::new();
        for n in 0..LINES_PER_LOOK {
            let mut text = String::new();
            corpus.line(&mut text);
            if !marked && text_bytes > bytes_min / 2 {
                marked = true;
                text.push_str(" item=");
                text.push_str(MARKED);
            }
            text_bytes += text.len() as u64;
            records.push(LogRecord {
                at: UnixMillis(now.wall.0 - (LINES_PER_LOOK - n) as i64),
                labels: labels.clone(),
                output: OutputStream::Stdout,
                level: Level::Info,
                fields: Labels::default(),
                line: text.into_bytes(),
            });
        }
        writer.append_logs(LogInput { records, ..LogInput::default() }, now);
        writer.tick(now);
    }
    ensure!(writer.stats(moment(ms)).failed_commits == 0, "a commit failed");
    writer.close(moment(ms))?;
    Ok(Stored { path, lines: corpus.written, text_bytes })
}

/// A connection that reads, with what the node's readers have.
pub(super) fn reader(path: &Path) -> anyhow::Result<rusqlite::Connection> {
    let db = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.execute_batch("PRAGMA cache_size = -256; PRAGMA mmap_size = 0;")?;
    Ok(db)
}
