//! The tests of a definition: promises about its rules. One that is broken refuses the definition, so that no reload
//! enforces it. Here their words are understood; [`judge`] holds them against the rules.

pub mod judge;

use crate::definition::model::TestEntry;
use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostics};
use crate::policy::account::Instance;
use crate::policy::address::AddressRange;
use crate::policy::decide::Verdict;
use crate::policy::id::InstanceId;
use crate::policy::port::{PortError, PortSet};
use crate::policy::protocol::Protocol;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// A test whose words make sense.
#[derive(Debug)]
pub struct Promise<'d> {
    entry: &'d TestEntry,
    from: Rc<Ends>,
    to: Rc<Ends>,
    names: [&'d str; 2],
    protocol: Protocol,
    port: Option<u16>,
    expect: Verdict,
}

/// What one side of a test can be.
#[derive(Debug)]
struct Ends {
    list: Vec<FlowEnd>,
    instance: Option<usize>,
    /// Whether there are addresses of IPv4, and of IPv6.
    families: [bool; 2],
}

/// One end of a flow: an address, and whose it is.
#[derive(Debug, Clone, Copy)]
struct FlowEnd {
    /// `None`: of an interface that lists none.
    address: Option<IpAddr>,
    /// The instance and its interface, as indexes.
    at: Option<(usize, usize)>,
}

/// The tests that can be judged. What is wrong with the others is reported.
pub fn promises<'d>(
    definition: &'d Definition,
    instances: &[Instance],
    diagnostics: &mut Diagnostics,
) -> Vec<Promise<'d>> {
    if definition.tests.is_empty() {
        return Vec::new();
    }
    let mut names = EndNames {
        instances,
        by_id: HashMap::new(),
        by_address: HashMap::new(),
        ends: RefCell::default(),
        incomplete: definition.incomplete,
    };
    for (place, instance) in instances.iter().enumerate() {
        names.by_id.insert(instance.id.as_str(), place);
        for (at, interface) in instance.interfaces.iter().enumerate() {
            for address in &interface.addresses {
                names.by_address.entry(*address).or_insert((place, at));
            }
        }
    }
    let tests = definition.tests.iter();
    tests
        .filter_map(|entry| names.promise(entry, diagnostics))
        .collect()
}

struct EndNames<'i> {
    instances: &'i [Instance],
    by_id: HashMap<&'i str, usize>,
    by_address: HashMap<IpAddr, (usize, usize)>,
    /// Those of instances that were asked for: many tests may name one that has many.
    ends: RefCell<HashMap<usize, Rc<Ends>>>,
    incomplete: bool,
}

impl EndNames<'_> {
    fn promise<'d>(
        &self,
        entry: &'d TestEntry,
        diagnostics: &mut Diagnostics,
    ) -> Option<Promise<'d>> {
        let ends = [&entry.from, &entry.to].map(|text| text.as_ref());
        let [from, to] = ends.map(|text| text.and_then(|text| self.end(text, diagnostics)));
        let protocol = (entry.protocol.as_ref()).and_then(|text| protocol(text, diagnostics));
        let port = port(entry, protocol, diagnostics);
        let [Some(from_text), Some(to_text)] = ends else {
            return None;
        };
        let expect = match entry.expect? {
            true => Verdict::Allow,
            false => Verdict::Refuse,
        };
        let promise = Promise {
            entry,
            from: from?,
            to: to?,
            names: [&from_text.text, &to_text.text],
            protocol: protocol?,
            port: port?,
            expect,
        };
        match promise.unjudgeable() {
            None => Some(promise),
            Some((message, help)) => {
                diagnostics.error("test-ends", entry.span, message, help);
                None
            }
        }
    }

    /// What one end of a test can be.
    fn end(&self, text: &Text, diagnostics: &mut Diagnostics) -> Option<Rc<Ends>> {
        if InstanceId::is_meant_by(&text.text) {
            let Some(place) = self.by_id.get(text.text.as_str()).copied() else {
                if !self.incomplete {
                    let known: Vec<&str> = self.by_id.keys().copied().collect();
                    let help = match diagnostics.closest(&text.text, &known) {
                        Some(name) => format!("did you mean `{name}`?"),
                        None => "write it under `instances`, or name an address".to_owned(),
                    };
                    let message = format!("the instance `{}` is not defined", text.text);
                    diagnostics.error("undefined-instance", text.span, message, help);
                }
                return None;
            };
            let mut known = self.ends.borrow_mut();
            let ends = known.entry(place);
            return Some(ends.or_insert_with(|| self.ends_of(place)).clone());
        }
        match AddressRange::parse_address(&text.text) {
            Ok(address) => {
                let at = self.by_address.get(&address).copied();
                let address = Some(address);
                let instance = at.map(|(place, _)| place);
                Some(Ends::of(vec![FlowEnd { address, at }], instance))
            }
            Err(error) => {
                let help = "an end of a test is one address, or the id of an instance";
                diagnostics.error("bad-address", text.span, error.to_string(), help);
                None
            }
        }
    }

    /// Each address of an instance; where it lists none, each of its interfaces.
    fn ends_of(&self, place: usize) -> Rc<Ends> {
        let interfaces = || self.instances[place].interfaces.iter().enumerate();
        let ends = interfaces().flat_map(|(at, interface)| {
            interface.addresses.iter().map(move |address| FlowEnd {
                address: Some(*address),
                at: Some((place, at)),
            })
        });
        let ends: Vec<FlowEnd> = ends.collect();
        if !ends.is_empty() {
            return Ends::of(ends, Some(place));
        }
        let bare = interfaces().map(|(at, _)| FlowEnd {
            address: None,
            at: Some((place, at)),
        });
        Ends::of(bare.collect(), Some(place))
    }
}

