//! The messages of each command.

use super::batch::Batch;
use super::elements::ElementChange;
use super::{rules, sets};
use crate::netfilter::netlink::{NLM_F_CREATE, NLM_F_EXCL};
use crate::ruleset::TABLE;
use crate::ruleset::batch::{Command, Names};
use netlink_bindings::nftables::{PushChainAttrs, PushRuleAttrs, PushSetAttrs, PushTableAttrs};
use nix::libc;

/// `NF_ACCEPT`, a base chain's policy.
pub(super) const ACCEPT: u32 = 1;

pub(super) fn encode(batch: &mut Batch, command: &Command, names: &Names) {
    let table = TABLE.as_bytes();
    match command {
        // Without flags those that it has are left as they are.
        Command::AddTable => add_table(batch, TABLE, None),
        Command::AddBaseChain(base) => {
            batch.message(libc::NFT_MSG_NEWCHAIN, NLM_F_CREATE, |buffer| {
                PushChainAttrs::new(buffer)
                    .push_table_bytes(table)
                    .push_name_bytes(base.name.as_bytes())
                    .push_type(c"filter")
                    .push_policy(ACCEPT)
                    .nested_hook()
                    .push_num(base.hook.number())
                    .push_priority(base.priority);
            });
        }
        Command::AddChain(name) => batch.message(
            libc::NFT_MSG_NEWCHAIN,
            NLM_F_CREATE | NLM_F_EXCL,
            |buffer| {
                PushChainAttrs::new(buffer)
                    .push_table_bytes(table)
                    .push_name_bytes(name.as_bytes());
            },
        ),
        Command::AddSet {
            name,
            family,
            intervals,
        } => sets::add_set(batch, name, *family, *intervals),
        Command::AddMap {
            name,
            key,
            intervals,
        } => sets::add_map(batch, name, *key, *intervals),
        Command::AddElements {
            of,
            first,
            elements,
        } => {
            let change = ElementChange::Add { first: *first };
            sets::change_elements(batch, of, change, *elements, names);
        }
        Command::DeleteElements { of, elements } => {
            sets::change_elements(batch, of, ElementChange::Delete, *elements, names);
        }
        Command::AddRule { chain, rule } => rules::add_rule(batch, chain, rule, names),
        // Without a handle all rules of the chain are meant.
        Command::FlushChain(chain) => batch.message(libc::NFT_MSG_DELRULE, 0, |buffer| {
            PushRuleAttrs::new(buffer)
                .push_table_bytes(table)
                .push_chain_bytes(chain.as_bytes());
        }),
        Command::DeleteMap(name) | Command::DeleteSet(name) => {
            batch.message(libc::NFT_MSG_DELSET, 0, |buffer| {
                PushSetAttrs::new(buffer)
                    .push_table_bytes(table)
                    .push_name_bytes(name.as_bytes());
            });
        }
        Command::DeleteChain(name) => batch.message(libc::NFT_MSG_DELCHAIN, 0, |buffer| {
            PushChainAttrs::new(buffer)
                .push_table_bytes(table)
                .push_name_bytes(name.as_bytes());
        }),
        Command::DeleteTable => delete_table(batch, TABLE),
    }
}

pub(super) fn add_table(batch: &mut Batch, name: &str, flags: Option<u32>) {
    batch.message(libc::NFT_MSG_NEWTABLE, NLM_F_CREATE, |buffer| {
        let message = PushTableAttrs::new(buffer).push_name_bytes(name.as_bytes());
        if let Some(flags) = flags {
            message.push_flags(flags);
        }
    });
}

pub(super) fn delete_table(batch: &mut Batch, name: &str) {
    batch.message(libc::NFT_MSG_DELTABLE, 0, |buffer| {
        PushTableAttrs::new(buffer).push_name_bytes(name.as_bytes());
    });
}
