use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Message<'_> {
    Message::parse(text.as_bytes(), Dialect::Auto)
}

/// Facility, severity, host, program, process and text of a message.
fn parts<'a>(message: &Message<'a>) -> (&'static str, u8, &'a str, &'a str, &'a str, &'a str) {
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap();
    let (facility, severity) = (message.facility.unwrap_or("none"), message.severity.unwrap_or(9));
    (facility, severity, text(message.host), text(message.app), text(message.pid), text(message.text))
}

const NOV_21: UnixMillis = UnixMillis(1_795_219_200_000);

fn at(text: &str) -> String {
    let at = parse(text).at.expect("a time").resolve(NOV_21, 3600);
    let (day, ms) = (at.0.div_euclid(DAY_MS), at.0.rem_euclid(DAY_MS));
    let (year, month, date) = civil(day);
    format!(
        "{year}-{month:02}-{date:02} {:02}:{:02}:{:02}.{:03}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1000 % 60,
        ms % 1000
    )
}

#[test]
fn the_examples_of_rfc_5424() {
    let one = "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \u{feff}'su root' failed for lonvick on /dev/pts/8";
    let message = parse(one);
    let expected = ("auth", 2, "mymachine.example.com", "su", "", "'su root' failed for lonvick on /dev/pts/8");
    assert_eq!(parts(&message), expected);
    assert_eq!((message.id, message.level()), (&b"ID47"[..], Some(Level::Fatal)));
    assert_eq!(at(one), "2003-10-11 22:14:15.003");
    let two = "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.";
    assert_eq!(parts(&parse(two)), ("local4", 5, "192.0.2.1", "myproc", "8710", "%% It's time to make the do-nuts."));
    assert_eq!(at(two), "2003-08-24 12:14:15.000");
    let four = "<165>1 2003-10-11T22:14:15.003Z host evntslog - ID47 [exampleSDID@32473 iut=\"3\" eventSource=\"Appli\\\"cation\" x=\"a\\]b\\n\"][examplePriority@32473 class=\"high\"]";
    let message = parse(four);
    let expected = [
        ("exampleSDID_iut", "3"),
        ("exampleSDID_eventSource", "Appli\"cation"),
        ("exampleSDID_x", "a]b\\n"),
        ("examplePriority_class", "high"),
    ];
    assert_eq!(message.params.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>(), expected);
    assert_eq!(message.text, b"");
    assert_eq!(parts(&parse("<14>1 - - - - - - text")), ("user", 6, "", "", "", "text"));
}

#[test]
fn rfc_3164_and_what_devices_make_of_it() {
    for (text, expected, time) in [
        (
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed",
            ("auth", 2, "mymachine", "su", "", "'su root' failed"),
            "2026-10-11 21:14:15.000",
        ),
        (
            "<13>Feb  5 17:32:18 10.0.0.99 Use the BFG!",
            ("user", 5, "10.0.0.99", "", "", "Use the BFG!"),
            "2026-02-05 16:32:18.000",
        ),
        // As libc writes to /dev/log: no host.
        (
            "<30>Nov 20 22:18:00 cron[812]: (root) CMD (x)",
            ("daemon", 6, "", "cron", "812", "(root) CMD (x)"),
            "2026-11-20 21:18:00.000",
        ),
        ("<30>Nov 20 22:18:00 cron: a", ("daemon", 6, "", "cron", "", "a"), "2026-11-20 21:18:00.000"),
        // rsyslog's forward format.
        (
            "<38>2026-11-20T22:18:00.123456+02:00 pi sshd[7]: Accepted",
            ("auth", 6, "pi", "sshd", "7", "Accepted"),
            "2026-11-20 20:18:00.123",
        ),
        ("<38>2026-11-20 22:18:00 pi x: y", ("auth", 6, "pi", "x", "", "y"), "2026-11-20 21:18:00.000"),
        (
            "<189>83: *Mar  1 18:46:11.123: %SYS-5-CONFIG_I: Configured",
            ("local7", 5, "", "%SYS-5-CONFIG_I", "", "Configured"),
            "2026-03-01 17:46:11.123",
        ),
        (
            "<189>83: sw1: .Nov 20 18:46:11.123 UTC: %SYS-5-CONFIG_I: Configured",
            ("local7", 5, "sw1", "%SYS-5-CONFIG_I", "", "Configured"),
            "2026-11-20 17:46:11.123",
        ),
        (
            "<189>Nov 20 2026 18:46:11 asa : %ASA-6-1: Built",
            ("local7", 5, "asa", "", "", ": %ASA-6-1: Built"),
            "2026-11-20 17:46:11.000",
        ),
        (
            "<189>Nov 20 18:46:11 2026 fw kernel: drop",
            ("local7", 5, "fw", "kernel", "", "drop"),
            "2026-11-20 17:46:11.000",
        ),
        ("Nov 20 22:18:00 pi app: no priority", ("none", 9, "pi", "app", "", "no priority"), "2026-11-20 21:18:00.000"),
        ("<13>Feb 29 00:00:00 pi a: leap", ("user", 5, "pi", "a", "", "leap"), "2026-02-28 23:00:00.000"),
        (
            "<13>Nov 20 22:18:00 fe80::1 app/sub[x-1]: t",
            ("user", 5, "fe80::1", "app/sub", "x-1", "t"),
            "2026-11-20 21:18:00.000",
        ),
    ] {
        assert_eq!(parts(&parse(text)), expected, "{text}");
        assert_eq!(at(text), time, "{text}");
    }
}

