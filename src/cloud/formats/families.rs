//! Which of IPv4 and IPv6 a rule's service and remote can match: `icmp` is of the one, `icmpv6` of the other.

use super::inventory::{Inventory, ServiceRecord, TemplateRecord};
use std::collections::HashMap;

/// Whether IPv4 and whether IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What the templates of an inventory can match.
#[derive(Debug)]
pub struct TemplateFamilies {
    addresses: HashMap<String, Families>,
    services: HashMap<String, Families>,
}

const BOTH: Families = Families { v4: true, v6: true };
/// Neither.
pub const NONE: Families = Families {
    v4: false,
    v6: false,
};

impl Families {
    /// What either has.
    pub fn or(self, other: Self) -> Self {
        Families {
            v4: self.v4 || other.v4,
            v6: self.v6 || other.v6,
        }
    }

    /// What both have.
    pub fn and(self, other: Self) -> Self {
        Families {
            v4: self.v4 && other.v4,
            v6: self.v6 && other.v6,
        }
    }

    /// Whether it is at least one.
    pub fn any(self) -> bool {
        self.v4 || self.v6
    }
}

impl TemplateFamilies {
    /// Those of all templates and groups of them.
    pub fn of(inventory: &Inventory) -> Self {
        TemplateFamilies {
            addresses: of_templates(&inventory.address_templates, families_of_address),
            services: of_templates(&inventory.service_templates, families_of_protocol),
        }
    }

    /// Of an item of a remote. A group is taken for both: its members change.
    pub fn of_remote(&self, item: &str) -> Families {
        match self.addresses.get(item) {
            Some(families) => *families,
            None if item == "any" || item.starts_with("sg-") => BOTH,
            None => families_of_address(item),
        }
    }

    /// Of a service.
    pub fn of_service(&self, service: &ServiceRecord) -> Families {
        match service {
            ServiceRecord::Protocol(protocol, _) => families_of_protocol(protocol),
            ServiceRecord::Template(id) => self.services.get(id).copied().unwrap_or(BOTH),
        }
    }
}

fn of_templates(
    templates: &[TemplateRecord],
    of_entry: impl Fn(&str) -> Families,
) -> HashMap<String, Families> {
    let mut known: HashMap<String, Families> = HashMap::new();
    // Groups name templates, so that these come first.
    let is_group = |template: &&TemplateRecord| {
        template.id.starts_with("ipmg-") || template.id.starts_with("ppmg-")
    };
    let (groups, plain): (Vec<_>, Vec<_>) = templates.iter().partition(is_group);
    for template in plain {
        let families = template.entries.iter().map(|entry| of_entry(entry));
        known.insert(template.id.clone(), families.fold(NONE, Families::or));
    }
    for group in groups {
        let members = group.entries.iter().filter_map(|id| known.get(id)).copied();
        let families = members.fold(NONE, Families::or);
        known.insert(group.id.clone(), families);
    }
    known
}

/// Of an address.
pub fn families_of_address(text: &str) -> Families {
    let v6 = text.contains(':');
    Families { v4: !v6, v6 }
}

/// Of a protocol, or an entry of a service template.
pub fn families_of_protocol(text: &str) -> Families {
    match text {
        "icmp" => Families {
            v4: true,
            v6: false,
        },
        "icmpv6" => Families {
            v4: false,
            v6: true,
        },
        _ => BOTH,
    }
}
