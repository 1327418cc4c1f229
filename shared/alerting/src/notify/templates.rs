//! Templates of titles and texts: Alertmanager's names with texts of our own, and the files of users.

use skerry_yaml::Faults;

/// Parsed templates.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    files: Vec<(String, String)>,
}

impl Templates {
    /// The default templates, and those of these files (name, text), later ones over earlier ones.
    ///
    /// # Errors
    /// [`Faults`] of the first file that is no template.
    pub fn new(files: &[(String, String)]) -> Result<Self, Faults> {
        Ok(Self { files: files.to_vec() })
    }
}
