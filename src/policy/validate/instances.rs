//! Instances and their interfaces.

use super::subnets::Subnets;
use super::uses::GroupUses;
use crate::definition::model::{InstanceEntry, InstanceKind, InterfaceEntry};
use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostic, Diagnostics, Span};
use crate::policy::account::{Instance, Interface};
use crate::policy::address::{AddressError, AddressRange};
use crate::policy::id::InstanceId;
use crate::policy::interface::InterfaceName;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

/// All instances, in the order of the definition.
pub fn instances(
    definition: &Definition,
    subnets: &Subnets,
    uses: &mut GroupUses,
    diagnostics: &mut Diagnostics,
) -> Vec<Instance> {
    let mut hostnames = Hostnames::default();
    let mut addresses: HashMap<IpAddr, Span> = HashMap::new();
    let mut instances = Vec::new();
    for entry in &definition.instances {
        let id = match InstanceId::parse(&entry.id.text) {
            Ok(id) => Some(id),
            Err(error) => {
                let message = error.to_string();
                let help = "ids look like `ins-web1`";
                diagnostics.error("bad-id", entry.id.span, message, help);
                None
            }
        };
        check_hostname(entry, &mut hostnames, diagnostics);
        let smtp_request = smtp_request(entry, diagnostics);
        let mut interfaces: Vec<Interface> = entry
            .interfaces
            .iter()
            .filter_map(|interface| {
                let instance = &entry.id.text;
                let mut known =
                    self::interface(interface, instance, uses, &mut addresses, diagnostics)?;
                known.subnet = subnets.of_interface(interface, instance, diagnostics);
                Some(known)
            })
            .collect();
        interfaces.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(id) = id {
            let hostname = entry
                .hostname
                .as_ref()
                .map(|name| name.text.as_str().into());
            let place = definition.sources.place(entry.id.span);
            instances.push(Instance {
                id,
                hostname,
                kind: entry.kind,
                smtp_request,
                interfaces,
                place,
            });
        }
    }
    instances
}

/// Hostnames without regard to case: two that can mean one host are equal, or one of them is the short name of the
/// other.
#[derive(Default)]
struct Hostnames<'d> {
    whole: HashMap<String, &'d Text>,
    /// The first name that begins with this label, and the first that is nothing more.
    labels: HashMap<String, (&'d Text, Option<&'d Text>)>,
}

impl<'d> Hostnames<'d> {
    /// Adds one. Returns the name that can mean the same host, if there is one already.
    fn add(&mut self, name: &'d Text) -> Option<&'d Text> {
        let whole = name.text.to_lowercase();
        let (label, short) = match whole.split_once('.') {
            Some((label, _)) => (label.to_owned(), false),
            None => (whole.clone(), true),
        };
        let of_label = self.labels.get(&label);
        let known = self.whole.get(&whole).copied();
        let known = known.or_else(|| match short {
            true => of_label.map(|(first, _)| *first),
            false => of_label.and_then(|(_, short)| *short),
        });
        if known.is_none() {
            self.whole.insert(whole, name);
            let (_, of_short) = self.labels.entry(label).or_insert((name, None));
            if short {
                *of_short = Some(name);
            }
        }
        known
    }
}

fn check_hostname<'d>(
    entry: &'d InstanceEntry,
    seen: &mut Hostnames<'d>,
    diagnostics: &mut Diagnostics,
) {
    let name = entry.hostname.as_ref().unwrap_or(&entry.id);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.text.is_empty() || !name.text.bytes().all(allowed) {
        let message = format!("`{}` is not a hostname", name.text);
        let help = "write what `hostname` or `hostname -f` prints on that host";
        diagnostics.error("bad-hostname", name.span, message, help);
        return;
    }
    if let Some(first) = seen.add(name) {
        diagnostics.push(
            Diagnostic::error(
                "hostname-twice",
                name.span,
                format!("two instances can be the host `{}`", name.text),
            )
            .related(first.span, "the first of them")
            .help(
                "a host is one instance: give each a hostname of its own, both short or both full",
            ),
        );
    }
}

