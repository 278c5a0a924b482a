//! The reference: what happens to one packet, in plain words. It shares nothing with the compiler, and
//! tests hold the compiled ruleset and the kernel against it.

use super::address::AddressSet;
use super::essential::is_essential;
use super::host::{Binding, Policy};
use super::network_acl::AclEntryId;
use super::packet::{About, Flow, Own, Packet, State, Way};
use super::platform::Platform;
use super::protocol::Protocol;
use super::rule::{Action, Direction, Rule, RuleId};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Whether a packet passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Allow,
    /// It is dropped without a word.
    Refuse,
    /// It would be refused, and passes: what refuses it only observes.
    #[serde(rename = "allow")]
    Observe,
}

impl Verdict {
    /// Whether the packet goes on its way.
    pub fn passes(self) -> bool {
        self != Verdict::Refuse
    }

    /// What becomes of a packet that is refused: it passes where the refusal only observes.
    pub(super) fn refusal(observes: bool) -> Self {
        match observes {
            true => Verdict::Observe,
            false => Verdict::Refuse,
        }
    }
}

/// What decided: one of the layers, with the rule where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Reason {
    /// Traffic without which the network itself would not work.
    Essential,
    /// It belongs to a tracked flow.
    Established,
    /// Connection tracking can make nothing of it.
    Invalid,
    /// The platform blocks the port.
    BlockedPorts,
    /// The platform blocks TCP 25 to external addresses.
    Smtp,
    /// An approved service, by name.
    ApprovedService(Arc<str>),
    /// A rule of a group.
    Rule(RuleId),
    /// No rule matched.
    Default,
    /// The interface is not bound.
    Unmanaged,
    /// The network ACL of the interface's subnet.
    Acl(AclEntryId),
}

/// A verdict and what decided it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision {
    /// Whether the packet passes.
    pub verdict: Verdict,
    /// What decided.
    pub reason: Reason,
}

/// Asks a binding's list about a packet that opens a flow, or is judged as if it did. `None` stands for the list of unbound
/// interfaces that refuse what comes in.
pub type AskList<'a, 'p> = &'a mut dyn FnMut(Option<&'p Binding>, &Packet) -> Decision;

impl Decision {
    /// Whether a ruleset that decides so agrees. What passes unjudged is not counted, and a packet of a flow that is known to pass
    /// may pass before its interface is asked. So `established` and `unmanaged` are one there.
    pub fn agrees(&self, verdict: Verdict, reason: &Reason) -> bool {
        let unjudged = |reason: &Reason| matches!(reason, Reason::Established | Reason::Unmanaged);
        let passes_unjudged =
            verdict == Verdict::Allow && unjudged(reason) && unjudged(&self.reason);
        self.verdict == verdict && (self.reason == *reason || passes_unjudged)
    }
}

impl Policy {
    /// What happens to a packet: the rows of the specification's table 2, from top to bottom. Rows 1 and 2
    /// both pass; as in the kernel, the cheaper question (is the flow known?) comes first.
    pub fn decide(&self, packet: &Packet) -> Decision {
        self.decide_with(packet, &mut |list, packet| self.decide_by(list, packet))
    }

