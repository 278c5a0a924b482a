//! Protocols, ports and service templates.

use super::limits::Room;
use super::templates::{Nesting, TemplateNames};
use crate::definition::reader::{Text, Texts};
use crate::definition::{Definition, Diagnostics};
use crate::policy::id::{ServiceTemplateGroupId, ServiceTemplateId};
use crate::policy::port::PortSet;
use crate::policy::protocol::Protocol;
use crate::policy::rule::Service;
use std::collections::BTreeMap;

/// The service of a protocol that has no ports.
fn without_ports(name: &str) -> Option<Service> {
    if name == "all" {
        return Some(Service::All);
    }
    let (_, protocol) = *Protocol::NAMES.iter().find(|(named, _)| *named == name)?;
    match protocol {
        Protocol::ICMP => Some(Service::Icmp),
        Protocol::ICMPV6 => Some(Service::Icmpv6),
        bare if Protocol::BARE.contains(&bare) => Some(Service::Bare(bare)),
        _ => None,
    }
}

/// The service templates; `None` where an error was reported.
#[derive(Debug)]
pub struct Services<'d> {
    templates: BTreeMap<&'d str, Option<Vec<Service>>>,
    names: TemplateNames<'d>,
}

impl<'d> Services<'d> {
    pub fn new(definition: &'d Definition, room: &Room, diagnostics: &mut Diagnostics) -> Self {
        let ids = definition.service_templates.iter().map(|each| &each.id);
        let names = TemplateNames::new("service", ["ppm-", "ppmg-"], ids, definition.incomplete);
        let mut templates = BTreeMap::new();
        let mut groups: BTreeMap<&str, &Texts> = BTreeMap::new();
        for template in &definition.service_templates {
            let id = template.id.text.as_str();
            let is_group = names.is_group(id);
            let wrong = match is_group {
                true => ServiceTemplateGroupId::parse(id).err(),
                false => ServiceTemplateId::parse(id).err(),
            };
            names.report(wrong, &template.id, diagnostics);
            match &template.items {
                Some(items) if is_group => {
                    groups.insert(id, items);
                }
                items => {
                    let incomplete = items.as_ref().is_some_and(|items| items.incomplete);
                    let items = items.iter().flat_map(|items| &items.items);
                    let entries: Vec<_> = items.map(|item| entry(item, diagnostics)).collect();
                    let services = entries.into_iter().collect::<Option<Vec<_>>>();
                    let services = services.filter(|_| !incomplete);
                    templates.insert(id, services.and_then(merged));
                }
            }
        }
        let join = |services: Vec<Vec<Service>>| merged(services.into_iter().flatten().collect());
        let mut nesting = Nesting::new(&names, &groups, templates, join, room);
        for id in groups.keys() {
            nesting.expand(id, diagnostics);
        }
        let templates = nesting.into_templates();
        Services { templates, names }
    }

    /// The services of a template or group of templates.
    pub fn template(&self, item: &Text, diagnostics: &mut Diagnostics) -> Option<Vec<Service>> {
        match self.templates.get(item.text.as_str()) {
            Some(services) => services.clone(),
            None if self.names.is_one(&item.text) => {
                self.names.undefined(item, diagnostics);
                None
            }
            None => {
                let message = format!("`{}` is not the id of a service template", item.text);
                let help = "`service` names a `ppm-` or `ppmg-` template; write `protocol` and `port` otherwise";
                diagnostics.error("bad-id", item.span, message, help);
                None
            }
        }
    }
}

/// Services that say together what all of these say: ports of one protocol in one set. `None` if there are none.
pub fn merged(services: Vec<Service>) -> Option<Vec<Service>> {
    let mut whole: Vec<Service> = Vec::new();
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    for service in services {
        match service {
            Service::Tcp(ports) => tcp.extend_from_slice(ports.intervals()),
            Service::Udp(ports) => udp.extend_from_slice(ports.intervals()),
            other if whole.contains(&other) => {}
            other => whole.push(other),
        }
    }
    let tcp = PortSet::new(tcp).map(Service::Tcp);
    let udp = PortSet::new(udp).map(Service::Udp);
    let all: Vec<Service> = tcp.into_iter().chain(udp).chain(whole).collect();
    (!all.is_empty()).then_some(all)
}

