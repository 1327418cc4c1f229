//! Traces as their runtimes print them, between ordinary lines.

use super::*;
use proptest::prelude::*;

fn rules(json: &str) -> Rules {
    Rules::new(&serde_json::from_str(json).unwrap()).unwrap()
}

/// The records that lines become; the last is flushed.
fn join(rules: &Rules, lines: &[&str]) -> Vec<String> {
    let mut assembler = Assembler::default();
    let mut records = Vec::new();
    for line in lines {
        let whole = assembler.take(line.as_bytes().to_vec(), (), Mono(0), rules, 10_000);
        records.extend(whole.into_iter().flatten());
    }
    records.extend(assembler.flush());
    records.into_iter().map(|record| String::from_utf8(record.text).unwrap()).collect()
}

const ALL: &str = r#"{"builtin": ["java", "python", "go", "rust"]}"#;

const JAVA: &str = "Exception in thread \"main\" java.lang.IllegalStateException: no book
\tat com.example.Author.books(Author.java:38)
\tat com.example.Main.main(Main.java:14)
\tSuppressed: java.io.IOException: close
\t\tat com.example.Res.close(Res.java:9)
\t\t... 2 more
Caused by: java.lang.NullPointerException
\tat com.example.Book.id(Book.java:22)
\t... 1 common frames omitted";
const LOGGED_JAVA: &str = "2026-11-20 ERROR [main] c.e.Main - failed: com.example.AppError: x
    at com.example.Main.main(Main.java:14)";
const PYTHON: &str = "Traceback (most recent call last):
  File \"a.py\", line 1, in <module>
    f()
    ~^^
  File \"a.py\", line 2, in f
    raise KeyError(1)
KeyError: 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"a.py\", line 9, in <module>
    raise ValueError(\"x\")
ValueError: x";
const GO: &str = "panic: runtime error: index out of range [5] with length 3
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x45]

goroutine 1 [running]:
main.main.func1(0xc000012345, {0x1, 0x2})
\t/tmp/x.go:5 +0x1d
panic({0x45d9c0?, 0xc0000b2000?})
\t/usr/lib/go/src/runtime/panic.go:787 +0x132
main.main()
\t/tmp/x.go:9 +0x20
created by main.start in goroutine 7
\t/tmp/x.go:2 +0x1

goroutine 2 [select]:
net/http.(*conn).serve(0xc0000)
\t/usr/lib/go/src/net/http/server.go:1 +0x1

rax    0x0
rip    0x45e000
exit status 2";
const RUST: &str = "thread 'main' panicked at src/main.rs:2:5:
assertion `left == right` failed
  left: 1
 right: 2
stack backtrace:
   0: rust_begin_unwind
             at /rustc/0/library/std/src/panicking.rs:645:5
   1: app::main
note: Some details are omitted, run with `RUST_BACKTRACE=full` for a verbose backtrace.";
const RUST_NUMBERED: &str = "thread '<unnamed>' (1234) panicked at src/lib.rs:1:1:
plain message
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
const OLD_RUST: &str = "thread 'main' panicked at 'no', src/main.rs:2:5
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";

#[test]
fn traces_are_one_record_and_the_lines_around_them_stand_alone() {
    let rules = rules(ALL);
    for trace in [JAVA, LOGGED_JAVA, PYTHON, GO, RUST, RUST_NUMBERED, OLD_RUST] {
        let mut lines = vec!["GET /a 200", "  indented, and nothing waits"];
        lines.extend(trace.lines());
        lines.extend(["INFO next", "no error: here"]);
        let expected = [lines[0], lines[1], trace, "INFO next", "no error: here"];
        assert_eq!(join(&rules, &lines), expected);
    }
}

#[test]
fn a_trace_ends_where_the_next_begins() {
    let rules = rules(ALL);
    for (first, second) in [(JAVA, LOGGED_JAVA), (JAVA, GO), (GO, RUST), (RUST, PYTHON), (PYTHON, JAVA), (RUST, RUST)] {
        let lines: Vec<&str> = first.lines().chain(second.lines()).collect();
        assert_eq!(join(&rules, &lines), [first, second]);
    }
}

