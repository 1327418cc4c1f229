use super::*;

struct Labels(&'static [(&'static str, &'static str)]);

impl Data for Labels {
    fn label(&self, name: &str) -> &str {
        self.0.iter().find(|(held, _)| *held == name).map_or("", |(_, value)| value)
    }
    fn labels(&self) -> Vec<(&str, &str)> {
        self.0.to_vec()
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
        ("{{define \"x\"}}[{{.}}]{{end}}{{template \"x\" .app}}", "[Web]"),
        ("{{range $k, $v := .}}{{$k}}={{len $v}} {{end}}", "app=3 list=35 path=10 size=3 status=3 took=4 "),
        ("{{addf 1000000 1}} {{$.app}} {{html \"<\"}} {{slice .app 1}}", "1.000001e+06 Web &lt; eb"),
    ] {
        assert_eq!(written(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn what_is_wrong_is_told() {
    for (template, told) in [
        ("{{", "unclosed action"),
        ("{{.a", "unclosed action"),
        ("{{foo .a}}", "function \"foo\" not defined"),
        ("{{if .a}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{define \"x\"}}", "unexpected EOF"),
        ("{{(.a}}", "unclosed left paren"),
        ("{{}}", "missing value for command"),
        ("{{$x}}", "undefined variable \"$x\""),
        ("{{substr 0}}", "wrong number of args for substr: want 3 got 1"),
        ("{{div 1 0}}", "division by zero"),
        ("{{regexReplaceAll \"(\" .app \"\"}}", "error parsing regexp: missing closing ): `(`"),
        ("{{repeat 99999999 \"abc\"}}", "more than 1048576 bytes"),
        ("{{range $i := 5000}}{{range $j := 5000}}{{end}}{{end}}", "more than 20000 steps"),
        ("{{eq .status 503}}", "incompatible types for comparison"),
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
