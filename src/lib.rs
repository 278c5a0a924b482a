//! The security groups of a public cloud, on any Linux host.
//!
//! The rooms, each using only those before it:
//!
//! | room | what it holds |
//! |---|---|
//! | [`definition`] | what the operator wrote, with places; may be wrong |
//! | [`policy`] | what was meant; cannot be wrong |
//! | [`ruleset`] | the same as nftables objects |
//! | [`netfilter`] | the only room that talks to the kernel |
//! | [`flows`] | live flows after a change: evaluated and counted |
//! | [`insight`], [`cloud`] | the policy read as a function; the account's rules |
//! | [`source`] | where a definition comes from and goes back to |
//! | [`state`] | the files of the state directory |
//! | [`host`] | what this host enforces, and how it comes to |
//! | [`daemon`] | events, files, and the arrow through all of the above |
//! | [`lab`] | instances as network namespaces of one machine |
//! | [`cli`] | one file per subcommand; prints, and nothing else |
//! | [`words`] | words that several rooms write |

pub mod cli;
pub mod cloud;
pub mod daemon;
pub mod definition;
pub mod flows;
pub mod host;
pub mod insight;
pub mod lab;
pub mod netfilter;
pub mod policy;
pub mod ruleset;
pub mod source;
pub mod state;
pub mod words;
