//! Templates of titles and texts: Alertmanager's names with texts of our own, and the files of users.

mod functions;
mod values;

use super::Data;
use crate::Now;
use crate::expand;
use jiff::tz::TimeZone;
use skerry_template::{Functions, Limits, Root, Time, Value};
use skerry_yaml::{Fault, Faults};

/// The templates that are always there.
const DEFAULTS: [(&str, &str); 2] =
    [("default.tmpl", include_str!("default.tmpl")), ("email.tmpl", include_str!("email.tmpl"))];
/// How much one text may do.
const LIMITS: Limits = Limits { steps: 200_000, bytes: 1 << 20, escapes_html: false };
/// Most templates that are named as failed.
const PROBLEMS_MAX: usize = 20;
/// Longest name of a time zone.
const ZONE_BYTES_MAX: usize = 64;

/// What a machine's time zone database says of a zone, as TZif; `None` where it knows none of that name. Names that lead
/// out of a folder are not asked for.
pub type Zones = fn(&str) -> Option<Vec<u8>>;

/// Parsed templates; cheap to copy.
#[derive(Debug, Clone)]
pub struct Templates {
    set: skerry_template::Templates,
    zones: Zones,
}

impl Templates {
    /// The default templates, and those of these files (name, text), later ones over earlier ones.
    ///
    /// # Errors
    /// [`Faults`] of the first file that is no template.
    pub fn new(files: &[(String, String)], zones: Zones) -> Result<Self, Faults> {
        let mut set = skerry_template::Templates::new(Functions::new(&[functions::FUNCTIONS, expand::FUNCTIONS]));
        let own = files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        for (name, text) in DEFAULTS.into_iter().chain(own) {
            if let Err(error) = set.add(name, text) {
                let fault = Fault { line: None, key: String::new(), problem: error.to_string() };
                return Err(Faults { file: name.to_owned(), faults: vec![fault] });
            }
        }
        Ok(Self { set, zones })
    }
}

/// Carries templates out over one notice, and remembers those that failed.
pub(super) struct Writer<'a> {
    templates: &'a Templates,
    root: Notice,
    problems: Vec<String>,
}

/// What templates are run over.
struct Notice {
    dot: Value,
    now: Now,
    zones: Zones,
}

impl Root for Notice {
    fn dot(&self) -> Value {
        self.dot.clone()
    }

    fn ask(&self, what: &str, args: &[Value]) -> Result<Value, String> {
        match (what, args) {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact")]
            ("now", _) => Ok(Value::Float(self.now.wall.0 as f64 / 1e3)),
            ("zone", [Value::Text(name), Value::Time(time)]) => {
                let zone = zone(name, self.zones).ok_or_else(|| format!("unknown time zone {name}"))?;
                Ok(Value::Time(Time { at: time.at, zone }))
            }
            _ => Err(format!("{what} is not known to notices")),
        }
    }
}

fn zone(name: &str, zones: Zones) -> Option<TimeZone> {
    if name.is_empty() || name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
    let is_name = name.len() <= ZONE_BYTES_MAX && name.chars().all(fits) && !name.starts_with('/');
    let data = if is_name { zones(name)? } else { return None };
    TimeZone::tzif(name, &data).ok()
}

impl<'a> Writer<'a> {
    pub(super) fn new(templates: &'a Templates, data: &Data, now: Now) -> Self {
        let root = Notice { dot: values::notice(data), now, zones: templates.zones };
        Self { templates, root, problems: Vec::new() }
    }

    /// What a template makes; what it made up to its failure, and the error, where it fails.
    pub(super) fn text(&mut self, template: &str) -> String {
        self.run(template, LIMITS).unwrap_or_else(|(made, error)| format!("{made}<template error: {error}>"))
    }

    /// As [`Writer::text`], as HTML: what actions write is escaped, except what is HTML already.
    pub(super) fn html(&mut self, template: &str) -> String {
        let made = self.run(template, Limits { escapes_html: true, ..LIMITS });
        made.unwrap_or_else(|(made, error)| {
            let error = error.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            format!("{made}&lt;template error: {error}&gt;")
        })
    }

    /// What a template makes of a word that the receiver's protocol depends on; `default` where it fails.
    pub(super) fn word(&mut self, template: &str, default: &str) -> String {
        let made = self.run(template, LIMITS).unwrap_or_else(|_| default.to_owned());
        made.trim().to_owned()
    }

    /// The templates that failed.
    pub(super) fn problems(self) -> Vec<String> {
        self.problems
    }

    fn run(&mut self, template: &str, limits: Limits) -> Result<String, (String, String)> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let mut made = String::new();
        let error = match self.templates.set.parse("", template) {
            Ok(parsed) => match parsed.run(&self.root, limits, &mut made) {
                Ok(()) => return Ok(made),
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        if self.problems.len() < PROBLEMS_MAX && !self.problems.contains(&error) {
            self.problems.push(error.clone());
        }
        Err((made, error))
    }
}

#[cfg(test)]
mod tests;