#[test]
fn only_the_languages_that_are_named_are_joined() {
    let rules = rules(r#"{"builtin": ["go"]}"#);
    let lines: Vec<&str> = RUST.lines().collect();
    assert_eq!(join(&rules, &lines), lines);
}

#[test]
fn a_pattern_begins_or_continues() {
    let start = rules(r#"{"start": "^\\d{4}-"}"#);
    assert_eq!(join(&start, &["rest", "2026-1 a", " b", "c", "2026-2"]), ["rest", "2026-1 a\n b\nc", "2026-2"]);
    let go_on = rules(r#"{"continuation": "^\\s"}"#);
    assert_eq!(join(&go_on, &[" x", "a", " b", "c"]), [" x", "a\n b", "c"]);
}

#[test]
fn bounds_split_a_record_and_nothing_is_cut() {
    let by_lines = rules(r#"{"start": "^!", "max_lines": 3}"#);
    assert_eq!(join(&by_lines, &["!1", "2", "3", "4", "5", "!6"]), ["!1\n2\n3", "4\n5", "!6"]);
    let mut assembler = Assembler::default();
    let by_bytes = rules(r#"{"start": "^!"}"#);
    let mut take = |line: &str| assembler.take(line.as_bytes().to_vec(), (), Mono(0), &by_bytes, 7);
    assert_eq!(take("!12"), [None, None]);
    assert_eq!(take("456"), [None, None], "seven bytes with the line end between them");
    assert_eq!(take("8"), [Some(Whole { begun: (), text: b"!12\n456".to_vec(), split: true }), None]);
}

#[test]
fn a_long_trace_stays_a_trace_behind_a_split() {
    let rules = rules(r#"{"builtin": ["java"], "max_lines": 4}"#);
    let lines: Vec<&str> = JAVA.lines().chain(["next"]).collect();
    let sizes: Vec<usize> = join(&rules, &lines).iter().map(|record| record.lines().count()).collect();
    assert_eq!(sizes, [4, 4, 1, 1]);
}

#[test]
fn a_record_ends_when_nothing_follows_for_the_time_out() {
    let rules = rules(r#"{"start": "^!", "timeout": "2s"}"#);
    let mut assembler = Assembler::default();
    assert_eq!(assembler.take(b"!a".to_vec(), 1, Mono(10_000), &rules, 100), [None, None]);
    assert_eq!(assembler.take(b"b".to_vec(), 2, Mono(11_500), &rules, 100), [None, None]);
    assert_eq!(assembler.flush_due(Mono(13_499), &rules), None);
    let whole = Whole { begun: 1, text: b"!a\nb".to_vec(), split: false };
    assert_eq!(assembler.flush_due(Mono(13_500), &rules), Some(whole));
    assert_eq!(assembler.flush_due(Mono(99_999), &rules), None);
}

#[test]
fn faults_name_their_keys() {
    for (json, keys) in [
        ("{}", vec![""]),
        (r#"{"start": "a", "builtin": ["go"]}"#, vec![""]),
        (r#"{"start": "(", "max_lines": 1, "timeout": "1h"}"#, vec!["start", "max_lines", "timeout"]),
        (r#"{"continuation": "\\w{1000}{1000}"}"#, vec!["continuation"]),
    ] {
        let faults = Rules::new(&serde_json::from_str(json).unwrap()).unwrap_err();
        assert_eq!(faults.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys, "{json}");
    }
    assert!(serde_json::from_str::<Settings>(r#"{"builtin": ["cobol"]}"#).is_err());
    assert!(serde_json::from_str::<Settings>(r#"{"stat": "x"}"#).is_err());
}

/// Lines of all traces, ordinary ones, and any bytes.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = [JAVA, LOGGED_JAVA, PYTHON, GO, RUST, "x", "", "  y"]
        .iter()
        .flat_map(|trace| trace.split('\n'))
        .map(|line| line.as_bytes().to_vec())
        .collect();
    prop_oneof![8 => proptest::sample::select(known), 1 => proptest::collection::vec(any::<u8>(), 0..30)]
}

proptest! {
    #[test]
    fn every_line_is_in_one_record_also_over_restarts(
        lines in proptest::collection::vec(any_line(), 0..60),
        restarts in proptest::collection::vec(any::<bool>(), 60),
        which in 0usize..3,
    ) {
        let kinds = [ALL, r#"{"start": "^\\S", "max_lines": 5}"#, r#"{"builtin": ["java", "go"], "max_lines": 3}"#];
        let rules = rules(kinds[which]);
        // A line is told by its number in `begun`, and by its bytes.
        let mut assembler = Assembler::default();
        let mut joined: Vec<u8> = Vec::new();
        let mut take = |whole: Whole<usize>| {
            joined.extend(whole.text);
            joined.push(b'\n');
        };
        for (n, line) in lines.iter().enumerate() {
            assembler.take(line.clone(), n, Mono(0), &rules, 200).into_iter().flatten().for_each(&mut take);
            if restarts[n] {
                let begun = assembler.begun().copied();
                let before = assembler.bytes();
                assembler = Assembler::default();
                let begin = begun.unwrap_or(n + 1);
                for (again, line) in lines.iter().enumerate().take(n + 1).skip(begin) {
                    assembler.restore(line.clone(), again, Mono(0), &rules);
                }
                prop_assert_eq!((assembler.begun().copied(), assembler.bytes()), (begun, before));
            }
        }
        assembler.flush().into_iter().for_each(&mut take);
        let expected: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn waiting_is_bounded(lines in proptest::collection::vec(any_line(), 0..80)) {
        let rules = rules(r#"{"start": "^!", "max_lines": 4}"#);
        let mut assembler = Assembler::default();
        for line in lines {
            let len = line.len();
            assembler.take(line, (), Mono(0), &rules, 100);
            prop_assert!(assembler.bytes() <= 100.max(len));
        }
    }
}
