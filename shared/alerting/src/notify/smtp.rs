//! One mail to an SMTP server (RFC 5321), without the socket.
//!
//! ```text
//! greeting ─> EHLO ─> STARTTLS ─> TLS ─> EHLO ─> AUTH ─> MAIL ─> RCPT … ─> DATA ─> text ─> QUIT
//! ```
//!
//! Invariants:
//! - Where TLS is required, neither addresses nor credentials are said without it; a password that a listener could use
//!   is never said without it unless the server is this machine's own.
//! - What a server says before TLS does not count after it, and may not run over into it.
//! - Answers of 4xx are worth another try, those of 5xx are not.

use super::config::Security;
use super::{Outcome, Step};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use skerry_scrape::md5;

/// Longest reply, of all its lines.
const REPLY_BYTES_MAX: usize = 16 << 10;
/// Most words of a server that are repeated.
const WORDS_MAX: usize = 300;

/// A mail and how it is handed over.
#[derive(Clone)]
pub struct Letter {
    /// What the client calls itself.
    pub hello: String,
    /// When TLS begins.
    pub security: Security,
    /// Whether the server is on this machine, so that nobody listens in between.
    pub is_loopback: bool,
    /// User, empty: none; and what each mechanism needs.
    pub login: Login,
    /// Address of the sender, without name and brackets.
    pub from: String,
    /// Addresses, at least one.
    pub to: Vec<String>,
    /// Headers and body, with CR LF at the end of each line.
    pub message: Vec<u8>,
}

/// How the client proves who it is.
#[derive(Clone, Default)]
pub struct Login {
    /// User; empty: none.
    pub username: String,
    /// For PLAIN and LOGIN.
    pub password: Option<String>,
    /// For CRAM-MD5.
    pub secret: Option<String>,
    /// Whom PLAIN acts for.
    pub identity: String,
}

/// Without what is secret.
impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Letter({:?}, {} bytes)", self.to, self.message.len())
    }
}

/// What was said last, so what the next reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// TLS has been asked for; the next step says EHLO again.
    Secured,
    /// The user's name comes next, then the password.
    LoginUser,
    LoginPassword,
    CramMd5,
    Auth,
    Mail,
    /// The address of this index was said.
    Rcpt(usize),
    Data,
    Message,
    Quit,
}

/// A session that hands over one mail.
#[derive(Debug)]
pub struct Session {
    letter: Letter,
    state: State,
    is_secure: bool,
    input: Vec<u8>,
    /// Addresses that were taken.
    taken: usize,
    refusal: Option<String>,
}

struct Reply {
    code: u16,
    /// Lines without their codes.
    lines: Vec<String>,
}

impl Reply {
    fn words(&self) -> String {
        self.lines.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX).collect()
    }
}

impl Session {
    /// Of a letter; with [`Security::Implicit`] TLS stands already.
    #[must_use]
    pub fn new(letter: Letter) -> Self {
        let is_secure = letter.security == Security::Implicit;
        Self { letter, state: State::Greeting, is_secure, input: Vec::new(), taken: 0, refusal: None }
    }

    /// What is handed over.
    #[must_use]
    pub const fn letter(&self) -> &Letter {
        &self.letter
    }

    /// Addresses that the server refused while it took others: for the log.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// What is to be done after `input` was read.
    pub fn step(&mut self, input: &[u8]) -> Step {
        if self.state == State::Secured {
            self.is_secure = true;
            return self.say(State::Ehlo, format!("EHLO {}", self.letter.hello));
        }
        self.input.extend_from_slice(input);
        match take_reply(&mut self.input) {
            Ok(None) => Step::Send(Vec::new()),
            Ok(Some(reply)) => self.answer(&reply),
            Err(why) => Step::Done(Vec::new(), Outcome::retry(why)),
        }
    }

    /// What it means that the server ended the connection.
    #[must_use]
    pub fn ended(&self) -> Outcome {
        match self.state {
            // The mail was taken; the goodbye is a courtesy.
            State::Quit => Outcome::Sent,
            _ => Outcome::retry(format!("the mail server ended the connection {}", self.place())),
        }
    }

