use super::*;
use proptest::prelude::*;

fn error(text: &str) -> String {
    parse(text).map(|expr| print::line(&expr)).unwrap_err().to_string()
}

fn round(text: &str) -> String {
    print::line(&parse(text).unwrap_or_else(|error| panic!("{text}: {error}")))
}

#[test]
fn operators_bind_as_in_prometheus() {
    // What stands in parentheses is what the other would be.
    for (text, meant) in [
        ("-1 ^ 2", "-(1 ^ 2)"),
        ("2 ^ 3 ^ 2", "2 ^ (3 ^ 2)"),
        ("2 ^ -1 ^ 2", "2 ^ (-(1 ^ 2))"),
        ("1 - 2 - 3", "(1 - 2) - 3"),
        ("1 + 2 * 3 % 4", "1 + ((2 * 3) % 4)"),
        ("a or b and c unless d", "a or ((b and c) unless d)"),
        ("a + b > c or d", "((a + b) > c) or d"),
        ("-a * b", "(-a) * b"),
        ("a atan2 b * c", "(a atan2 b) * c"),
        ("-a offset 5m", "-(a offset 5m)"),
    ] {
        // Shapes are compared without the parentheses themselves.
        let bare = |text: &str| shape(&parse(text).unwrap());
        assert_eq!(bare(text), bare(meant), "{text}");
    }
}

/// An expression with parentheses around each operation, and none of its own.
fn shape(expr: &Expr) -> String {
    use ast::Kind;
    match &*expr.bare().kind {
        Kind::Binary(binary) => format!("({} {} {})", shape(&binary.left), binary.op.as_str(), shape(&binary.right)),
        Kind::Unary(_, inner) => format!("(-{})", shape(inner)),
        _ => print::line(expr.bare()),
    }
}

#[test]
fn text_comes_back_in_canonical_form() {
    for (text, canonical) in [
        ("sum( a ) by(b,c)", "sum by (b, c) (a)"),
        ("SUM without () (a)", "sum without () (a)"),
        ("sum by () (a)", "sum(a)"),
        ("topk(3,{__name__=~'a.*',b!=\"c\"})", "topk(3, {__name__=~\"a.*\",b!=\"c\"})"),
        ("rate(http_total{}[300])", "rate(http_total[5m])"),
        ("a @ 1.5 offset -1h30m", "a @ 1.500 offset -1h30m"),
        ("a[5m] @ start()", "a[5m] @ start()"),
        ("max_over_time(rate(a[5m])[1h:])", "max_over_time(rate(a[5m])[1h:])"),
        ("(a)[1h:30s] offset 1d", "(a)[1h:30s] offset 1d"),
        ("a == bool on(x) group_left(y,z) b", "a == bool on (x) group_left (y, z) b"),
        ("a / ignoring(x) group_right b", "a / ignoring (x) group_right () b"),
        ("a and ignoring() b", "a and b"),
        ("a + fill(0) b", "a + fill(0) b"),
        ("{\"my.metric\", \"l.x\"=`v`}", "{\"my.metric\",\"l.x\"=\"v\"}"),
        ("-0x1F + +Inf", "-31 + +Inf"),
        ("5m", "5m"),
        ("label_replace(a, 'b', '$1', \"\", '\\n')", "label_replace(a, \"b\", \"$1\", \"\", \"\\n\")"),
        ("sum", "sum"),
        ("offset{a='b'}", "offset{a=\"b\"}"),
        ("nan", "NaN"),
        ("a # remark\n + b", "a + b"),
        ("job:up:sum", "job:up:sum"),
        ("info(a, {b=~'.*'})", "info(a, {b=~\".*\"})"),
    ] {
        assert_eq!(round(text), canonical, "{text}");
        assert_eq!(round(canonical), canonical, "{canonical}");
    }
}

