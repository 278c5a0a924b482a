//! The policy as nftables objects: pure, and the only room that knows nft's words.
//!
//! ```text
//! Policy -> compile -> Ruleset -> batch (the transactions that load it, switch it in, and delete what was before)
//!                             |-> text (what nft reads) or json (the same for machines)
//!                             \-> walk (one packet's way through it)
//! ```
//!
//! | file | subject |
//! |---|---|
//! | [`ir`], [`map`], `key`, [`marks`] | nftables as data: chains, verdict maps, what is looked at, labels |
//! | [`compile`] | from a policy to chains; [`flows`], `exempt`, [`closed`] are parts of it |
//! | `acl` | the network ACL of a list's interfaces |
//! | `list`, `remote` | lists of groups; sets of addresses |
//! | [`diagram`] | from ordered rules to constant time |
//! | [`check`] | the ruleset compared with the policy, apart from the compiler |
//! | [`change`] | what of a ruleset differs from what is loaded |
//! | [`table`], [`batch`] | the base chains; the transactions |
//! | [`text`], [`json`] | what nft reads |
//! | `walk` | one packet's way through it |

mod acl;
pub mod batch;
pub mod change;
pub mod check;
pub mod closed;
pub mod compile;
pub mod diagram;
mod exempt;
pub mod flows;
pub mod ir;
pub mod json;
mod key;
mod list;
pub mod map;
pub mod marks;
mod remote;
pub mod table;
pub mod text;
pub mod walk;

pub use check::check;
pub use compile::compile;
pub use ir::Ruleset;
pub use table::{Generation, TABLE};
pub use walk::Walker;
