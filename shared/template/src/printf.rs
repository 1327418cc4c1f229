//! Go's `fmt.Sprintf`, for the values that templates have.

use crate::number::{float_exponent, float_fixed, float_general, float_text};
use crate::print::{BYTES_MAX, quoted, quoted_by, value};
use crate::value::Value;

/// Widest field and longest precision.
const WIDTH_MAX: usize = 10_000;
/// Longest precision of a number; more digits than this say nothing.
const DIGITS_MAX: usize = 400;

/// What stands between `%` and the verb.
#[derive(Default, Clone, Copy)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

/// A format filled in: verbs `v d s q f F e E g G x X t T b o O c U p %`, flags, width and precision, also by `*` and `[1]`.
///
/// # Errors
/// If more than `bytes_max` bytes come of it. What does not fit together is told in the text, as Go does.
pub fn printf(format: &str, args: &[Value], bytes_max: usize) -> Result<String, String> {
    let mut out = String::new();
    let mut next = 0;
    let mut is_reordered = false;
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut flags = Flags::default();
        while let Some(flag) = rest.chars().next() {
            match flag {
                '-' => (flags.minus, flags.zero) = (true, false),
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                '0' => flags.zero = !flags.minus,
                _ => break,
            }
            rest = &rest[1..];
        }
        let mut is_bad_index = false;
        let index = |rest: &mut &str, next: &mut usize, is_bad: &mut bool| {
            if let Some(behind) = rest.strip_prefix('[')
                && let Some(end) = behind.find(']')
            {
                match behind[..end].parse::<usize>() {
                    Ok(wanted) if (1..=args.len()).contains(&wanted) => *next = wanted - 1,
                    _ => *is_bad = true,
                }
                *rest = &behind[end + 1..];
                return true;
            }
            false
        };
        is_reordered |= index(&mut rest, &mut next, &mut is_bad_index);
        match size(&mut rest, args, &mut next) {
            Size::None => {}
            Size::Of(width) if width < 0 => {
                (flags.minus, flags.zero) = (true, false);
                flags.width = Some(bounded(width.saturating_neg()));
            }
            Size::Of(width) => flags.width = Some(bounded(width)),
            Size::Bad => out.push_str("%!(BADWIDTH)"),
        }
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            is_reordered |= index(&mut rest, &mut next, &mut is_bad_index);
            match size(&mut rest, args, &mut next) {
                Size::None => flags.precision = Some(0),
                Size::Of(precision) if precision < 0 => out.push_str("%!(BADPREC)"),
                Size::Of(precision) => flags.precision = Some(bounded(precision)),
                Size::Bad => out.push_str("%!(BADPREC)"),
            }
        }
        is_reordered |= index(&mut rest, &mut next, &mut is_bad_index);
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        rest = &rest[verb.len_utf8()..];
        match args.get(next) {
            _ if verb == '%' => out.push('%'),
            _ if is_bad_index => out.extend(["%!", verb.encode_utf8(&mut [0; 4]), "(BADINDEX)"]),
            None => out.extend(["%!", verb.encode_utf8(&mut [0; 4]), "(MISSING)"]),
            Some(arg) => {
                next += 1;
                one(arg, verb, flags, &mut out, 0);
            }
        }
        if out.len() > bytes_max {
            return Err(too_long(bytes_max));
        }
    }
    out.push_str(rest);
    if !is_reordered && next < args.len() {
        out.push_str("%!(EXTRA ");
        for (at, arg) in args[next..].iter().enumerate() {
            if at > 0 {
                out.push_str(", ");
            }
            match arg {
                Value::Nil => out.push_str("<nil>"),
                arg => {
                    out.extend([arg.type_name(), "="]);
                    value(arg, &mut out, 0);
                }
            }
        }
        out.push(')');
    }
    if out.len() > bytes_max { Err(too_long(bytes_max)) } else { Ok(out) }
}

