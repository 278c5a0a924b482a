//! Paths as messages and log lines show them.

use crate::definition::printable;
use std::path::Path;

/// Escapes control characters and broken UTF-8, so that a name can neither steer a terminal nor forge a line.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}
