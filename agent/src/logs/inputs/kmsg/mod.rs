//! Reads the kernel's messages.
//!
//! The device gives one record to a read, in order, each with a number that rises by one since the kernel began. The
//! position is the boot's id and that number. Records that the kernel's ring overwrote before they were read are a gap
//! in the numbers, and so in the ledger, with their count.

use super::config::Kmsg;
use super::source::{Draft, Source, StoreEnded};
use super::stats::Count;
use crate::data::PositionUpdate;
use crate::host;
use crate::logs::intake::Batch;
use skerry_logs::wire::kmsg::Record;
use skerry_model::{LossReason, OutputStream, UnixMillis};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Longest record: the kernel's own bound, and room for a longer one.
const RECORD_BYTES_MAX: usize = 16 << 10;
/// Time between two looks at the device: its ring keeps what comes meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Time between two attempts to open the device.
const OPEN_EVERY: Duration = Duration::from_secs(60);

/// Key of the position of an input.
pub(super) fn key(name: &str) -> String {
    format!("kmsg/{name}")
}

/// Reads until `stop`. `state`: the stored position.
///
/// # Errors
/// [`StoreEnded`].
pub(super) async fn run(
    config: Kmsg,
    source: Source,
    state: Option<Vec<u8>>,
    stop: CancellationToken,
) -> Result<(), StoreEnded> {
    let boot = host::boot_id().to_string();
    // Another boot has other numbers, and all of its records are new.
    let seen = state.and_then(|state| String::from_utf8(state).ok()).and_then(|state| {
        let (of, seq) = state.split_once(' ')?;
        seq.parse().ok().filter(|_| of == boot)
    });
    let mut reader = Reader { source, boot, seen, batch: Batch::default(), moved: false };
    loop {
        match open(&config.path) {
            Ok(device) => {
                reader.source.solved();
                if let Err(error) = reader.read(device, &stop).await? {
                    reader.source.problem(&format!("{} cannot be read: {error}", config.path.display()));
                }
            }
            Err(error) => reader.source.problem(&format!(
                "{} cannot be opened: {error}; give the agent CAP_SYSLOG, or set logs.kmsg.enabled to false",
                config.path.display()
            )),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(OPEN_EVERY) => {}
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

struct Reader {
    source: Source,
    boot: String,
    /// Number of the last record that was taken.
    seen: Option<u64>,
    batch: Batch,
    moved: bool,
}

impl Reader {
    /// Reads until `stop` or a failure.
    async fn read(&mut self, mut device: File, stop: &CancellationToken) -> Result<io::Result<()>, StoreEnded> {
        let mut buffer = vec![0; RECORD_BYTES_MAX];
        while !stop.is_cancelled() {
            let rests = match device.read(&mut buffer) {
                Ok(0) => true,
                Ok(read) => {
                    self.take(&buffer[..read]);
                    false
                }
                // The ring overwrote what was next: the numbers tell how much.
                Err(error) if error.raw_os_error() == Some(libc::EPIPE) => false,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(error) => {
                    self.hand_on().await?;
                    return Ok(Err(error));
                }
            };
            if rests || self.batch.is_full() {
                self.hand_on().await?;
            }
            if rests {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        }
        self.hand_on().await?;
        Ok(Ok(()))
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(record) = Record::parse(bytes) else {
            self.source.stats.add(Count::Invalid, 1);
            self.source.lose(LossReason::Parse, Some(1), &mut self.batch);
            self.moved = true;
            return;
        };
        if self.seen.is_some_and(|seen| record.seq <= seen) {
            return;
        }
        let missed = self.seen.map_or(0, |seen| record.seq - seen - 1);
        if missed > 0 {
            self.source.stats.add(Count::Dropped, missed);
            self.source.lose(LossReason::Overload, Some(missed), &mut self.batch);
        }
        (self.seen, self.moved) = (Some(record.seq), true);
        // Both clocks are read now: that the wall clock was set since the record was written does not matter.
        let ago_ms = self.source.clock.awake().as_micros().saturating_sub(u128::from(record.micros)) / 1000;
        let at = UnixMillis(self.source.clock.wall().0 - i64::try_from(ago_ms).unwrap_or(0));
        let draft = Draft {
            at: Some(at),
            labels: vec![("facility", record.facility.unwrap_or_default().to_owned())],
            output: OutputStream::None,
            level: Some(record.level),
            fields: record.fields,
            line: record.line,
            is_cut: false,
        };
        self.source.take(draft, &mut self.batch);
    }

    async fn hand_on(&mut self) -> Result<(), StoreEnded> {
        if !std::mem::take(&mut self.moved) {
            return Ok(());
        }
        let state = self.seen.map(|seen| format!("{} {seen}", self.boot).into_bytes());
        let positions = vec![PositionUpdate { key: key(&self.source.name), state }];
        self.source.send(&mut self.batch, positions).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::inputs::rig::{Rig, WALL};
    use skerry_model::Level;
    use std::io::Write;

    fn start(rig: &Rig, path: &Path) -> tokio::task::JoinHandle<Result<(), StoreEnded>> {
        let json = format!(r#"{{"kmsg": {{"enabled": true, "name": "in", "path": "{}"}}}}"#, path.display());
        let input = Rig::checked(&json).kmsg.unwrap();
        let source = rig.source(&input.common);
        tokio::spawn(run(input, source, rig.positions.get(&key("in")).cloned(), rig.stop.clone()))
    }

    /// A pipe in the place of the device, and its other end. One record is written at a time, as the device gives them.
    fn device(rig: &Rig) -> (std::path::PathBuf, File) {
        let path = rig.folder.path().join("kmsg");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let into = File::options().read(true).write(true).open(&path).unwrap();
        (path, into)
    }

    #[tokio::test]
    async fn a_gap_in_the_numbers_is_a_loss_and_reading_goes_on_behind_the_last() {
        let mut rig = Rig::new();
        let (path, mut into) = device(&rig);
        let task = start(&rig, &path);
        for (at, record) in
            ["6,7,0,-;one", "4,8,0,-;two\\x21\n SUBSYSTEM=pci", "30,13,0,-;three", "nonsense"].iter().enumerate()
        {
            into.write_all(record.as_bytes()).unwrap();
            rig.until(record, |rig| rig.records.len() + usize::from(rig.count(Count::Invalid) > 0) > at).await;
        }
        rig.stop.cancel();
        rig.rest(task).await;
        assert_eq!(rig.lines(), ["one", "two!", "three"]);
        let record = &rig.records[1];
        assert_eq!((record.at, record.level, record.fields.value("SUBSYSTEM")), (WALL, Level::Warn, "pci"));
        assert_eq!(record.labels.to_string(), "{facility=\"kern\",source=\"in\"}");
        let losses: Vec<_> = rig.losses.iter().map(|loss| (loss.reason, loss.count)).collect();
        assert_eq!(losses, [(LossReason::Overload, Some(4)), (LossReason::Parse, Some(1))]);
        let mut next = Rig::new();
        next.positions = rig.positions.clone();
        let (path, mut into) = device(&next);
        let task = start(&next, &path);
        for record in ["6,13,0,-;three", "6,14,0,-;four"] {
            into.write_all(record.as_bytes()).unwrap();
            // The first is known and leaves no trace: it is read before the second is written.
            while rustix::io::ioctl_fionread(&into).unwrap() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        next.until("the new one", |rig| !rig.records.is_empty()).await;
        assert_eq!((next.lines(), next.losses.len()), (vec!["four".to_owned()], 0));
        next.stop.cancel();
        next.rest(task).await;
        // After a reboot the numbers begin anew.
        let mut other = Rig::new();
        other.positions = [(key("in"), b"another-boot 99".to_vec())].into();
        let (path, mut into) = device(&other);
        let task = start(&other, &path);
        into.write_all(b"6,1,0,-;first").unwrap();
        other.until("it", |rig| !rig.records.is_empty()).await;
        assert!(other.losses.is_empty());
        other.stop.cancel();
        other.rest(task).await;
    }

    #[tokio::test]
    async fn the_kernels_own_device() {
        let path = Path::new("/dev/kmsg");
        if open(path).is_err() || File::options().write(true).open(path).is_err() {
            eprintln!("SKIPPED: needs the right to read and write /dev/kmsg");
            return;
        }
        let mut rig = Rig::new();
        let task = start(&rig, path);
        let text = format!("skerry's test {}", std::process::id());
        File::options().write(true).open(path).unwrap().write_all(format!("<12>{text}\n").as_bytes()).unwrap();
        rig.until(&text, |rig| rig.lines().contains(&text)).await;
        let record = rig.records.iter().find(|record| record.line == text.as_bytes()).unwrap();
        assert_eq!((record.level, record.labels.value("facility")), (Level::Warn, "user"));
        assert!(rig.positions.contains_key(&key("in")));
        rig.stop.cancel();
        rig.rest(task).await;
    }
}