fn too_long(bytes_max: usize) -> String {
    format!("printf makes more than {bytes_max} bytes")
}

/// A width or precision.
enum Size {
    None,
    Of(i64),
    Bad,
}

fn size(rest: &mut &str, args: &[Value], next: &mut usize) -> Size {
    if let Some(behind) = rest.strip_prefix('*') {
        *rest = behind;
        let arg = args.get(*next);
        *next += usize::from(arg.is_some());
        return match arg {
            Some(Value::Int(size)) if size.unsigned_abs() <= 1_000_000 => Size::Of(*size),
            _ => Size::Bad,
        };
    }
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, behind) = rest.split_at(length);
    *rest = behind;
    if digits.is_empty() { Size::None } else { Size::Of(digits.parse().unwrap_or(i64::MAX)) }
}

fn bounded(size: i64) -> usize {
    usize::try_from(size).map_or(0, |size| size.min(WIDTH_MAX))
}

/// One verb with its value.
fn one(arg: &Value, verb: char, flags: Flags, out: &mut String, depth: usize) {
    match (verb, arg) {
        ('T', _) => return pad(arg.type_name(), flags, out),
        ('v', Value::Nil) => return pad("<nil>", flags, out),
        (_, Value::Nil) => return bad(arg, verb, flags, out),
        ('v' | 's' | 'q' | 'x' | 'X', Value::Time(_) | Value::Duration(_)) => {
            return text(&arg.moment_text().unwrap_or_default(), verb, flags, out);
        }
        _ => {}
    }
    match arg {
        Value::Bool(value) => match verb {
            't' | 'v' => pad(if *value { "true" } else { "false" }, flags, out),
            _ => bad(arg, verb, flags, out),
        },
        Value::Int(whole) | Value::Duration(whole) => match verb {
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => integer(*whole, verb, flags, out),
            'c' | 'q' | 'U' => {
                let c = u32::try_from(*whole).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                match verb {
                    'c' => pad(c.encode_utf8(&mut [0; 4]), flags, out),
                    'q' => pad(&quoted_by(c.encode_utf8(&mut [0; 4]), '\'', flags.plus), flags, out),
                    _ if flags.sharp => pad(&format!("U+{whole:04X} '{c}'"), flags, out),
                    _ => pad(&format!("U+{whole:04X}"), flags, out),
                }
            }
            _ => bad(arg, verb, flags, out),
        },
        Value::Float(number) => float(*number, arg, verb, flags, out),
        Value::Text(held) | Value::Html(held) => match verb {
            'v' | 's' | 'q' | 'x' | 'X' => text(held, verb, flags, out),
            _ => bad(arg, verb, flags, out),
        },
        Value::Nil | Value::Time(_) => bad(arg, verb, flags, out),
        Value::Object(object) if matches!(verb, 'v' | 's' | 'q') && object.text().is_some() => {
            text(&object.text().unwrap_or_default(), verb, flags, out);
        }
        Value::List(_) | Value::Map(_) | Value::Object(_) => parts(&arg.plain(), verb, flags, out, depth),
    }
}

/// A list or map: the verb for each of what it holds.
fn parts(arg: &Value, verb: char, flags: Flags, out: &mut String, depth: usize) {
    match arg {
        _ if depth > 16 || out.len() > BYTES_MAX => out.push('…'),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                one(item, verb, flags, out, depth + 1);
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push_str("map[");
            for (at, (key, item)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                one(&Value::Text(key.clone()), verb, flags, out, depth + 1);
                out.push(':');
                one(item, verb, flags, out, depth + 1);
            }
            out.push(']');
        }
        other => value(other, out, depth),
    }
}

/// A value that the verb is not for, as Go tells it.
fn bad(arg: &Value, verb: char, flags: Flags, out: &mut String) {
    out.extend(["%!", verb.encode_utf8(&mut [0; 4]), "("]);
    match arg {
        Value::Nil => out.push_str("<nil>"),
        Value::List(_) | Value::Map(_) | Value::Object(_) | Value::Time(_) => {
            out.extend([arg.type_name(), "="]);
            value(arg, out, 0);
        }
        arg => {
            out.extend([arg.type_name(), "="]);
            one(arg, 'v', flags, out, 0);
        }
    }
    out.push(')');
}

