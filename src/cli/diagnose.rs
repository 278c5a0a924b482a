//! `secgroupd diagnose`: why is a port of this host not reached?

mod firewall;
mod flows;
mod found;

use super::host_view::listening;
use super::options::DefinitionOptions;
use super::outcome::{ERROR, Result, yes};
use super::print;
use crate::insight::diagnose::{AskedPort, of_groups, of_network_acl, of_service};
use crate::insight::explain::Question;
use crate::insight::layers::explained;
use crate::insight::lint::host::Listening;
use crate::netfilter::hits::rule_hits;
use crate::netfilter::links::links;
use crate::policy::platform::BlockedPorts;
use crate::policy::{Direction, Policy, Reason};
use crate::ruleset::TABLE;
use crate::state::last_enforced::last_enforced;
use crate::words::count;
use anyhow::bail;
use clap::Args;
use flows::FlowOptions;
use found::Findings;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;

/// Finds why a port of this host is not reached: the security groups in force, the platform, the host's own firewall
/// (iptables of both kinds, ufw, firewalld, any table of nftables), and the process that should answer. Needs root: the
/// host's rulesets are copied into a network namespace that nobody else sees, and a connection is tried there. Nothing
/// on the host is changed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo secgroupd diagnose 443
  sudo secgroupd diagnose 443 --from 203.0.113.9 --to 10.0.0.5 --interface eth0
  sudo secgroupd diagnose 53 --protocol udp --json

What passes on the way to this host (a network ACL of the cloud, somebody else's firewall) cannot be seen from here.

Exit status: 0 if nothing on this host stands in the way, 1 if a cause was found, 2 on an error.")]
pub struct Arguments {
    #[command(flatten)]
    flow: FlowOptions,
    #[command(flatten)]
    definition: DefinitionOptions,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result {
    if !nix::unistd::geteuid().is_root() {
        bail!("diagnose needs root: it copies this host's rulesets and looks at its processes");
    }
    let Some(policy) = policy(&arguments)? else {
        return Ok(ExitCode::from(ERROR));
    };
    let links = links()?;
    let link = flows::interface(&arguments.flow, &policy, &links)?;
    let flows = flows::flows(&arguments.flow, &policy, link, &links)?;
    let all = listening(&links);
    let (mut found, mut served) = (Findings::default(), Vec::new());
    // In the order of the source document: groups, platform, firewall, process.
    for flow in &flows {
        groups(flow, &policy, &mut found)?;
    }
    invalid(&mut found);
    for flow in &flows {
        // Where it is sent on to by then, somebody has to listen.
        let turned = firewall::look(flow, &policy, &mut found);
        served.push(turned.unwrap_or_else(|| flow.clone()));
    }
    for flow in &served {
        if links
            .iter()
            .any(|link| link.addresses.contains(&flow.local))
        {
            service(flow, &policy, &all, &mut found);
        }
    }
    let Findings {
        causes,
        fine,
        unknown,
    } = &found;
    if arguments.json {
        let flows: Vec<_> = flows
            .iter()
            .map(|flow| json!({ "interface": flow.interface, "protocol": flow.protocol, "port": flow.port, "from": flow.remote, "to": flow.local }))
            .collect();
        print::json(
            &json!({ "flows": flows, "causes": causes, "fine": fine, "not_known": unknown }),
        )?;
    } else {
        print::page(&page(&flows, &found));
    }
    Ok(yes(causes.is_empty()))
}

/// What is enforced here; where none is kept, what the definition says.
fn policy(arguments: &Arguments) -> anyhow::Result<Option<Policy>> {
    let options = &arguments.definition;
    match last_enforced(&options.state.state) {
        Ok(policy) => Ok(Some(policy)),
        Err(error) => {
            print::note(&format!(
                "note: judged by the definition, for what is enforced is not known: {error}"
            ));
            let read = options.policy(&options.definition)?;
            Ok(read.map(|(policy, _)| policy))
        }
    }
}

fn groups(flow: &AskedPort, policy: &Policy, found: &mut Findings) -> anyhow::Result<()> {
    let question = Question {
        direction: Direction::Inbound,
        interface: Some(flow.interface.clone()),
        protocol: flow.protocol.clone(),
        remote: flow.remote,
        port: Some(flow.port),
        local: Some(flow.local),
    };
    let acl = of_network_acl(flow, policy);
    let policy = &policy.without_acls();
    let explanation = explained(policy, &question, None)?;
    if explanation.answer.reason == Reason::BlockedPorts {
        // What the groups would say comes first, and has to be mended as well.
        let mut open = policy.clone();
        Arc::make_mut(&mut open.platform).blocked_ports = BlockedPorts::default();
        let without = explained(&open, &question, None)?;
        of_groups(flow, &without)
            .into_iter()
            .for_each(|cause| found.cause(cause));
    }
    match of_groups(flow, &explanation) {
        Some(cause) => found.cause(cause),
        None => {
            let by = explanation.answer.reason.words();
            found.fine(format!(
                "security groups: {} is let in by {by}",
                flow.remote
            ));
        }
    }
    acl.into_iter().for_each(|cause| found.cause(cause));
    Ok(())
}

/// Names what no rule can let pass: packets of which connection tracking has seen one way only. Whether the flow that
/// is asked about is among them nobody knows.
fn invalid(found: &mut Findings) {
    match rule_hits(TABLE) {
        Ok(hits) => {
            let invalid = Reason::Invalid.layer();
            let of =
                (hits.iter()).filter(|hit| hit.drops && hit.comment.as_deref() == Some(invalid));
            let packets: u64 = of.map(|hit| hit.packets).sum();
            if packets > 0 {
                found.unknown(format!(
                    "whether this flow is among those whose packets conntrack calls invalid: {} so far, which no rule lets pass. It calls \
                     packets so of which it sees one way only (a router beside the way back, SCTP that changes its path); \
                     `net.netfilter.nf_conntrack_log_invalid` names them",
                    count(packets as usize, "packet")
                ));
            }
        }
        Err(error) => found.unknown(format!("how many packets conntrack calls invalid: {error}")),
    }
}

fn service(flow: &AskedPort, policy: &Policy, all: &[Listening], found: &mut Findings) {
    let causes = of_service(flow, policy, all);
    if causes.is_empty() {
        found.fine(format!(
            "a process listens on {} {} at {}",
            flow.protocol, flow.port, flow.local
        ));
    }
    causes.into_iter().for_each(|cause| found.cause(cause));
}

fn page(flows: &[AskedPort], found: &Findings) -> String {
    let mut page = String::new();
    for flow in flows {
        page += &format!(
            "{} {} at {} ({}), from {}\n",
            flow.protocol, flow.port, flow.interface, flow.local, flow.remote
        );
    }
    page.push('\n');
    for (number, cause) in found.causes.iter().enumerate() {
        page += &format!(
            "{}. {}: {}\n   mend: {}\n",
            number + 1,
            cause.code,
            cause.seen,
            cause.mend
        );
    }
    if found.causes.is_empty() {
        page += "nothing on this host stands in the way; what lies before it (a network ACL of the cloud's own, another firewall) cannot be seen from here\n";
    }
    for fine in &found.fine {
        page += &format!("fine: {fine}\n");
    }
    for unknown in &found.unknown {
        page += &format!("not known: {unknown}\n");
    }
    page
}