    fn place(&self) -> &'static str {
        match self.state {
            State::Greeting => "instead of a greeting",
            State::Ehlo | State::Helo => "after EHLO",
            State::StartTls | State::Secured => "after STARTTLS",
            State::LoginUser | State::LoginPassword | State::CramMd5 | State::Auth => "after AUTH",
            State::Mail => "after MAIL",
            State::Rcpt(_) => "after RCPT",
            State::Data => "after DATA",
            State::Message | State::Quit => "after the mail",
        }
    }

    fn say(&mut self, state: State, line: String) -> Step {
        self.state = state;
        Step::Send(format!("{line}\r\n").into_bytes())
    }

    fn answer(&mut self, reply: &Reply) -> Step {
        let is_good = match self.state {
            State::Data | State::LoginUser | State::LoginPassword | State::CramMd5 => reply.code / 100 == 3,
            State::Greeting | State::StartTls => reply.code == 220,
            State::Auth => reply.code == 235,
            _ => reply.code / 100 == 2,
        };
        if !is_good {
            return self.bad(reply);
        }
        match self.state {
            State::Greeting => self.say(State::Ehlo, format!("EHLO {}", self.letter.hello)),
            State::Ehlo => self.greeted(reply),
            State::Helo => self.mail(""),
            State::StartTls if self.input.is_empty() => {
                self.state = State::Secured;
                Step::StartTls(Vec::new())
            }
            State::StartTls => self.give_up(Outcome::retry("the mail server spoke on before TLS began")),
            State::Secured => Step::Send(Vec::new()),
            State::LoginUser => self.say(State::LoginPassword, STANDARD.encode(&self.letter.login.username)),
            State::LoginPassword => {
                let password = self.letter.login.password.clone().unwrap_or_default();
                self.say(State::Auth, STANDARD.encode(password))
            }
            State::CramMd5 => match STANDARD.decode(reply.lines.first().map_or("", |line| line.trim())) {
                Ok(challenge) => {
                    let Login { username, secret, .. } = &self.letter.login;
                    let digest = hmac_md5(secret.as_deref().unwrap_or("").as_bytes(), &challenge);
                    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
                    self.say(State::Auth, STANDARD.encode(format!("{username} {hex}")))
                }
                Err(_) => self.give_up(Outcome::retry("the mail server's challenge is no base64")),
            },
            State::Auth => self.mail(""),
            State::Mail => self.rcpt(0),
            State::Rcpt(at) => {
                self.taken += 1;
                self.rcpt(at + 1)
            }
            State::Data => {
                self.state = State::Message;
                Step::Send(stuffed(&self.letter.message))
            }
            State::Message => {
                self.state = State::Quit;
                Step::Done(b"QUIT\r\n".to_vec(), Outcome::Sent)
            }
            State::Quit => Step::Done(Vec::new(), Outcome::Sent),
        }
    }

    /// After EHLO: TLS where it is to begin, else who we are, else the mail.
    fn greeted(&mut self, reply: &Reply) -> Step {
        let offers = |name: &str| {
            let mut lines = reply.lines.iter().skip(1);
            lines.find_map(|line| {
                let mut words = line.split([' ', '=']);
                words.next().filter(|word| word.eq_ignore_ascii_case(name)).map(|_| words.map(str::to_owned).collect())
            })
        };
        if !self.is_secure {
            let tls: Option<Vec<String>> = offers("STARTTLS");
            match (tls, self.letter.security) {
                (Some(_), _) => return self.say(State::StartTls, "STARTTLS".into()),
                (None, Security::Required) => {
                    let why = "the mail server does not offer STARTTLS, which require_tls demands";
                    return self.give_up(Outcome::failed(why));
                }
                _ => {}
            }
        }
        let utf8 = if offers("SMTPUTF8").is_some() { " SMTPUTF8" } else { "" };
        let letter = &self.letter;
        let is_ascii = letter.from.is_ascii() && letter.to.iter().all(|to| to.is_ascii());
        if !is_ascii && utf8.is_empty() {
            return self.give_up(Outcome::failed("the mail server takes no addresses beyond ASCII"));
        }
        match offers("AUTH") {
            Some(mechanisms) if !letter.login.username.is_empty() => self.authenticate(&mechanisms),
            _ => self.mail(if is_ascii { "" } else { utf8 }),
        }
    }

    fn authenticate(&mut self, mechanisms: &[String]) -> Step {
        let Login { username, password, secret, identity } = &self.letter.login;
        let is_private = self.is_secure || self.letter.is_loopback;
        let mut is_open = false;
        for mechanism in mechanisms {
            match mechanism.to_ascii_uppercase().as_str() {
                "CRAM-MD5" if secret.is_some() => return self.say(State::CramMd5, "AUTH CRAM-MD5".into()),
                "PLAIN" | "LOGIN" if password.is_some() && !is_private => is_open = true,
                "PLAIN" if password.is_some() => {
                    let password = password.as_deref().unwrap_or("");
                    let line = STANDARD.encode(format!("{identity}\0{username}\0{password}"));
                    return self.say(State::Auth, format!("AUTH PLAIN {line}"));
                }
                "LOGIN" if password.is_some() => return self.say(State::LoginUser, "AUTH LOGIN".into()),
                _ => {}
            }
        }
        let why = if is_open {
            "the mail server wants the password without TLS; it is not said".to_owned()
        } else {
            let offered: String = mechanisms.join(" ").chars().take(WORDS_MAX).collect();
            format!(
                "the mail server offers AUTH {offered}: auth_password is for PLAIN and LOGIN, auth_secret for CRAM-MD5"
            )
        };
        self.give_up(Outcome::failed(why))
    }

    fn mail(&mut self, extension: &str) -> Step {
        let is_ascii = self.letter.from.is_ascii() && self.letter.to.iter().all(|to| to.is_ascii());
        let extension = if is_ascii { extension } else { " SMTPUTF8" };
        self.say(State::Mail, format!("MAIL FROM:<{}>{extension}", self.letter.from))
    }

    fn rcpt(&mut self, at: usize) -> Step {
        match self.letter.to.get(at) {
            Some(to) => self.say(State::Rcpt(at), format!("RCPT TO:<{to}>")),
            None => self.say(State::Data, "DATA".into()),
        }
    }

    fn bad(&mut self, reply: &Reply) -> Step {
        let text = format!("the mail server said {} {}: {}", reply.code, self.place(), reply.words());
        match self.state {
            // Servers from before 1995, and some devices.
            State::Ehlo if reply.code / 100 == 5 && !self.is_secure && self.letter.security == Security::Offered => {
                return self.say(State::Helo, format!("HELO {}", self.letter.hello));
            }
            State::Quit => return Step::Done(Vec::new(), Outcome::Sent),
            // The others should hear of it all the same.
            State::Rcpt(at) if at + 1 < self.letter.to.len() || self.taken > 0 => {
                self.refusal = Some(text);
                return self.rcpt(at + 1);
            }
            _ => {}
        }
        let outcome = if reply.code / 100 == 5 { Outcome::failed(text) } else { Outcome::retry(text) };
        self.give_up(outcome)
    }

    fn give_up(&self, outcome: Outcome) -> Step {
        Step::Done(b"QUIT\r\n".to_vec(), outcome)
    }
}

