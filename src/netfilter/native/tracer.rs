//! A table that changes nothing, and has the kernel tell what becomes of each packet: it marks them where they come in, and once more
//! where every other rule is behind them.

use super::batch::Batch;
use super::commands::{ACCEPT, add_table, delete_table};
use super::expressions::Expressions;
use super::{Native, NativeError};
use crate::netfilter::netlink::{NLM_F_APPEND, NLM_F_CREATE};
use crate::ruleset::batch::{Command, Names};
use netlink_bindings::nftables::{PushChainAttrs, PushRuleAttrs};
use netlink_bindings::utils::{finalize_nested_header, push_nested_header};
use nix::libc;

/// Its name.
pub const TRACER: &str = "secgroupd_trace";

/// See `rules`.
const NFTA_RULE_EXPRESSIONS: u16 = 4;
/// Before connection tracking and the raw tables of all.
const FIRST: i32 = -500;
/// Behind all filters and translations, our own included.
const LAST: i32 = 500;

/// Chain, hook, priority.
const CHAINS: [(&str, i32, i32); 5] = [
    ("enters", libc::NF_INET_PRE_ROUTING, FIRST),
    ("sends", libc::NF_INET_LOCAL_OUT, FIRST),
    ("arrives", libc::NF_INET_LOCAL_IN, LAST),
    ("goes_on", libc::NF_INET_FORWARD, LAST),
    ("leaves", libc::NF_INET_POST_ROUTING, LAST),
];

impl Native {
    /// Has packets traced from now on, in this namespace.
    pub fn trace(&self) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| {
            add_table(batch, TRACER, None);
            for (name, hook, priority) in CHAINS {
                add_chain(batch, name, hook as u32, priority);
                add_mark(batch, name);
            }
        });
        self.commit(&mut batch, &[Command::AddTable], &Names::none())
    }

    /// No longer.
    pub fn trace_no_more(&self) -> Result<(), NativeError> {
        let mut batch = Batch::new();
        batch.command(usize::MAX, |batch| delete_table(batch, TRACER));
        self.commit(&mut batch, &[Command::AddTable], &Names::none())
    }
}

fn add_chain(batch: &mut Batch, name: &str, hook: u32, priority: i32) {
    batch.message(libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE, |buffer| {
        PushChainAttrs::new(buffer)
            .push_table_bytes(TRACER.as_bytes())
            .push_name_bytes(name.as_bytes())
            .push_type(c"filter")
            .push_policy(ACCEPT)
            .nested_hook()
            .push_num(hook)
            .push_priority(priority);
    });
}

/// `add rule inet secgroupd_trace enters meta nftrace set 1`
fn add_mark(batch: &mut Batch, chain: &str) {
    let flags = NLM_F_CREATE | NLM_F_APPEND;
    batch.message(libc::NFT_MSG_NEWRULE, flags, |buffer| {
        PushRuleAttrs::new(&mut *buffer)
            .push_table_bytes(TRACER.as_bytes())
            .push_chain_bytes(chain.as_bytes());
        let list = push_nested_header(buffer, NFTA_RULE_EXPRESSIONS);
        Expressions::new(buffer).mark_traced();
        finalize_nested_header(buffer, list);
    });
}
