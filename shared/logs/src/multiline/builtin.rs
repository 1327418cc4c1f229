//! What the stack traces of some languages look like, line by line.
//!
//! Each language is a small machine: a line may begin a trace, and in each state only certain lines go on with it. The
//! shapes are those of the runtimes' own printers: HotSpot's `printStackTrace`, CPython's `traceback`, Go's runtime,
//! and Rust's default panic hook.

use serde::{Deserialize, Serialize};

/// A language whose stack traces are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Builtin {
    /// Exceptions of Java and its kin, with causes and suppressed ones.
    Java,
    /// Tracebacks, chained ones too.
    Python,
    /// Panics, fatal errors and dumps of goroutines.
    Go,
    /// Panics with and without a backtrace.
    Rust,
}

/// What the last line was, as far as it decides what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing waits.
    Idle,
    /// A record of a user's pattern waits.
    Open,
    Java,
    /// Within the frames of a traceback.
    PythonFrames,
    /// Behind the line that names the exception.
    PythonError,
    /// An empty line behind that.
    PythonGap,
    /// A line that says that another traceback follows.
    PythonChain,
    GoPanic,
    GoFrames,
    /// An empty line between goroutines.
    GoGap,
    /// The message of a panic follows.
    RustPanic,
    RustMessage,
    RustFrames,
}

const STATES: [(Builtin, State); 11] = [
    (Builtin::Java, State::Java),
    (Builtin::Python, State::PythonFrames),
    (Builtin::Python, State::PythonError),
    (Builtin::Python, State::PythonGap),
    (Builtin::Python, State::PythonChain),
    (Builtin::Go, State::GoFrames),
    (Builtin::Go, State::GoPanic),
    (Builtin::Go, State::GoGap),
    (Builtin::Rust, State::RustFrames),
    (Builtin::Rust, State::RustMessage),
    (Builtin::Rust, State::RustPanic),
];

/// The state behind a line that begins a trace of one of these languages.
pub(super) fn begin(languages: &[Builtin], line: &[u8]) -> Option<State> {
    languages.iter().find_map(|language| match language {
        Builtin::Java => names_exception(line).then_some(State::Java),
        Builtin::Python => line.trim_ascii_end().ends_with(TRACEBACK).then_some(State::PythonFrames),
        Builtin::Go if is_goroutine(line) => Some(State::GoFrames),
        Builtin::Go => {
            let begins = [&b"panic: "[..], b"fatal error: ", b"unexpected fault address ", b"SIGQUIT: quit"];
            let served = memchr::memmem::find(line, b"http: panic serving ").is_some();
            (begins.iter().any(|begin| line.starts_with(begin)) || served).then_some(State::GoPanic)
        }
        Builtin::Rust => {
            let at = memchr::memmem::find(line, b" panicked at ").filter(|_| line.starts_with(b"thread '"));
            // Before 1.73 the message stood in the same line, since then it follows.
            at.map(|_| if line.ends_with(b":") { State::RustPanic } else { State::RustMessage })
        }
    })
}

/// The state behind a line that goes on with a trace.
pub(super) fn follow(state: State, line: &[u8]) -> Option<State> {
    let line = line.trim_ascii_end();
    let text = line.trim_ascii_start();
    let indented = text.len() < line.len();
    let one_of = |begins: &[&[u8]]| begins.iter().any(|begin| text.starts_with(begin));
    match state {
        State::Idle | State::Open => None,
        State::Java => {
            let frame = indented && one_of(&[b"at ", b"... ", b"Suppressed: ", b"[CIRCULAR REFERENCE"]);
            (frame || one_of(&[b"Caused by: ", b"Wrapped by: "])).then_some(State::Java)
        }
        State::PythonFrames if indented => Some(State::PythonFrames),
        State::PythonFrames => (!line.is_empty()).then_some(State::PythonError),
        State::PythonError if indented => Some(State::PythonError),
        State::PythonError => line.is_empty().then_some(State::PythonGap),
        State::PythonGap => one_of(&[b"During handling of the above exception", b"The above exception was the direct"])
            .then_some(State::PythonChain),
        State::PythonChain if text.ends_with(TRACEBACK) => Some(State::PythonFrames),
        State::PythonChain => line.is_empty().then_some(State::PythonChain),
        State::GoPanic | State::GoGap | State::GoFrames if is_goroutine(line) => Some(State::GoFrames),
        State::GoPanic => (line.is_empty() || indented || one_of(&[b"[signal ", b"panic: "])).then_some(State::GoPanic),
        State::GoFrames if line.is_empty() => Some(State::GoGap),
        State::GoFrames => {
            let other = one_of(&[b"created by ", b"...additional frames elided", b"exit status "]);
            (indented || other || is_go_call(line) || is_register(line)).then_some(State::GoFrames)
        }
        State::GoGap => (one_of(&[b"exit status "]) || is_register(line)).then_some(State::GoFrames),
        State::RustPanic => Some(State::RustMessage),
        State::RustMessage if text == b"stack backtrace:" => Some(State::RustFrames),
        State::RustMessage => (indented || one_of(&[b"note: "])).then_some(State::RustMessage),
        State::RustFrames => (indented || one_of(&[b"note: "])).then_some(State::RustFrames),
    }
}

/// The state behind a line that is known to stand within a trace.
pub(super) fn resume(languages: &[Builtin], line: &[u8]) -> State {
    let of = STATES.iter().filter(|(language, _)| languages.contains(language));
    of.filter_map(|(_, state)| follow(*state, line)).next().unwrap_or(State::Open)
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";

/// Whether a line names a throwable class as its printer does: qualified (`java.io.IOException`) anywhere, or at the
/// line's begin, followed by a colon or nothing.
fn names_exception(line: &[u8]) -> bool {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'$');
    [&b"Exception"[..], b"Error", b"Throwable"].iter().any(|ending| {
        memchr::memmem::find_iter(line, ending).any(|at| {
            let after = line.get(at + ending.len());
            let begin = line[..at].iter().rposition(|b| !is_name(b)).map_or(0, |before| before + 1);
            let qualified = line[begin..at].contains(&b'.');
            let named = begin < at && line[begin].is_ascii_alphabetic() && (qualified || begin == 0);
            named && matches!(after, None | Some(b':' | b'\r')) && (qualified || after.is_some())
        })
    })
}

/// `goroutine 12 [running]:`
fn is_goroutine(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"goroutine ") else { return false };
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && rest[digits..].starts_with(b" [")
}

/// `main.run(0xc000012345, {0x1, 0x2})`
fn is_go_call(line: &[u8]) -> bool {
    let Some(at) = memchr::memchr(b'(', line) else { return false };
    let name = &line[..at];
    line.ends_with(b")") && (name == b"panic" || (name.contains(&b'.') && !name.contains(&b' ')))
}

/// `rax    0x0`
fn is_register(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let (name, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    (2..=6).contains(&name.len()) && value.starts_with(b"0x") && words.next().is_none()
}
