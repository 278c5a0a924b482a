//! Follows a ruleset with boxes of packets: ports × remote addresses, all else fixed.

pub mod run;
pub mod targets;

use super::difference::Difference;
use super::sets::{BoxAddresses, RulesetNumber, by_target};
use crate::policy::interval::{Point, contains};
use crate::policy::{Interval, Protocol, Reason, Verdict};
use crate::ruleset::ir::*;
use crate::ruleset::walk::ByName;
use run::Run;
use std::net::IpAddr;
use targets::Targets;

/// A box of packets: each of these ports with each of these addresses.
#[derive(Debug, Clone)]
pub struct Region<T> {
    /// Destination ports; port 0 alone where the protocol has none.
    pub ports: Interval<u16>,
    pub addresses: BoxAddresses<T>,
}

/// What the caller does with each box that is decided.
pub type OnDecided<'d, T> = dyn FnMut(Region<T>, Verdict, &Reason) -> Result<(), Difference> + 'd;

/// A ruleset, by names.
#[derive(Debug)]
pub struct Regions<'r>(ByName<'r>);

impl<'r> Regions<'r> {
    pub fn new(ruleset: &'r Ruleset) -> Self {
        Regions(ByName::new(ruleset))
    }

    /// The addresses that a condition names.
    pub fn addresses(&self, with: &'r AddressMatch) -> Option<&'r Addresses> {
        match with {
            AddressMatch::Inline(list) => Some(list),
            AddressMatch::Set(name, _) => self.0.sets.get(name.as_str()).copied(),
        }
    }

    /// All chains.
    pub fn chains(&self) -> impl Iterator<Item = &'r Chain> + '_ {
        self.0.chains.values().copied()
    }

    pub fn chain(&self, name: &str) -> Option<&'r Chain> {
        self.0.chains.get(name).copied()
    }

    /// Passes every box of the run's packets to `decide`, with what becomes of it. What falls off the end of the chain
    /// where they `enter` has the verdict `rest`. Returns whether that was all of them: the run ends when no `steps`
    /// are left.
    pub fn follow<T: RulesetNumber + 'r>(
        &self,
        run: &Run,
        enter: &str,
        rest: Verdict,
        targets: &mut Targets<'r, T>,
        steps: &mut usize,
        decide: &mut OnDecided<T>,
    ) -> Result<bool, Difference> {
        let has_ports = matches!(run.protocol, Protocol::TCP | Protocol::UDP);
        let ports = Interval::between(0, if has_ports { u16::MAX } else { 0 });
        let addresses = targets.whole.clone();
        let mut way = BoxWay {
            regions: self,
            run,
            targets,
            steps,
        };
        let mut fell = Vec::new();
        way.in_chain(enter, Region { ports, addresses }, &mut fell, decide)?;
        for region in fell {
            decide(region, rest, &Reason::Unmanaged)?;
        }
        Ok(*way.steps > 0)
    }
}

/// What an element says, and what it decides for itself.
type ElementVerdict<'r> = (&'r NftVerdict, Option<&'r Reason>);

/// One run on its way through the ruleset.
struct BoxWay<'w, 'r, T> {
    regions: &'w Regions<'r>,
    run: &'w Run<'w>,
    targets: &'w mut Targets<'r, T>,
    steps: &'w mut usize,
}

impl<'r, T: RulesetNumber + 'r> BoxWay<'_, 'r, T> {
    /// Follows one box through a chain; what comes back undecided goes into `fell`.
    fn in_chain(
        &mut self,
        name: &str,
        region: Region<T>,
        fell: &mut Vec<Region<T>>,
        decide: &mut OnDecided<T>,
    ) -> Result<(), Difference> {
        let Some(chain) = self.regions.chain(name) else {
            return Err(self.missing(&region, name));
        };
        let mut waiting = vec![region];
        for rule in &chain.rules {
            if waiting.is_empty() {
                return Ok(());
            }
            if rule.matches.iter().any(|each| self.never(each)) {
                continue;
            }
            let mut rest = Vec::new();
            for region in waiting {
                *self.steps = self.steps.saturating_sub(1);
                if *self.steps == 0 {
                    return Ok(());
                }
                let mut matching = Vec::new();
                self.cut(&rule.matches, region, &mut matching, &mut rest);
                for region in matching {
                    let reason = rule.reason.as_ref();
                    self.verdict(&rule.verdict, reason, region, fell, &mut rest, decide)?;
                }
            }
            waiting = rest;
        }
        fell.append(&mut waiting);
        Ok(())
    }

    /// Whether a condition is the same for all packets of the run, and does not hold.
    fn never(&self, each: &Match) -> bool {
        match self.at_local(each) {
            Some(holds) => !holds,
            None => self.run.never::<T>(each),
        }
    }

