//! `/proc/mdstat`: software RAID; and bonded network interfaces, which are a kind of RAID too.

use super::sink::{Rows, gauge};
use super::source::{CollectError, Text, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

static BLOCKS: MetricMeta = gauge("node_md_blocks", "Total number of blocks on device.");
static SYNCED: MetricMeta = gauge("node_md_blocks_synced", "Number of blocks synced on device.");
static DISKS: MetricMeta = gauge("node_md_disks", "Number of active/failed/spare disks of device.");
static REQUIRED: MetricMeta = gauge("node_md_disks_required", "Total number of disks of device.");
static STATE: MetricMeta = gauge("node_md_state", "Indicates the state of md-device.");
const STATES: [&str; 5] = ["active", "check", "inactive", "recovering", "resync"];

/// Software RAID.
pub(super) struct Mdadm;

impl Collect for Mdadm {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let Some(text) = Text::optional(round.roots.proc.join("mdstat"))? else { return Ok(()) };
        let mut rows = Rows::default();
        let lines: Vec<&str> = text.content.lines().collect();
        let mut begins = lines.iter().enumerate().filter(|(_, line)| is_device(line)).map(|(at, _)| at).peekable();
        while let Some(begin) = begins.next() {
            let end = begins.peek().copied().unwrap_or(lines.len());
            Array::parse(&text, lines[begin], &lines[begin + 1..end])?.push(&mut rows);
        }
        rows.pour(sink);
        Ok(())
    }
}

fn is_device(line: &str) -> bool {
    let is_other =
        line.starts_with("Personalities") || line.starts_with("unused") || line.starts_with(char::is_whitespace);
    !line.trim().is_empty() && !is_other
}

/// One array.
struct Array<'a> {
    device: &'a str,
    state: &'static str,
    active: f64,
    failed: f64,
    spare: f64,
    required: f64,
    blocks: f64,
    synced: f64,
}

impl<'a> Array<'a> {
    /// Reads `mdN : STATE LEVEL DISK[N](F) …`, the line of the blocks behind it, and the line of a resync if there is one.
    fn parse(text: &Text, head: &'a str, rest: &[&str]) -> Result<Self, CollectError> {
        let (device, about) = head.split_once(" : ").ok_or_else(|| text.fault(head, "mdN : STATE LEVEL DISKS"))?;
        let status = rest.first().copied().unwrap_or_default();
        let blocks = text.number(status.split_ascii_whitespace().next(), status, "NUMBER blocks")?;
        let is_inactive = about.split_ascii_whitespace().next() == Some("inactive");
        let is_plain = about.split_ascii_whitespace().any(|word| word == "raid0" || word == "linear");
        let (active, required) = if is_plain {
            // Such an array does without none of its disks, and does not say how many it has.
            let disks = count(head, "[");
            (disks, disks)
        } else if is_inactive {
            (0.0, 0.0)
        } else {
            let pair = status.split(['[', ']']).find_map(|part| part.split_once('/'));
            let (required, active) = pair.ok_or_else(|| text.fault(status, "[DISKS/ACTIVE]"))?;
            let number = |word: &str| text.number(Some(word), status, "[DISKS/ACTIVE]");
            (number(active)?, number(required)?)
        };
        let sync = rest.iter().skip(1).find_map(|line| {
            let of = |word: &str| line.contains(word);
            let state = match () {
                () if of("recovery") => "recovering",
                () if of("check") => "check",
                () if of("resync") => "resync",
                () if of("reshape") => "recovering",
                () => return None,
            };
            Some((state, *line))
        });
        let (state, synced) = match sync {
            None => (if is_inactive { "inactive" } else { "active" }, blocks),
            Some((state, line)) if line.contains("PENDING") || line.contains("DELAYED") => (state, 0.0),
            Some((state, line)) => {
                let done = line.split_once('(').and_then(|(_, rest)| rest.split_once('/')).map(|(done, _)| done);
                (state, text.number(done, line, "(DONE/ALL)")?)
            }
        };
        Ok(Self {
            device,
            state,
            active,
            failed: count(head, "(F)"),
            spare: count(head, "(S)"),
            required,
            blocks,
            synced,
        })
    }

    fn push(&self, rows: &mut Rows) {
        let device = ("device", self.device);
        rows.push(&BLOCKS, &[device], self.blocks);
        rows.push(&SYNCED, &[device], self.synced);
        rows.push(&REQUIRED, &[device], self.required);
        for (state, value) in [("active", self.active), ("failed", self.failed), ("spare", self.spare)] {
            rows.push(&DISKS, &[device, ("state", state)], value);
        }
        for state in STATES {
            rows.push(&STATE, &[device, ("state", state)], f64::from(u8::from(state == self.state)));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of disks is small")]
fn count(line: &str, part: &str) -> f64 {
    line.matches(part).count() as f64
}

static SLAVES: MetricMeta = gauge("node_bonding_slaves", "Number of configured slaves per bonding interface.");
static ACTIVE: MetricMeta = gauge("node_bonding_active", "Number of active slaves per bonding interface.");

/// Bonded interfaces.
pub(super) struct Bonding;

impl Collect for Bonding {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let net = round.roots.sys.join("class/net");
        let masters = word_at(net.join("bonding_masters")).unwrap_or_default();
        let mut rows = Rows::default();
        for master in masters.split_ascii_whitespace().filter(|name| !name.contains('/')) {
            let folder = net.join(master);
            let slaves = word_at(folder.join("bonding/slaves")).unwrap_or_default();
            let is_up = |slave: &&str| {
                let state = |link: &str| word_at(folder.join(format!("{link}_{slave}/bonding_slave/mii_status")));
                // Kernels before 3.13 call the link otherwise.
                state("lower").or_else(|| state("slave")).is_some_and(|state| state == "up")
            };
            let all = slaves.split_ascii_whitespace();
            #[expect(clippy::cast_precision_loss, reason = "a count of interfaces is small")]
            let (up, all) = (all.clone().filter(is_up).count() as f64, all.count() as f64);
            rows.push(&SLAVES, &[("master", master)], all);
            rows.push(&ACTIVE, &[("master", master)], up);
        }
        rows.pour(sink);
        Ok(())
    }
}
