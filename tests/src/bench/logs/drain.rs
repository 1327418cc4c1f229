//! Draining a file that was written while nobody read.

use super::agent::{Agent, Collect, Ended, pinned};
use super::corpus::Corpus;
use super::{Extent, Limit, Report, median, peer, timed};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file of entries of Docker's json-file driver.
pub(super) struct Backlog {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) lines: u64,
    /// Bytes of the lines' texts, without their ends.
    pub(super) text_bytes: u64,
}

impl Backlog {
    fn write(path: PathBuf, bytes_min: u64) -> anyhow::Result<Self> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        let (mut corpus, mut text, mut entries) = (Corpus::new(), String::new(), Vec::new());
        let (mut bytes, mut text_bytes) = (0, 0);
        while bytes < bytes_min {
            entries.clear();
            text_bytes += corpus.docker_line(&mut text, &mut entries);
            bytes += entries.len() as u64;
            file.write_all(&entries)?;
        }
        // What waits to be written back would disturb the first drain.
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(Self { path, bytes, lines: corpus.written, text_bytes })
    }

    /// Reads it, so that each drain finds it in memory.
    pub(super) fn warm(&self) -> anyhow::Result<()> {
        let read = std::io::copy(&mut std::fs::File::open(&self.path)?, &mut std::io::sink())?;
        anyhow::ensure!(read == self.bytes, "{read} bytes of the backlog");
        Ok(())
    }
}

/// One drain.
pub(super) struct Drain {
    pub(super) seconds: f64,
    pub(super) ended: Ended,
}

pub(super) fn run(
    extent: &Extent,
    agent: &Path,
    peer: Option<&Path>,
    folder: &Path,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let inputs = folder.join("backlog");
    std::fs::create_dir_all(&inputs)?;
    let backlog = Backlog::write(inputs.join("app.log"), extent.drain_bytes)?;
    say(&format!("draining {} lines of {} bytes", backlog.lines, backlog.bytes / backlog.lines));
    let (mut rates, mut cpu_rates, mut peaks, mut written, mut stored) = (vec![], vec![], vec![], vec![], 0.0);
    for time in 0..extent.drains {
        let place = folder.join(format!("drain-{time}"));
        backlog.warm()?;
        let ((drain, database), _) = timed(|| drain_once(agent, &backlog, &place))?;
        rates.push(backlog.lines as f64 / drain.seconds);
        cpu_rates.push(backlog.lines as f64 / drain.ended.cpu.as_secs_f64());
        peaks.push(drain.ended.rss_peak_bytes);
        written.push(drain.ended.written_bytes);
        stored = std::fs::metadata(&database)?.len() as f64;
        std::fs::remove_dir_all(&place)?;
    }
    let rate = median(&mut rates);
    report.figure("drain_lines", backlog.lines as f64);
    report.figure("drain_entry_bytes", backlog.bytes as f64 / backlog.lines as f64);
    report.limited("drain_lines_per_s", rate, Limit::Min(600_000.0));
    let cpu_rate = median(&mut cpu_rates);
    report.limited("drain_lines_per_cpu_s", cpu_rate, Limit::Min(600_000.0));
    report.limited("drain_rss_peak_bytes", median(&mut peaks), Limit::Max(f64::from(40 << 20)));
    report.figure("drain_written_per_input_byte", median(&mut written) / backlog.bytes as f64);
    report.figure("drain_db_bytes_per_input_byte", stored / backlog.bytes as f64);
    report.figure("drain_db_bytes_per_text_byte", stored / backlog.text_bytes as f64);
    for (name, drain) in peer::drains(peer, &backlog, folder, say)? {
        let peer_cpu_rate = backlog.lines as f64 / drain.ended.cpu.as_secs_f64();
        report.peer(&format!("{name}_drain_lines_per_s"), backlog.lines as f64 / drain.seconds);
        report.peer(&format!("{name}_drain_lines_per_cpu_s"), peer_cpu_rate);
        report.peer(&format!("{name}_drain_rss_peak_bytes"), drain.ended.rss_peak_bytes);
        report.peer(&format!("{name}_drain_written_per_input_byte"), drain.ended.written_bytes / backlog.bytes as f64);
        report.figure(&format!("drain_times_{name}"), rate * drain.seconds / backlog.lines as f64);
        report.figure(&format!("drain_times_{name}_by_cpu"), cpu_rate / peer_cpu_rate);
    }
    Ok(())
}

fn drain_once(agent: &Path, backlog: &Backlog, place: &Path) -> anyhow::Result<(Drain, PathBuf)> {
    let ((ended, database), seconds) = timed(|| {
        let mut agent = Agent::start(pinned(agent)?, place, &backlog.path.display().to_string(), Collect::Default)?;
        agent.wait_for_lines(backlog.lines)?;
        agent.stop(backlog.lines)
    })?;
    Ok((Drain { seconds, ended }, database))
}
