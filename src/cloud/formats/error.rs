//! Why an import ends without a definition.

use crate::definition::LARGEST_FILE;
use crate::policy::id::IdError;
use thiserror::Error;

/// Why a text cannot be read.
#[derive(Debug, Error)]
pub enum ImportError {
    /// Nothing of it looks like a format that is read.
    #[error(
        "{0}: this is no format that import reads: what tccli or aws print, a Terraform state or `terraform show -json`, iptables-save, or the console's rules as CSV; say which by --from"
    )]
    Unknown(String),
    /// It is not JSON, and its format is.
    #[error("{name}: {error}: correct it, or save it again")]
    Json {
        /// The text.
        name: String,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// A JSON value that is no object.
    #[error("{0}: a JSON object is expected, or several")]
    NotAnObject(String),
    /// Too large.
    #[error("{name}: the file is larger than {} MB: split it", LARGEST_FILE / 1_000_000)]
    TooLarge {
        /// The text.
        name: String,
    },
    /// No id of a group.
    #[error(transparent)]
    Group(#[from] IdError),
    /// A table that cannot be read.
    #[error("{name}: {why}")]
    Table {
        /// The text.
        name: String,
        /// Why, and the way out.
        why: String,
    },
    /// Chains that call each other without end, or too often.
    #[error("{name}: {why}")]
    Chains {
        /// The text.
        name: String,
        /// Why, and the way out.
        why: String,
    },
    /// Nothing was found.
    #[error("nothing of the input is part of a definition: {0}")]
    Nothing(String),
}
