//! Evaluation of templates.

use super::functions;
use super::parse::{Command, Node, Operand, Pipe};
use super::text::Regexes;
use super::value::Value;

/// Nodes that are evaluated for one line; `range` in `range` would take long otherwise.
const WORK_MAX: usize = 20_000;
/// Bytes that are written for one line, and longest text that a function may make.
pub(super) const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// What a template looks at.
pub(crate) trait Data {
    /// Value of a label; empty where it is absent.
    fn label(&self, name: &str) -> &str;
    /// The line as it is so far.
    fn line(&self) -> String;
    /// The line's time, in nanoseconds since 1970.
    fn at_nanos(&self) -> i64;
}

/// Evaluates nodes and writes what comes of them behind `out`.
pub(super) fn run(nodes: &[Node], data: &dyn Data, regexes: &Regexes, out: &mut String) -> Result<(), String> {
    let mut run = Run { data, regexes, variables: Vec::new(), work: 0, limit: out.len() + OUTPUT_BYTES_MAX };
    run.nodes(nodes, None, out)
}

struct Run<'a> {
    data: &'a dyn Data,
    regexes: &'a Regexes,
    /// The innermost last.
    variables: Vec<(String, Value)>,
    work: usize,
    /// Longest output.
    limit: usize,
}

impl Run<'_> {
    /// `dot`: what `.` is; `None` for the labels.
    fn nodes(&mut self, nodes: &[Node], dot: Option<&Value>, out: &mut String) -> Result<(), String> {
        let held = self.variables.len();
        for node in nodes {
            self.charge()?;
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Action(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    if pipe.declares.is_none() {
                        out.push_str(&value.text());
                    }
                }
                Node::If(branches, otherwise) => {
                    let mut taken = otherwise;
                    for (condition, body) in branches {
                        if self.pipe(condition, dot)?.is_true() {
                            taken = body;
                            break;
                        }
                    }
                    self.nodes(taken, dot, out)?;
                }
                Node::With { pipe, body, otherwise } => {
                    let value = self.pipe(pipe, dot)?;
                    if value.is_true() {
                        self.nodes(body, Some(&value), out)?;
                    } else {
                        self.nodes(otherwise, dot, out)?;
                    }
                }
                Node::Range { names, over, body, otherwise } => {
                    let items = items(self.pipe(over, dot)?)?;
                    if items.is_empty() {
                        self.nodes(otherwise, dot, out)?;
                    }
                    for (key, item) in items {
                        self.charge()?;
                        let outer = self.variables.len();
                        match names.as_slice() {
                            [one] => self.variables.push((one.clone(), item.clone())),
                            [first, second] => {
                                self.variables.push((first.clone(), key));
                                self.variables.push((second.clone(), item.clone()));
                            }
                            _ => {}
                        }
                        self.nodes(body, Some(&item), out)?;
                        self.variables.truncate(outer);
                    }
                }
            }
            if out.len() > self.limit {
                return Err(format!("template writes more than {OUTPUT_BYTES_MAX} bytes"));
            }
        }
        self.variables.truncate(held);
        Ok(())
    }

    fn charge(&mut self) -> Result<(), String> {
        self.work += 1;
        if self.work > WORK_MAX { Err(format!("template takes more than {WORK_MAX} steps")) } else { Ok(()) }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: Option<&Value>) -> Result<Value, String> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, dot, last)?);
        }
        let value = last.unwrap_or(Value::NIL);
        if let Some(name) = &pipe.declares {
            self.variables.push((name.clone(), value.clone()));
        }
        Ok(value)
    }

    /// `last`: what the command before gave, which comes behind the other arguments.
    fn command(&mut self, command: &Command, dot: Option<&Value>, last: Option<Value>) -> Result<Value, String> {
        self.charge()?;
        let mut args = Vec::with_capacity(command.args.len() + 1);
        for arg in &command.args {
            args.push(self.operand(arg, dot)?);
        }
        args.extend(last);
        match command.function {
            Some(function) => functions::call(function, args, self.data, self.regexes),
            None => Ok(args.pop().unwrap_or(Value::NIL)),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: Option<&Value>) -> Result<Value, String> {
        Ok(match operand {
            Operand::Field(fields) => match (dot, fields.as_slice()) {
                (Some(dot), fields) => dot.clone().below(fields),
                (None, [name]) => Value::Text(self.data.label(name).to_owned()),
                (None, []) => return Err("\".\" stands for all labels here; name one, such as .app".into()),
                (None, _) => return Err("a label has no fields; fromJson makes some".into()),
            },
            // `$` alone is what the template began with: the labels.
            Operand::Variable(name, fields) if name.is_empty() => match fields.as_slice() {
                [label] => Value::Text(self.data.label(label).to_owned()),
                _ => return Err("\"$\" stands for all labels; name one, such as $.app".into()),
            },
            Operand::Variable(name, fields) => {
                let held = self.variables.iter().rev().find(|(held, _)| held == name);
                held.ok_or_else(|| format!("undefined variable \"${name}\""))?.1.clone().below(fields)
            }
            Operand::Text(text) => Value::Text(text.clone()),
            Operand::Int(whole) => Value::Int(*whole),
            Operand::Float(number) => Value::Float(*number),
            Operand::Bool(value) => Value::Bool(*value),
            Operand::Nil => Value::NIL,
            Operand::Group(pipe, fields) => self.pipe(pipe, dot)?.below(fields),
        })
    }
}

