//! Groups and their rules.

use super::addresses::{KnownAddresses, ProtocolFamily};
use super::services::{Services, service};
use super::uses::GroupUses;
use crate::definition::model::{GroupEntry, RuleEntry, RuleService};
use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostics, Sources};
use crate::policy::id::GroupId;
use crate::policy::rule::{Action, Direction, Rule, RuleId, SecurityGroup, Service};
use crate::policy::until::{Until, UntilError};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Context<'c, 'd> {
    pub sources: &'c Sources,
    /// Address templates and members of groups.
    pub addresses: &'c KnownAddresses<'d>,
    pub services: &'c Services<'d>,
    pub uses: &'c mut GroupUses<'d>,
    pub diagnostics: &'c mut Diagnostics,
}

pub fn groups(
    definition: &Definition,
    context: &mut Context,
) -> BTreeMap<GroupId, Arc<SecurityGroup>> {
    let mut groups = BTreeMap::new();
    for entry in &definition.security_groups {
        match GroupId::parse(&entry.id.text) {
            Ok(id) => {
                groups.insert(id.clone(), Arc::new(group(id, entry, context)));
            }
            Err(error) => {
                context.diagnostics.error(
                    "bad-id",
                    entry.id.span,
                    error.to_string(),
                    "ids look like `sg-web` or `sg-6ebxp9qd`",
                );
            }
        }
    }
    groups
}

fn group(id: GroupId, entry: &GroupEntry, context: &mut Context) -> SecurityGroup {
    let mut rules = |direction, entries: &[Option<RuleEntry>]| -> Vec<Rule> {
        let numbered = entries.iter().enumerate();
        numbered
            .filter_map(|(index, entry)| {
                let id = RuleId {
                    group: id.clone(),
                    direction,
                    index: index as u32,
                };
                rule(id, entry.as_ref()?, context)
            })
            .collect()
    };
    let inbound = rules(Direction::Inbound, &entry.inbound);
    let outbound = rules(Direction::Outbound, &entry.outbound);
    SecurityGroup {
        name: entry.name.as_ref().map(|name| name.text.as_str().into()),
        id,
        inbound,
        outbound,
        observe: entry.observe.unwrap_or(false),
    }
}

fn rule(id: RuleId, entry: &RuleEntry, context: &mut Context) -> Option<Rule> {
    let services = match &entry.service {
        Some(RuleService::Protocol(protocol, port)) => {
            service(protocol.as_ref(), port.as_ref(), context.diagnostics)
                .map(|service| vec![service])
        }
        Some(RuleService::Template(template)) => {
            context.services.template(template, context.diagnostics)
        }
        Some(RuleService::Both {
            template,
            protocol,
            port,
        }) => {
            if let Some(template) = template {
                context.services.template(template, context.diagnostics);
            }
            service(protocol.as_ref(), port.as_ref(), context.diagnostics);
            None
        }
        None => None,
    };
    let family = services.as_deref().and_then(only_family);
    let user = id.to_string();
    let remote = entry.remote.as_ref().map(|remote| {
        let uses = &mut *context.uses;
        (context.addresses).remote(remote, family, &user, uses, context.diagnostics)
    });
    let until = match &entry.until {
        Some(text) => until(text, context.diagnostics).map(Some),
        None => Some(None),
    };
    let action = match entry.allow? {
        true => Action::Allow,
        false => Action::Refuse,
    };
    Some(Rule {
        action,
        services: services?,
        remote: remote?.ok()?,
        until: until?,
        ended: None,
        place: context.sources.place(entry.span),
        id,
    })
}

fn until(text: &Text, diagnostics: &mut Diagnostics) -> Option<Until> {
    let until = Until::parse(&text.text);
    let refused = |error: UntilError| {
        diagnostics.error("bad-until", text.span, error.to_string(), error.help());
    };
    until.map_err(refused).ok()
}

/// The family that all of these services are limited to.
pub fn only_family(services: &[Service]) -> Option<ProtocolFamily> {
    if services.iter().all(|service| *service == Service::Icmp) {
        return Some(ProtocolFamily::V4);
    }
    services
        .iter()
        .all(|service| *service == Service::Icmpv6)
        .then_some(ProtocolFamily::V6)
}
