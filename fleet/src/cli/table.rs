//! Aligned columns.

/// Widest cell but the last, in characters.
const CELL_MAX: usize = 80;

/// Rows under a head, columns two spaces apart, the last one unbounded. Control characters become spaces, because a
/// node's text must not steer the admin's terminal.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let clean = |cell: &str| cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(|cell| (*cell).to_owned()).collect()];
    lines.extend(rows.iter().map(|row| row.iter().map(|cell| clean(cell)).collect()));
    let mut widths = vec![0; head.len()];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count()).min(CELL_MAX);
        }
    }
    let mut text = String::new();
    for line in &lines {
        let mut row = String::new();
        for (at, cell) in line.iter().enumerate() {
            row.push_str(cell);
            if at + 1 < line.len() {
                let width = widths.get(at).copied().unwrap_or_default();
                row.push_str(&" ".repeat(width.saturating_sub(cell.chars().count()) + 2));
            }
        }
        text.push_str(row.trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one pair to a line; pairs without a value are left out.
pub(super) fn facts(pairs: &[(&str, Option<String>)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in pairs {
        let Some(value) = value.as_ref().filter(|value| !value.is_empty()) else { continue };
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(&format!("{name}:{}{value}\n", " ".repeat(width.saturating_sub(name.chars().count() + 1))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_tame() {
        let rows =
            vec![vec!["pi-4".into(), "5".into(), "a\x1b[2Jb".into()], vec!["ü".into(), "1000".into(), String::new()]];
        assert_eq!(table(&["NODE", "N", "TEXT"], &rows), "NODE  N     TEXT\npi-4  5     a [2Jb\nü     1000\n");
        assert_eq!(facts(&[("a", Some("1".into())), ("long", Some("2\n".into())), ("x", None)]), "a:    1\nlong: 2 \n");
    }
}
