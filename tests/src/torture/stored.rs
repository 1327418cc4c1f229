//! What the agent's database holds of the numbered records: read block by block as they come, also while it runs.

use super::Style;
use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use skerry_chunk::{Limits, LogReader};
use std::path::{Path, PathBuf};

/// Number of log blocks' kind in the database.
const LOGS: i64 = 2;
/// Foreign records that are kept for the report.
const FOREIGN_MAX: usize = 5;

/// The numbers found so far.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    db: Option<Connection>,
    last: i64,
    /// How often each number was found, by style.
    counts: Vec<Vec<u8>>,
    /// Up to which number all were found, by style.
    complete: Vec<usize>,
    /// Records that no writer wrote, or not so.
    pub(super) foreign: Vec<String>,
}

impl Stored {
    pub(super) fn new(path: &Path) -> Self {
        let styles = Style::ALL.len();
        let (counts, complete) = (vec![Vec::new(); styles], vec![0; styles]);
        Self { path: path.to_owned(), db: None, last: 0, counts, complete, foreign: Vec::new() }
    }

    /// Inputs that a database knows to have run.
    pub(super) fn inputs(path: &Path) -> anyhow::Result<usize> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let count: i64 = db.query_row("SELECT count(*) FROM position WHERE k LIKE 'input/%'", [], |row| row.get(0))?;
        Ok(usize::try_from(count)?)
    }

    /// Reads the blocks that came since.
    ///
    /// # Errors
    /// If the database is not there, or a block cannot be read.
    pub fn refresh(&mut self) -> anyhow::Result<()> {
        let blocks: Vec<(i64, Vec<u8>)> = {
            let db = match &mut self.db {
                Some(db) => db,
                none => {
                    let db = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                    db.busy_timeout(std::time::Duration::from_secs(2))?;
                    none.insert(db)
                }
            };
            let mut select =
                db.prepare("SELECT id, body FROM block WHERE kind = ? AND id > ? ORDER BY id LIMIT 500")?;
            let rows = select.query_map((LOGS, self.last), |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        let more = blocks.len() == 500;
        for (id, body) in blocks {
            let reader = LogReader::open(&body, &Limits::default()).context("a log block")?;
            for record in reader.records().context("a log block")? {
                self.take(&record.line, record.labels.value("source"));
            }
            self.last = id;
        }
        for (counts, complete) in self.counts.iter().zip(&mut self.complete) {
            *complete += counts[*complete..].iter().take_while(|count| **count > 0).count();
        }
        if more { self.refresh() } else { Ok(()) }
    }

    fn take(&mut self, line: &[u8], source: &str) {
        let text = String::from_utf8_lossy(line);
        let style = Style::ALL.into_iter().position(|style| style.name() == source);
        match style.and_then(|at| Some((at, Style::ALL[at].number_of(&text)?))) {
            Some((at, number)) => {
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                let counts = &mut self.counts[at];
                if counts.len() <= number {
                    counts.resize(number + 1, 0);
                }
                counts[number] = counts[number].saturating_add(1);
            }
            None if self.foreign.len() < FOREIGN_MAX => {
                self.foreign.push(format!("{source}: {}", text.chars().take(300).collect::<String>()));
            }
            None => {}
        }
    }

    /// Whether every number below `written` was found.
    pub(super) fn has_all(&self, style: Style, written: u64) -> bool {
        self.complete[style as usize] as u64 >= written
    }

    pub(super) fn missing(&self, style: Style, written: u64) -> Vec<u64> {
        let counts = &self.counts[style as usize];
        let found = |number: u64| usize::try_from(number).ok().and_then(|n| counts.get(n)).is_some_and(|n| *n > 0);
        (0..written).filter(|number| !found(*number)).collect()
    }

    pub(super) fn twice(&self, style: Style) -> u64 {
        self.counts[style as usize].iter().filter(|count| **count > 1).count() as u64
    }

    pub(super) fn ledger(&self) -> anyhow::Result<Vec<(String, String, Option<i64>)>> {
        let db = self.db.as_ref().context("the database is open")?;
        let mut select = db.prepare("SELECT reason, source, count FROM loss WHERE stream = 'logs'")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
