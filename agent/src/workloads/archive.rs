//! Looks into a tar that `docker save` wrote: which images it holds, by tag and by the hash of their config.
//!
//! Invariants:
//! - A digest is computed over what stands in the file, never taken from a name.
//! - Memory is bounded: the list of images has a longest size, configs are hashed as they are read, all else is passed over.
//! - Work is bounded: a file that unpacks to far more than it is, is left.

use ring::digest::{Context, SHA256};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// Longest list of images: as a tree it takes thirty times as much. Sixty images of thirty layers take 200 KB.
const MANIFEST_BYTES_MAX: u64 = 256 << 10;
/// Longest config of an image.
const CONFIG_BYTES_MAX: u64 = 4 << 20;
/// What a compressed file may unpack to: so many times its length, and this in any case.
const UNPACKED_TIMES_MAX: u64 = 64;
const UNPACKED_BYTES_LEAST: u64 = 1 << 30;
/// Most names of an image, and the longest: Docker's own bound is below.
const TAGS_MAX: usize = 64;
const TAG_BYTES_MAX: usize = 512;
/// Most images of a file.
const IMAGES_MAX: usize = 64;
/// Most entries of a tar.
const ENTRIES_MAX: usize = 100_000;
const BLOCK: usize = 512;

/// An image of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    /// Names with their tags.
    pub(super) tags: Vec<String>,
    /// `sha256:` and 64 hex digits: the image's id.
    pub(super) id: String,
}

/// The images of a file, plain or compressed with gzip. Blocks.
///
/// # Errors
/// The system's; and where it is no such file.
pub(super) fn images(path: &Path) -> io::Result<Vec<Held>> {
    images_within(path, UNPACKED_BYTES_LEAST)
}

fn images_within(path: &Path, unpacked_least: u64) -> io::Result<Vec<Held>> {
    let unpacked_max = std::fs::metadata(path)?.len().saturating_mul(UNPACKED_TIMES_MAX).max(unpacked_least);
    let mut manifest = None;
    let names = BTreeSet::from(["manifest.json".to_owned()]);
    entries((path, unpacked_max), &names, MANIFEST_BYTES_MAX, &mut |_, content| {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        manifest = Some(bytes);
        Ok(())
    })?;
    let manifest = manifest.ok_or_else(|| bad("it holds no manifest.json: docker save writes one"))?;
    let manifest: Value = serde_json::from_slice(&manifest).map_err(|_| bad("its manifest.json is no JSON"))?;
    let listed = manifest.as_array().map(Vec::as_slice).unwrap_or_default();
    let listed: Vec<(String, Vec<String>)> = listed
        .iter()
        .take(IMAGES_MAX)
        .filter_map(|image| {
            let tags = image["RepoTags"].as_array().map(Vec::as_slice).unwrap_or_default();
            let tags = tags.iter().filter_map(Value::as_str).filter(|tag| tag.len() <= TAG_BYTES_MAX);
            let tags = tags.take(TAGS_MAX).map(str::to_owned).collect();
            Some((image["Config"].as_str()?.to_owned(), tags))
        })
        .collect();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    let names = listed.iter().map(|(config, _)| config.clone()).collect();
    entries((path, unpacked_max), &names, CONFIG_BYTES_MAX, &mut |name, content| {
        let (mut sum, mut buffer) = (Context::new(&SHA256), [0; 4 << 10]);
        loop {
            match content.read(&mut buffer)? {
                0 => break,
                read => sum.update(&buffer[..read]),
            }
        }
        ids.insert(name.to_owned(), format!("sha256:{}", hex(sum.finish().as_ref())));
        Ok(())
    })?;
    let held = listed.into_iter().filter_map(|(config, tags)| Some(Held { tags, id: ids.get(&config)?.clone() }));
    Ok(held.collect())
}

/// What is made of the content of an entry.
type Take<'a> = &'a mut dyn FnMut(&str, &mut dyn Read) -> io::Result<()>;