/// Whether the instance asks for TCP 25; only prepaid instances may.
fn smtp_request(entry: &InstanceEntry, diagnostics: &mut Diagnostics) -> bool {
    let Some(span) = entry.smtp_unblocked else {
        return false;
    };
    if entry.kind != InstanceKind::Cvm {
        let message = format!(
            "`{}` is no CVM: its TCP 25 is not blocked, and nothing is spent",
            entry.id.text
        );
        diagnostics.warning("unblock-kind", span, message, "remove `smtp`");
        return false;
    }
    if !entry.prepaid {
        let message = format!(
            "TCP 25 of `{}` cannot be unblocked: pay-as-you-go instances are not supported",
            entry.id.text
        );
        let help = "write `billing: prepaid`, or remove `smtp: unblocked`";
        diagnostics.error("unblock-billing", span, message, help);
    }
    entry.prepaid
}

fn interface(
    entry: &InterfaceEntry,
    instance: &str,
    uses: &mut GroupUses,
    seen: &mut HashMap<IpAddr, Span>,
    diagnostics: &mut Diagnostics,
) -> Option<Interface> {
    let name = match InterfaceName::parse(&entry.name.text) {
        Ok(name) => Some(name),
        Err(error) => {
            let message = error.to_string();
            let help = error.help();
            diagnostics.error("bad-interface", entry.name.span, message, help);
            None
        }
    };
    if let (Some(span), true) = (entry.addresses_span, entry.name.text.ends_with('*')) {
        let message = format!(
            "`{}` stands for several interfaces and has no addresses of its own",
            entry.name.text
        );
        let help = "name the interface in full, or remove `addresses`";
        diagnostics.error("glob-addresses", span, message, help);
    }
    let addresses: Vec<IpAddr> = entry
        .addresses
        .iter()
        .filter_map(|text| address(text, seen, diagnostics))
        .collect();
    let user = format!("{instance} ({})", entry.name.text);
    let (mut groups, mut bound) = (Vec::new(), HashSet::new());
    for text in &entry.security_groups {
        let Some(id) = uses.used(text, &user, diagnostics) else {
            continue;
        };
        if !bound.insert(id.clone()) {
            let message = format!("`{id}` is bound to this interface already");
            let help = "remove it: its first place decides";
            diagnostics.warning("bound-twice", text.span, message, help);
            continue;
        }
        groups.push(id);
    }
    Some(Interface {
        name: name?,
        addresses,
        groups,
        subnet: None,
    })
}

fn address(
    text: &Text,
    seen: &mut HashMap<IpAddr, Span>,
    diagnostics: &mut Diagnostics,
) -> Option<IpAddr> {
    let address = match AddressRange::parse_address(&text.text) {
        Ok(address) => address,
        Err(error) => {
            let single = |text: &str| AddressRange::parse_address(text).is_ok();
            let (message, help) = match (&error, text.text.split_once('/')) {
                (AddressError::NotAnAddress(text), Some((address, _))) if single(address) => (
                    format!("`{text}` is a network, and an interface has single addresses"),
                    format!("write `{address}`"),
                ),
                (AddressError::NotAnAddress(text), _) => (
                    format!("`{text}` is not an address"),
                    "an interface has single addresses: write 10.0.0.5 or \"2001:db8::5\"".into(),
                ),
                _ => (error.to_string(), error.help()),
            };
            diagnostics.error("bad-address", text.span, message, help);
            return None;
        }
    };
    if is_nobodys(address) {
        let message = format!("{address} cannot be the address of an interface that others reach");
        let help = "write the address that others reach it by";
        diagnostics.warning("not-a-host", text.span, message, help);
    }
    if let Some(first) = seen.insert(address, text.span) {
        let message = format!("the address {address} is listed twice");
        diagnostics.push(
            Diagnostic::warning("address-twice", text.span, message)
                .related(first, "first here")
                .help("an address belongs to one interface: remove one of the two"),
        );
    }
    Some(address)
}

/// Whether no host is reached by this address.
fn is_nobodys(address: IpAddr) -> bool {
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    address.is_unspecified() || address.is_loopback() || address.is_multicast() || broadcast
}