impl Ends {
    fn of(list: Vec<FlowEnd>, instance: Option<usize>) -> Rc<Self> {
        let has = |v4| {
            let addresses = list.iter().filter_map(|end| end.address);
            addresses.into_iter().any(|address| address.is_ipv4() == v4)
        };
        let families = [has(true), has(false)];
        Rc::new(Ends {
            list,
            instance,
            families,
        })
    }

    /// Whether no address is known.
    fn is_bare(&self) -> bool {
        self.families == [false, false]
    }
}

fn protocol(text: &Text, diagnostics: &mut Diagnostics) -> Option<Protocol> {
    let named = Protocol::NAMES.iter().find(|(name, _)| *name == text.text);
    if named.is_none() {
        let names = Protocol::NAMES.map(|(name, _)| name);
        let all = names.join(", ");
        let help = match diagnostics.closest(&text.text, &names) {
            Some(name) => format!("did you mean `{name}`? It is one of {all}"),
            None => format!("it is one of {all}"),
        };
        let message = format!("`{}` is not a protocol of a flow", text.text);
        diagnostics.error("bad-protocol", text.span, message, help);
    }
    named.map(|(_, protocol)| *protocol)
}

/// The one port; `None` if what is written there is wrong. Where the protocol is not known, what is written is judged
/// all the same.
fn port(
    entry: &TestEntry,
    protocol: Option<Protocol>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<u16>> {
    let has_ports = match protocol {
        Some(protocol) => matches!(protocol, Protocol::TCP | Protocol::UDP),
        None => entry.port.is_some(),
    };
    let (span, message, help) = match (&entry.port, has_ports) {
        (None, false) => return Some(None),
        (None, true) => (
            entry.span,
            "a test with tcp or udp needs `port`".to_owned(),
            "write `port: 443`".to_owned(),
        ),
        (Some(text), false) => (
            text.span,
            "this protocol has no ports".to_owned(),
            "remove `port`".to_owned(),
        ),
        (Some(text), true) => match PortSet::parse(&text.text) {
            Ok(ports) if matches!(&*ports, [one] if one.first == one.last) => {
                return Some(ports.first().map(|one| one.first));
            }
            Ok(_) => (
                text.span,
                "a test has one port".to_owned(),
                "write a test for each port".to_owned(),
            ),
            Err(error @ (PortError::Named(..) | PortError::LeadingZero(..))) => {
                (text.span, error.to_string(), error.help())
            }
            Err(error) => {
                let help = "write one port, such as 443".to_owned();
                (text.span, error.to_string(), help)
            }
        },
    };
    let code = match (&entry.port, has_ports) {
        (None, _) => "missing-key",
        (Some(_), false) => "port-without-ports",
        _ => "bad-port",
    };
    diagnostics.error(code, span, message, help);
    None
}

impl Promise<'_> {
    /// Whether a flow of this protocol can go from one to the other.
    fn fits(&self, from: &FlowEnd, to: &FlowEnd) -> bool {
        let of_protocol = |address: &IpAddr| match self.protocol {
            Protocol::ICMP => address.is_ipv4(),
            Protocol::ICMPV6 => address.is_ipv6(),
            _ => true,
        };
        let families = match (from.address, to.address) {
            (Some(from), Some(to)) => from.is_ipv4() == to.is_ipv4(),
            _ => true,
        };
        families && [from.address, to.address].iter().flatten().all(of_protocol)
    }

    /// Why nothing can be said about it, and the way out.
    fn unjudgeable(&self) -> Option<(String, &'static str)> {
        let [from, to] = self.names;
        let needed = match (self.from.instance, self.to.instance) {
            (None, None) => {
                return Some((
                    format!("neither `{from}` nor `{to}` is an instance of this definition"),
                    "name an instance, or an address that one of its interfaces lists",
                ));
            }
            (Some(one), Some(other)) if one == other => {
                return Some((
                    format!("`{from}` and `{to}` are the same instance"),
                    "no rule stands between a host and itself: name two ends",
                ));
            }
            (Some(_), _) if self.to.is_bare() => Some(to),
            (_, Some(_)) if self.from.is_bare() => Some(from),
            _ => None,
        };
        if let Some(name) = needed {
            return Some((
                format!("no interface of `{name}` lists an address that could be judged"),
                "write `addresses` under its interfaces, or name an address",
            ));
        }
        let of_protocol = [
            self.protocol != Protocol::ICMPV6,
            self.protocol != Protocol::ICMP,
        ];
        let can = |ends: &Ends, family: usize| ends.is_bare() || ends.families[family];
        let any = (0..2)
            .any(|family| of_protocol[family] && can(&self.from, family) && can(&self.to, family));
        (!any).then(|| {
            (
                format!(
                    "no addresses of `{from}` and `{to}` are of one family that the protocol has"
                ),
                "name two ends of one family; icmp is IPv4 only, icmpv6 IPv6 only",
            )
        })
    }

    /// `tcp 443 from 198.51.100.7 to ins-web1`
    fn words(&self) -> String {
        let name = self.protocol.name().unwrap_or_default();
        let port = self.port.map(|port| format!(" {port}")).unwrap_or_default();
        let [from, to] = self.names;
        format!("{name}{port} from {from} to {to}")
    }
}
