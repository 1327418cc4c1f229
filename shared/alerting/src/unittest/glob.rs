//! Patterns of file names: `*` and `?` within a name, `[a-z]`, `\` before what is meant as it is.

/// Names that one pattern may give.
const FOUND_MAX: usize = 10_000;

/// Paths that a pattern names, sorted; one without wildcards names itself where it exists. `list` gives the names within
/// a folder (of `""`, the current one), and nothing for what is no folder.
pub fn resolve(pattern: &str, list: &dyn Fn(&str) -> Vec<String>) -> Vec<String> {
    let root = if pattern.starts_with('/') { "/" } else { "" };
    let mut paths = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for path in &paths {
            if matches!(part, "." | "..") {
                next.push(joined(path, part));
                continue;
            }
            let mut names = list(path);
            names.sort();
            next.extend(names.into_iter().filter(|name| matches(part, name)).map(|name| joined(path, &name)));
            next.truncate(FOUND_MAX);
        }
        paths = next;
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn joined(folder: &str, name: &str) -> String {
    if folder.is_empty() || folder.ends_with('/') { format!("{folder}{name}") } else { format!("{folder}/{name}") }
}

/// Whether a name is of a pattern. Takes time in proportion to both lengths multiplied.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and how far it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(after) = one(&pattern, p, name.get(n)) {
            (p, n) = (after, n + 1);
        } else if p == pattern.len() && n == name.len() {
            return true;
        } else if let Some((at, reach)) = star.filter(|(_, reach)| *reach < name.len()) {
            star = Some((at, reach + 1));
            (p, n) = (at + 1, reach + 1);
        } else {
            return false;
        }
    }
}

/// Where the pattern goes on, if what stands at `p` is a character and fits this one.
fn one(pattern: &[char], p: usize, c: Option<&char>) -> Option<usize> {
    let c = *c?;
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' => (*pattern.get(p + 1)? == c).then_some(p + 2),
        '[' => {
            let (mut at, mut fits) = (p + 1, false);
            let negated = pattern.get(at) == Some(&'^');
            at += usize::from(negated);
            let first = at;
            loop {
                let low = *pattern.get(at)?;
                if low == ']' && at > first {
                    return (fits != negated).then_some(at + 1);
                }
                let high = match (pattern.get(at + 1), pattern.get(at + 2)) {
                    (Some('-'), Some(high)) if *high != ']' => {
                        at += 2;
                        *high
                    }
                    _ => low,
                };
                fits |= (low..=high).contains(&c);
                at += 1;
            }
        }
        plain => (*plain == c).then_some(p + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name, expected) in [
            ("rules.yml", "rules.yml", true),
            ("*.yml", "rules.yml", true),
            ("*.yml", "rules.yaml", false),
            ("r*s*.yml", "rules-bad.yml", true),
            ("r?les", "rules", true),
            ("r?les", "rles", false),
            ("[a-r]ules", "rules", true),
            ("[^a-r]ules", "rules", false),
            ("[]x]", "]", true),
            ("[x", "x", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("*", "", true),
            ("", "", true),
            ("**a", "bba", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(199)), "and it ends");
    }

    #[test]
    fn patterns_name_paths() {
        let list = |folder: &str| -> Vec<String> {
            let names: &[&str] = match folder {
                "" | "." | ".." => &["b.yml", "a.yml", "sub"],
                "sub" | "./sub" | "../sub" | "/etc" => &["c.yml", "d.txt"],
                "/" => &["etc"],
                _ => &[],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        for (pattern, expected) in [
            ("*.yml", &["a.yml", "b.yml"][..]),
            ("a.yml", &["a.yml"]),
            ("gone.yml", &[]),
            ("sub/*.yml", &["sub/c.yml"]),
            ("*/c*", &["sub/c.yml"]),
            ("./sub/c.yml", &["./sub/c.yml"]),
            ("../sub/*", &["../sub/c.yml", "../sub/d.txt"]),
            ("/etc/*.yml", &["/etc/c.yml"]),
            ("", &[]),
        ] {
            assert_eq!(resolve(pattern, &list), expected, "{pattern}");
        }
    }
}
