//! The groups of an interface, in their order.

use super::change::InterfacePlace;
use super::groups::group;
use super::{Draft, Edit, Refusal, refused};
use crate::definition::keys::names_at;
use crate::definition::model::{InstanceEntry, InterfaceEntry};
use crate::definition::patch::{Patch, Spot, keys};
use crate::definition::tree::Tree;
use crate::definition::{Definition, Diagnostic, closest};
use crate::policy::id::{GroupId, InstanceId};
use crate::words::count;

const SCHEMA: &str = "instances.<ins-id>.interfaces.<name>";
/// The key of the list.
const BOUND: &str = "security_groups";

/// Binds groups.
pub(super) fn bind(
    draft: &Draft,
    place: &InterfacePlace,
    groups: &[GroupId],
    at: Option<usize>,
) -> Result<Edit, Refusal> {
    let (instance, interface) = find(draft.definition, place)?;
    let there = interface.security_groups.len();
    let name = name(instance, interface);
    for (n, id) in groups.iter().enumerate() {
        group(draft.definition, id)?;
        is_not_bound(interface, instance, id)?;
        if groups[..n].contains(id) {
            return Err(refused("bound-already", format!("{id} is named twice")).into());
        }
    }
    let at = at.unwrap_or(there);
    if at > there {
        let message = format!(
            "{name} has {}: --at is at most {there}",
            count(there, "group")
        );
        return Err(refused("unknown-place", message).into());
    }
    let map = map(instance, interface);
    let new = groups.iter().map(|id| Tree::text(id.as_str())).collect();
    let mut edit = Edit::default();
    let added = draft.files.add_items(&map, BOUND, SCHEMA, at, new);
    if let Some((file, patches)) = added {
        edit.push(file, patches);
    }
    let bound = groups.iter().zip(at..);
    edit.done = bound
        .map(|(id, at)| format!("bound {id} to {name}, at {at}"))
        .collect();
    Ok(edit)
}

/// Unbinds groups.
pub(super) fn unbind(
    draft: &Draft,
    place: &InterfacePlace,
    groups: &[GroupId],
) -> Result<Edit, Refusal> {
    let (instance, interface) = find(draft.definition, place)?;
    let name = name(instance, interface);
    let mut patches = Vec::new();
    let mut left = ids(interface);
    for id in groups {
        let Some(at) = left.iter().position(|other| other == id.as_str()) else {
            return Err(is_not_there(instance, interface, id));
        };
        left.remove(at);
        patches.push(Patch::Remove {
            list: keys(list(instance, interface)),
            at,
        });
    }
    let unbound = groups.iter().map(|id| format!("unbound {id} from {name}"));
    Ok(changed(
        draft,
        instance,
        interface,
        patches,
        unbound.collect(),
    ))
}

/// Orders the groups of an interface.
pub(super) fn order(
    draft: &Draft,
    place: &InterfacePlace,
    groups: &[GroupId],
) -> Result<Edit, Refusal> {
    let (instance, interface) = find(draft.definition, place)?;
    let name = name(instance, interface);
    let mut now = ids(interface);
    let wanted: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let sorted = |ids: &[String]| {
        let mut ids = ids.to_vec();
        ids.sort();
        ids
    };
    if sorted(&now) != sorted(&wanted) {
        let bound = now.join(" ");
        let other = wanted.iter().find(|id| !now.contains(id));
        let message = match other {
            Some(id) => format!("{id} is not bound to {name}: {bound} is"),
            None => format!("the order of {name} names each of its groups once: {bound}"),
        };
        return Err(refused("bad-order", message)
            .help("bind or unbind first what is to come or to go")
            .into());
    }
    let mut patches = Vec::new();
    for (to, id) in wanted.iter().enumerate() {
        let from = now.iter().position(|other| other == id).unwrap_or(to);
        if from != to {
            let id = now.remove(from);
            now.insert(to, id);
            patches.push(Patch::Move {
                list: keys(list(instance, interface)),
                from,
                to,
            });
        }
    }
    let done = vec![format!("ordered the groups of {name}")];
    Ok(changed(draft, instance, interface, patches, done))
}

