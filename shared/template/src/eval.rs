//! Evaluation of pipes: operands, fields, and calls with their arguments checked.

use crate::methods;
use crate::node::{Callee, Command, Kind, Operand, Pipe};
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
            Kind::Function(callee) => return self.call(command, head, callee, args, dot, last),
            Kind::Field(names) => {
                self.at = Some(head);
                return self.fields(dot, names, args, dot, last);
            }
            Kind::Variable(name, names) if !names.is_empty() => {
                self.at = Some(head);
                let held = self.variable(name)?;
                return self.fields(&held, names, args, dot, last);
            }
            Kind::Chain(inner, names) => {
                self.at = Some(head);
                let held = self.operand(inner, dot)?;
                return self.fields(&Dot::Value(held), names, args, dot, last);
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
            Kind::Field(names) => self.fields(dot, names, &[], dot, None)?,
            Kind::Variable(name, names) => {
                let held = self.variable(name)?;
                self.fields(&held, names, &[], dot, None)?
            }
            Kind::Function(callee) => self.call(operand, operand, callee, &[], dot, None)?,
            Kind::Group(pipe) => {
                self.ctx.dive()?;
                let value = self.pipe(pipe, dot)?;
                self.ctx.surface();
                value
            }
            Kind::Chain(inner, names) => {
                let held = self.operand(inner, dot)?;
                self.fields(&Dot::Value(held), names, &[], dot, None)?
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
        if name == "$" {
            return Ok(self.data.clone());
        }
        let held = self.variables.iter().rev().find(|(held, _)| **held == *name);
        held.map(|(_, value)| Dot::Value(value.clone()))
            .ok_or_else(|| Fault::Here(format!("undefined variable: {name}")))
    }

    /// Fields and methods one below the other; the last may be a method with arguments.
    fn fields(
        &mut self,
        from: &Dot,
        names: &'a [Arc<str>],
        args: &'a [Operand],
        dot: &Dot,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let has_args = !args.is_empty() || last.is_some();
        let at = self.at;
        let plain = &names[..names.len() - usize::from(has_args)];
        let mut value = match (from, plain) {
            (from, []) => self.whole(from),
            (Dot::Root, [first, ..]) => self.ctx.root().field(first)?,
            (Dot::Value(value), [first, ..]) => methods::field(value, first)?,
        };
        for (at, name) in plain.iter().enumerate().skip(1) {
            // Nothing below nothing, but what a map should have had is missed.
            if matches!(value, Value::Nil) && !(at == 1 && matches!(self.whole(from), Value::Nil)) {
                return Err(Fault::Here(format!("nil pointer evaluating interface {{}}.{name}")));
            }
            value = methods::field(&value, name)?;
        }
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
        callee: &Callee,
        args: &'a [Operand],
        dot: &Dot,
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let Callee { function: Function { name, call, .. }, fixed, variadic, is_plain, is_lazy } = *callee;
        self.at = Some(head);
        let count = args.len() + usize::from(last.is_some());
        if count < fixed || (variadic.is_none() && count > fixed) {
            let wanted = if variadic.is_some() { format!("at least {fixed}") } else { fixed.to_string() };
            return Err(Fault::Here(format!("wrong number of args for {name}: want {wanted} got {count}")));
        }
        if is_lazy {
            return self.either(name == "or", args, dot, last);
        }
        let mut given = Vec::with_capacity(count);
        if is_plain {
            for arg in args {
                given.push(self.operand(arg, dot)?);
            }
            given.extend(last);
        } else {
            self.checked_args(callee, args, dot, last, &mut given)?;
        }
        let result = call(&given, self.ctx).and_then(|value| self.ctx.made(&value).map(|()| value));
        result.map_err(|problem| {
            self.at = Some(cited);
            Fault::Call(name, problem)
        })
    }

    /// Arguments of the types that the parameters demand, in Go's words where they are not.
    fn checked_args(
        &mut self,
        callee: &Callee,
        args: &'a [Operand],
        dot: &Dot,
        last: Option<Value>,
        given: &mut Vec<Value>,
    ) -> Result<(), Fault> {
        let Callee { function: Function { params, .. }, fixed, variadic, .. } = *callee;
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
                _ => checked(value, param)?,
            });
        }
        if let Some(value) = last {
            let param = params.get(args.len()).filter(|_| args.len() < fixed).copied().or(variadic).unwrap_or("any");
            given.push(checked(value, param)?);
        }
        Ok(())
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

fn checked(value: Value, param: &str) -> Result<Value, Fault> {
    match value {
        value if fits(&value, param) => Ok(value),
        Value::Nil => Err(Fault::Here(format!("invalid value; expected {param}"))),
        value => Err(Fault::Here(format!("wrong type for value; expected {param}; got {}", value.type_name()))),
    }
}
