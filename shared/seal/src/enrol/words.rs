//! Six words that stand for a node's keys, for people to compare at the machine and at the console.

use crate::keys::sha256;
use crate::secret::X25519Public;

const DOMAIN: &[u8] = b"skerry/1 fingerprint";

/// Six words for a node's two public keys: the first 48 bits of SHA-256 over a domain string, `spki_hash` (SHA-256
/// of the DER SubjectPublicKeyInfo of the certificate request, the later TLS pin) and the X25519 key. One word per
/// byte. To make keys with a given fingerprint takes some 2^48 key pairs.
#[must_use]
pub fn fingerprint_words(spki_hash: &[u8; 32], x25519: &X25519Public) -> [&'static str; 6] {
    let hash = sha256(&[DOMAIN, spki_hash, &x25519.0].concat());
    std::array::from_fn(|at| WORDS[usize::from(hash[at])])
}

/// 256 words of three to seven letters in alphabetical order; no two begin with the same four letters. The order
/// is part of the fingerprint and never changes.
const WORDS: [&str; 256] = [
    "acorn", "album", "alley", "amber", "anchor", "ankle", "apple", "april", "apron", "arena", "arrow", "aspen",
    "atlas", "attic", "autumn", "bacon", "badge", "bagel", "bamboo", "banjo", "barn", "basil", "beach", "berry",
    "bike", "birch", "bison", "blanket", "boat", "bonfire", "book", "bottle", "bread", "brick", "bronze", "bucket",
    "bulb", "cabin", "cactus", "camel", "candle", "canoe", "carbon", "castle", "cedar", "cello", "chalk", "cherry",
    "cider", "circle", "cobalt", "cocoa", "comet", "copper", "coral", "cotton", "cradle", "crane", "cricket", "crow",
    "daisy", "dawn", "deer", "delta", "denim", "desk", "dinner", "dolphin", "donkey", "door", "dragon", "drum", "duck",
    "dune", "eagle", "echo", "eclipse", "elbow", "elder", "ember", "engine", "evening", "fabric", "falcon", "feather",
    "fern", "fiddle", "finger", "flame", "flute", "fog", "forest", "fossil", "fox", "frost", "fudge", "garden",
    "garlic", "gate", "ginger", "glove", "goat", "gold", "grape", "gravel", "guitar", "hammer", "harbor", "hazel",
    "hedge", "helmet", "heron", "hill", "honey", "hoof", "horn", "hotel", "iceberg", "igloo", "indigo", "iris", "iron",
    "island", "ivory", "jacket", "jade", "jelly", "jigsaw", "juice", "jungle", "kayak", "kettle", "kitten", "knot",
    "koala", "ladder", "lagoon", "lamp", "lantern", "laurel", "lava", "lemon", "lily", "lime", "linen", "lion",
    "lizard", "lobster", "lotus", "magnet", "mango", "maple", "marble", "meadow", "melon", "mint", "mirror", "mitten",
    "monkey", "moon", "moss", "nectar", "needle", "nest", "nickel", "noodle", "north", "nutmeg", "oak", "oasis",
    "ocean", "olive", "onion", "opal", "orbit", "orchid", "otter", "oven", "owl", "oyster", "paddle", "palm", "panda",
    "paper", "parrot", "peach", "pebble", "pencil", "pepper", "piano", "pigeon", "pilot", "pine", "planet", "plum",
    "pond", "poppy", "potato", "prism", "pumpkin", "puzzle", "quartz", "quilt", "rabbit", "radio", "raft", "rain",
    "raven", "reef", "ribbon", "river", "robin", "rocket", "rope", "ruby", "saddle", "sage", "salmon", "sand",
    "saturn", "scarf", "seal", "shadow", "shell", "silver", "slate", "snow", "spoon", "spring", "sugar", "summit",
    "sunset", "swan", "table", "tango", "teapot", "thunder", "tiger", "timber", "tomato", "topaz", "tulip", "tunnel",
    "turtle", "valley", "vanilla", "velvet", "violin", "walnut", "water", "whale", "willow", "winter", "yellow",
    "zebra", "zinc",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart_by_four_letters() {
        let beginnings: std::collections::BTreeSet<&str> =
            WORDS.iter().map(|word| &word[..word.len().min(4)]).collect();
        assert_eq!(beginnings.len(), 256);
        assert!(WORDS.is_sorted());
        assert!(WORDS.iter().all(|word| (3..=7).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_lowercase())));
    }

    #[test]
    fn a_fingerprint_is_fixed_and_covers_both_keys() {
        let words = |spki, key| fingerprint_words(&[spki; 32], &X25519Public([key; 32]));
        assert_eq!(words(1, 2), words(1, 2));
        assert_ne!(words(1, 2), words(2, 2));
        assert_ne!(words(1, 2), words(1, 3));
        assert_eq!(words(1, 2).join(" "), "otter poppy brick fabric cabin banjo");
    }
}