/// These changes of a list.
fn changed(
    draft: &Draft,
    instance: &InstanceEntry,
    interface: &InterfaceEntry,
    patches: Vec<Patch>,
    done: Vec<String>,
) -> Edit {
    let mut edit = Edit::default();
    if let Some((file, _)) = draft.files.holder(&list(instance, interface)) {
        edit.push(file, patches);
    }
    edit.done = done;
    edit
}

/// An interface has these groups.
pub(super) fn whole(
    instance: &InstanceEntry,
    interface: &InterfaceEntry,
    groups: Vec<String>,
) -> Patch {
    Patch::Set {
        map: keys(map(instance, interface)),
        key: BOUND.to_owned(),
        value: Tree::texts(groups),
        spot: Spot::Order(names_at(SCHEMA)),
    }
}

/// The instance of this id.
pub(super) fn instance<'d>(
    definition: &'d Definition,
    id: &InstanceId,
) -> Result<&'d InstanceEntry, Refusal> {
    let mut instances = definition.instances.iter();
    let found = instances.find(|instance| instance.id.text == id.as_str());
    found.ok_or_else(|| {
        let known = definition.instances.iter();
        let known: Vec<&str> = known.map(|instance| instance.id.text.as_str()).collect();
        let reason = refused("unknown-instance", format!("there is no instance {id}"));
        let help = match closest(id.as_str(), &known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        reason.help(help).into()
    })
}

fn find<'d>(
    definition: &'d Definition,
    place: &InterfacePlace,
) -> Result<(&'d InstanceEntry, &'d InterfaceEntry), Refusal> {
    let instance = instance(definition, &place.instance)?;
    let names = || {
        let names = instance.interfaces.iter();
        let names: Vec<String> = names.map(|each| name(instance, each)).collect();
        names.join(", ")
    };
    match (&place.interface, instance.interfaces.as_slice()) {
        (None, [only]) => Ok((instance, only)),
        (None, _) => {
            let message = format!(
                "{} has several interfaces: name one of {}",
                place.instance,
                names()
            );
            Err(Diagnostic::error("which-interface", instance.id.span, message).into())
        }
        (Some(wanted), interfaces) => {
            let mut interfaces = interfaces.iter();
            let found = interfaces.find(|each| each.name.text == *wanted);
            let found = found.ok_or_else(|| {
                let message = format!(
                    "{} has no interface {wanted}: it has {}",
                    place.instance,
                    names()
                );
                Diagnostic::error("unknown-interface", instance.id.span, message)
            })?;
            Ok((instance, found))
        }
    }
}

fn is_not_bound(
    interface: &InterfaceEntry,
    instance: &InstanceEntry,
    id: &GroupId,
) -> Result<(), Refusal> {
    let mut bound = interface.security_groups.iter();
    match bound.find(|bound| bound.text == id.as_str()) {
        None => Ok(()),
        Some(there) => {
            let message = format!("{id} is bound to {} already", name(instance, interface));
            let reason = Diagnostic::error("bound-already", there.span, message);
            Err(reason
                .help("`secgroupd group order` changes its priority")
                .into())
        }
    }
}

fn is_not_there(instance: &InstanceEntry, interface: &InterfaceEntry, id: &GroupId) -> Refusal {
    let there = ids(interface).join(", ");
    let there = if there.is_empty() { "nothing" } else { &there };
    let message = format!(
        "{id} is not bound to {}: {there} is",
        name(instance, interface)
    );
    Diagnostic::error("not-bound", interface.name.span, message).into()
}

/// The ids of the bound groups.
pub(super) fn ids(interface: &InterfaceEntry) -> Vec<String> {
    let groups = interface.security_groups.iter();
    groups.map(|id| id.text.clone()).collect()
}

/// `ins-web1/eth0`
pub(super) fn name(instance: &InstanceEntry, interface: &InterfaceEntry) -> String {
    format!("{}/{}", instance.id.text, interface.name.text)
}

fn map<'d>(instance: &'d InstanceEntry, interface: &'d InterfaceEntry) -> [&'d str; 4] {
    [
        "instances",
        &instance.id.text,
        "interfaces",
        &interface.name.text,
    ]
}

/// The path of the list.
pub(super) fn list<'d>(instance: &'d InstanceEntry, interface: &'d InterfaceEntry) -> [&'d str; 5] {
    let [a, b, c, d] = map(instance, interface);
    [a, b, c, d, BOUND]
}
