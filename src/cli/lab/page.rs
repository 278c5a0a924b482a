//! The matrix as one self-contained page.

use crate::cli::print::in_json;
use crate::lab::reach::Reach;

/// The page without what it shows.
const PAGE: &str = include_str!("page.html");

/// The page: its script finds the matrix in an element of its own, in which no `<` can end it.
pub fn page(reach: &Reach) -> anyhow::Result<String> {
    let data = in_json(reach)?.replace('<', "\\u003c");
    Ok(PAGE.replacen("{\"the\":\"matrix\"}", &data, 1))
}