    /// Whether a condition on the address that is not the remote holds; nothing of other conditions.
    fn at_local(&self, each: &Match) -> Option<bool> {
        let Match::Address {
            side,
            with,
            negated,
        } = each
        else {
            return None;
        };
        if *side == self.run.remote_side() || self.run.key.is_some() {
            return None;
        }
        let list = match with {
            AddressMatch::Inline(list) => Some(list),
            AddressMatch::Set(name, _) => self.regions.0.sets.get(name.as_str()).copied(),
        };
        let among = match (list, self.run.local) {
            (Some(Addresses::V4(list)), Some(IpAddr::V4(local))) => contains(list, local.into()),
            (Some(Addresses::V6(list)), Some(IpAddr::V6(local))) => contains(list, local.into()),
            _ => return Some(false),
        };
        Some(among != *negated)
    }

    /// What becomes of a box that matches. What goes on to the next rule goes into `rest`.
    fn verdict(
        &mut self,
        verdict: &'r NftVerdict,
        reason: Option<&'r Reason>,
        region: Region<T>,
        fell: &mut Vec<Region<T>>,
        rest: &mut Vec<Region<T>>,
        decide: &mut OnDecided<T>,
    ) -> Result<(), Difference> {
        let reason_or = || reason.unwrap_or(&Reason::Unmanaged);
        match verdict {
            NftVerdict::Accept | NftVerdict::Pass(_) => decide(region, Verdict::Allow, reason_or()),
            NftVerdict::Observe(_) => decide(region, Verdict::Observe, reason_or()),
            NftVerdict::Drop => decide(region, Verdict::Refuse, reason_or()),
            // An entry of a network ACL that allows.
            NftVerdict::Return if reason.is_some() && self.run.end.is_some() => {
                decide(region, Verdict::Allow, reason_or())
            }
            NftVerdict::Return => {
                fell.push(region);
                Ok(())
            }
            NftVerdict::Goto(chain) if self.run.end == Some(&**chain) => {
                decide(region, Verdict::Allow, reason_or())
            }
            NftVerdict::Goto(chain) => self.in_chain(chain, region, fell, decide),
            NftVerdict::Jump(chain) => self.in_chain(chain, region, rest, decide),
            NftVerdict::Map(key, map) => {
                let Some(elements) = self.regions.0.maps.get(&**map).copied() else {
                    return Err(self.missing(&region, map));
                };
                let asked = self.asked(*key, map, elements, region, rest);
                asked
                    .into_iter()
                    .try_for_each(|(target, region)| match target {
                        Some((verdict, reason)) => {
                            self.verdict(verdict, reason, region, fell, rest, decide)
                        }
                        None => {
                            rest.push(region);
                            Ok(())
                        }
                    })
            }
        }
    }

    /// The parts of a box and where a map leads them; a map that is asked with what the box has not leads nowhere.
    fn asked(
        &mut self,
        key: MapKey,
        map: &'r str,
        elements: &'r MapElements,
        region: Region<T>,
        rest: &mut Vec<Region<T>>,
    ) -> Vec<(Option<ElementVerdict<'r>>, Region<T>)> {
        // Whether the key is over what the boxes of this run are.
        let (asked, key) = self.of_this_run(key);
        if !asked {
            rest.push(region);
            return Vec::new();
        }
        match (key, elements) {
            (MapKey::Port(transport), MapElements::Ports(list))
                if transport.protocol() == self.run.protocol =>
            {
                let parts = along(list, region.ports, |(ports, _)| *ports);
                let parts = parts.into_iter().map(|(ports, element)| {
                    let addresses = region.addresses.clone();
                    let target = element.map(|(_, target)| (target, None));
                    (target, Region { ports, addresses })
                });
                parts.collect()
            }
            (MapKey::Address(side, family), elements)
                if family == T::FAMILY && side == self.run.remote_side() =>
            {
                let list = T::of_map(elements).unwrap_or_default();
                let ports = region.ports;
                let parts = self.targets.of(map, list, &region.addresses);
                let parts = parts.iter().map(|(target, addresses)| {
                    let addresses = addresses.clone();
                    (
                        target.map(|target| (target, None)),
                        Region { ports, addresses },
                    )
                });
                parts.collect()
            }
            (MapKey::Pair(side, family, bits, transport), elements)
                if family == T::FAMILY
                    && side == self.run.remote_side()
                    && transport.protocol() == self.run.protocol =>
            {
                let list = T::of_pairs(elements).unwrap_or_default();
                let by_port: Vec<(Interval<u16>, &[Pair<T>])> = list
                    .chunk_by(|a, b| a.port == b.port)
                    .map(|pairs| {
                        let port = pairs[0].port;
                        (Interval::point(port), pairs)
                    })
                    .collect();
                let mut parts = Vec::with_capacity(2 * by_port.len() + 1);
                for (ports, pairs) in along(&by_port, region.ports, |(port, _)| *port) {
                    let Some((_, pairs)) = pairs else {
                        let addresses = region.addresses.clone();
                        parts.push((None, Region { ports, addresses }));
                        continue;
                    };
                    let targets = pairs.iter().map(|pair| {
                        let target = (&pair.verdict, pair.reason.as_ref());
                        (pair.network.network(bits), target)
                    });
                    let targets = by_target(targets, &region.addresses).into_iter();
                    parts.extend(
                        targets.map(|(target, addresses)| (target, Region { ports, addresses })),
                    );
                }
                parts
            }
            _ => {
                rest.push(region);
                Vec::new()
            }
        }
    }

