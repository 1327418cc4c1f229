//! Cases of upstream's suites.

use super::*;
use crate::manager::vectors;

fn parts(matchers: &[Matcher]) -> Vec<(Op, &str, &str)> {
    matchers.iter().map(|matcher| (matcher.op(), matcher.name(), matcher.value())).collect()
}

#[test]
fn values_match_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_matchers.json");
    for case in vectors::list(&file, "match") {
        let text = |key: &str| case[key].as_str().unwrap();
        let matcher = Matcher::new("l", Op::parse(text("op")).unwrap(), text("pattern")).unwrap();
        assert_eq!(matcher.matches(text("value")), case["expect"].as_bool().unwrap(), "{case}");
    }
}

#[test]
fn the_classic_syntax_is_read_as_in_upstreams_suite() {
    let file = vectors::json("alertmanager_matchers.json");
    for case in vectors::list(&file, "parse_classic") {
        let found = classic::parse_all(case["input"].as_str().unwrap());
        let Some(expected) = case["expect"]["matchers"].as_array() else {
            assert_eq!(found.unwrap_err(), case["expect"]["error"].as_str().unwrap(), "{case}");
            continue;
        };
        let text = |value: &serde_json::Value, key: &str| value[key].as_str().unwrap().to_owned();
        let expected: Vec<(Op, String, String)> =
            expected.iter().map(|m| (Op::parse(&text(m, "op")).unwrap(), text(m, "name"), text(m, "value"))).collect();
        let found = found.unwrap();
        let found: Vec<(Op, String, String)> =
            parts(&found).into_iter().map(|(op, name, value)| (op, name.to_owned(), value.to_owned())).collect();
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn the_new_syntax_takes_any_name_and_quotes() {
    use Op::{Equal, NotEqual, NotRegex, Regex};
    for (input, expected) in [
        ("", vec![]),
        ("{}", vec![]),
        ("{ }", vec![]),
        ("{foo=bar}", vec![(Equal, "foo", "bar")]),
        ("{foo=bar,}", vec![(Equal, "foo", "bar")]),
        ("foo=bar,", vec![(Equal, "foo", "bar")]),
        ("foo!=bar", vec![(NotEqual, "foo", "bar")]),
        ("{foo=~[a-z]+}", vec![(Regex, "foo", "[a-z]+")]),
        ("{foo!~[a-z]+}", vec![(NotRegex, "foo", "[a-z]+")]),
        ("{foo=🙂bar}", vec![(Equal, "foo", "🙂bar")]),
        ("{\"foo\"=\"bar\"}", vec![(Equal, "foo", "bar")]),
        (r#"{"foo"="\xf0\x9f\x99\x82"}"#, vec![(Equal, "foo", "🙂")]),
        (r#"{"foo"="\U0001f642"}"#, vec![(Equal, "foo", "🙂")]),
        (r#"{"foo"="bar\n"}"#, vec![(Equal, "foo", "bar\n")]),
        (r#"{"foo"="bar\t"}"#, vec![(Equal, "foo", "bar\t")]),
        (r#"{"foo"="\"bar\""}"#, vec![(Equal, "foo", "\"bar\"")]),
        (r#"{"foo"="bar\\"}"#, vec![(Equal, "foo", "bar\\")]),
        ("{foo=bar,bar!=baz}", vec![(Equal, "foo", "bar"), (NotEqual, "bar", "baz")]),
        (" { foo = \"bar\" , dings != \"bums\", } ", vec![(Equal, "foo", "bar"), (NotEqual, "dings", "bums")]),
        ("{name-with-dashes = \"bar\"}", vec![(Equal, "name-with-dashes", "bar")]),
    ] {
        let found = utf8::parse_all(input).unwrap_or_else(|error| panic!("{input}: {error}"));
        assert_eq!(parts(&found), expected, "{input}");
    }
}

#[test]
fn faults_of_the_new_syntax_have_their_columns() {
    for (input, problem) in [
        (",", "0:1: unexpected ,: expected label name"),
        ("{,}", "1:2: unexpected ,: expected label name"),
        ("{", "0:1: end of input: expected close brace"),
        ("}", "0:1: }: expected opening brace"),
        ("foo=bar}", "0:8: }: expected opening brace"),
        ("{foo=bar", "0:8: end of input: expected close brace"),
        ("{foo=:\"bar\"}", "6:11: unexpected \"bar\": expected a comma or close brace"),
        ("{foo=\"bar\\w\"}", "5:12: \"bar\\w\": invalid input"),
        ("{foo=bar\\n}", "8:9: \\: invalid input: expected a comma or close brace"),
        ("{\"foo\"=\"\\xf0\\x9f\"}", "7:17: \"\\xf0\\x9f\": invalid input"),
        ("{foo", "end of input: expected an operator such as '=', '!=', '=~' or '!~'"),
        ("{foo=", "end of input: expected label value"),
        ("{foo!bar}", "4:5: !: expected one of '=~': expected an operator such as '=', '!=', '=~' or '!~'"),
        ("{foo=\"bar}", "5:10: \"bar}: missing end \": expected label value"),
        ("{foo=bar},", "9:10: ,: expected end of input"),
        ("{foo=bar,,}", "9:10: unexpected ,: expected a matcher or close brace after comma"),
    ] {
        assert_eq!(utf8::parse_all(input).unwrap_err(), problem, "{input}");
    }
    assert_eq!(utf8::parse("").unwrap_err(), "no matchers");
    assert_eq!(utf8::parse("foo=bar,bar=baz").unwrap_err(), "expected 1 matcher, found 2");
}

#[test]
fn where_the_syntaxes_differ_the_classic_one_wins() {
    for (input, expected) in [
        ("{foo=bar}", Ok(("foo", "bar"))),
        // Only the new one reads these.
        ("{name-with-dashes=bar}", Ok(("name-with-dashes", "bar"))),
        ("{\"föö\"=bar}", Ok(("föö", "bar"))),
        // Only the classic one reads these.
        ("{foo=}", Ok(("foo", ""))),
        ("{foo=bar}}", Ok(("foo", "bar}"))),
        ("foo=bar\\n", Ok(("foo", "bar\n"))),
        // They read it, and differ.
        ("foo=\"\\x41\"", Ok(("foo", "\\x41"))),
        // Neither does.
        ("{{foo=", Err("bad matcher format: {foo=")),
    ] {
        let found = parse_all(input);
        let found = found.as_ref().map(|all| (all[0].name(), all[0].value())).map_err(String::as_str);
        assert_eq!(found, expected, "{input}");
    }
    assert_eq!(parse("{a=b}").unwrap_err(), "unexpected open or close brace: {a=b}");
    assert_eq!(parse("a=~b.*").unwrap().to_string(), "a=~\"b.*\"");
    assert!(parse("a=b,c=d").is_ok_and(|m| m.value() == "b,c=d"), "one classic matcher has a comma in its value");
}

#[test]
fn expressions_match_whole_values_and_no_line_breaks() {
    for (pattern, value, expected) in [
        ("a|b", "b", true),
        ("a|b", "ab", false),
        ("a|b", "", false),
        ("a|", "", true),
        ("", "", true),
        (".*", "", true),
        (".+", "", false),
        ("a.b", "a\nb", false),
        ("(?s)a.b", "a\nb", true),
        ("(?i)ABC", "abc", true),
        ("^(?:x|y)$", "y", true),
        ("5..", "503", true),
    ] {
        let matcher = Matcher::new("l", Op::Regex, pattern).unwrap();
        assert_eq!(matcher.matches(value), expected, "{pattern} on {value:?}");
        assert_eq!(Matcher::new("l", Op::NotRegex, pattern).unwrap().matches(value), !expected);
    }
}

#[test]
fn bad_expressions_are_named_as_go_names_them() {
    for (pattern, problem) in [
        ("invalid[regexp", "error parsing regexp: missing closing ]: `[regexp)$`"),
        ("a(b", "error parsing regexp: missing closing ): `^(?:a(b)$`"),
        ("a)b", "error parsing regexp: unexpected ): `^(?:a)b)$`"),
        ("*", "error parsing regexp: missing argument to repetition operator: `*`"),
        ("a)(b", "error parsing regexp: unexpected ): `^(?:a)(b)$`"),
    ] {
        assert_eq!(Matcher::new("l", Op::Regex, pattern).unwrap_err(), problem, "{pattern}");
    }
    assert!(Matcher::new("l", Op::Regex, &"x.".repeat(5000)).is_err());
    assert!(Matcher::new("l", Op::Regex, "(?:a.){1000}{1000}").is_err());
}

#[test]
fn names_are_quoted_where_they_must_be() {
    for (name, value, shown) in
        [("a", "b", "a=\"b\""), ("a b", "c", "\"a b\"=\"c\""), ("ü", "\"\n\\", "ü=\"\\\"\\n\\\\\"")]
    {
        let matcher = Matcher::new(name, Op::Equal, value).unwrap();
        assert_eq!(matcher.to_string(), shown);
        assert_eq!(utf8::parse(shown).unwrap(), matcher);
    }
}
