//! A container's network, seen from one of its processes. A container in the host's own network is left out, as with
//! cAdvisor: its traffic is the node's.

use super::super::source::{CollectError, Roots, Text};
use super::cgroup::{Version, folder};
use super::files::processes;
use super::{Rows, metas};

/// Columns of `/proc/PID/net/dev` in the order of [`metas::NETWORK`].
const COLUMNS: [usize; 8] = [0, 1, 2, 3, 8, 9, 10, 11];

pub(super) fn read(roots: &Roots, version: Version, path: &str, rows: &mut Rows) -> Result<(), CollectError> {
    let folder = folder(roots, version, "memory", path);
    let Some((_, Some(pid))) = processes(folder.as_ref())? else { return Ok(()) };
    let process = roots.proc.join(&pid);
    let space = |process: &std::path::Path| std::fs::read_link(process.join("ns/net")).ok();
    let own = space(&process);
    if own.is_some() && own == space(&roots.proc.join("1")) {
        return Ok(());
    }
    // The process may have ended since.
    let Ok(text) = Text::read(process.join("net/dev")) else { return Ok(()) };
    for line in text.content.lines().skip(2) {
        let (device, rest) = line.split_once(':').ok_or_else(|| text.fault(line, "DEVICE: sixteen numbers"))?;
        let device = device.trim();
        if device == "lo" {
            continue;
        }
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        for (meta, column) in metas::NETWORK.iter().zip(COLUMNS) {
            let value = text.number(words.get(column).copied(), line, "sixteen numbers")?;
            rows.labelled(meta, vec![("interface", device.to_owned())], value);
        }
    }
    Ok(())
}