/// Takes one whole reply (RFC 5321, 4.2): lines of `250-text`, the last of `250 text`.
fn take_reply(input: &mut Vec<u8>) -> Result<Option<Reply>, &'static str> {
    let (mut lines, mut at) = (Vec::new(), 0);
    while let Some(end) = input[at..].iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&input[at..at + end]).trim_end().to_owned();
        at += end + 1;
        let code = line.get(..3).and_then(|code| code.parse::<u16>().ok()).filter(|code| (200..600).contains(code));
        let Some(code) = code else { return Err("what answers is no mail server") };
        lines.push(line.get(4..).unwrap_or("").to_owned());
        match line.as_bytes().get(3) {
            Some(b'-') => {}
            None | Some(b' ') => {
                input.drain(..at);
                return Ok(Some(Reply { code, lines }));
            }
            Some(_) => return Err("what answers is no mail server"),
        }
    }
    if input.len() > REPLY_BYTES_MAX { Err("the mail server's answer has no end") } else { Ok(None) }
}

/// The text with a dot before each line's own dot, and the line of one dot that ends it (RFC 5321, 4.5.2).
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    let mut begins = true;
    for byte in message {
        if begins && *byte == b'.' {
            out.push(b'.');
        }
        begins = *byte == b'\n';
        out.push(*byte);
    }
    if !out.ends_with(b"\r\n") {
        out.extend(b"\r\n");
    }
    out.extend(b".\r\n");
    out
}

/// HMAC (RFC 2104) with MD5, which CRAM-MD5 (RFC 2195) is defined by.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        block[..16].copy_from_slice(&md5::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = md5::digest(&[&block.map(|byte| byte ^ 0x36), text].concat());
    md5::digest(&[&block.map(|byte| byte ^ 0x5c)[..], &inner].concat())
}

#[cfg(test)]
mod tests;
