//! Templates of rules, as far as rules need them.

/// Whether a text can be expanded.
///
/// # Errors
/// Why not.
pub(super) fn check(text: &str) -> Result<(), String> {
    if !text.contains("{{") {
        return Ok(());
    }
    Ok(())
}
