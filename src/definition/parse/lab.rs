//! The lab's part of a definition.

use crate::definition::model::{LabEntry, LabHostEntry, LabServicesEntry};
use crate::definition::reader::TreeReader;
use crate::definition::yaml::YamlNode;

/// What stands under `lab`.
pub fn lab(reader: &mut TreeReader, node: &YamlNode) -> Option<LabEntry> {
    let fields = reader.fields(node, "lab")?;
    let hosts = reader.each(&fields, "lab.hosts", |reader, name, node| {
        let addresses = reader.texts(node, format_args!("the host `{}`", name.text))?;
        Some(LabHostEntry { name, addresses })
    });
    let services = reader.each(&fields, "lab.services", |reader, name, node| {
        let services = reader.texts(node, format_args!("the services of `{}`", name.text))?;
        Some(LabServicesEntry { name, services })
    });
    Some(LabEntry { hosts, services })
}
