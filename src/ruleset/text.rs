//! The ruleset as nft text: what is loaded, and what `compile` prints.

mod rule;
mod words;

use self::rule::*;
pub use self::rule::{map_type, own_of_another, prefix_mask, rule_text};
use super::batch::{Command, Elements, Names};
use super::ir::*;
use super::marks::Bits;
use super::table::{BASE_CHAINS, Generation, TABLE};
use std::collections::HashMap;
use std::fmt::Write;

/// One command, as `nft -f` takes it; examples stand at [`Command`].
pub fn command(command: &Command, names: &Names) -> String {
    match command {
        Command::AddTable => format!("add table inet {TABLE}"),
        Command::AddBaseChain(base) => {
            let (name, hook, priority) = (base.name, base.hook, base.priority);
            format!(
                "add chain inet {TABLE} {name} {{ type filter hook {hook} priority {priority}; policy accept; }}"
            )
        }
        Command::AddChain(name) => format!("add chain inet {TABLE} {name}"),
        Command::AddSet {
            name,
            family,
            intervals,
        } => {
            let (kind, flags) = (family.address_type(), interval_flag(*intervals));
            format!("add set inet {TABLE} {name} {{ type {kind};{flags} }}")
        }
        Command::AddMap {
            name,
            key,
            intervals,
        } => {
            format!(
                "add map inet {TABLE} {} }}",
                map_head(name, *key, *intervals)
            )
        }
        Command::AddElements { of, elements, .. } => format!(
            "add element inet {TABLE} {} {{ {} }}",
            of.name,
            element_list(*elements, Some(names)).join(", ")
        ),
        Command::DeleteElements { of, elements } => format!(
            "delete element inet {TABLE} {} {{ {} }}",
            of.name,
            element_list(*elements, None).join(", ")
        ),
        Command::AddRule { chain, rule } => {
            format!("add rule inet {TABLE} {chain} {}", rule_text(rule, names))
        }
        Command::FlushChain(name) => format!("flush chain inet {TABLE} {name}"),
        Command::DeleteMap(name) => format!("delete map inet {TABLE} {name}"),
        Command::DeleteSet(name) => format!("delete set inet {TABLE} {name}"),
        Command::DeleteChain(name) => format!("delete chain inet {TABLE} {name}"),
        Command::DeleteTable => format!("delete table inet {TABLE}"),
    }
}

/// A transaction, one command a line; what is new stands in a block with all that it holds, which nft reads a third faster than
/// commands:
///
/// ```text
/// add table inet secgroupd
/// table inet secgroupd {
///     chain g7_in_0_r7 {
///         counter accept comment "sg-web/in/7"
///     }
/// }
/// ```
pub fn transaction(commands: &[Command], names: &Names) -> String {
    let (mut out, mut block) = (String::new(), Block::default());
    // A block makes the table, which nft may not do with one whose flags it does not know.
    let blocks = matches!(commands.first(), Some(Command::AddTable));
    for each in commands {
        if !(blocks && block.takes(each, names)) {
            block.end(&mut out);
            out += &command(each, names);
            out.push('\n');
        }
    }
    block.end(&mut out);
    out
}

/// New objects of one transaction, with what they hold.
#[derive(Default)]
struct Block<'c> {
    objects: Vec<Object>,
    by_name: HashMap<&'c str, usize>,
}

/// One of them.
struct Object {
    /// `map g7_in_0_3 { type ipv4_addr : verdict;`
    head: String,
    /// Elements of sets and maps.
    elements: Vec<String>,
    /// Rules of a chain.
    rules: Vec<String>,
}

impl<'c> Block<'c> {
    /// Whether a command is about what is new here; it is taken in then.
    fn takes(&mut self, command: &'c Command, names: &Names) -> bool {
        match command {
            Command::AddChain(name) => self.begin(name, format!("chain {name} {{")),
            Command::AddSet {
                name,
                family,
                intervals,
            } => {
                let (kind, flags) = (family.address_type(), interval_flag(*intervals));
                self.begin(name, format!("set {name} {{ type {kind};{flags}"));
            }
            Command::AddMap {
                name,
                key,
                intervals,
            } => {
                self.begin(name, format!("map {}", map_head(name, *key, *intervals)));
            }
            Command::AddElements { of, elements, .. } => {
                let Some(object) = self.object(&of.name) else {
                    return false;
                };
                object.elements.extend(element_list(*elements, Some(names)));
            }
            Command::AddRule { chain, rule } => {
                let Some(object) = self.object(chain) else {
                    return false;
                };
                object.rules.push(rule_text(rule, names));
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, name: &'c str, head: String) {
        self.by_name.insert(name, self.objects.len());
        self.objects.push(Object {
            head,
            elements: Vec::new(),
            rules: Vec::new(),
        });
    }

    fn object(&mut self, name: &str) -> Option<&mut Object> {
        self.objects.get_mut(*self.by_name.get(name)?)
    }

    /// Writes what was taken in.
    fn end(&mut self, out: &mut String) {
        self.by_name.clear();
        if self.objects.is_empty() {
            return;
        }
        let _ = writeln!(out, "table inet {TABLE} {{");
        for object in self.objects.drain(..) {
            let _ = writeln!(out, "\t{}", object.head);
            if !object.elements.is_empty() {
                let _ = writeln!(out, "\t\telements = {{ {} }}", object.elements.join(", "));
            }
            for rule in object.rules {
                let _ = writeln!(out, "\t\t{rule}");
            }
            out.push_str("\t}\n");
        }
        out.push_str("}\n");
    }
}

/// The whole table with one generation switched in: what `compile` prints, for people and for `nft -f`.
pub fn table(ruleset: &Ruleset, generation: Generation) -> String {
    table_of(
        ruleset,
        &Names::new(generation).marked(Bits::example(&ruleset.marks)),
    )
}

/// The same with these names and labels.
pub fn table_of(ruleset: &Ruleset, names: &Names) -> String {
    let mut out = format!("table inet {TABLE} {{\n");
    for set in &ruleset.sets {
        let _ = writeln!(
            out,
            "\tset {} {{\n\t\ttype {}",
            names.of(&set.name),
            set.elements.family().address_type()
        );
        if !set.elements.are_points() {
            out += "\t\tflags interval\n";
        }
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            element_list(Elements::of_set(set), None).join(", ")
        );
    }
    for map in &ruleset.maps {
        let kind = map_type(map.key);
        let _ = writeln!(
            out,
            "\tmap {} {{\n\t\ttype {kind} : verdict",
            names.of(&map.name)
        );
        if !map.elements.are_points() {
            out += "\t\tflags interval\n";
        }
        if map.key.counts() {
            out += "\t\tcounter\n";
        }
        let _ = writeln!(
            out,
            "\t\telements = {{ {} }}\n\t}}\n",
            element_list(Elements::of_map(map), Some(names)).join(", ")
        );
    }
    for chain in &ruleset.chains {
        let _ = writeln!(out, "\tchain {} {{", names.of(&chain.name));
        for rule in chain
            .rules
            .iter()
            .filter(|rule| names.bits().can_hold(rule))
        {
            let _ = writeln!(out, "\t\t{}", rule_text(rule, names));
        }
        out += "\t}\n\n";
    }
    for base in BASE_CHAINS {
        let (name, hook, priority) = (base.name, base.hook, base.priority);
        let _ = writeln!(
            out,
            "\tchain {name} {{\n\t\ttype filter hook {hook} priority {priority}; policy accept;"
        );
        let _ = writeln!(out, "\t\tjump {}\n\t}}\n", names.of(name));
    }
    out.truncate(out.trim_end().len());
    out += "\n}\n";
    out
}
