//! For tests of readers: sound inputs with pieces cut out and put in, so that damage reaches behind the first checks.

use proptest::collection::vec;
use proptest::prelude::*;

/// A piece that is cut out, and what is put in its place; both at a place that is taken modulo the length.
pub type Cut = (usize, usize, Vec<u8>);

/// Up to five of them, of what tells something to a parser or of any bytes.
pub fn cuts() -> impl Strategy<Value = Vec<Cut>> {
    let telling = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "'",
        ":",
        ",",
        "\n",
        "\n  ",
        "- ",
        "~",
        "*a",
        "&a ",
        "|",
        "\\",
        "\0",
        "ü",
        "\u{10ffff}",
        "0",
        "-1",
        "999999999999999999999",
        "1e400",
        ".nan",
        "1.5Gi",
        "null",
        "true",
        "!!binary ",
        "<<: ",
        "{{",
        "}}",
        "-",
        "*",
        "&a",
        "NaN",
        "0001-01-01T00:00:00Z",
        "9999999h",
    ]);
    let piece = prop_oneof![telling.prop_map(|text| text.as_bytes().to_vec()), vec(any::<u8>(), 0..4)];
    vec((any::<usize>(), 0usize..12, piece), 1..6)
}

/// `sound` with these pieces.
pub fn damaged(sound: &[u8], cuts: &[Cut]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for (at, length, piece) in cuts {
        let at = at % (bytes.len() + 1);
        let end = (at + length).min(bytes.len());
        bytes.splice(at..end, piece.iter().copied());
    }
    bytes
}
