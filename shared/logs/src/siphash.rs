//! SipHash-2-4 with 128 bits, by its authors' paper and reference: a keyed hash for short texts.

/// A key of 128 bits.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u64; 2]);

/// Never shown.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Of 32 hexadecimal digits.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let half = |part: &str| u64::from_str_radix(part, 16).ok().map(u64::swap_bytes);
        Some(Self([half(&text[..16])?, half(&text[16..])?]))
    }
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

/// A hash that takes texts one after the other.
#[derive(Debug)]
pub(crate) struct Hasher {
    v: [u64; 4],
    tail: u64,
    len: u64,
}

impl Hasher {
    pub(crate) fn new(key: &Key) -> Self {
        let [k0, k1] = key.0;
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, tail: 0, len: 0 }
    }

    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        round(&mut self.v);
        round(&mut self.v);
        self.v[0] ^= word;
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !self.len.is_multiple_of(8) || bytes.len() < 8 {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.tail |= u64::from(*first) << (8 * (self.len % 8));
            self.len += 1;
            bytes = rest;
            if self.len.is_multiple_of(8) {
                let word = std::mem::take(&mut self.tail);
                self.word(word);
            }
        }
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        self.len += 8 * words.len() as u64;
        if !rest.is_empty() {
            self.write(rest);
        }
    }

    pub(crate) fn finish(mut self) -> u128 {
        let last = self.tail | (self.len << 56);
        self.word(last);
        let mut half = |at: usize, with: u64| {
            self.v[at] ^= with;
            for _ in 0..4 {
                round(&mut self.v);
            }
            self.v.iter().fold(0, |all, v| all ^ v)
        };
        let (first, second) = (half(2, 0xee), half(1, 0xdd));
        u128::from(first) | u128::from(second) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first, the second and the last but some of the reference's table `vectors_sip128`.
    #[test]
    fn agrees_with_the_reference() {
        let key = Key::from_hex("000102030405060708090a0b0c0d0e0f").unwrap();
        let hash = |len: u8, step: usize| {
            let mut hasher = Hasher::new(&key);
            let bytes: Vec<u8> = (0..len).collect();
            bytes.chunks(step).for_each(|part| hasher.write(part));
            hasher.finish().to_le_bytes().iter().map(|b| format!("{b:02x}")).collect::<String>()
        };
        assert_eq!(hash(0, 1), "a3817f04ba25a8e66df67214c7550293");
        assert_eq!(hash(1, 1), "da87c1d86b99af44347659119b22fc45");
        for len in 0..64 {
            assert!((1..20).all(|step| hash(len, step) == hash(len, 64)), "parts make no difference");
        }
        assert!(Key::from_hex("00").is_none() && Key::from_hex(&"g".repeat(32)).is_none());
    }
}