#[test]
fn what_is_not_understood_is_text() {
    for (text, expected, valid) in [
        ("<13>just words here", ("user", 5, "", "", "", "just words here"), true),
        ("<13>http://x/y", ("user", 5, "", "", "", "http://x/y"), true),
        ("<192>x", ("none", 9, "", "", "", "<192>x"), false),
        ("plain: text", ("none", 9, "", "", "", "plain: text"), false),
        ("<34>1 not a time h a p m - x", ("auth", 2, "", "", "", "1 not a time h a p m - x"), true),
        (
            "<34>1 2003-10-11T22:14:15Z h a p m [broken x",
            ("auth", 2, "", "", "", "1 2003-10-11T22:14:15Z h a p m [broken x"),
            true,
        ),
        ("", ("none", 9, "", "", "", ""), false),
    ] {
        let message = parse(text);
        assert_eq!((parts(&message), message.is_valid), (expected, valid), "{text}");
    }
    let strict = Message::parse(b"<34>Oct 11 22:14:15 h su: x\n", Dialect::Rfc5424);
    assert_eq!((strict.text, strict.is_valid, strict.severity), (&b"<34>Oct 11 22:14:15 h su: x"[..], false, Some(2)));
    let old = Message::parse(b"<34>1 2003-10-11T22:14:15Z h a p m - x", Dialect::Rfc3164);
    assert_eq!(old.text, b"1 2003-10-11T22:14:15Z h a p m - x");
}

#[test]
fn a_year_is_the_last_that_fits() {
    let new_year = UnixMillis(days(2027, 1, 1) * DAY_MS);
    let stamp = parse("<1>Dec 31 23:59:59 h a: x").at.unwrap();
    assert_eq!(stamp.resolve(new_year, 0), UnixMillis(new_year.0 - 1000));
    assert_eq!(
        parse("<1>Jan  1 00:00:01 h a: x").at.unwrap().resolve(UnixMillis(new_year.0 - 5000), 0).0,
        new_year.0 + 1000
    );
}

/// Every message of a stream that arrives in pieces of `size` bytes.
fn messages(stream: &[u8], size: usize, bytes_max: usize) -> Result<Vec<(String, bool)>, TooLong> {
    let (mut framer, mut buffer, mut found) = (Framer::default(), Vec::new(), Vec::new());
    for piece in stream.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match framer.next(&buffer, bytes_max)? {
                Next::More => break,
                Next::Skip(used) => drop(buffer.drain(..used)),
                Next::Message { from, to, used, is_cut } => {
                    found.push((String::from_utf8_lossy(&buffer[from..to]).into_owned(), is_cut));
                    buffer.drain(..used);
                }
            }
        }
        assert!(buffer.len() <= bytes_max + size + 12);
    }
    let rest = framer.rest(&buffer);
    if !rest.is_empty() {
        found.push((String::from_utf8_lossy(rest).into_owned(), false));
    }
    Ok(found)
}

#[test]
fn streams_are_counted_or_ended() {
    let whole = |words: &[(&str, bool)]| words.iter().map(|(word, cut)| ((*word).to_owned(), *cut)).collect::<Vec<_>>();
    for size in [1, 2, 3, 100] {
        let counted = b"5 <1>ab6 <1>a\nb\n4 <1>c12 <1>123456789";
        let expected = whole(&[("<1>ab", false), ("<1>a\nb", false), ("<1>c", false), ("<1>12345", true)]);
        assert_eq!(messages(counted, size, 8).unwrap(), expected, "{size}");
        let ended = b"<1>a\n\n<1>b\0<1>cdefghij\n<1>k";
        let expected = whole(&[("<1>a", false), ("<1>b", false), ("<1>cdefg", true), ("<1>k", false)]);
        assert_eq!(messages(ended, size, 8).unwrap(), expected, "{size}");
        let dated = b"2026-11-20 a\n17 b\n";
        assert_eq!(messages(dated, size, 80).unwrap(), whole(&[("2026-11-20 a", false), ("17 b", false)]), "{size}");
        assert!(messages(b"99999999 <1>a", size, 8).is_err());
        let lost_step = b"4 <1>ax5 <1>ab\n<1>c\n";
        assert_eq!(
            messages(lost_step, size, 80).unwrap(),
            whole(&[("<1>a", false), ("x5 <1>ab", false), ("<1>c", false)])
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..20) {
        for dialect in [Dialect::Auto, Dialect::Rfc3164, Dialect::Rfc5424] {
            let message = Message::parse(&bytes, dialect);
            prop_assert!(message.text.len() <= bytes.len());
        }
        let _refused_or_found = messages(&bytes, size, 32);
    }

    #[test]
    fn near_messages_are_safe(text in "(<[0-9]{1,4}>)?(1 )?([0-9:. \\-TZ+]{0,24}|[A-S][a-u]{2} {1,2}[0-9]{1,2} [0-9:. ]{0,20})[a-z \\[\\]=\":@\\\\]{0,60}") {
        for dialect in [Dialect::Auto, Dialect::Rfc3164, Dialect::Rfc5424] {
            let message = Message::parse(text.as_bytes(), dialect);
            if let Some(at) = message.at {
                let _any_moment = at.resolve(NOV_21, -50_000);
            }
        }
    }

    #[test]
    fn dates_are_inverse(day in -1_000_000i64..1_000_000) {
        let (year, month, date) = civil(day);
        prop_assert!(valid(year, month, date));
        prop_assert_eq!(days(year, month, date), day);
    }
}
