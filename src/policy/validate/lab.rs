//! What a definition says for a lab: names of hosts outside. What else makes no lab is judged where one is made.

use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostics};
use crate::policy::id::InstanceId;
use std::net::IpAddr;

/// The name of a lab's router, which no host may have.
pub const ROUTER: &str = "router";

/// Refuses names that no host of a lab can have.
pub fn names(definition: &Definition, diagnostics: &mut Diagnostics) {
    for host in &definition.lab.hosts {
        check(&host.name, diagnostics);
    }
}

fn check(name: &Text, diagnostics: &mut Diagnostics) {
    let text = &name.text;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let wrong = text.is_empty() || text.len() > 64 || !text.bytes().all(allowed);
    let help = if wrong || text.parse::<IpAddr>().is_ok() {
        "letters, digits, `-`, `_` and `.`, 64 bytes at most; not an address"
    } else if InstanceId::is_meant_by(text) || text == ROUTER {
        "names that begin with `ins-` are those of instances, and `router` is the lab's own"
    } else {
        return;
    };
    let message = format!("`{text}` is no name of a host outside");
    diagnostics.error("lab-bad-name", name.span, message, help);
}
