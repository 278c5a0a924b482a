//! A candidate directory: what stands in the way of an exchange with the definition's, and who can read it then.

use super::error::{ReplaceError, failed};
use super::templates::leads_out;
use crate::definition::parse;
use crate::source::read::{Trust, definition_files};
use crate::source::write::like;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the two could change places.
///
/// # Errors
///
/// Where they are of two file systems, or a template's name leads out of the candidate.
pub(super) fn try_out(candidate: &Path, definition: &Path) -> Result<(), ReplaceError> {
    let device = |path: &Path| {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let found = std::fs::metadata(parent).map_err(failed("read", parent))?;
        Ok::<u64, ReplaceError>(found.dev())
    };
    if device(candidate)? != device(definition)? {
        return Err(ReplaceError::OtherFileSystem {
            candidate: candidate.to_owned(),
            definition: definition.to_owned(),
        });
    }
    // Beside the definition a name that leads out leads to the same.
    if candidate.parent() == definition.parent() {
        return Ok(());
    }
    for file in definition_files(candidate, Trust::Any).unwrap_or_default() {
        let parsed = parse([(&*file.path.to_string_lossy(), file.text.as_str())]);
        let mut names = parsed.definition.template_names().map(Path::new);
        if let Some(name) = names.find(|name| leads_out(name)) {
            let file = candidate.join(name);
            return Err(ReplaceError::Outside { file });
        }
    }
    Ok(())
}

/// Makes the candidate, and the definition files in it, as readable as the definition: the daemon is another user.
///
/// # Errors
///
/// What the system refuses.
pub(super) fn make_readable(candidate: &Path, definition: &Path) -> Result<(), ReplaceError> {
    like(candidate, definition).map_err(failed("make readable", candidate))?;
    let files = |folder| definition_files(folder, Trust::Any).unwrap_or_default();
    let Some(model) = files(definition).into_iter().next() else {
        return Ok(());
    };
    for file in files(candidate) {
        like(&file.path, &model.path).map_err(failed("make readable", &file.path))?;
    }
    Ok(())
}
