//! Lines as services write them, the same in each run.
//!
//! Four kinds in equal parts, each with what its kind has of chance: an access log (combined format, few clients and
//! paths, sizes and agents), a service's `key=value` lines with a trace id, a structured logger's JSON, and a framework's
//! plain lines. Times rise by a few milliseconds. A line takes about 112 bytes, so that an entry of Docker's json-file takes
//! 191.

use std::fmt::Write as _;

/// When the first line was written: 2026-11-20T22:00:00Z, in ms since 1970.
pub(super) const BEGAN_MS: u64 = 1_795_212_000_000;

const PATHS: [&str; 8] =
    ["/", "/api/items", "/api/items/search", "/login", "/static/app.css", "/static/app.js", "/health", "/api/cart"];
const AGENTS: [&str; 3] = ["curl/8.5.0", "kube-probe/1.31", "Go-http-client/1.1"];
const TASKS: [&str; 4] = ["OrderService", "StockSync", "MailQueue", "SessionStore"];

/// Writes lines, one after the other.
pub(super) struct Corpus {
    random: u64,
    /// Lines written.
    pub(super) written: u64,
    now_ms: u64,
}

impl Corpus {
    pub(super) fn new() -> Self {
        Self { random: 1, written: 0, now_ms: BEGAN_MS }
    }

    fn next(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let at = self.next(of.len() as u64);
        of[usize::try_from(at).unwrap_or(0)]
    }

    /// Moment of the line written last: hour, minute, second, millisecond of the day, which stays the same.
    fn clock(&self) -> (u64, u64, u64, u64) {
        let seconds = self.now_ms / 1000;
        (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, self.now_ms % 1000)
    }

    /// Appends the text of the next line, without its end.
    pub(super) fn line(&mut self, out: &mut String) {
        self.written += 1;
        self.now_ms += self.next(4);
        let (hour, minute, second, millis) = self.clock();
        let took = self.next(30) * self.next(30);
        // Writing to a string cannot fail.
        let _infallible = match self.written % 4 {
            0 => {
                let (client, path, agent) = (self.next(40), self.pick(&PATHS), self.pick(&AGENTS));
                let id = self.next(20_000);
                let (status, size) = (self.pick(&["200", "200", "200", "304", "404"]), self.next(4000));
                write!(
                    out,
                    "10.0.4.{client} - - [20/Nov/2026:{hour:02}:{minute:02}:{second:02} +0000] \"GET {path}?id={id} HTTP/1.1\" {status} {size} \"-\" \"{agent}\""
                )
            }
            1 => {
                let (path, trace) = (self.pick(&PATHS), self.next(1 << 31));
                write!(
                    out,
                    "time=2026-11-20T{hour:02}:{minute:02}:{second:02}.{millis:03}Z level=info msg=\"request done\" path={path} status=200 duration_ms={took} trace={trace:08x}"
                )
            }
            2 => {
                let (item, level) = (self.next(3000), self.pick(&["info", "info", "info", "warn"]));
                let request = self.next(1 << 31) << 20 | self.next(1 << 20);
                write!(
                    out,
                    "{{\"time\":\"2026-11-20T{hour:02}:{minute:02}:{second:02}.{millis:03}Z\",\"level\":\"{level}\",\"msg\":\"stock checked\",\"request\":\"{request:013x}\",\"item\":{item},\"left\":{}}}",
                    took % 60
                )
            }
            _ => {
                let (task, worker) = (self.pick(&TASKS), self.next(8));
                let level = self.pick(&["INFO ", "INFO ", "DEBUG", "DEBUG", "WARN "]);
                write!(
                    out,
                    "2026-11-20 {hour:02}:{minute:02}:{second:02},{millis:03} {level} [worker-{worker}] c.e.shop.{task} : batch finished, {took} rows in {} ms, queue empty",
                    took / 3 + 1
                )
            }
        };
    }

    /// Appends the next line as Docker's json-file driver writes it, with its end. `text` is scratch. The bytes of its text.
    pub(super) fn docker_line(&mut self, text: &mut String, out: &mut Vec<u8>) -> u64 {
        text.clear();
        self.line(text);
        let text_bytes = text.len() as u64;
        out.extend_from_slice(b"{\"log\":\"");
        for byte in text.bytes() {
            if byte == b'"' || byte == b'\\' {
                out.push(b'\\');
            }
            out.push(byte);
        }
        let (hour, minute, second, millis) = self.clock();
        let stream = if self.written % 16 == 3 { "stderr" } else { "stdout" };
        let nanos = self.written * 7919 % 1_000_000;
        text.clear();
        // Writing to a string cannot fail.
        let _infallible = writeln!(
            text,
            "\\n\",\"stream\":\"{stream}\",\"time\":\"2026-11-20T{hour:02}:{minute:02}:{second:02}.{millis:03}{nanos:06}Z\"}}"
        );
        out.extend_from_slice(text.as_bytes());
        text_bytes
    }
}
