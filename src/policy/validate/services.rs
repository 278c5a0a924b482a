//! Protocols, ports and service templates.

use super::addresses::undefined_template;
use crate::definition::reader::{Text, Texts, closest};
use crate::definition::{Definition, Diagnostic};
use crate::policy::id::{ServiceTemplateGroupId, ServiceTemplateId};
use crate::policy::port::PortSet;
use crate::policy::rule::Service;
use std::collections::BTreeMap;

/// The protocols of a definition.
const PROTOCOLS: &[&str] = &["tcp", "udp", "icmp", "icmpv6", "gre", "all"];

/// The service templates; `None` where an error was reported.
#[derive(Debug)]
pub struct Services {
    templates: BTreeMap<String, Option<Vec<Service>>>,
}

impl Services {
    /// Reads all service templates.
    pub fn new(definition: &Definition, diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut templates = BTreeMap::new();
        let mut groups: BTreeMap<&str, &Texts> = BTreeMap::new();
        for template in &definition.service_templates {
            let is_group = template.id.text.starts_with("ppmg-");
            let wrong = match is_group {
                true => ServiceTemplateGroupId::parse(&template.id.text).err(),
                false => ServiceTemplateId::parse(&template.id.text).err(),
            };
            if let Some(error) = wrong {
                diagnostics.push(
                    Diagnostic::error("bad-id", template.id.span, error.to_string()).help(
                        "ids of templates begin with `ppm-`, of groups of templates with `ppmg-`",
                    ),
                );
            }
            if is_group {
                groups.insert(&template.id.text, &template.items);
                continue;
            }
            let entries: Vec<_> = template
                .items
                .items
                .iter()
                .map(|item| entry(item, diagnostics))
                .collect();
            let services = entries.into_iter().collect::<Option<Vec<_>>>();
            templates.insert(template.id.text.clone(), services);
        }
        let mut services = Services { templates };
        for id in groups.keys() {
            services.expand_group(id, &groups, &mut Vec::new(), diagnostics);
        }
        services
    }

    /// The services of a template or group of templates.
    pub fn template(&self, item: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<Service>> {
        match self.templates.get(&item.text) {
            Some(services) => services.clone(),
            None => {
                let diagnostic = match item.text.starts_with("ppm-") || item.text.starts_with("ppmg-") {
                    true => undefined_template(item, "service template", self.templates.keys()),
                    false => Diagnostic::error("bad-id", item.span, format!("`{}` is not the id of a service template", item.text))
                        .help("`service` names a `ppm-` or `ppmg-` template; write `protocol` and `port` otherwise"),
                };
                diagnostics.push(diagnostic);
                None
            }
        }
    }

    fn expand_group<'d>(
        &mut self,
        id: &'d str,
        groups: &BTreeMap<&'d str, &'d Texts>,
        path: &mut Vec<&'d str>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some(items) = groups.get(id) else { return };
        if self.templates.contains_key(id) {
            return;
        }
        path.push(id);
        let mut all = Some(Vec::new());
        for item in &items.items {
            if path.contains(&item.text.as_str()) {
                let message = format!(
                    "`{id}` contains itself: {} -> {}",
                    path.join(" -> "),
                    item.text
                );
                diagnostics.push(
                    Diagnostic::error("template-cycle", item.span, message)
                        .help("remove one step of the circle"),
                );
                all = None;
                continue;
            }
            self.expand_group(&item.text, groups, path, diagnostics);
            match (self.template(item, diagnostics), &mut all) {
                (Some(services), Some(all)) => all.extend(services),
                _ => all = None,
            }
        }
        path.pop();
        self.templates.insert(id.to_owned(), all);
    }
}

/// `tcp:80,443`, `udp:53`, `icmp`, `icmpv6` or `gre`.
fn entry(item: &Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Service> {
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
        ("icmp", None) => Service::Icmp,
        ("icmpv6", None) => Service::Icmpv6,
        ("gre", None) => Service::Gre,
        _ => {
            let message = format!("`{}` is not a service", item.text);
            diagnostics.push(
                Diagnostic::error("bad-service", item.span, message)
                    .help("write `tcp:80,443`, `udp:53`, `tcp:all`, `icmp`, `icmpv6` or `gre`"),
            );
            return None;
        }
    };
    Some(service)
}

/// `protocol` and `port` of a rule or an approved service.
pub fn service(
    protocol: &Text,
    port: Option<&Texts>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Service> {
    let name = protocol.text.as_str();
    if !PROTOCOLS.contains(&name) {
        let message = format!(
            "`{name}` is not a protocol: it is one of {}",
            PROTOCOLS.join(", ")
        );
        let lower = name.to_lowercase();
        let help = match closest(&lower, PROTOCOLS) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`all` means every protocol".to_owned(),
        };
        diagnostics.push(Diagnostic::error("bad-protocol", protocol.span, message).help(help));
        return None;
    }
    let ports = match port {
        Some(port) => port_set(&port.items, diagnostics)?,
        None => PortSet::all(),
    };
    if !matches!(name, "tcp" | "udp") && !ports.is_all() {
        let span = port.map_or(protocol.span, |port| port.span);
        let message = format!("`{name}` has no ports");
        diagnostics.push(
            Diagnostic::error("port-without-ports", span, message)
                .help("remove `port`, or write `protocol: tcp` or `udp`"),
        );
        return None;
    }
    Some(match name {
        "tcp" => Service::Tcp(ports),
        "udp" => Service::Udp(ports),
        "icmp" => Service::Icmp,
        "icmpv6" => Service::Icmpv6,
        "gre" => Service::Gre,
        _ => Service::All,
    })
}

/// Ports as written: `22`, `"80,443"`, `8000-8100`, or a list of these.
pub fn port_set(items: &[Text], diagnostics: &mut Vec<Diagnostic>) -> Option<PortSet> {
    let mut intervals = Vec::new();
    let mut wrong = false;
    for item in items {
        match PortSet::parse(&item.text) {
            Ok(parsed) => intervals.extend(parsed),
            Err(error) => {
                wrong = true;
                let help = "write 22, 8000-8100, \"80,443\" or all";
                diagnostics
                    .push(Diagnostic::error("bad-port", item.span, error.to_string()).help(help));
            }
        }
    }
    if wrong { None } else { PortSet::new(intervals) }
}