/// `tcp:80,443`, `udp:53`, or a protocol without ports.
fn entry(item: &Text, diagnostics: &mut Diagnostics) -> Option<Service> {
    let (protocol, ports) = match item.text.split_once(':') {
        Some((protocol, ports)) => (protocol.trim(), Some(ports.trim())),
        None => (item.text.as_str(), None),
    };
    let service = match (protocol, ports) {
        ("tcp" | "udp", Some(text)) => {
            let ports = Text {
                span: item.span,
                text: text.to_owned(),
            };
            let ports = port_set(std::slice::from_ref(&ports), diagnostics)?;
            if protocol == "tcp" {
                Service::Tcp(ports)
            } else {
                Service::Udp(ports)
            }
        }
        _ => {
            let known = without_ports(protocol).filter(|_| ports.is_none() && protocol != "all");
            if known.is_some() {
                return known;
            }
            let message = format!("`{}` is not a service", item.text);
            let names = Protocol::NAMES.map(|(name, _)| name);
            let bare: Vec<&str> = names
                .into_iter()
                .filter(|name| without_ports(name).is_some())
                .collect();
            let help = format!(
                "write `tcp:80,443`, `udp:53` or `tcp:all`, or one of {}",
                bare.join(", ")
            );
            diagnostics.error("bad-service", item.span, message, help);
            return None;
        }
    };
    Some(service)
}

/// `protocol` and `port` of a rule.
pub fn service(
    protocol: Option<&Text>,
    port: Option<&Texts>,
    diagnostics: &mut Diagnostics,
) -> Option<Service> {
    let ports = ports_of(port, diagnostics);
    with_ports(protocol?, port, ports, diagnostics)
}

/// `protocol` and `port` of an approved service, which may have several protocols.
pub fn services(
    protocols: Option<&Texts>,
    port: Option<&Texts>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Service>> {
    let ports = ports_of(port, diagnostics);
    let items = protocols?.items.iter();
    let services: Vec<Option<Service>> = items
        .map(|protocol| with_ports(protocol, port, ports.clone(), diagnostics))
        .collect();
    merged(services.into_iter().collect::<Option<Vec<_>>>()?)
}

/// `source_port` of an entry about this service.
pub fn source_ports(
    service: &Service,
    port: Option<&Texts>,
    diagnostics: &mut Diagnostics,
) -> Option<PortSet> {
    let ports = ports_of(port, diagnostics)?;
    let has_ports = matches!(service, Service::Tcp(_) | Service::Udp(_));
    let Some(port) = port.filter(|_| !has_ports && !ports.is_all()) else {
        return Some(ports);
    };
    let message = "`source_port` needs `protocol: tcp` or `udp`";
    let help = "write an entry for tcp and one for udp, or remove `source_port`";
    diagnostics.error("port-without-ports", port.span, message, help);
    None
}

/// All ports where none are written.
fn ports_of(port: Option<&Texts>, diagnostics: &mut Diagnostics) -> Option<PortSet> {
    match port {
        Some(port) => port_set(&port.items, diagnostics),
        None => Some(PortSet::all()),
    }
}

fn with_ports(
    protocol: &Text,
    port: Option<&Texts>,
    ports: Option<PortSet>,
    diagnostics: &mut Diagnostics,
) -> Option<Service> {
    let name = protocol.text.as_str();
    let without_ports = match name {
        "tcp" => return ports.map(Service::Tcp),
        "udp" => return ports.map(Service::Udp),
        name => without_ports(name),
    };
    let Some(service) = without_ports else {
        let message = format!("`{name}` is not a protocol");
        let names = Protocol::NAMES.map(|(name, _)| name);
        let names = [&names[..], &["all"]].concat();
        let all = names.join(", ");
        let help = match diagnostics.closest(name, &names) {
            Some(name) => format!("did you mean `{name}`? It is one of {all}"),
            None => format!("it is one of {all}"),
        };
        diagnostics.error("bad-protocol", protocol.span, message, help);
        return None;
    };
    if ports?.is_all() {
        return Some(service);
    }
    let span = port.map_or(protocol.span, |port| port.span);
    let (message, help) = match service {
        Service::All => (
            "`port` needs `protocol: tcp` or `udp`, not `all`".to_owned(),
            "write a rule for tcp and one for udp, or remove `port`",
        ),
        _ => (
            format!("`{name}` has no ports"),
            "remove `port`, or write `protocol: tcp` or `udp`",
        ),
    };
    diagnostics.error("port-without-ports", span, message, help);
    None
}

/// Ports as written: `22`, `"80,443"`, `8000-8100`, or a list of these.
pub fn port_set(items: &[Text], diagnostics: &mut Diagnostics) -> Option<PortSet> {
    let mut intervals = Vec::new();
    let mut wrong = false;
    for item in items {
        match PortSet::parse(&item.text) {
            Ok(parsed) => intervals.extend(parsed),
            Err(error) => {
                wrong = true;
                diagnostics.error("bad-port", item.span, error.to_string(), error.help());
            }
        }
    }
    if wrong { None } else { PortSet::new(intervals) }
}