    /// The same; lists are asked by `ask`, which may remember what they say.
    pub fn decide_with<'p>(&'p self, packet: &Packet, ask: AskList<'_, 'p>) -> Decision {
        let list = self.binding(&packet.interface);
        if packet.interface == "lo" || (list.is_none() && !self.platform.unbound_refuse) {
            return decision(Verdict::Allow, Reason::Unmanaged);
        }
        let Some(acl) = self.acl_refusal(packet) else {
            return self.decide_groups(list, packet, ask);
        };
        // Essential traffic is none of its business.
        if is_essential(packet) {
            return match packet.direction {
                Direction::Inbound => decision(Verdict::Allow, Reason::Essential),
                Direction::Outbound => self.decide_groups(list, packet, ask),
            };
        }
        if packet.direction == Direction::Inbound && !acl.verdict.passes() {
            return acl;
        }
        let groups = self.decide_groups(list, packet, ask);
        match (groups.verdict, packet.direction) {
            (Verdict::Refuse, _) => groups,
            (Verdict::Observe, Direction::Outbound) if acl.verdict.passes() => groups,
            _ => acl,
        }
    }

    /// What becomes of the flow that a packet opens: of the packet, and where that passes, of the answers. Only a network
    /// ACL has anything to say about those.
    pub fn decide_flow(&self, packet: &Packet) -> Decision {
        let opening = self.decide(packet);
        if !opening.verdict.passes() || opening.reason == Reason::Essential {
            return opening;
        }
        match self.acl_refusal(&packet.answer()) {
            Some(answers) if opening.verdict == Verdict::Allow || !answers.verdict.passes() => {
                answers
            }
            _ => opening,
        }
    }

    /// What ends a flow whatever its groups say: a network ACL that refuses its packets, or the answers.
    pub fn ended_by_acl(&self, packet: &Packet) -> Option<Decision> {
        let refusal = self.acl_refusal(packet);
        let refusal = refusal.or_else(|| self.acl_refusal(&packet.answer()));
        refusal.filter(|decision| !decision.verdict.passes() && !is_essential(packet))
    }

    /// The same as [`Self::decide_flow`] where the interface stands for all that its name binds.
    pub fn decide_flow_by(&self, binding: &Binding, packet: &Packet) -> Decision {
        let groups = self.decide_by_list(binding, packet);
        let refusal = |packet: &Packet| {
            let (action, entry) = binding.acl.as_ref()?.decide(packet)?;
            let verdict = Verdict::refusal(self.platform.observe);
            (action == Action::Refuse).then(|| decision(verdict, Reason::Acl(entry)))
        };
        let before = match packet.direction {
            Direction::Inbound => refusal(packet),
            Direction::Outbound => None,
        };
        if let Some(acl) = before {
            return acl;
        }
        if groups.verdict != Verdict::Allow {
            return groups;
        }
        refusal(packet)
            .or_else(|| refusal(&packet.answer()))
            .unwrap_or(groups)
    }

    /// What the network ACL of the packet's interface says, where it refuses. It stands above row 2 inbound, and after
    /// all others outbound.
    pub fn acl_refusal(&self, packet: &Packet) -> Option<Decision> {
        let acl = self.binding(&packet.interface)?.acl.as_ref()?;
        let (action, entry) = acl.decide(packet)?;
        (action == Action::Refuse).then(|| {
            let verdict = Verdict::refusal(self.platform.observe);
            decision(verdict, Reason::Acl(entry))
        })
    }

    /// What happens to a packet of an interface that refuses something, its network ACL aside.
    fn decide_groups<'p>(
        &'p self,
        list: Option<&'p Binding>,
        packet: &Packet,
        ask: AskList<'_, 'p>,
    ) -> Decision {
        let platform = &*self.platform;
        if let State::Tracked(flow) = &packet.state
            && self.is_known(&packet.interface, flow)
        {
            return decision(Verdict::Allow, Reason::Established);
        }
        if is_essential(packet) {
            return decision(Verdict::Allow, Reason::Essential);
        }
        match &packet.state {
            State::Invalid => decision(Verdict::refusal(platform.observe), Reason::Invalid),
            State::IcmpError(About::Passes | About::Unknown) => {
                decision(Verdict::Allow, Reason::Established)
            }
            State::Tracked(flow) => self.decide_tracked(list, packet, flow, ask),
            State::New
                if self.is_lost(packet) && !ask(list, &packet.opened_by()).verdict.passes() =>
            {
                decision(Verdict::refusal(platform.observe), Reason::Invalid)
            }
            State::New | State::Related | State::Untracked | State::IcmpError(About::Refused) => {
                ask(list, &packet.as_opening())
            }
        }
    }

    /// Whether a flow is marked as one that passes here: with the list, or, under `keep`, with the interface.
    fn is_known(&self, interface: &str, flow: &Flow) -> bool {
        match self.platform.recheck {
            true => flow.passes.is_some() && flow.passes == self.list_key(interface),
            false => {
                let mut opened = flow.opened.iter().flatten();
                opened.any(|name| self.count_as_one(interface, name))
            }
        }
    }

    /// Names the list of groups of an interface: `sg-base,sg-web`, and `*` where one that is not bound refuses.
    pub fn list_key(&self, interface: &str) -> Option<Arc<str>> {
        let key = |binding: &Binding| binding.key();
        let unbound = || self.platform.unbound_refuse.then(|| Arc::from("*"));
        self.binding(interface).map(key).or_else(unbound)
    }

    /// Whether the packet looks like an answer in an inbound flow that connection tracking has lost: TCP without SYN, sent by a
    /// process, from a port that is not ephemeral.
    fn is_lost(&self, packet: &Packet) -> bool {
        packet.direction == Direction::Outbound
            && packet.protocol == Protocol::TCP
            && packet.without_syn
            && packet.own != Own::Forwarded
            && !self.host.ephemeral_ports.contains(packet.source_port)
    }

    /// A packet of a tracked flow that is not known to pass here.
    fn decide_tracked<'p>(
        &'p self,
        list: Option<&'p Binding>,
        packet: &Packet,
        flow: &Flow,
        ask: AskList<'_, 'p>,
    ) -> Decision {
        let passes = || decision(Verdict::Allow, Reason::Established);
        let itself = ask(list, &packet.as_opening());
        if flow.way == Way::Opening {
            return match itself.verdict.passes() {
                true => passes(),
                false => itself,
            };
        }
        let opening = packet.opened_by();
        let as_answer = ask(list, &opening).verdict.passes();
        let reason = if list.is_some() {
            Reason::Default
        } else {
            Reason::Unmanaged
        };
        let refused = decision(Verdict::Refuse, reason);
        let here = |name: &&String| self.count_as_one(&packet.interface, name);
        match &flow.opened {
            Some(opened) if opened.iter().any(|name| here(&name)) => match as_answer {
                true => passes(),
                false => refused,
            },
            Some(_) if packet.direction == Direction::Inbound => itself,
            Some(opened) => {
                let mut others = opened.iter().filter_map(|name| self.binding(name));
                if !others.all(|other| ask(Some(other), &opening).verdict.passes()) {
                    return decision(Verdict::refusal(self.platform.observe), Reason::Default);
                }
                if as_answer { passes() } else { itself }
            }
            None if as_answer => passes(),
            None if flow.own_of_another => itself,
            None => refused,
        }
    }

    /// Whether two interfaces count as one: they are bound to equal lists, or by one glob.
    pub fn count_as_one(&self, a: &str, b: &str) -> bool {
        match (self.binding(a), self.binding(b)) {
            (Some(a), Some(b)) => a.key() == b.key(),
            (None, None) => self.platform.unbound_refuse && a != "lo" && b != "lo",
            _ => false,
        }
    }

    /// What a list says about a packet that opens a flow.
    pub fn decide_by(&self, list: Option<&Binding>, packet: &Packet) -> Decision {
        match list {
            Some(binding) => self.decide_by_list(binding, packet),
            None if packet.direction == Direction::Outbound => {
                decision(Verdict::Allow, Reason::Unmanaged)
            }
            None => decision(Verdict::refusal(self.platform.observe), Reason::Unmanaged),
        }
    }

    /// What the platform and the groups of a binding say about a packet that opens a flow.
    pub fn decide_by_list(&self, binding: &Binding, packet: &Packet) -> Decision {
        use Verdict::Allow;
        let platform = &*self.platform;
        let refuse = Verdict::refusal(platform.observe);
        if is_blocked(platform, packet) {
            return decision(refuse, Reason::BlockedPorts);
        }
        let smtp = packet.protocol == Protocol::TCP && packet.destination_port == 25;
        if self.smtp_blocked
            && smtp
            && packet.direction == Direction::Outbound
            && !platform.is_internal(packet.remote)
        {
            return decision(refuse, Reason::Smtp);
        }
        for approved in &platform.approved_services {
            let serves = approved
                .services
                .iter()
                .any(|service| packet.is_served_by(service));
            if approved.direction == packet.direction
                && serves
                && approved.remote.contains(packet.remote)
            {
                return decision(Allow, Reason::ApprovedService(approved.name.clone()));
            }
        }
        for group in &binding.groups {
            if let Some(rule) = group
                .rules(packet.direction)
                .iter()
                .find(|rule| matches(rule, packet))
            {
                let verdict = match rule.action {
                    Action::Allow => Allow,
                    Action::Refuse => Verdict::refusal(platform.observe || group.observe),
                };
                return decision(verdict, Reason::Rule(rule.id.clone()));
            }
        }
        let observes = platform.observe || binding.observes_the_rest();
        decision(Verdict::refusal(observes), Reason::Default)
    }
}

fn decision(verdict: Verdict, reason: Reason) -> Decision {
    Decision { verdict, reason }
}

/// Whether a rule is about a packet.
pub fn matches(rule: &Rule, packet: &Packet) -> bool {
    matches_by(rule.remote.as_ref(), rule, packet)
}

/// Whether a rule was about a packet before it ended.
pub fn matched(rule: &Rule, packet: &Packet) -> bool {
    rule.ended.is_some() && matches_by(rule.written_remote(), rule, packet)
}

fn matches_by(remote: Option<&AddressSet>, rule: &Rule, packet: &Packet) -> bool {
    let mut services = rule.services.iter();
    services.any(|service| packet.is_served_by(service))
        && remote.is_some_and(|remote| remote.contains(packet.remote))
}

fn is_blocked(platform: &Platform, packet: &Packet) -> bool {
    let blocked = &platform.blocked_ports;
    let ports = match packet.protocol {
        Protocol::TCP => &blocked.tcp,
        Protocol::UDP => &blocked.udp,
        _ => return false,
    };
    blocked.blocks(packet.direction)
        && ports
            .as_ref()
            .is_some_and(|ports| ports.contains(packet.destination_port))
        && !(blocked.external_only && platform.is_internal(packet.remote))
}
