//! What the host's own firewall makes of a flow, in words: refused by which rule, let in, or sent on elsewhere.

use super::found::Findings;
use crate::insight::diagnose::{AskedPort, Cause};
use crate::insight::explain::{Question, explain};
use crate::netfilter::firewall::{AskedFlow, Blame, Fate, FirewallSeen, Turned, look as look_at};
use crate::policy::{Direction, Policy, Reason};
use std::fs;
use std::net::SocketAddr;

/// Tries the flow on a copy of the host's rulesets. Returns the flow as it arrives where that is elsewhere.
pub fn look(flow: &AskedPort, policy: &Policy, found: &mut Findings) -> Option<AskedPort> {
    let asked = AskedFlow {
        interface: flow.interface.clone(),
        local: flow.local,
        remote: flow.remote,
        tcp: flow.protocol == "tcp",
        port: flow.port,
    };
    let seen = match look_at(&asked) {
        Ok(seen) => seen,
        Err(error) => {
            found.unknown(format!("the host's own firewall: {error}"));
            return None;
        }
    };
    for missing in &seen.not_copied {
        found.unknown(format!("could not be copied: {missing}"));
    }
    let copied = match seen.copied.as_slice() {
        [] => "it has no rules".to_owned(),
        copied => format!("copied were {}", copied.join(", ")),
    };
    if let Some(turned) = &seen.turned {
        found.fine(sent_on(turned));
        leaves(flow, turned, policy, found);
    }
    match &seen.fate {
        Fate::Passed => found.fine(format!(
            "the host's own firewall lets {} in ({copied})",
            flow.remote
        )),
        Fate::Refused(blamed) => blamed
            .iter()
            .for_each(|blame| found.cause(refused(flow, blame, &seen))),
        Fate::Lost => found.cause(lost(flow, seen.turned.as_ref(), &copied)),
    }
    let turned = seen.turned?;
    Some(AskedPort {
        local: turned.to.ip(),
        port: turned.to.port(),
        ..flow.clone()
    })
}

/// `sent on to 172.17.0.2:80 by docker0: iptables-nft, the rule … of the chain DOCKER`
fn sent_on(Turned { to, leaves_by, by }: &Turned) -> String {
    let way = match leaves_by {
        Some(interface) => format!(" by {interface}"),
        None => String::new(),
    };
    let rule = match by {
        Some(Blame {
            program,
            chain,
            rule: Some(rule),
            ..
        }) => format!(", which is what `{rule}` in the chain {chain} of {program} says"),
        _ => String::new(),
    };
    format!("it is sent on to {to}{way}{rule}")
}

/// What is sent on leaves this host: it must forward, and the outbound rules of the interface have a say.
fn leaves(flow: &AskedPort, turned: &Turned, policy: &Policy, found: &mut Findings) {
    let (Some(interface), to) = (&turned.leaves_by, turned.to) else {
        return;
    };
    let (switch, name) = match to {
        SocketAddr::V4(_) => ("ipv4/ip_forward", "net.ipv4.ip_forward"),
        SocketAddr::V6(_) => ("ipv6/conf/all/forwarding", "net.ipv6.conf.all.forwarding"),
    };
    let forwards = fs::read_to_string(format!("/proc/sys/net/{switch}"));
    if forwards.is_ok_and(|value| value.trim() == "0") {
        found.cause(Cause {
            code: "not-forwarding",
            seen: format!("it is to be sent on to {to} by {interface}, and this host does not forward: {name} is 0"),
            mend: format!("sysctl -w {name}=1"),
        });
    }
    let question = Question {
        direction: Direction::Outbound,
        interface: Some(interface.clone()),
        protocol: flow.protocol.clone(),
        remote: to.ip(),
        port: Some(to.port()),
        local: None,
    };
    match explain(policy, &question) {
        Ok(answer) if !answer.verdict.passes() => {
            let by = match &answer.reason {
                Reason::Rule(rule) => rule.to_string(),
                other => other.layer().to_owned(),
            };
            found.cause(Cause {
                code: "refused-on-the-way",
                seen: format!(
                    "it is sent on to {to}, and the outbound rules of {interface} refuse that: {by}{}",
                    answer.at()
                ),
                mend: format!(
                    "allow {} {} to {} in the outbound rules of a group of {interface}, then `secgroupd reload`",
                    flow.protocol,
                    to.port(),
                    to.ip()
                ),
            });
        }
        Ok(_) => found.unknown(format!(
            "whether something answers at {to}, behind {interface}"
        )),
        Err(error) => found.unknown(format!("what the groups of {interface} say: {error}")),
    }
}

fn lost(flow: &AskedPort, turned: Option<&Turned>, copied: &str) -> Cause {
    let AskedPort {
        protocol,
        port,
        remote,
        local,
        ..
    } = flow;
    let list = "`iptables-save -t nat`, `nft list ruleset`";
    let (seen, mend) = match turned {
        Some(turned) => (
            format!(
                "{protocol} {port} from {remote} does not arrive at {local}: {}, where no way leads that could be tried",
                sent_on(turned)
            ),
            format!("check that address, and the rule: {list}"),
        ),
        None => (
            format!(
                "on a copy of the host's rulesets {protocol} {port} from {remote} does not arrive at {local}, and no rule refuses it: it \
                 may be sent elsewhere ({copied})"
            ),
            format!("look for DNAT and redirects: {list}"),
        ),
    };
    Cause {
        code: "unknown-way",
        seen,
        mend,
    }
}

/// A rule of the host's own firewall, and the command that lets the port pass before it.
fn refused(flow: &AskedPort, blame: &Blame, seen: &FirewallSeen) -> Cause {
    let Blame {
        program,
        table,
        chain,
        rule,
    } = blame;
    let protocol = &flow.protocol;
    let what = match rule {
        Some(rule) => format!("the rule `{rule}` of the chain {chain}"),
        None => format!("the policy of the chain {chain}"),
    };
    let turned = seen.turned.as_ref();
    let forwarded = turned.filter(|turned| turned.leaves_by.is_some());
    let port = turned.map_or(flow.port, |turned| turned.to.port());
    let outgoing = chain == "OUTPUT" || chain.contains("output");
    let side = if outgoing { "--sport" } else { "--dport" };
    let of_ufw = chain.starts_with("ufw") || (rule.is_none() && seen.ufw);
    let mend = match (of_ufw, forwarded) {
        (true, Some(turned)) => {
            format!(
                "ufw route allow proto {protocol} to {} port {port}",
                turned.to.ip()
            )
        }
        (true, None) => format!("ufw allow {port}/{protocol}"),
        _ if program == "nftables" && table == "inet firewalld" => {
            format!(
                "firewall-cmd --permanent --add-port={port}/{protocol} && firewall-cmd --reload"
            )
        }
        _ if program == "nftables" => {
            let side = if outgoing { "sport" } else { "dport" };
            format!("nft insert rule {table} {chain} {protocol} {side} {port} accept")
        }
        _ => {
            let to = forwarded.map(|turned| format!(" -d {}", turned.to.ip()));
            let to = to.unwrap_or_default();
            format!("{program} -t {table} -I {chain}{to} -p {protocol} {side} {port} -j ACCEPT")
        }
    };
    let ufw = if of_ufw { " (ufw)" } else { "" };
    Cause {
        code: "system-firewall",
        seen: format!("{program}{ufw} refuses it: {what} in the table {table}"),
        mend,
    }
}
