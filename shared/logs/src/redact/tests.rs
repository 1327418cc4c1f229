use super::*;
use proptest::prelude::*;

fn redact(yaml: &str) -> Redact {
    let value: Value = skerry_yaml::read(yaml).unwrap().value;
    let mut faults = Faults::new();
    let made = Redact::read(&value, "redact", &mut faults);
    assert_eq!(faults, []);
    made.unwrap()
}

fn shown(redact: &mut Redact, text: &str) -> String {
    redact.text(text.as_bytes()).map_or_else(|| text.to_owned(), |(text, _)| String::from_utf8(text).unwrap())
}

fn check(detector: &str, cases: &[(&str, &str)]) {
    let mut redact = redact(&format!("{{detect: {detector}}}"));
    for (text, expected) in cases {
        assert_eq!(shown(&mut redact, text), *expected, "{text}");
        // Wherever in a line it stands: strides must not step over it.
        for before in 0..20 {
            let text = format!("{} {text} {}", "z".repeat(before), "z".repeat(20));
            let expected = format!("{} {expected} {}", "z".repeat(before), "z".repeat(20));
            assert_eq!(shown(&mut redact, &text), expected);
        }
    }
}

#[test]
fn emails() {
    check(
        "email",
        &[
            ("a@b.de", "[email]"),
            ("from <john.doe+tag@mail.example.co.uk>,", "from <[email]>,"),
            ("mail=a_b-c%d@x-y.org.", "mail=[email]."),
            ("to:jörg@müller.de!", "to:[email]!"),
            ("/u?m=john%40example.com&x", "/u?m=[email]&x"),
            ("\"a@b.de\",\"c@d.fr\"", "\"[email]\",\"[email]\""),
            ("root@localhost", "root@localhost"),
            ("user@10.0.0.1", "user@10.0.0.1"),
            ("@a.de a@ @ a@.de a@b.c", "@a.de a@ @ a@.de a@b.c"),
            ("100%40 x", "100%40 x"),
        ],
    );
}

/// Numbers that the networks publish for tests.
#[test]
fn cards() {
    check(
        "card",
        &[
            ("4111111111111111", "[card]"),
            ("4111 1111 1111 1111", "[card]"),
            ("card=4111-1111-1111-1111, ok", "card=[card], ok"),
            ("5555555555554444.", "[card]."),
            ("378282246310005", "[card]"),
            ("3782 822463 10005", "[card]"),
            ("30569309025904", "[card]"),
            ("6011000990139424 6011000990139424", "[card] [card]"),
            ("6304000000000000000", "[card]"),
            ("4222222222222", "[card]"),
            ("2026-11-20 4111 1111 1111 1111 200", "2026-11-20 [card] 200"),
            ("\"n\":4111111111111111}", "\"n\":[card]}"),
            ("4111111111111112", "4111111111111112"),
            ("411111111111", "411111111111"),
            ("41111111111111111111111", "41111111111111111111111"),
            (
                "x4111111111111111 4111111111111111f 0.4111111111111111",
                "x4111111111111111 4111111111111111f 0.4111111111111111",
            ),
            ("1795213080123 1795213080123456789", "1795213080123 1795213080123456789"),
            ("2222222222222222", "2222222222222222"),
            ("4111  1111 1111 1111", "4111  1111 1111 1111"),
        ],
    );
}

/// Examples of the IBAN registry.
#[test]
fn ibans() {
    check(
        "iban",
        &[
            ("DE89370400440532013000", "[iban]"),
            ("DE89 3704 0044 0532 0130 00", "[iban]"),
            ("iban=GB29NWBK60161331926819;", "iban=[iban];"),
            ("FR14 2004 1010 0505 0001 3M02 606 EUR", "[iban] EUR"),
            ("to NO9386011117947, MT84MALT011000012345MTLCAST001S.", "to [iban], [iban]."),
            ("DE89370400440532013001", "DE89370400440532013001"),
            ("XDE89370400440532013000", "XDE89370400440532013000"),
            ("ERROR FAILED TO OPEN AB12 FILE 123456789", "ERROR FAILED TO OPEN AB12 FILE 123456789"),
        ],
    );
}

