//! Terraform: state, `terraform show -json`, and configuration in Terraform's JSON syntax.
//!
//! | file | subject |
//! |---|---|
//! | `resources` | the resources of any of the three |
//! | `tencentcloud`, `lite`, `network_acls` | those of the tencentcloud provider |
//! | `literal` | texts in which nothing is evaluated |
//! | `aws` | those of the aws provider |
//! | [`mod@write`] | an inventory as resources of the tencentcloud provider |

mod aws;
mod lite;
mod literal;
mod network_acls;
mod resources;
mod tencentcloud;
pub mod write;

use super::inventory::Inventory;
use super::notes::Notes;
pub use literal::unescape;
pub use resources::{Resource, is_one, resources};

/// Reads resources of all providers that are known.
pub fn read(resources: &[Resource], inventory: &mut Inventory, notes: &mut Notes) {
    let names = resources::Names::of(resources);
    tencentcloud::read(resources, &names, inventory, notes);
    aws::read(resources, &names, inventory, notes);
    let mut unread: std::collections::BTreeMap<&str, Vec<&Resource>> = Default::default();
    for resource in resources {
        let kind = resource.kind.as_str();
        if !tencentcloud::KINDS.contains(&kind) && !aws::KINDS.contains(&kind) {
            unread.entry(kind).or_default().push(resource);
        }
    }
    for (kind, resources) in unread {
        let several = crate::words::count(resources.len(), "resource");
        let message = format!("{several} of the type {kind}: import does not read these");
        if let Some(first) = resources.first() {
            notes.not_kept(&first.object.place, message);
        }
    }
}