#[test]
fn long_expressions_take_several_lines() {
    let long = "sum by (instance) (rate(some_quite_long_metric_name_total{job=\"node\"}[5m])) / on (instance) \
                group_left () topk(5, another_metric_with_a_long_name)";
    let expected = "sum by (instance) (rate(some_quite_long_metric_name_total{job=\"node\"}[5m]))\n/ on (instance) \
                    group_left ()\ntopk(5, another_metric_with_a_long_name)";
    assert_eq!(print::pretty(&parse(long).unwrap()), expected);
    let nested = format!("sum(rate(({})[5m:]))", ["metric_a"; 12].join(" + "));
    let pretty = print::pretty(&parse(&nested).unwrap());
    assert!(pretty.starts_with("sum(\n  rate(\n"), "{pretty}");
    assert_eq!(round(&pretty), round(&nested));
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (text, expected) in [
        ("", "1:1: parse error: no expression found in input"),
        ("up{", "1:4: parse error: unexpected end of input in label matching, expected identifier or \"}\""),
        ("a b", "1:3: parse error: unexpected identifier \"b\""),
        ("(a", "1:3: parse error: unexpected end of input in paren expression, expected \")\""),
        ("a\n + )", "2:4: parse error: unexpected \")\""),
        ("foo(a)", "1:1: parse error: unknown function with name \"foo\""),
        ("rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"),
        ("rate(a[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"),
        ("round()", "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0"),
        ("sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, got scalar"),
        (
            "topk(a)",
            "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1 in call to \"topk\"",
        ),
        ("1 == 1", "1:3: parse error: comparisons between scalars must use BOOL modifier"),
        ("1 + bool 1", "1:3: parse error: bool modifier can only be used on comparison operators"),
        ("1 and a", "1:3: parse error: set operator \"and\" not allowed in binary scalar expression"),
        ("a + on(x) 1", "1:3: parse error: vector matching only allowed between instant vectors"),
        ("a and on(x) group_left b", "1:13: parse error: no grouping allowed for \"and\" operation"),
        ("a + on(x) group_left(x) b", "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once"),
        ("{a=''}", "1:1: parse error: vector selector must contain at least one non-empty matcher"),
        ("{a=~'('}", "1:5: parse error: matcher on label \"a\""),
        ("a{__name__='b'}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""),
        ("a[0]", "1:3: parse error: duration must be greater than 0"),
        ("a[5]5", "1:5: parse error: unexpected number \"5\""),
        ("sum(a)[5m]", "1:7: parse error: ranges only allowed for vector selectors"),
        ("a offset 5m [5m]", "1:13: parse error: no offset modifiers allowed before range"),
        ("a[5m][5m:]", "1:6: parse error: subquery is only allowed on instant vector, got range vector instead"),
        ("1 offset 5m", "1:3: parse error: offset modifier must be preceded by"),
        ("a offset 1m offset 2m", "1:13: parse error: offset may not be set multiple times"),
        ("a @ inf", "1:5: parse error: timestamp out of bounds for @ modifier"),
        (
            "-'a'",
            "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
        ),
        ("sum(a,)", "1:7: parse error: trailing commas not allowed in aggregation args"),
        ("a[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"),
    ] {
        let told = error(text);
        assert!(told.starts_with(expected), "{text:?}: {told}");
    }
}

#[test]
fn nesting_is_bounded_whatever_it_is_made_of() {
    for text in [
        "(".repeat(5000),
        "-".repeat(5000) + "1",
        "a".to_owned() + &" + a".repeat(5000),
        "2".to_owned() + &" ^ 2".repeat(5000),
        "abs(".repeat(5000),
        "sum(".repeat(5000),
        "a".to_owned() + &"[1h:]".repeat(3000),
        "a".to_owned() + &" or a".repeat(3000),
    ] {
        assert!(parse(&text).is_err(), "{}", &text[..20]);
    }
    let deep = format!("{}a{}", "(".repeat(99), ")".repeat(99));
    assert!(parse(&deep).is_ok());
    assert!(parse(&format!("a{}", " + a".repeat(200))).is_ok());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,80}") {
        let _ = parse(&text);
    }

    #[test]
    fn what_is_printed_reads_the_same(words in proptest::collection::vec(
        prop_oneof![
            Just("a"), Just("b{c=\"d\"}"), Just("sum"), Just("by"), Just("("), Just(")"), Just("+"), Just("-"),
            Just("^"), Just("=="), Just("bool"), Just("on"), Just("group_left"), Just("[5m]"), Just("[1h:5m]"),
            Just("offset"), Just("1m"), Just("@"), Just("1"), Just("rate"), Just(","), Just("and"), Just("\"x\""),
        ], 1..12)) {
        let text = words.join(" ");
        if let Ok(expr) = parse(&text) {
            let printed = print::line(&expr);
            let again = parse(&printed);
            prop_assert!(again.is_ok(), "{text:?} -> {printed:?}: {again:?}");
            prop_assert_eq!(print::line(&again.unwrap()), printed);
        }
    }
}