#[test]
fn addresses() {
    check(
        "ip",
        &[
            ("10.0.0.1", "[ip]"),
            ("from 192.168.1.255:8080 to 1.2.3.4.", "from [ip]:8080 to [ip]."),
            ("[2001:db8::1]:443", "[[ip]]:443"),
            ("fe80::1%eth0", "[ip]%eth0"),
            ("::1 ::ffff:10.0.0.1", "[ip] [ip]"),
            ("2001:0db8:0000:0000:0000:ff00:0042:8329", "[ip]"),
            ("client 2001:db8::: x", "client 2001:db8::: x"),
            ("256.1.1.1 1.2.3 1.2.3.4.5 v1.2.3.4x 1..2.3.4", "256.1.1.1 1.2.3 1.2.3.4.5 v1.2.3.4x 1..2.3.4"),
            (
                "10:00:00.123 std::fmt add::bed aa:bb:cc:dd:ee:ff :: a:b",
                "10:00:00.123 std::fmt add::bed aa:bb:cc:dd:ee:ff :: a:b",
            ),
        ],
    );
}

#[test]
fn tokens() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    check(
        "bearer",
        &[
            ("Authorization: Bearer abcdef", "Authorization: Bearer [bearer]"),
            ("authorization: basic dXNlcjpwdw==", "authorization: basic [bearer]"),
            (r#"{"Authorization":["Bearer mF_9.B5f-4.1JqM"]}"#, r#"{"Authorization":["Bearer [bearer]"]}"#),
            ("token bearer mF_9.B5f-4.1JqM", "token bearer [bearer]"),
            (jwt, "[bearer]"),
            (&format!("token={jwt}&x=1"), "token=[bearer]&x=1"),
            (&format!("Authorization: Bearer {jwt}"), "Authorization: Bearer [bearer]"),
            ("the bearer certificate is basic knowledge", "the bearer certificate is basic knowledge"),
            ("forbearer abc123def456", "forbearer abc123def456"),
            ("eyJabc eyJ.a", "eyJabc eyJ.a"),
        ],
    );
}

#[test]
fn private_keys() {
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQ==";
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let block = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----");
        check("private_key", &[(&format!("key:\n{block}\nnext"), "key:\n[private_key]\nnext")]);
        let escaped = block.replace('\n', "\\n");
        check("private_key", &[(&format!("{{\"k\":\"{escaped}\"}}"), "{\"k\":\"[private_key]\"}")]);
        assert_eq!(shown(&mut redact("private_key"), &block[..60]), "[private_key]", "cut off");
    }
    let public = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----");
    check("private_key", &[(&public, &public)]);
}