fn text(held: &str, verb: char, flags: Flags, out: &mut String) {
    let held = match flags.precision {
        Some(precision) if matches!(verb, 'x' | 'X') => &held[..held.floor_char_boundary(precision.min(held.len()))],
        Some(precision) => held.char_indices().nth(precision).map_or(held, |(at, _)| &held[..at]),
        None => held,
    };
    match verb {
        'q' if flags.sharp && !held.contains(['`', '\n']) && !held.contains(char::is_control) => {
            pad(&format!("`{held}`"), flags, out);
        }
        'v' if flags.sharp => pad(&quoted(held), flags, out),
        'q' if flags.plus => pad(&quoted_by(held, '"', true), flags, out),
        'q' => pad(&quoted(held), flags, out),
        'x' | 'X' => {
            let mut hex = String::with_capacity(held.len() * 2);
            for (at, byte) in held.bytes().enumerate() {
                if flags.space && at > 0 {
                    hex.push(' ');
                }
                if flags.sharp && (at == 0 || flags.space) {
                    hex.push_str(if verb == 'x' { "0x" } else { "0X" });
                }
                hex.push_str(&if verb == 'x' { format!("{byte:02x}") } else { format!("{byte:02X}") });
            }
            pad(&hex, flags, out);
        }
        _ => pad(held, flags, out),
    }
}

fn integer(whole: i64, verb: char, mut flags: Flags, out: &mut String) {
    let size = whole.unsigned_abs();
    let (digits, prefix) = match verb {
        'b' => (format!("{size:b}"), if flags.sharp { "0b" } else { "" }),
        'o' => (format!("{size:o}"), if flags.sharp { "0" } else { "" }),
        'O' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), if flags.sharp { "0x" } else { "" }),
        'X' => (format!("{size:X}"), if flags.sharp { "0X" } else { "" }),
        _ => (size.to_string(), ""),
    };
    let digits = match flags.precision {
        // Nothing at all, as Go has it.
        Some(0) if size == 0 => String::new(),
        Some(precision) => {
            flags.zero = false;
            format!("{}{digits}", "0".repeat(precision.saturating_sub(digits.len())))
        }
        None => digits,
    };
    number(sign(whole < 0, flags), prefix, &digits, flags, out);
}

fn float(held: f64, arg: &Value, verb: char, mut flags: Flags, out: &mut String) {
    let precision = flags.precision.map(|precision| precision.min(DIGITS_MAX));
    let written = match verb {
        'v' if precision.is_none() => float_text(held),
        'v' | 'g' => float_general(held, precision),
        'G' => float_general(held, precision).replace('e', "E"),
        'f' | 'F' => float_fixed(held, precision.unwrap_or(6)),
        'e' => float_exponent(held, precision.unwrap_or(6)),
        'E' => float_exponent(held, precision.unwrap_or(6)).replace('e', "E"),
        _ => return bad(arg, verb, flags, out),
    };
    // Infinity has its sign only where it is asked for or the verb is v.
    let (is_negative, digits) = match written.strip_prefix(['-', '+']) {
        Some(digits) => (written.starts_with('-'), digits),
        None => (false, &*written),
    };
    if !held.is_finite() {
        flags.zero = false;
        flags.plus |= held.is_infinite() && !flags.space;
    }
    number(sign(is_negative, flags), "", digits, flags, out);
}

fn sign(is_negative: bool, flags: Flags) -> &'static str {
    match (is_negative, flags.plus, flags.space) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    }
}

