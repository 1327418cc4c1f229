//! Evaluation of pipes: operands, fields, and calls with their arguments checked.

use crate::methods;
use crate::node::{Command, Kind, Operand, Pipe};
use crate::run::{Dot, Fault, Function, Run};
use crate::value::Value;
use std::sync::Arc;

impl<'a> Run<'a, '_> {
    /// What a pipe gives; a variable that it declares is known from here on.
    pub(crate) fn pipe(&mut self, pipe: &'a Pipe, dot: &Dot) -> Result<Value, Fault> {
        self.at = Some(pipe);
        let mut last = None;
        for command in &pipe.commands {
            self.ctx.charge(1)?;
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::Nil);
        // Those of `range` are given their values at each turn.
        if let [name] = pipe.names.as_slice() {
            self.declare_one(pipe, name, &value)?;
        }
        Ok(value)
    }

    fn declare_one(&mut self, pipe: &'a Pipe, name: &Arc<str>, value: &Value) -> Result<(), Fault> {
        if pipe.is_range { Ok(()) } else { self.declare(pipe, name, value.clone()) }
    }

    /// `last`: what the command before gave, which comes behind the other arguments.
    fn command(&mut self, command: &'a Command, dot: &Dot, last: Option<Value>) -> Result<Value, Fault> {
        let Command { head, args, .. } = command;
        match &head.kind {
            Kind::Function(function) => return self.call(command, head, *function, args, dot, last),
            Kind::Field(names) => {
                self.at = Some(head);
                return self.fields(dot.clone(), names, args, dot, last);
            }
            Kind::Variable(name, names) if !names.is_empty() => {
                self.at = Some(head);
                let held = self.variable(name)?;
                return self.fields(held, names, args, dot, last);
            }
            Kind::Chain(inner, names) => {
                self.at = Some(head);
                let held = self.operand(inner, dot)?;
                return self.fields(Dot::Value(held), names, args, dot, last);
            }
            _ => {}
        }
        self.at = Some(head);
        if !args.is_empty() || last.is_some() {
            return Err(Fault::Here(format!("can't give argument to non-function {head}")));
        }
        if matches!(head.kind, Kind::Nil) {
            return Err(Fault::Here("nil is not a command".into()));
        }
        self.operand(head, dot)
    }

    /// What a word stands for.
    fn operand(&mut self, operand: &'a Operand, dot: &Dot) -> Result<Value, Fault> {
        self.at = Some(operand);
        Ok(match &operand.kind {
            Kind::Dot => self.whole(dot),
            Kind::Nil => Value::Nil,
            Kind::Constant(value, _) => value.clone(),
            Kind::TooLarge(raw) => return Err(Fault::Here(format!("{raw} overflows int"))),
            Kind::Field(names) => self.fields(dot.clone(), names, &[], dot, None)?,
            Kind::Variable(name, names) => {
                let held = self.variable(name)?;
                self.fields(held, names, &[], dot, None)?
            }
            Kind::Function(function) => self.call(operand, operand, *function, &[], dot, None)?,
            Kind::Group(pipe) => {
                self.ctx.dive()?;
                let value = self.pipe(pipe, dot)?;
                self.ctx.surface();
                value
            }
            Kind::Chain(inner, names) => {
                let held = self.operand(inner, dot)?;
                self.fields(Dot::Value(held), names, &[], dot, None)?
            }
        })
    }

    fn whole(&self, dot: &Dot) -> Value {
        match dot {
            Dot::Root => self.ctx.root().dot(),
            Dot::Value(value) => value.clone(),
        }
    }

    fn variable(&self, name: &str) -> Result<Dot, Fault> {
        let held = self.variables.iter().rev().find(|(held, _)| **held == *name);
        held.map(|(_, value)| value.clone()).ok_or_else(|| Fault::Here(format!("undefined variable: {name}")))
    }

    /// Fields and methods one below the other; the last may be a method with arguments.
    fn fields(
        &mut self,
        from: Dot,
        names: &'a [Arc<str>],
        args: &'a [Operand],
        dot: &Dot,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let has_args = !args.is_empty() || last.is_some();
        let at = self.at;
        let mut value = match (from, names) {
            (Dot::Root, [first, rest @ ..]) if !(has_args && rest.is_empty()) => {
                let mut value = self.ctx.root().field(first)?;
                for name in &rest[..rest.len() - usize::from(has_args)] {
                    value = methods::field(&value, name)?;
                }
                value
            }
            (from, _) => {
                let mut value = self.whole(&from);
                for name in &names[..names.len() - usize::from(has_args)] {
                    value = methods::field(&value, name)?;
                }
                value
            }
        };
        if has_args && let Some(name) = names.last() {
            let mut given = Vec::with_capacity(args.len() + 1);
            for arg in args {
                given.push(self.operand(arg, dot)?);
            }
            given.extend(last);
            self.at = at;
            value = methods::call(&value, name, &given)?;
        }
        Ok(value)
    }

    /// `cited`: what a fault of the function is about; `head`: its name.
    fn call(
        &mut self,
        cited: &'a dyn crate::write::Cited,
        head: &'a Operand,
        function: Function,
        args: &'a [Operand],
        dot: &Dot,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let Function { name, params, call } = function;
        self.at = Some(head);
        let count = args.len() + usize::from(last.is_some());
        let variadic = params.last().and_then(|param| param.strip_prefix("..."));
        let fixed = params.len() - usize::from(variadic.is_some());
        if count < fixed || (variadic.is_none() && count > fixed) {
            let wanted = if variadic.is_some() { format!("at least {fixed}") } else { fixed.to_string() };
            return Err(Fault::Here(format!("wrong number of args for {name}: want {wanted} got {count}")));
        }
        if matches!(name, "and" | "or") {
            return self.either(name == "or", args, dot, last);
        }
        let mut given = Vec::with_capacity(count);
        for (at, arg) in args.iter().enumerate() {
            let value = self.operand(arg, dot)?;
            let param = params.get(at).filter(|_| at < fixed).copied().or(variadic).unwrap_or("any");
            given.push(match (&arg.kind, &value) {
                (Kind::Constant(..), Value::Int(whole)) if param == "float64" =>
                {
                    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
                    Value::Float(*whole as f64)
                }
                (Kind::Constant(_, raw), value) if !fits(value, param) => {
                    return Err(Fault::Here(match param {
                        "string" | "bool" => format!("expected {param}; found {raw}"),
                        "int" => format!("expected integer; found {raw}"),
                        "float64" => format!("expected float; found {raw}"),
                        _ => format!("can't handle {raw} for arg of type {param}"),
                    }));
                }
                (Kind::Nil, _) if param != "any" => {
                    return Err(Fault::Here(format!("cannot assign nil to {param}")));
                }
                (_, value) => checked(value, param)?.clone(),
            });
        }
        if let Some(value) = last {
            let param = params.get(args.len()).filter(|_| args.len() < fixed).copied().or(variadic).unwrap_or("any");
            checked(&value, param)?;
            given.push(value);
        }
        let result = call(&given, self.ctx).and_then(|value| self.ctx.made(&value).map(|()| value));
        result.map_err(|problem| {
            self.at = Some(cited);
            Fault::Here(format!("error calling {name}: {problem}"))
        })
    }

    /// `and` and `or` look no further than they need.
    fn either(&mut self, wanted: bool, args: &'a [Operand], dot: &Dot, last: Option<Value>) -> Result<Value, Fault> {
        let mut value = Value::Nil;
        for arg in args {
            value = self.operand(arg, dot)?;
            if value.is_true() == wanted {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }
}

/// Whether a function with such a parameter takes the value.
fn fits(value: &Value, param: &str) -> bool {
    match (param, value) {
        ("any", _) | ("string", Value::Html(_)) => true,
        ("[]string", value) => match value.plain() {
            Value::List(items) => items.iter().all(|item| matches!(item, Value::Text(_))),
            _ => false,
        },
        (param, value) => value.type_name() == param,
    }
}

fn checked<'v>(value: &'v Value, param: &str) -> Result<&'v Value, Fault> {
    match value {
        value if fits(value, param) => Ok(value),
        Value::Nil => Err(Fault::Here(format!("invalid value; expected {param}"))),
        value => Err(Fault::Here(format!("wrong type for value; expected {param}; got {}", value.type_name()))),
    }
}
