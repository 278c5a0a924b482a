//! Which format a text has, by its content.

use super::json::Object;
use super::{aws, console, iptables, tencent, terraform};

/// A format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// What the cloud's API answers and takes, as `tccli` prints it.
    Tencent,
    /// The rules that the cloud's console saves.
    Console,
    /// Terraform's state, `terraform show -json`, or configuration in JSON.
    Terraform,
    /// What the `aws` command prints.
    Aws,
    /// What `iptables-save` and `ip6tables-save` print.
    Iptables,
}

/// The format of a JSON object, by its keys.
pub fn of_json(object: &Object) -> Option<Format> {
    if terraform::is_one(object) {
        Some(Format::Terraform)
    } else if aws::is_one(object) {
        Some(Format::Aws)
    } else if tencent::read::is_one(object) {
        Some(Format::Tencent)
    } else {
        None
    }
}

/// The format of a text that is no JSON.
pub fn of_text(text: &str) -> Option<Format> {
    if iptables::is_one(text) {
        Some(Format::Iptables)
    } else if console::is_one(text) {
        Some(Format::Console)
    } else {
        None
    }
}