/// A number with its sign: zeros go between the two.
fn number(sign: &str, prefix: &str, digits: &str, flags: Flags, out: &mut String) {
    let length = sign.len() + prefix.len() + digits.len();
    let wanted = flags.width.unwrap_or(0).saturating_sub(length);
    if flags.zero {
        out.extend([sign, prefix, &"0".repeat(wanted), digits]);
    } else {
        pad(&[sign, prefix, digits].concat(), flags, out);
    }
}

/// A text in a field of the wanted width, in characters.
fn pad(text: &str, flags: Flags, out: &mut String) {
    let Some(width) = flags.width else { return out.push_str(text) };
    let wanted = width.saturating_sub(text.chars().count());
    if flags.minus {
        out.push_str(text);
    }
    let with = if flags.zero { '0' } else { ' ' };
    out.extend(std::iter::repeat_n(with, wanted));
    if !flags.minus {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_gos() {
        let (int, float, text) = (Value::Int(42), Value::Float(2.5), Value::from("hé"));
        for (format, args, expected) in [
            ("%d|%5d|%-5d|%05d|%+d|% d", vec![int.clone(); 6], "42|   42|42   |00042|+42| 42"),
            ("%x %X %#x %b %o %O %c %q %U", vec![int.clone(); 9], "2a 2A 0x2a 101010 52 0o52 * '*' U+002A"),
            (
                "%f %.2f %8.3f %-8.1f| %08.2f %e %.1e %g %G",
                vec![float.clone(); 9],
                "2.500000 2.50    2.500 2.5     | 00002.50 2.500000e+00 2.5e+00 2.5 2.5",
            ),
            ("%s|%5s|%-5s|%q|%x|%.1s|%v", vec![text.clone(); 7], "hé|   hé|hé   |\"hé\"|68c3a9|h|hé"),
            ("%t %v %T %%", vec![Value::Bool(true), Value::Bool(false), float.clone()], "true false float64 %"),
            ("%d %s %t", vec![text.clone(), int.clone(), int.clone()], "%!d(string=hé) %!s(int=42) %!t(int=42)"),
            ("%d %z", vec![int.clone(), int.clone()], "42 %!z(int=42)"),
            ("%d %d", vec![int.clone()], "42 %!d(MISSING)"),
            ("x", vec![int.clone(), text.clone()], "x%!(EXTRA int=42, string=hé)"),
            ("%", vec![], "%!(NOVERB)"),
            (
                "%*d|%-*d|%.*f",
                vec![Value::Int(4), int.clone(), Value::Int(4), int.clone(), Value::Int(1), float.clone()],
                "  42|42  |2.5",
            ),
            ("%[2]d %[1]d %[3]d", vec![Value::Int(1), Value::Int(2)], "2 1 %!d(BADINDEX)"),
            ("%v %s %d", vec![Value::Nil, Value::Nil, Value::Nil], "<nil> %!s(<nil>) %!d(<nil>)"),
            ("%5.1f|%+.1f|%6.2f%%", vec![float.clone(), float.clone(), Value::Float(99.5)], "  2.5|+2.5| 99.50%"),
            ("%.0f %.3g %5t|", vec![float.clone(), Value::Float(1234.5), Value::Bool(true)], "2 1.23e+03  true|"),
            (
                "%v %f %05f %d",
                vec![Value::Float(f64::NAN), Value::Float(f64::INFINITY), Value::Float(f64::NAN), float],
                "NaN +Inf   NaN %!d(float64=2.5)",
            ),
            (
                "%v %q %d",
                vec![Value::from(vec![text.clone(), text.clone()]), Value::from(vec![text]), Value::Duration(5)],
                "[hé hé] [\"hé\"] 5",
            ),
            ("%s", vec![Value::Duration(1_800_000_000_000)], "30m0s"),
        ] {
            assert_eq!(printf(format, &args, 1000).as_deref(), Ok(expected), "{format}");
        }
        assert!(printf("%9999d", &[Value::Int(1)], 1000).is_err());
        assert!(printf("%99999999999999999999d", &[Value::Int(1)], 1000).is_err());
    }
}
