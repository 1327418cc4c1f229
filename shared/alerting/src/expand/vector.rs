//! What `query` gives: samples with labels and a value.

use skerry_model::Labels;
use skerry_template::{Map, Object, Value};
use std::sync::Arc;

/// The type of a list of samples, as faults name it.
pub(crate) const VECTOR: &str = "template.queryResult";
/// The type of a sample.
pub(crate) const SAMPLE: &str = "*template.sample";

/// A value with named parts, written as Go writes a struct.
#[derive(Debug)]
pub(crate) struct Struct {
    /// Its type in faults.
    pub(crate) type_name: &'static str,
    /// The names of the parts.
    pub(crate) fields: &'static [&'static str],
    /// The parts in that order.
    pub(crate) values: Vec<Value>,
}

impl Object for Struct {
    fn type_name(&self) -> &str {
        self.type_name
    }

    fn field(&self, name: &str) -> Option<Value> {
        let at = self.fields.iter().position(|field| *field == name)?;
        self.values.get(at).cloned()
    }

    fn text(&self) -> Option<String> {
        let parts: Vec<String> = self.values.iter().map(Value::text).collect();
        Some(format!("{{{}}}", parts.join(" ")))
    }
}

/// Labels as templates see them, without a copy: a map in which an absent label is empty.
#[derive(Debug)]
struct Named(Labels);

impl Object for Named {
    fn type_name(&self) -> &str {
        "map[string]string"
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(self.0.value(name).into())
    }

    fn plain(&self) -> Option<Value> {
        Some(Map::of_texts(self.0.iter()).into())
    }
}

/// Labels as a value.
pub(crate) fn labels(labels: &Labels) -> Value {
    Value::Object(Arc::new(Named(labels.clone())))
}

/// Samples in their order.
#[derive(Debug)]
struct Vector(Arc<[Value]>);

impl Object for Vector {
    fn type_name(&self) -> &str {
        VECTOR
    }

    fn field(&self, _: &str) -> Option<Value> {
        None
    }

    fn plain(&self) -> Option<Value> {
        Some(Value::List(self.0.clone()))
    }
}

/// An answer as a value.
pub(crate) fn value(samples: Vec<(Labels, f64)>) -> Value {
    let sample = |(named, value): (Labels, f64)| {
        let values = vec![labels(&named), Value::Float(value)];
        Value::Object(Arc::new(Struct { type_name: SAMPLE, fields: &["Labels", "Value"], values }))
    };
    of_samples(samples.into_iter().map(sample).collect())
}

/// A list of samples as a value.
pub(crate) fn of_samples(samples: Vec<Value>) -> Value {
    Value::Object(Arc::new(Vector(samples.into())))
}

/// The samples of a value of type [`VECTOR`].
pub(crate) fn samples(vector: &Value) -> Arc<[Value]> {
    match vector.plain() {
        Value::List(samples) => samples,
        _ => Arc::default(),
    }
}

/// A label of a sample; empty where it has none of that name.
pub(crate) fn label(sample: &Value, name: &str) -> Value {
    match sample {
        Value::Object(sample) => match sample.field("Labels") {
            Some(Value::Object(labels)) => labels.field(name).unwrap_or_else(|| "".into()),
            _ => "".into(),
        },
        _ => "".into(),
    }
}