/// What `range` goes over: keys or places, and values.
fn items(value: Value) -> Result<Vec<(Value, Value)>, String> {
    match value {
        #[expect(clippy::cast_possible_wrap, reason = "a place in an array")]
        Value::Json(serde_json::Value::Array(items)) => {
            Ok(items.into_iter().enumerate().map(|(at, item)| (Value::Int(at as i64), Value::of_json(item))).collect())
        }
        Value::Json(serde_json::Value::Object(fields)) => {
            Ok(fields.into_iter().map(|(key, item)| (Value::Text(key), Value::of_json(item))).collect())
        }
        Value::Int(count) => {
            Ok((0..count.clamp(0, WORK_MAX as i64)).map(|at| (Value::Int(at), Value::Int(at))).collect())
        }
        Value::Json(serde_json::Value::Null) => Ok(Vec::new()),
        Value::Text(text) if text.is_empty() => Ok(Vec::new()),
        _ => Err("range can't iterate over a text; fromJson makes a list of one".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Template;
    use super::*;

    struct Labels(&'static [(&'static str, &'static str)]);

    impl Data for Labels {
        fn label(&self, name: &str) -> &str {
            self.0.iter().find(|(held, _)| *held == name).map_or("", |(_, value)| value)
        }
        fn line(&self) -> String {
            "the line".into()
        }
        fn at_nanos(&self) -> i64 {
            1_700_000_000_123_000_000
        }
    }

    fn written(template: &str) -> Result<String, String> {
        let data = Labels(&[
            ("app", "Web"),
            ("status", "503"),
            ("took", "1.5s"),
            ("size", "2KB"),
            ("list", r#"[{"n":"a","v":1},{"n":"b","v":2.5}]"#),
            ("path", "/a/b?c=d e"),
        ]);
        let mut out = String::new();
        Template::parse(template)?.run(&data, &mut out).map(|()| out)
    }

    #[test]
    fn what_templates_write() {
        for (template, expected) in [
            ("{{.app}}: {{ .gone }}|{{- \" x \" -}}  | end", "Web: | x | end"),
            ("{{__line__}} {{.app | ToLower}} {{ToUpper .app}}", "the line web WEB"),
            ("{{if eq .status \"503\"}}bad{{else}}good{{end}}", "bad"),
            ("{{if .gone}}a{{else if .app}}b{{else}}c{{end}}", "b"),
            ("{{if and .app (not .gone)}}y{{end}}{{if or .gone .app}}z{{end}}", "yz"),
            ("{{ $x := .app }}{{ $x | lower | printf \"%-5s|%5s\" $x }}", "Web  |  web"),
            ("{{range $i, $e := fromJson .list}}{{$i}}={{$e.n}}:{{.v}};{{end}}", "0=a:1;1=b:2.5;"),
            ("{{range fromJson .gone}}x{{else}}none{{end}}", "none"),
            ("{{range fromJson .app}}x{{else}}no JSON{{end}}", "no JSON"),
            ("{{with .app}}{{.}}{{end}}", "Web"),
            ("{{default \"d\" .gone}}{{.app | default \"d\"}}", "dWeb"),
            ("{{substr 0 2 .app}} {{trunc 1 .app}} {{trunc -1 .app}}", "We W b"),
            ("{{regexReplaceAll \"(b)\" .app \"<$1>\"}} {{regexReplaceAllLiteral \"b\" .app \"$1\"}}", "We<b> We$1"),
            ("{{Replace .app \"e\" \"3\" -1}} {{.app | replace \"e\" \"4\"}}", "W3b W4b"),
            ("{{add 1 2 3}} {{sub 5 2}} {{mul 2 3}} {{div 7 2}} {{mod 7 2}}", "6 3 6 3 1"),
            ("{{addf 1.5 2}} {{divf 1 4}} {{round 1.256 2}} {{ceil 1.2}} {{floor 1.8}}", "3.5 0.25 1.26 2 1"),
            ("{{int .status}} {{float64 \"1.50\"}} {{max 1 3 2}} {{minf 1.5 0.5}}", "503 1.5 3 0.5"),
            ("{{duration .took}} {{duration_seconds .took}} {{bytes .size}}", "1.5 1.5 2000"),
            ("{{hasPrefix \"We\" .app}} {{contains \"x\" .app}} {{len .app}}", "true false 3"),
            ("{{trimAll \"$\" \"$5$\"}}{{trimPrefix \"a\" \"ab\"}}{{TrimSuffix \"ab\" \"b\"}}{{trim \" c \"}}", "5bac"),
            ("{{repeat 3 \"ab\"}} {{title \"ab cd\"}} {{indent 2 \"a\\nb\"}}", "ababab Ab Cd   a\n  b"),
            ("{{alignLeft 5 .app}}|{{alignRight 5 .app}}|{{alignLeft 2 .app}}", "Web  |  Web|We"),
            ("{{urlencode .path}} {{urldecode \"a%20b+c\"}}", "%2Fa%2Fb%3Fc%3Dd+e a b c"),
            ("{{b64enc .app}} {{b64dec \"V2Vi\"}}", "V2Vi Web"),
            ("{{count \"e|b\" .app}}", "2"),
            ("{{__timestamp__ | date \"2006-01-02T15:04:05.000Z07:00\"}}", "2023-11-14T22:13:20.123Z"),
            ("{{unixEpoch __timestamp__}} {{unixEpochMillis __timestamp__}}", "1700000000 1700000000123"),
            ("{{\"1700000000\" | unixToTime | date \"02 Jan 06 Mon 03:04PM\"}}", "14 Nov 23 Tue 10:13PM"),
            ("{{(index (fromJson .list) 1).n}}", "b"),
            ("{{printf \"%d %05.2f %q %v %x %t %%\" 5 1.5 .app .app 255 true}}", "5 01.50 \"Web\" Web ff true %"),
            ("{{lt 1 2}} {{ge .status \"5\"}} {{ne 1 1}}", "true true false"),
            ("{{/* said */}}{{.app}}", "Web"),
            ("{{ `}}` }}", "}}"),
        ] {
            assert_eq!(written(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (template, told) in [
            ("{{", "{{ without }}"),
            ("{{.a", "{{ without }}"),
            ("{{foo .a}}", "function \"foo\" not defined"),
            ("{{if .a}}x", "{{if}} without {{end}}"),
            ("{{end}}", "{{end}} or {{else}} without a block"),
            ("{{define \"x\"}}", "{{define}} is not known here"),
            ("{{(.a}}", "\"(\" without \")\""),
            ("{{}}", "missing value for command"),
            ("{{$x}}", "undefined variable \"$x\""),
            ("{{substr 0}}", "substr takes 3 arguments, not 1"),
            ("{{div 1 0}}", "division by zero"),
            ("{{regexReplaceAll \"(\" .app \"\"}}", "no usable regular expression"),
            ("{{repeat 99999999 \"abc\"}}", "more than 1048576 bytes"),
            ("{{range $i := 5000}}{{range $j := 5000}}{{end}}{{end}}", "more than 20000 steps"),
            ("{{range $i := 100}}{{repeat 20000 \"a\"}}{{end}}", "more than 1048576 bytes"),
        ] {
            let error = written(template).unwrap_err();
            assert!(error.contains(told), "{template}: {error}");
        }
        assert!(Template::parse(&"{{if .a}}".repeat(100)).is_err());
        assert!(Template::parse(&format!("{{{{{}", "(".repeat(100))).is_err());
        assert!(Template::parse(&format!("{{{{{}.a{}}}}}", "(".repeat(100), ")".repeat(100))).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_template_panics(text in r#"(\{\{|\}\}|-| |if|else|end|range|\.a|\$x|:=|\||\(|\)|"b"|1|printf|substr|é){0,14}"#) {
            let _ = written(&text);
        }
    }
}
