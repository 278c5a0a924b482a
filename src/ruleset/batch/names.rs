//! What the kernel calls the objects of a ruleset.

use crate::ruleset::marks::Bits;
use crate::ruleset::table::Generation;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The name of an object in the kernel.
pub type Name = Arc<str>;

/// The kernel's name of each object of a ruleset: `g7_in_0_3` for `in_0_3`, unless the object is one that an earlier
/// generation has loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    generation: Generation,
    reused: FxHashMap<Name, Name>,
    bits: Bits,
}

impl Names {
    /// All objects are this generation's own.
    pub fn new(generation: Generation) -> Self {
        Names {
            generation,
            reused: FxHashMap::default(),
            bits: Bits::default(),
        }
    }

    /// Returns the same names with these bits for the marks of flows.
    pub fn marked(mut self, bits: Bits) -> Self {
        self.bits = bits;
        self
    }

    /// The bits of the marks of flows.
    pub fn bits(&self) -> &Bits {
        &self.bits
    }

    /// For commands that lead to no object of a ruleset.
    pub fn none() -> Self {
        Self::new(Generation(0))
    }

    /// The object `name` of the ruleset is the one that the kernel has as `kernel`.
    pub fn reuse(&mut self, name: Name, kernel: Name) {
        self.reused.insert(name, kernel);
    }

    /// The kernel's name of an object of the ruleset.
    pub fn of(&self, name: &str) -> Name {
        match self.reused.get(name) {
            Some(kernel) => kernel.clone(),
            None => self.generation.object(name).into(),
        }
    }

    /// The kernel's name of an object if an earlier generation has loaded it.
    pub fn reused(&self, name: &str) -> Option<&Name> {
        self.reused.get(name)
    }

    /// The generation of what is not reused.
    pub fn generation(&self) -> Generation {
        self.generation
    }
}