/// Files without a multiline stage, and containers, give each line as a record.
#[test]
fn a_private_key_in_several_records() {
    let stream = |name: &str| Labels::new([("source", name)]).unwrap();
    let mut redact = redact("private_key");
    let mut line = |source: &str, text: &str| {
        let mut line = text.as_bytes().to_vec();
        let count = redact.line(&mut line, &stream(source), OutputStream::None);
        format!("{} {count}", String::from_utf8(line).unwrap())
    };
    assert_eq!(line("a", "x -----BEGIN RSA PRIVATE KEY-----"), "x [private_key] 1");
    assert_eq!(line("a", "Proc-Type: 4,ENCRYPTED"), "[private_key] 1");
    assert_eq!(line("a", ""), " 0");
    assert_eq!(line("a", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ=="), "[private_key] 1");
    assert_eq!(line("b", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"), "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC 0", "another stream");
    assert_eq!(line("a", "abc\r"), "[private_key] 1");
    assert_eq!(line("a", "-----END RSA PRIVATE KEY----- x"), "[private_key] x 1");
    assert_eq!(line("a", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"), "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC 0", "it has ended");
    assert_eq!(line("a", "-----BEGIN PRIVATE KEY-----"), "[private_key] 1");
    assert_eq!(line("a", "GET / 200: something else"), "GET / 200: something else 0");
    assert_eq!(line("a", "MIIE"), "MIIE 0", "it was left");
}

#[test]
fn actions_and_own_patterns() {
    assert_eq!(shown(&mut redact("{detect: [email, {ip: remove}]}"), "a@b.de 10.0.0.1!"), "[email] !");
    let mut own = redact(r"{patterns: ['C-\d{6}', {name: password, regex: 'password=(\S+)'}], action: mask}");
    assert_eq!(shown(&mut own, "C-123456 password=hunter2 x"), "[redacted] password=[password] x");
    let key = "key: '000102030405060708090a0b0c0d0e0f'";
    let mut hashes = redact(&format!("{{detect: email, action: hash, {key}}}"));
    let made = shown(&mut hashes, "a@b.de c@b.de a@b.de");
    let parts: Vec<&str> = made.split(' ').collect();
    assert_eq!(parts[0], parts[2], "equal secrets stay equal");
    assert_ne!(parts[0], parts[1]);
    assert!(parts[0].starts_with("[email:") && parts[0].len() == 24, "{made}");
    let other = key.replace("00", "ff");
    assert_ne!(shown(&mut redact(&format!("{{detect: email, action: hash, {other}}}")), "a@b.de"), parts[0]);
    // An expression that would look at all the rest of the line for each of its matches.
    let mut slow = redact("{patterns: ['.*[^A-Z]|[A-Z]']}");
    let (made, count) = slow.text(&vec![b'A'; 100_000]).unwrap();
    assert!(count <= 1001 && !made.contains(&b'A'), "{count}");
    let mut edges = redact(r"{patterns: ['\b']}");
    assert_eq!(edges.text(b"a b"), None, "nothing is taken out where a match is empty");
    // What several find is one finding, named by the first and longest.
    let mut all = redact("{detect: all, patterns: ['[a-z]+@']}");
    assert_eq!(all.text(b"x a@10.de y").unwrap(), (b"x [email] y".to_vec(), 1));
}

#[test]
fn bytes_that_are_no_text_stay() {
    let mut all = redact("all");
    assert_eq!(all.text(b"\xff\0 a@b.de \xfe").unwrap().0, b"\xff\0 [email] \xfe");
    let mut line = b"nothing here".to_vec();
    let place = line.as_ptr();
    assert_eq!((all.line(&mut line, &Labels::default(), OutputStream::None), line.as_ptr()), (0, place));
}

/// Texts that would be slow, were a search to begin again at each of their bytes. A second is a thousand times what they take.
#[test]
fn hostile_lines_take_linear_time() {
    let mut all = redact("all");
    for part in [
        "a%40",
        "a@",
        "1.",
        "1:",
        "4111 ",
        "-",
        "AA11 ",
        "AB12",
        "eyJ",
        "eyJa.",
        "bearer ",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "4",
        "f:",
        "é@",
    ] {
        let text = part.repeat((256 << 10) / part.len());
        let _ = all.text(text.as_bytes());
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_is_found_twice(bytes in proptest::collection::vec(any::<u8>(), 0..100),
                                               text in "([0-9]{1,4}[ .:-]|@|a@b\\.de|%40|[A-F:]{1,4}|eyJ[a-z]\\.|Bearer |-----BEGIN |PRIVATE KEY-----|4111111111111111|DE89370400440532013000){0,24}") {
        let mut all = redact("all");
        for text in [&bytes[..], text.as_bytes()] {
            if let Some((new, count)) = all.text(text) {
                prop_assert!(count > 0);
                let _ = all.text(&new);
            }
        }
    }

    #[test]
    fn a_planted_secret_is_always_found(before in "[a-z \",;<>]{0,30}[ \",;<>]", after in "[ \",;<>][a-z \",;<>]{0,30}", which in 0usize..7) {
        let secret = ["john.doe@example.com", "4111 1111 1111 1111", "5555555555554444", "DE89 3704 0044 0532 0130 00", "192.168.17.4", "2001:db8::17", "eyJhbGciOiJI.eyJzdWIiOiIx.dozjgNryP4J3"][which];
        let made = shown(&mut redact("all"), &format!("{before}{secret}{after}"));
        prop_assert!(!made.contains(secret), "{}", made);
        prop_assert!(made.starts_with(&before) && made.ends_with(&after), "{}", made);
    }
}
