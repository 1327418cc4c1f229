//! A thousand lines a second from twenty files, and none.
//!
//! Two agents tail the same files: one as it comes, and one without collectors, whose account is that of the logs alone.

use super::agent::{Agent, Collect};
use super::corpus::Corpus;
use super::{Extent, Limit, Report};
use crate::bench::process::Account;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const FILES: usize = 20;
const LINES_PER_S: usize = 1000;
/// Portions in a second: each writes some lines to each file.
const PORTIONS_PER_S: u32 = 10;
/// How long agents settle before each measurement.
const SETTLE: Duration = Duration::from_secs(20);

pub(super) fn run(
    extent: &Extent,
    agent: &Path,
    folder: &Path,
    report: &mut Report,
    say: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let inputs = folder.join("steady-in");
    std::fs::create_dir_all(&inputs)?;
    let mut writer = Writer::new(&inputs)?;
    let glob = format!("{}/*.log", inputs.display());
    let start = |name: &str, collect| Agent::start(Command::new(agent), &folder.join(name), &glob, collect);
    let agents = [start("steady", Collect::Default)?, start("steady-bare", Collect::Nothing)?];
    let accounts = || agents.iter().map(Agent::account).collect::<anyhow::Result<Vec<Account>>>();
    let span = extent.steady;

    say(&format!("idle with {FILES} files for {} s", span.as_secs()));
    writer.write_for(Duration::from_secs(1))?;
    std::thread::sleep(SETTLE);
    let before = accounts()?;
    std::thread::sleep(span);
    let after = accounts()?;
    let percent = |at: usize, before: &[Account], after: &[Account]| {
        after[at].cpu.saturating_sub(before[at].cpu).as_secs_f64() / span.as_secs_f64() * 100.0
    };
    report.limited("idle_cpu_percent", percent(0, &before, &after), Limit::Max(0.4));
    report.figure("idle_cpu_percent_without_collectors", percent(1, &before, &after));

    say(&format!("{LINES_PER_S} lines a second into {FILES} files for {} s", span.as_secs()));
    writer.write_for(SETTLE)?;
    let (before, bytes_before) = (accounts()?, writer.bytes);
    writer.write_for(span)?;
    let after = accounts()?;
    let input = (writer.bytes - bytes_before) as f64;
    let written = |at: usize| after[at].written_bytes - before[at].written_bytes;
    report.limited("steady_cpu_percent", percent(0, &before, &after), Limit::Max(3.0));
    report.figure("steady_cpu_percent_without_collectors", percent(1, &before, &after));
    report.figure("steady_input_bytes_per_s", input / span.as_secs_f64());
    report.limited("steady_written_per_input_byte", written(0) / input, Limit::Max(2.0));
    report.figure("steady_written_per_input_byte_without_collectors", written(1) / input);
    report.limited("steady_rss_peak_bytes", after[0].rss_peak_bytes, Limit::Max(f64::from(20 << 20)));
    report.figure("steady_rss_peak_bytes_without_collectors", after[1].rss_peak_bytes);
    for mut agent in agents {
        agent.wait_for_lines(writer.corpus.written)?;
        agent.stop(writer.corpus.written)?;
    }
    Ok(())
}

struct Writer {
    files: Vec<File>,
    corpus: Corpus,
    bytes: u64,
}

impl Writer {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let open = |n: usize| File::options().append(true).create(true).open(folder.join(format!("app-{n:02}.log")));
        let files = (0..FILES).map(open).collect::<std::io::Result<_>>()?;
        Ok(Self { files, corpus: Corpus::new(), bytes: 0 })
    }

    fn write_for(&mut self, span: Duration) -> anyhow::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the benchmark's own pace")]
        let began = Instant::now();
        let (mut text, mut entries, mut portions) = (String::new(), Vec::new(), 0);
        while began.elapsed() < span {
            for file in &mut self.files {
                entries.clear();
                for _ in 0..LINES_PER_S / FILES / PORTIONS_PER_S as usize {
                    self.corpus.docker_line(&mut text, &mut entries);
                }
                self.bytes += entries.len() as u64;
                file.write_all(&entries)?;
            }
            portions += 1;
            std::thread::sleep((Duration::from_secs(1) * portions / PORTIONS_PER_S).saturating_sub(began.elapsed()));
        }
        Ok(())
    }
}