    /// A key in the words for packets that open flows, and whether it is over what the boxes of this run are.
    fn of_this_run(&self, key: MapKey) -> (bool, MapKey) {
        let side = self.run.remote_side();
        match key {
            MapKey::FlowPort(of, transport) => (self.run.key == Some(of), MapKey::Port(transport)),
            MapKey::FlowAddress(of, family) => {
                (self.run.key == Some(of), MapKey::Address(side, family))
            }
            MapKey::FlowPair(of, family, bits, transport) => (
                self.run.key == Some(of),
                MapKey::Pair(side, family, bits, transport),
            ),
            key => (self.run.key.is_none(), key),
        }
    }

    /// Cuts a box by the conditions of a rule: what meets all of them, and the rest.
    fn cut(
        &mut self,
        matches: &'r [Match],
        region: Region<T>,
        matching: &mut Vec<Region<T>>,
        rest: &mut Vec<Region<T>>,
    ) {
        let Some((first, others)) = matches.split_first() else {
            return matching.push(region);
        };
        match first {
            Match::Port(transport, Side::Destination, ports)
            | Match::FlowPort(_, transport, ports)
                if self.run.is_asked(first) =>
            {
                if transport.protocol() != self.run.protocol {
                    return rest.push(region);
                }
                let list = ports.intervals();
                for (ports, inside) in along(list, region.ports, |each| *each) {
                    let addresses = region.addresses.clone();
                    let region = Region { ports, addresses };
                    match inside {
                        Some(_) => self.cut(others, region, matching, rest),
                        None => rest.push(region),
                    }
                }
            }
            Match::Address { with, negated, .. } | Match::FlowAddress { with, negated, .. }
                if self.run.is_asked(first) =>
            {
                let list = self.regions.addresses(with);
                let Some(list) = list.and_then(T::of) else {
                    return rest.push(region);
                };
                let ports = region.ports;
                let [inside, outside] = self.targets.split(list, &region.addresses);
                let (meets, fails) = match negated {
                    false => (inside, outside),
                    true => (outside, inside),
                };
                rest.extend(fails.map(|addresses| Region { ports, addresses }));
                if let Some(addresses) = meets {
                    self.cut(others, Region { ports, addresses }, matching, rest);
                }
            }
            each if self
                .at_local(each)
                .unwrap_or_else(|| self.run.holds::<T>(each)) =>
            {
                self.cut(others, region, matching, rest)
            }
            _ => rest.push(region),
        }
    }

    fn missing(&self, region: &Region<T>, name: &str) -> Difference {
        Difference {
            packet: region.words(self.run),
            policy: "to be decided".into(),
            ruleset: format!("leads to `{name}`, which is missing"),
        }
    }
}

impl<T: RulesetNumber> Region<T> {
    /// One packet of the box.
    pub fn words(&self, run: &Run) -> String {
        let remote = self.addresses.first().map_or(T::WHOLE.first, |i| i.first);
        let (remote, port) = (remote.address(), self.ports.first);
        let number = || format!("protocol {}", run.protocol.0);
        let protocol = run.protocol.name().map_or_else(number, str::to_owned);
        let source = match run.local {
            Some(local) => format!(", {local} from port {}", run.source_port),
            None => String::new(),
        };
        format!(
            "{} {protocol} {remote} port {port}{source} at {}",
            run.direction, run.interface
        )
    }
}

/// Cuts ports along sorted entries: every piece with the entry it lies in, if it lies in one.
pub fn along<E>(
    list: &[E],
    whole: Interval<u16>,
    ports: impl Fn(&E) -> Interval<u16>,
) -> Vec<(Interval<u16>, Option<&E>)> {
    let start = list.partition_point(|each| ports(each).last < whole.first);
    let mut out = Vec::new();
    let mut at = Some(whole.first);
    for entry in &list[start..] {
        let each = ports(entry);
        let Some(first) = at.filter(|_| each.first <= whole.last) else {
            break;
        };
        if each.first > first {
            let last = each.first - 1;
            out.push((Interval { first, last }, None));
        }
        let first = each.first.max(first);
        let last = each.last.min(whole.last);
        out.push((Interval { first, last }, Some(entry)));
        at = last.successor().filter(|after| *after <= whole.last);
    }
    let last = whole.last;
    out.extend(at.map(|first| (Interval { first, last }, None)));
    out
}
