//! The ruleset as nft text: what is loaded, and what `compile` prints.

mod rule;
mod words;

use self::rule::*;
pub use self::rule::{own_of_another, prefix_mask, rule_text};
use super::batch::{Command, Elements, Name, Names};
use super::ir::*;
use super::marks::Bits;
use super::table::{BASE_CHAINS, Generation, TABLE};
use std::collections::HashMap;
use std::fmt::Write;

/// One command, as `nft -f` takes it; examples stand at [`Command`].
pub fn command(command: &Command, names: &Names) -> String {
    match command {
        Command::AddTable => format!("add table inet {TABLE}"),
        Command::AddBaseChain(base) => format!(
            "add chain inet {TABLE} {} {{ {} }}",
            base.name,
            base_head(base)
        ),
        Command::AddChain(name) => format!("add chain inet {TABLE} {name}"),
        Command::AddSet {
            name,
            family,
            intervals,
        } => {
            let head = set_head(*family, *intervals).join("; ");
            format!("add set inet {TABLE} {name} {{ {head}; }}")
        }
        Command::AddMap {
            name,
            key,
            intervals,
        } => {
            let head = map_head(*key, *intervals).join("; ");
            format!("add map inet {TABLE} {name} {{ {head}; }}")
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

/// A transaction, one command a line; what is new stands in a block with all that it holds, which nft reads a third
/// faster than commands:
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

/// The whole table with one generation switched in: what `compile` prints, for people and for `nft -f`.
pub fn table(ruleset: &Ruleset, generation: Generation) -> String {
    let names = Names::new(generation).marked(Bits::example(&ruleset.marks));
    table_of(ruleset, &names)
}

/// The same with these names and labels.
pub fn table_of(ruleset: &Ruleset, names: &Names) -> String {
    let mut block = Block::default();
    for set in &ruleset.sets {
        let head = set_head(set.elements.family(), !set.elements.are_points());
        let object = block.begin("set", names.of(&set.name), head);
        object.elements = element_list(Elements::of_set(set), None);
    }
    for map in &ruleset.maps {
        let head = map_head(map.key, !map.elements.are_points());
        let object = block.begin("map", names.of(&map.name), head);
        object.elements = element_list(Elements::of_map(map), Some(names));
    }
    for chain in &ruleset.chains {
        let rules = chain.rules.iter();
        let held = rules.filter(|rule| names.bits().can_hold(rule));
        let rules = held.map(|rule| rule_text(rule, names)).collect();
        block.begin("chain", names.of(&chain.name), rules);
    }
    for base in &BASE_CHAINS {
        let rules = vec![base_head(base), format!("jump {}", names.of(base.name))];
        block.begin("chain", base.name.into(), rules);
    }
    let mut out = String::new();
    block.end(&mut out);
    out
}

/// New objects of one transaction, with what they hold.
#[derive(Default)]
struct Block {
    objects: Vec<TextObject>,
    by_name: HashMap<Name, usize>,
}

/// One of them.
struct TextObject {
    /// `map g7_in_0_3`
    title: String,
    /// `type ipv4_addr : verdict`, `flags interval`; the rules of a chain.
    lines: Vec<String>,
    /// Elements of sets and maps.
    elements: Vec<String>,
}

impl Block {
    /// Whether a command is about what is new here; it is taken in then.
    fn takes(&mut self, command: &Command, names: &Names) -> bool {
        match command {
            Command::AddChain(name) => {
                self.begin("chain", name.clone(), Vec::new());
            }
            Command::AddSet {
                name,
                family,
                intervals,
            } => {
                self.begin("set", name.clone(), set_head(*family, *intervals));
            }
            Command::AddMap {
                name,
                key,
                intervals,
            } => {
                self.begin("map", name.clone(), map_head(*key, *intervals));
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
                object.lines.push(rule_text(rule, names));
            }
            _ => return false,
        }
        true
    }

    fn begin(&mut self, kind: &str, name: Name, lines: Vec<String>) -> &mut TextObject {
        let title = format!("{kind} {name}");
        self.by_name.insert(name, self.objects.len());
        let elements = Vec::new();
        self.objects.push(TextObject {
            title,
            lines,
            elements,
        });
        let last = self.objects.len() - 1;
        &mut self.objects[last]
    }

    fn object(&mut self, name: &str) -> Option<&mut TextObject> {
        self.objects.get_mut(*self.by_name.get(name)?)
    }

    /// Writes what was taken in.
    fn end(&mut self, out: &mut String) {
        self.by_name.clear();
        let mut before = format!("table inet {TABLE} {{\n");
        for object in self.objects.drain(..) {
            let _ = writeln!(out, "{before}\t{} {{", object.title);
            for line in object.lines {
                let _ = writeln!(out, "\t\t{line}");
            }
            if !object.elements.is_empty() {
                let _ = writeln!(out, "\t\telements = {{ {} }}", object.elements.join(", "));
            }
            out.push_str("\t}\n");
            before = "\n".into();
        }
        if before == "\n" {
            out.push_str("}\n");
        }
    }
}
