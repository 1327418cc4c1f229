//! The texts of an alert in one piece of memory.
//!
//! A label set of its own takes four times its text; thousands of alerts are kept, and each is looked at once a minute.

use skerry_model::Labels;

/// Labels, annotations and an address: each text with its length before it.
#[derive(Debug)]
pub(super) struct Packed {
    bytes: Box<[u8]>,
    labels: u16,
    annotations: u16,
}

impl Packed {
    pub(super) fn new(labels: &Labels, annotations: &Labels, url: &str) -> Self {
        let pairs = || labels.iter().chain(annotations.iter());
        let size = pairs().map(|(name, value)| name.len() + value.len() + 8).sum::<usize>() + url.len();
        let mut bytes = Vec::with_capacity(size);
        for (name, value) in pairs() {
            for text in [name, value] {
                bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
                bytes.extend_from_slice(text.as_bytes());
            }
        }
        bytes.extend_from_slice(url.as_bytes());
        let count = |labels: &Labels| u16::try_from(labels.len()).unwrap_or(0);
        Self { bytes: bytes.into(), labels: count(labels), annotations: count(annotations) }
    }

    pub(super) fn labels(&self) -> Labels {
        self.unpack().0
    }

    /// Labels, annotations and the address.
    pub(super) fn unpack(&self) -> (Labels, Labels, String) {
        let mut rest: &[u8] = &self.bytes;
        let mut take = |count: u16| {
            let pairs: Vec<(String, String)> = (0..count).map(|_| (text(&mut rest), text(&mut rest))).collect();
            // They were one before.
            Labels::new(pairs).unwrap_or_default()
        };
        let (labels, annotations) = (take(self.labels), take(self.annotations));
        (labels, annotations, String::from_utf8_lossy(rest).into_owned())
    }
}

/// Takes the next text.
fn text(rest: &mut &[u8]) -> String {
    let Some((length, behind)) = rest.split_first_chunk::<4>() else { return String::new() };
    let length = (u32::from_le_bytes(*length) as usize).min(behind.len());
    let (text, behind) = behind.split_at(length);
    *rest = behind;
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let labels = Labels::new([("alertname", "x"), ("ü", "\n")]).unwrap();
        let long = "é".repeat(4000);
        for (labels, annotations, url) in [
            (labels.clone(), Labels::new([("summary", long.as_str())]).unwrap(), "http://g/"),
            (labels, Labels::default(), ""),
            (Labels::default(), Labels::default(), ""),
        ] {
            let packed = Packed::new(&labels, &annotations, url);
            assert_eq!(packed.labels(), labels);
            assert_eq!(packed.unpack(), (labels, annotations, url.to_owned()));
        }
    }
}
