//! A disk whose writes are counted.

use super::process::Account;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where an agent keeps its data: an ext4 on a loop device, or a plain folder.
pub struct Disk {
    /// Where it is mounted.
    pub folder: PathBuf,
    /// Name of the loop device.
    pub device: Option<String>,
}

impl Disk {
    /// Makes and mounts it below `base`.
    ///
    /// # Errors
    /// If its folder cannot be made.
    pub fn new(base: &Path, name: &str) -> anyhow::Result<Self> {
        let folder = base.join(format!("disk-{name}"));
        std::fs::create_dir_all(&folder)?;
        let image = base.join(format!("{name}.img"));
        let made = Self::mount(&image, &folder);
        let device = made.ok().flatten();
        Ok(Self { folder, device })
    }

    fn mount(image: &Path, folder: &Path) -> anyhow::Result<Option<String>> {
        if !rustix::process::getuid().is_root() {
            return Ok(None);
        }
        std::fs::File::create(image)?.set_len(512 << 20)?;
        let run = |program: &str, args: &[&Path]| -> anyhow::Result<String> {
            let output = Command::new(program).args(args).output()?;
            ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        run("mkfs.ext4", &[Path::new("-q"), image])?;
        run("mount", &[Path::new("-o"), Path::new("loop,noatime"), image, folder])?;
        let source = run("findmnt", &[Path::new("-n"), Path::new("-o"), Path::new("SOURCE"), folder])?;
        Ok(source.strip_prefix("/dev/").map(str::to_owned))
    }

    /// Bytes written so far: to the device, or else by process `pid`.
    ///
    /// # Errors
    /// If the kernel's account cannot be read.
    pub fn written(&self, pid: u32) -> anyhow::Result<f64> {
        let Some(device) = &self.device else { return Ok(Account::read(pid)?.written_bytes) };
        let stat = std::fs::read_to_string(format!("/sys/block/{device}/stat"))?;
        // The seventh number: sectors of 512 bytes.
        let sectors: f64 = stat.split_ascii_whitespace().nth(6).context("sectors written")?.parse()?;
        Ok(sectors * 512.0)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.device.is_some() {
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}
