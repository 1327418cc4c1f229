//! What templates write, and how what is wrong is told.

use crate::{Functions, Limits, Map, Object, Template, Templates, Time, Value};
use std::sync::Arc;

const LIMITS: Limits = Limits { steps: 20_000, bytes: 1 << 20, escapes_html: false };

/// A list with a method, as alerts have `Firing`.
#[derive(Debug)]
struct Alerts(Vec<&'static str>);

impl Object for Alerts {
    fn type_name(&self) -> &str {
        "template.Alerts"
    }

    fn field(&self, name: &str) -> Option<Value> {
        (name == "Firing").then(|| Value::Object(Arc::new(Self(self.0[..1].to_vec()))))
    }

    fn call(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        (name == "Named").then(|| match args {
            [Value::Text(name)] => Ok(Value::Bool(self.0.contains(&&**name))),
            _ => Err("a name is wanted".into()),
        })
    }

    fn plain(&self) -> Option<Value> {
        Some(self.0.iter().map(|name| Value::from(*name)).collect::<Vec<_>>().into())
    }
}

fn data() -> Value {
    let labels = Map::of_texts([("app", "web"), ("zone", "b")].into_iter());
    let list = vec![Value::Int(3), Value::Int(1), Value::Int(2)];
    let fields: [(&str, Value); 10] = [
        ("Labels", labels.into()),
        ("List", list.into()),
        ("Empty", Vec::new().into()),
        ("Name", "N <b>".into()),
        ("Count", Value::Int(3)),
        ("Ratio", Value::Float(0.5)),
        ("Yes", Value::Bool(true)),
        ("Alerts", Value::Object(Arc::new(Alerts(vec!["one", "two"])))),
        ("At", Value::Time(Time::of_nanos(1_435_065_584_128_000_000))),
        ("Took", Value::Duration(1_800_000_000_000)),
    ];
    Map::new(fields.into_iter().map(|(name, value)| (name.into(), value)).collect(), Value::Nil).into()
}

fn written(text: &str) -> Result<String, String> {
    let template = Template::parse("t", text, &Functions::new(&[])).map_err(|error| error.to_string())?;
    template.text(&data(), LIMITS).map_err(|error| error.to_string())
}

#[test]
fn what_templates_write() {
    for (template, expected) in [
        ("a {{- \" b \" -}} \n c {{/* d */}}e {{- /* f */ -}} g", "a b c eg"),
        ("{{.Name}}|{{.Gone}}|{{.Labels.app}}|{{.Labels.gone}}|", "N <b>|<no value>|web||"),
        ("{{.Count}} {{.Ratio}} {{.Yes}} {{.List}} {{.Labels}}", "3 0.5 true [3 1 2] map[app:web zone:b]"),
        ("{{1.0}} {{1e6}} {{0x10}} {{010}} {{0b11}} {{1_000}} {{'a'}} {{-3}} {{.5}}", "1 1e+06 16 8 3 1000 97 -3 0.5"),
        ("{{\"a\\tb\\u00e9\\x41\\101\"}} {{`r\\n`}}", "a\tbéAA r\\n"),
        ("{{if .Yes}}a{{end}}{{if .Gone}}b{{else if .Empty}}c{{else}}d{{end}}", "ad"),
        ("{{if and .Yes .Count}}a{{end}}{{if or .Gone .Empty}}b{{end}}{{if not .Gone}}c{{end}}", "ac"),
        ("{{and .Empty (index .Empty 5)}}{{or .Name (index .Empty 5)}}", "[]N <b>"),
        (
            "{{with .Labels}}{{.app}}{{$.Count}}{{end}}{{with .Gone}}a{{else with .Name}}{{.}}{{else}}c{{end}}",
            "web3N <b>",
        ),
        ("{{with $x := .Count}}{{$x}}{{end}}{{if $y := 0}}a{{else}}{{$y}}{{end}}", "30"),
        ("{{range .List}}{{.}},{{end}}{{range .Empty}}a{{else}}none{{end}}", "3,1,2,none"),
        (
            "{{range $i, $e := .List}}{{$i}}={{$e}} {{end}}{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}",
            "0=3 1=1 2=2 app=web zone=b ",
        ),
        ("{{range $e := .List}}{{if eq $e 1}}{{continue}}{{end}}{{$e}}{{end}}", "32"),
        ("{{range .List}}{{if eq . 1}}{{break}}{{end}}{{.}}{{end}}", "3"),
        ("{{range 3}}{{.}}{{end}}{{range $i, $x := 2}}{{$i}}{{$x}}{{end}}", "0120011"),
        (
            "{{$n := 0}}{{range .List}}{{$n = .}}{{end}}{{$n}}{{$n := 7}}{{if true}}{{$n := 8}}{{$n}}{{end}}{{$n}}",
            "287",
        ),
        (
            "{{define \"x\"}}[{{.}}{{$}}]{{end}}{{template \"x\" .Count}}{{template \"x\"}}",
            "[33][<no value><no value>]",
        ),
        ("{{block \"y\" .Labels}}{{.app}}{{end}}{{template \"y\" .Labels}}", "webweb"),
        ("{{define \"a\"}}1{{end}}{{define \"a\"}}2{{end}}{{define \"a\"}} {{end}}{{template \"a\"}}", "2"),
        ("{{.Name | printf \"%s-%d\" .Labels.app | len}}", "21"),
        ("{{printf \"%d\" .Count | print \"x\" | printf \"%5s\"}}", "   x3"),
        ("{{(index .List 0)}} {{index .Labels \"app\"}} {{index .Labels \"no\"}}|{{(.Labels).zone}}", "3 web |b"),
        ("{{len .List}} {{len .Labels}} {{len .Name}} {{len .Alerts}}", "3 2 5 2"),
        ("{{slice .Name 2}} {{slice .Name 0 1}} {{slice .List 1 2}}", "<b> N [1]"),
        (
            "{{eq .Count 1 2 3}} {{ne .Name \"x\"}} {{lt 1 2}} {{le 2 2}} {{gt 1.5 2.5}} {{ge \"b\" \"a\"}}",
            "true true true true false true",
        ),
        ("{{eq .Gone nil}} {{eq .Gone \"a\"}}", "true false"),
        ("{{html .Name}} {{js \"a'b<\"}} {{urlquery \"a b&c\"}} {{html 1 2}}", "N &lt;b&gt; a\\'b\\u003C a+b%26c 1 2"),
        ("{{print 1 2 \"a\" \"b\" 3 nil}}{{println \"a\" 1}}", "1 2ab3 <nil>a 1\n"),
        (
            "{{range .Alerts.Firing}}{{.}}{{end}} {{.Alerts.Named \"two\"}} {{\"x\" | .Alerts.Named}} {{.Alerts}}",
            "one true false [one two]",
        ),
        ("{{$a := .Alerts}}{{$a.Named \"one\"}}{{($a.Named \"one\")}}{{len $a.Firing}}", "truetrue1"),
        (
            "{{.At}} {{.At.Format \"2006\"}} {{.At.Unix}} {{.At.UTC.Year}} {{.At.Month}} {{.At.Weekday}}",
            "2015-06-23 13:19:44.128 +0000 UTC 2015 1435065584 2015 June Tuesday",
        ),
        ("{{.Took}} {{.Took.String}} {{.Took.Seconds}} {{.Took.Hours}} {{.Took.Minutes}}", "30m0s 30m0s 1800 0.5 30"),
        ("{{ (.At.Add .Took).Format \"15:04\" }} {{ .At.Sub .At }} {{ .At.Before (.At.Add .Took) }}", "13:49 0s true"),
        ("{{- /* only */ -}}", ""),
        ("a{{-\n1 -}}\nb", "a1b"),
        ("{{\n.Count\n}}", "3"),
    ] {
        assert_eq!(written(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_wrong_is_told_as_go_tells_it() {
    for (template, told) in [
        ("{{", "template: t:1: unclosed action"),
        ("a\nb\n{{ .a", "template: t:3: unclosed action"),
        ("{{}}", "template: t:1: missing value for command"),
        ("{{if}}a{{end}}", "template: t:1: missing value for if"),
        ("{{foo .a}}", "template: t:1: function \"foo\" not defined"),
        ("{{if .a}}x", "template: t:1: unexpected EOF"),
        ("{{range .a}}x", "template: t:1: unexpected EOF"),
        ("{{end}}", "template: t:1: unexpected {{end}}"),
        ("{{else}}", "template: t:1: unexpected {{else}}"),
        ("{{if .a}}{{else}}{{else}}{{end}}", "template: t:1: expected end; found {{else}}"),
        ("{{$x}}", "template: t:1: undefined variable \"$x\""),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "template: t:1: undefined variable \"$x\""),
        ("{{$x = 1}}", "template: t:1:7: executing \"t\" at <1>: undefined variable: $x"),
        ("{{(.a}}", "template: t:1: unclosed left paren"),
        ("{{.a)}}", "template: t:1: unexpected right paren"),
        ("{{.a | | 1}}", "template: t:1: unexpected \"|\" in command"),
        ("{{.a | 1}}", "template: t:1: non executable command in pipeline stage 2"),
        ("{{1 2 .}", "template: t:1: unexpected \"}\" in operand"),
        ("{{break}}", "template: t:1: {{break}} outside {{range}}"),
        ("{{template}}", "template: t:1: unexpected \"}}\" in template clause"),
        ("{{\"a\".b}}", "template: t:1: unexpected . after term \"\\\"a\\\"\""),
        ("{{.Count.x}}", "template: t:1:8: executing \"t\" at <.Count.x>: can't evaluate field x in type int"),
        ("ab\n {{.Name.x}}", "template: t:2:8: executing \"t\" at <.Name.x>: can't evaluate field x in type string"),
        ("{{template \"x\"}}", "template: t:1:11: executing \"t\" at <{{template \"x\"}}>: template \"x\" not defined"),
        (
            "{{define \"x\"}}{{.a.b}}{{end}}{{template \"x\" 1}}",
            "template: t:1:18: executing \"x\" at <.a.b>: can't evaluate field a in type int",
        ),
        (
            "{{index .List 5}}",
            "template: t:1:2: executing \"t\" at <index .List 5>: error calling index: index out of range: 5",
        ),
        (
            "{{index .Labels 5}}",
            "template: t:1:2: executing \"t\" at <index .Labels 5>: error calling index: value has type int; should be string",
        ),
        (
            "{{eq .Count \"a\"}}",
            "template: t:1:2: executing \"t\" at <eq .Count \"a\">: error calling eq: incompatible types for comparison",
        ),
        (
            "{{lt true false}}",
            "template: t:1:2: executing \"t\" at <lt true false>: error calling lt: invalid type for comparison",
        ),
        ("{{len 3}}", "template: t:1:2: executing \"t\" at <len 3>: error calling len: len of type int"),
        ("{{len}}", "template: t:1:2: executing \"t\" at <len>: wrong number of args for len: want 1 got 0"),
        (
            "{{printf}}",
            "template: t:1:2: executing \"t\" at <printf>: wrong number of args for printf: want at least 1 got 0",
        ),
        ("{{printf 3}}", "template: t:1:9: executing \"t\" at <3>: expected string; found 3"),
        (
            "{{printf .Count}}",
            "template: t:1:9: executing \"t\" at <.Count>: wrong type for value; expected string; got int",
        ),
        (
            "{{range .Count.x}}{{end}}",
            "template: t:1:14: executing \"t\" at <.Count.x>: can't evaluate field x in type int",
        ),
        ("{{range .Yes}}{{end}}", "template: t:1:8: executing \"t\" at <.Yes>: range can't iterate over true"),
        ("{{1 2}}", "template: t:1:2: executing \"t\" at <1>: can't give argument to non-function 1"),
        ("{{nil}}", "template: t:1:2: executing \"t\" at <nil>: nil is not a command"),
        (
            "{{.Labels.app 1}}",
            "template: t:1:9: executing \"t\" at <.Labels.app>: app is not a method but has arguments",
        ),
        (
            "{{.Alerts.Gone}}",
            "template: t:1:9: executing \"t\" at <.Alerts.Gone>: can't evaluate field Gone in type template.Alerts",
        ),
        (
            "{{18446744073709551615}}",
            "template: t:1:2: executing \"t\" at <18446744073709551615>: 18446744073709551615 overflows int",
        ),
        (
            "{{call .Name}}",
            "template: t:1:2: executing \"t\" at <call .Name>: error calling call: non-function of type string",
        ),
    ] {
        assert_eq!(written(template), Err(told.to_owned()), "{template}");
    }
}

#[test]
fn no_template_takes_long_or_much() {
    for (template, told) in [
        ("{{range $i := 5000}}{{range $j := 5000}}{{end}}{{end}}", "more than 20000 steps"),
        (
            "{{printf \"%9999d\" 1 | printf \"%[1]s%[1]s\"}}{{range 1000}}{{printf \"%9999d\" 1}}{{end}}",
            "more than 1048576 bytes",
        ),
        ("{{$x := printf \"%9999d\" 1}}{{range 100}}{{$x = printf \"%s%s\" $x $x}}{{end}}", "more than 1048576 bytes"),
        ("{{$x := \"\"}}{{range 2000}}{{$x = printf \"%9999d\" 1}}{{end}}", "more than 8388608 bytes"),
        ("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "nested more than 100 deep"),
    ] {
        let error = written(template).unwrap_err();
        assert!(error.contains(told), "{template}: {error}");
    }
    // What holds another twice is written no longer than the bound.
    let mut doubled = Value::from("x");
    for _ in 0..40 {
        doubled = vec![doubled.clone(), doubled].into();
    }
    assert!(crate::print(std::slice::from_ref(&doubled)).len() < 10 << 20);
    assert!(crate::printf("%v %d", &[doubled.clone(), doubled], 1 << 20).is_err());
    for deep in [
        "{{if .a}}".repeat(100),
        format!("{{{{{}", "(".repeat(100)),
        format!("{{{{{}.a{}}}}}", "(".repeat(100), ")".repeat(100)),
        format!("{{{{define \"x\"}}}}{}", "{{if .a}}".repeat(100)),
    ] {
        assert!(written(&deep).is_err_and(|error| error.contains("nested more than 32 deep")), "{deep}");
    }
    let long = "{{else if .Gone}}b".repeat(1000);
    assert_eq!(written(&format!("{{{{if .Gone}}}}a{long}{{{{end}}}}")).as_deref(), Ok(""));
}

#[test]
fn html_is_escaped_once() {
    let text = "<p>{{.Name}}</p>{{define \"x\"}}{{.}}{{end}}{{template \"x\" .Name}}{{html .Name}}";
    let template = Template::parse("t", text, &Functions::new(&[])).unwrap();
    let limits = Limits { escapes_html: true, ..LIMITS };
    assert_eq!(template.text(&data(), limits).as_deref(), Ok("<p>N &lt;b&gt;</p>N &lt;b&gt;N &lt;b&gt;"));
}

#[test]
fn templates_of_a_set_call_each_other() {
    let mut set = Templates::new(Functions::new(&[]));
    set.add("default.tmpl", "{{define \"title\"}}[{{template \"name\" .}}]{{end}}{{define \"name\"}}old{{end}}")
        .unwrap();
    set.add("mine.tmpl", "{{define \"name\"}}{{.Name}}{{end}}").unwrap();
    let template = set.parse("", "{{template \"title\" .}}").unwrap();
    assert_eq!(template.text(&data(), LIMITS).as_deref(), Ok("[N <b>]"));
    assert!(set.add("bad.tmpl", "{{define \"name\"}}x{{end}}{{").is_err());
    assert_eq!(set.names().collect::<Vec<_>>(), ["default.tmpl", "mine.tmpl", "name", "title"]);
}

proptest::proptest! {
    #[test]
    fn no_template_panics(text in r#"(\{\{|\}\}|-| |if|else|end|range|with|define|template|block|\.a|\.List|\$x|:=|=|\||\(|\)|"b"|'c'|`|1|0x|printf|index|slice|len|break|,|é|\n){0,16}"#) {
        let _ = written(&text);
    }

    #[test]
    fn no_format_panics(format in r"(%|[0-9]|\*|\.|\[|\]|-|\+|#| |d|s|v|q|x|f|g|e|c|U|é){0,12}", int: i64, float: f64, text in ".{0,5}") {
        let _ = crate::printf(&format, &[Value::Int(int), Value::Float(float), text.into()], 100_000);
    }

    #[test]
    fn no_layout_panics(layout in r"(2006|Jan|Mon|Z07:00|-0700|\.0|\.9|,0|[0-9]|_2|é|PM){0,8}", nanos: i64) {
        let _ = Time::of_nanos(nanos).format(&layout);
    }

    #[test]
    fn shortest_floats_read_back(number: f64) {
        let text = crate::float_text(number);
        let read = crate::parsed_float(&text).unwrap();
        proptest::prop_assert!(read.to_bits() == number.to_bits() || number.is_nan());
    }
}
