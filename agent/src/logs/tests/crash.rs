//! Whatever the writer, the rotator and the killer do, each line is committed exactly once.

use super::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Whole lines.
    Write(u8),
    /// The begin of a line, ended by the next write.
    Begin,
    Rename,
    CopyTruncate,
    /// The newest rotated file is compressed.
    Pack,
    /// Rounds that are committed.
    Poll,
    /// A round that is not committed, and a restart.
    Kill,
    /// A restart between two rounds.
    Restart,
    /// The grace period passes.
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u8..60).prop_map(Step::Write),
        1 => (200u8..255).prop_map(Step::Write),
        2 => Just(Step::Begin),
        3 => Just(Step::Rename),
        2 => Just(Step::CopyTruncate),
        2 => Just(Step::Pack),
        4 => Just(Step::Poll),
        3 => Just(Step::Kill),
        2 => Just(Step::Restart),
        1 => Just(Step::Wait),
    ];
    proptest::collection::vec(step, 1..40)
}

/// Writes numbered lines in a format, and rotates them.
struct Writer {
    docker: bool,
    /// Each record has a second line.
    multi: bool,
    next: u32,
    begun: bool,
    kept: u32,
    entries: u64,
    /// The rotated files that are compressed, by number.
    packed: Vec<u32>,
}

impl Writer {
    /// A piece of text in the file's format. No two entries are alike, as their times are not.
    fn piece(&mut self, stream: &str, text: &str) -> String {
        if !self.docker {
            return text.to_owned();
        }
        self.entries += 1;
        let log = serde_json::to_string(text).unwrap();
        format!("{{\"log\":{log},\"stream\":\"{stream}\",\"time\":\"2026-11-20T22:18:00.{:09}Z\"}}\n", self.entries)
    }

    fn write(&mut self, rig: &Rig, lines: u8) {
        let mut text = String::new();
        for _ in 0..lines {
            let begun = std::mem::take(&mut self.begun);
            // A begun record lacks its second line, or where lines may be cut the end of its first.
            if !begun || self.docker || !self.multi {
                let line = if begun { "\n".to_owned() } else { format!("line {}\n", self.next) };
                text += &self.piece("stdout", &line);
            }
            if self.multi {
                text += &self.piece("stdout", &format!("  more {}\n", self.next));
            }
            if self.docker && self.next.is_multiple_of(3) {
                text += &self.piece("stderr", &format!("e{}\n", self.next));
            }
            self.next += 1;
        }
        rig.append("a.log", text);
    }

    fn begin(&mut self, rig: &Rig) {
        if !self.begun {
            self.begun = true;
            let end = if self.multi && !self.docker { "\n" } else { "" };
            let text = self.piece("stdout", &format!("line {}{end}", self.next));
            rig.append("a.log", text);
        }
    }

    /// Makes room for `a.log.1`. A plain line is ended first: no rotator of whole lines cuts within one.
    fn shift(&mut self, rig: &Rig) {
        if self.begun && !self.docker && !self.multi {
            self.write(rig, 1);
        }
        for n in (1..=self.kept).rev() {
            let ending = if self.packed.contains(&n) { ".gz" } else { "" };
            rig.rename(&format!("a.log.{n}{ending}"), &format!("a.log.{}{ending}", n + 1));
        }
        self.packed.iter_mut().for_each(|n| *n += 1);
        self.kept += 1;
    }
}

fn run(steps: &[Step], docker: bool, multi: bool) -> Result<(), TestCaseError> {
    // Longer than all steps but `Wait` take together: within it every begun line is ended.
    let mut rig = Rig::with(|config| {
        config.rotate_grace = Span::secs(60);
        config.files[0].multiline =
            multi.then(|| serde_json::from_value(serde_json::json!({"start": "^\\S", "timeout": "1m"})).unwrap());
    });
    let mut writer = Writer { docker, multi, next: 0, begun: false, kept: 0, entries: 0, packed: Vec::new() };
    writer.write(&rig, 1);
    rig.poll_after(250);
    for step in steps {
        rig.now_ms += 50;
        match step {
            Step::Write(lines) => writer.write(&rig, *lines),
            Step::Begin => writer.begin(&rig),
            // A handful of generations: the case of more than may be open has a test of its own.
            Step::Rename if writer.kept < 12 => {
                writer.shift(&rig);
                rig.rename("a.log", "a.log.1");
                rig.append("a.log", "");
            }
            Step::CopyTruncate if writer.kept < 12 => {
                writer.shift(&rig);
                rig.copytruncate("a.log", "a.log.1");
            }
            Step::Pack if writer.kept > 0 && !writer.packed.contains(&1) => {
                rig.pack("a.log.1", "gz");
                writer.packed.push(1);
            }
            Step::Rename | Step::CopyTruncate | Step::Pack => {}
            Step::Poll => rig.poll_after(250),
            Step::Kill => {
                rig.now_ms += 250;
                let (lost, _) = rig.round();
                drop(lost);
                rig.restart();
            }
            Step::Restart => rig.restart(),
            Step::Wait => {
                rig.poll_after(250);
                if writer.begun {
                    writer.write(&rig, 1);
                }
                rig.poll_after(250);
                rig.poll_after(61_000);
            }
        }
    }
    writer.write(&rig, 1);
    rig.settle();
    rig.poll_after(61_000);
    let record = |n: u32| if multi { format!("line {n}\n  more {n}") } else { format!("line {n}") };
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for line in rig.lines() {
        *seen.entry(line).or_default() += 1;
    }
    for n in 0..writer.next {
        prop_assert_eq!(seen.remove(&record(n)), Some(1), "line {} of {}", n, writer.next);
        if docker && n.is_multiple_of(3) {
            prop_assert_eq!(seen.remove(&format!("e{n}")), Some(1), "error {}", n);
        }
    }
    prop_assert!(seen.is_empty(), "lines that nobody wrote: {:?}", seen);
    prop_assert!(rig.losses.is_empty(), "{:?}", rig.losses);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn plain_lines_arrive_exactly_once(steps in steps()) {
        run(&steps, false, false)?;
    }

    #[test]
    fn records_of_several_lines_arrive_exactly_once(steps in steps()) {
        run(&steps, false, true)?;
    }

    #[test]
    fn docker_records_of_several_lines_arrive_exactly_once(steps in steps()) {
        run(&steps, true, true)?;
    }

    #[test]
    fn docker_lines_arrive_exactly_once(steps in steps()) {
        run(&steps, true, false)?;
    }
}
