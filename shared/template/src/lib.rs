//! Go's `text/template`, bounded: what rules, notices and `line_format` are written in.
//!
//! A text is parsed once into nodes ([`Template`]), and run over a [`Root`] as often as wanted. Actions see [`Value`]s;
//! what Go does by reflection, an [`Object`] does by name. Functions are tables of their users ([`Functions`]): Go's own
//! are always there, Prometheus's, Alertmanager's and Loki's are added where those languages are spoken.
//!
//! ```text
//! text ─ lex ─ parse ─> nodes ── run ──> text
//!                         │       ├ builtins, and the user's functions
//!                         │       └ print, printf, number, time: how Go writes values
//!                         └ write: nodes as Go cites them in errors
//! ```
//!
//! Faults are worded as Go words them (`template: name:1:3: executing "name" at <.x>: …`), because people look those
//! words up, and because they end up in annotations.
//!
//! Invariants:
//! - Nesting is bounded when a template is parsed, and once more, with the templates it calls, when it is run; steps and
//!   bytes of one run are bounded by [`Limits`]. No template takes long or much, and none panics.
//! - Nothing here does I/O or reads a clock. What a function needs of the outside it asks of the [`Root`].

mod builtins;
mod compare;
mod error;
mod eval;
mod lex;
mod methods;
mod node;
mod number;
mod parse;
mod print;
mod printf;
mod regexes;
mod run;
mod set;
mod time;
mod value;
mod write;

#[cfg(test)]
mod tests;

pub use builtins::query_escaped;
pub use error::{ParseError, RunError};
pub use number::{float_general, float_text, parsed_float};
pub use print::{print, quoted};
pub use printf::printf;
pub use run::{Ctx, Function, Functions, Limits, Root};
pub use set::{Template, Templates};
pub use time::{Time, duration_text};
pub use value::{Map, Object, Value};
