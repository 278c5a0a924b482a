//! The files that a candidate's templates name by relative names: they go beside the definition with it.

use super::error::{ReplaceError, failed};
use crate::definition::parse;
use crate::source::read::{Trust, template_file};
use crate::source::write::{like, replace};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// A template file that is to stand beside the definition.
#[derive(Debug)]
pub(super) struct Companion {
    to: PathBuf,
    text: String,
}

/// What is to be copied when the candidate with this text takes the place of the definition file at `place`. What
/// stands there already with the same content is left out.
///
/// # Errors
///
/// When something else stands there, a name leads out of the definition's folder, or a file cannot be read.
pub(super) fn companions(
    candidate: &Path,
    place: &Path,
    text: &str,
) -> Result<Vec<Companion>, ReplaceError> {
    let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
    let (old, new) = (folder(candidate), folder(place));
    if old == new {
        return Ok(Vec::new());
    }
    let parsed = parse([(&*candidate.to_string_lossy(), text)]);
    let mut companions = Vec::new();
    for name in parsed.definition.template_names() {
        let name = Path::new(name);
        if name.is_absolute() {
            continue;
        }
        let (from, to) = (old.join(name), new.join(name));
        if leads_out(name) {
            return Err(ReplaceError::Outside { file: from });
        }
        let text = template_file(&from, Trust::Any).map_err(io::Error::other);
        let text = text.map_err(failed("copy", &from))?;
        match std::fs::read(&to) {
            Ok(there) if there == text.as_bytes() => {}
            Ok(_) => return Err(ReplaceError::InTheWay { from, to }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                companions.push(Companion { to, text });
            }
            Err(error) => return Err(failed("read", &to)(error)),
        }
    }
    Ok(companions)
}

/// Whether a relative name may lead out of its folder.
pub(super) fn leads_out(name: &Path) -> bool {
    !name.is_absolute() && name.components().any(|part| part == Component::ParentDir)
}

/// Makes a folder, and those on the way that are missing, each as readable as the one that it stands in.
fn folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().unwrap_or(Path::new("/"));
    folders(above)?;
    std::fs::create_dir(folder)?;
    like(folder, above)
}

/// Files that were copied. Unless they are kept, they go again.
#[derive(Debug, Default)]
pub(super) struct Copied(Vec<PathBuf>);

impl Copied {
    /// Copies template files, as readable as the definition file at `place`.
    ///
    /// # Errors
    ///
    /// What the system refuses; then nothing was copied.
    pub fn of(companions: Vec<Companion>, place: &Path) -> Result<Self, ReplaceError> {
        let mut copied = Copied::default();
        for Companion { to, text } in companions {
            let folder = to.parent().unwrap_or(Path::new("/"));
            folders(folder).map_err(failed("make", folder))?;
            replace(&to, &text, place).map_err(failed("write", &to))?;
            copied.0.push(to);
        }
        Ok(copied)
    }

    /// Lets them stay.
    pub fn keep(mut self) {
        self.0.clear();
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}
