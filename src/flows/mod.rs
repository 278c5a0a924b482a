//! Live flows after a change of the policy: how many it ends, and by which rule.
//!
//! The kernel refuses their packets by itself (see [`crate::ruleset::flows`]). They are counted after the switch, and
//! nothing waits for it.
//!
//! | file | subject |
//! |---|---|
//! | [`evaluate`] | what refuses a flow |
//! | [`count`] | how many of the tracked flows end, by what |
//! | [`ended`] | counts after each change, in a thread of its own |

pub mod count;
pub mod ended;
pub mod evaluate;
