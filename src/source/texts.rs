//! The texts of a definition, as one program hands them to another that cannot or shall not read its files.

use super::load::{Loaded, judge};
use super::read::{Trust, template_file};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

/// The texts of a definition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts {
    /// Path to show and text of each file of the definition, in order.
    pub files: Vec<(String, String)>,
    /// The same of the files that its templates name, but for those that whoever judges it reads by itself.
    pub templates: Vec<(String, String)>,
}

impl Texts {
    /// The texts of a definition that was read, without the template files for which `is_left` holds.
    pub fn of(loaded: &Loaded, is_left: impl Fn(&Path) -> bool) -> Self {
        let texts = loaded.sources.iter();
        let mut texts = texts.map(|source| (source.path.to_string(), source.text.to_string()));
        let files = texts.by_ref().take(loaded.definition_files).collect();
        let templates = texts.filter(|(path, _)| !is_left(Path::new(path)));
        Texts {
            files,
            templates: templates.collect(),
        }
    }

    /// Judges them. Templates that were not handed over are read.
    pub fn judge(&self) -> Loaded {
        let templates = self.templates.iter();
        let templates: HashMap<&Path, &str> = templates
            .map(|(path, text)| (Path::new(path), text.as_str()))
            .collect();
        let template = |path: &Path| match templates.get(path) {
            Some(text) => Ok((*text).to_owned()),
            None => template_file(path, Trust::Checked).map_err(|error| error.to_string()),
        };
        let files = self.files.iter();
        let files = files.map(|(path, text)| (path.as_str(), text.as_str()));
        judge(files, template, Vec::new())
    }
}
