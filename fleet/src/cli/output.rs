//! What commands print, and how they ask.

use super::args::Format;
use anyhow::{Context, bail};
use serde::Serialize;
use std::io::{BufRead, ErrorKind, IsTerminal, Write};

/// Prints text to standard output. A reader that has gone, such as `head`, ends the program quietly.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        other => other.context("standard output"),
    }
}

/// Prints `value` in the wanted format; `table` makes the one for people, given whether it may be wide.
pub(super) fn show<T: Serialize>(format: Format, value: &T, table: impl FnOnce(bool) -> String) -> anyhow::Result<()> {
    match format {
        Format::Table | Format::Raw => print(&table(false)),
        Format::Wide => print(&table(true)),
        Format::Json => print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        Format::Yaml => print(&serde_saphyr::to_string(value)?),
    }
}

/// Asks on the terminal; without one, or with `--yes` missing there, nothing is done.
pub(super) fn confirm(question: &str, yes: bool) -> anyhow::Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question}: standard input is no terminal to ask on; add --yes if this is right");
    }
    let _ = write!(std::io::stderr(), "{question}? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("read the answer")?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { bail!("not confirmed; nothing was done") }
}

/// Says something beside the answer.
pub(super) fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
