//! Speaks to the kernel, and is the only room that does.
//!
//! | file | what it asks of the kernel |
//! |---|---|
//! | [`netlink`] | one whole dump, and again if the kernel says that it changed meanwhile |
//! | [`seed`] | the established TCP sockets, put into connection tracking |
//! | [`listeners`] | the sockets that wait for somebody |
//! | [`links`] | interfaces, their addresses, and those that carry a default route |
//! | [`ways`] | by which interface an address is reached |
//! | [`interfaces`] | what is wrong with the interfaces that a definition binds (pure) |
//! | [`enforce`] | load, switch, delete: what is enforced replaced without a gap |
//! | [`restore`] | what another program has changed or deleted, enforced again |
//! | [`standing`] | what an earlier process has left in force, taken up, and a host without a policy, closed |
//! | [`kernel`] | our nftables: what takes commands, what answers, what is known of it |
//! | [`backend`] | takes commands, by one of the two ways: |
//! | [`native`] | messages of nf_tables over netlink |
//! | [`nft`] | the nft program, with a time limit and its words kept |
//! | [`view`] | answers what is asked about our table and flows |
//! | [`programs`] | where an administrator's programs stand |
//! | [`ownership`] | who may change our table |
//! | [`others`] | who else has rules here |
//! | [`events`] | what the kernel sends unasked: of our table, and of interfaces |
//! | [`refusals`] | what it sends of packets that our rules refuse |
//! | [`objects`] | the chains and sets of our table |
//! | [`flows`] | the tracked flows |
//! | [`marks`] | which labels say what of a flow |
//! | [`slots`] | the labels that an interface keeps from one policy to the next |
//! | [`labels`] | which labels no flow carries, and the others taken off in the background |
//! | [`hits`] | the counters of our rules, and of elements that decide |
//! | [`firewall`] | what the host's other rulesets make of a packet, seen on a copy of them |
//! | [`trace`] | what all rules of a namespace make of a packet |
//! | [`tracked`] | how full the table of tracked flows is |
//! | [`blind`] | what passes this host without meeting our hooks |

pub mod backend;
pub mod blind;
pub mod enforce;
pub mod events;
#[cfg(test)]
pub mod fake;
pub mod firewall;
pub mod flows;
pub mod hits;
pub mod interfaces;
pub mod kernel;
pub mod labels;
pub mod links;
pub mod listeners;
pub mod marks;
pub mod native;
pub mod netlink;
pub mod nft;
pub mod objects;
pub mod others;
pub mod ownership;
pub mod priority;
pub mod programs;
pub mod refusals;
pub mod restore;
pub mod seed;
pub mod slots;
mod standby;
pub mod standing;
pub mod trace;
pub mod tracked;
pub mod view;
pub mod ways;
