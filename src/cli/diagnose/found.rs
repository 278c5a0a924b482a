//! What was found, each thing once.

use crate::insight::diagnose::Cause;

/// All that was found about one way in.
#[derive(Default)]
pub struct Findings {
    /// What stands in the way.
    pub causes: Vec<Cause>,
    /// What does not.
    pub fine: Vec<String>,
    /// What cannot be said.
    pub unknown: Vec<String>,
}

impl Findings {
    pub fn cause(&mut self, cause: Cause) {
        once(&mut self.causes, cause);
    }

    pub fn fine(&mut self, text: String) {
        once(&mut self.fine, text);
    }

    pub fn unknown(&mut self, text: String) {
        once(&mut self.unknown, text);
    }
}

fn once<T: PartialEq>(list: &mut Vec<T>, new: T) {
    if !list.contains(&new) {
        list.push(new);
    }
}