/// Hands over the entries of these names, each at most so long, of a file that may unpack to so much.
fn entries(
    (path, unpacked_max): (&Path, u64),
    names: &BTreeSet<String>,
    bytes_max: u64,
    take: Take<'_>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut magic = [0; 2];
    let read = file.read(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    if read == 2 && magic == [0x1f, 0x8b] {
        let mut from = flate2::read::GzDecoder::new(BufReader::new(file)).take(unpacked_max);
        let walked = walk(&mut from, names, bytes_max, take, &mut |from, length| {
            let passed = io::copy(&mut from.take(length), &mut io::sink())?;
            if passed == length { Ok(()) } else { Err(bad("it is cut off")) }
        });
        if from.limit() == 0 { Err(bad("it unpacks to far more than it is")) } else { walked }
    } else {
        walk(&mut file, names, bytes_max, take, &mut |file, length| {
            file.seek_relative(i64::try_from(length).map_err(|_| bad("an entry is too long"))?)
        })
    }
}

/// Passes over so many bytes.
type Skip<'a, R> = &'a mut dyn FnMut(&mut R, u64) -> io::Result<()>;

fn walk<R: Read>(
    from: &mut R,
    names: &BTreeSet<String>,
    bytes_max: u64,
    take: Take<'_>,
    skip: Skip<'_, R>,
) -> io::Result<()> {
    let mut found = 0;
    for _ in 0..ENTRIES_MAX {
        let mut header = [0; BLOCK];
        match from.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        if &header[257..262] != b"ustar" {
            return Err(bad("it is no tar"));
        }
        let length = number(&header[124..136]).ok_or_else(|| bad("an entry has no length"))?;
        let padded = length.div_ceil(BLOCK as u64).saturating_mul(BLOCK as u64);
        let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let name = name.trim_start_matches("./").to_owned();
        let is_file = matches!(header[156], b'0' | 0);
        if !is_file || !names.contains(&name) {
            skip(from, padded)?;
            continue;
        }
        if length > bytes_max {
            return Err(bad("its manifest, or a config, is too long"));
        }
        let mut content = from.by_ref().take(length);
        take(&name, &mut content)?;
        if content.limit() > 0 {
            return Err(bad("it is cut off"));
        }
        skip(from, padded - length)?;
        found += 1;
        if found == names.len() {
            break;
        }
    }
    Ok(())
}

/// An octal number, or one in base 256 as long files have it.
fn number(field: &[u8]) -> Option<u64> {
    if field.first().is_some_and(|byte| byte & 0x80 != 0) {
        let (first, rest) = field.split_first()?;
        let start = u64::from(first & 0x7f);
        return rest.iter().try_fold(start, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).ok()
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bad(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn entry(name: &str, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = b'0';
        header[257..262].copy_from_slice(b"ustar");
        header.extend_from_slice(content);
        header.resize(BLOCK + content.len().div_ceil(BLOCK) * BLOCK, 0);
        header
    }

    fn tar(manifest: &str) -> Vec<u8> {
        let mut tar = entry("layer/layer.tar", &[7; 1500]);
        tar.extend(entry("c0ffee.json", b"{\"os\":\"linux\"}"));
        tar.extend(entry("manifest.json", manifest.as_bytes()));
        tar.extend([0; 1024]);
        tar
    }

    const MANIFEST: &str =
        r#"[{"Config":"c0ffee.json","RepoTags":["web:1","web:latest"],"Layers":["layer/layer.tar"]}]"#;

    #[test]
    fn images_are_found_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let sum = hex(ring::digest::digest(&SHA256, b"{\"os\":\"linux\"}").as_ref());
        let expected = [Held { tags: vec!["web:1".into(), "web:latest".into()], id: format!("sha256:{sum}") }];
        std::fs::write(&path, tar(MANIFEST)).unwrap();
        assert_eq!(images(&path).unwrap(), expected);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&tar(MANIFEST)).unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        assert_eq!(images(&path).unwrap(), expected);
    }

    #[test]
    fn other_files_are_no_images() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        let whole = tar(MANIFEST);
        for damaged in [&b""[..], b"hello", &[1; 600], &whole[..1000], &whole[..2900], &tar("{")] {
            std::fs::write(&path, damaged).unwrap();
            assert!(images(&path).is_err(), "{} bytes", damaged.len());
        }
        // A config that is not there is no image.
        std::fs::write(&path, tar(&MANIFEST.replace("c0ffee", "cafe"))).unwrap();
        assert_eq!(images(&path).unwrap(), []);
        for seed in 0..400usize {
            let mut damaged = whole.clone();
            let at = seed * 131 % damaged.len();
            damaged[at] ^= 0xff;
            std::fs::write(&path, &damaged).unwrap();
            let _ = images(&path);
        }
    }

    #[test]
    fn what_is_made_to_fill_memory_or_time_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        // A manifest whose tree would take a hundred times its length, in a file and packed.
        let long = format!("[{}0]", "0,".repeat(1 << 20));
        std::fs::write(&path, tar(&long)).unwrap();
        assert!(images(&path).unwrap_err().to_string().contains("too long"));
        // As many configs as there may be, each as long as it may be: none of them is held.
        let names: Vec<String> = (0..IMAGES_MAX).map(|n| format!("{n}.json")).collect();
        let listed: Vec<String> = names.iter().map(|name| format!("{{\"Config\":\"{name}\"}}")).collect();
        let mut file = File::create(&path).unwrap();
        file.write_all(&entry("manifest.json", format!("[{}]", listed.join(",")).as_bytes())).unwrap();
        let content = vec![b' '; usize::try_from(CONFIG_BYTES_MAX).unwrap()];
        names.iter().for_each(|name| file.write_all(&entry(name, &content)).unwrap());
        drop(file);
        let before = peak_kib();
        assert_eq!(images(&path).unwrap().len(), IMAGES_MAX);
        // The kernel counts pages in batches: its peak may seem to sink.
        let grown = peak_kib().saturating_sub(before);
        assert!(grown < 128 << 10, "{grown} KiB");
        // An entry without an end: 16 MiB of zeros are 16 KiB when they are packed.
        let mut endless = entry("layer/layer.tar", b"");
        endless[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        let packed = File::create(folder.path().join("b.tar.gz")).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(&endless).unwrap();
        packed.write_all(&vec![0; 16 << 20]).unwrap();
        packed.finish().unwrap();
        let error = images_within(&folder.path().join("b.tar.gz"), 1 << 20).unwrap_err();
        assert!(error.to_string().contains("far more"), "{error}");
    }

    /// The most memory that this process ever had, in KiB.
    fn peak_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn lengths_are_read() {
        assert_eq!(number(b"00000000017\0"), Some(15));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(b"xyz"), None);
    }
}
