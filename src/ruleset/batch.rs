//! The transactions that replace a generation, as data: one [`Command`] for each change of the kernel.
//!
//! [`super::text`] writes a command as nft text, and `netfilter` as a netlink message. A command names the object that
//! it changes as the kernel does; what its rules and elements lead to they name as the ruleset does, and [`Names`]
//! holds the kernel's name of it.

mod elements;
mod names;

pub use self::elements::{Elements, ElementsOf};
pub use self::names::{Name, Names};
use super::ir::*;
use super::table::{BASE_CHAINS, BaseChain};
use crate::policy::Reason;
use std::borrow::Cow;

/// Elements of a set or map in one command. A transaction that is too long for the kernel's socket buffer is cut
/// between commands.
const ELEMENTS_A_COMMAND: usize = 500;

/// One command of a transaction.
#[derive(Debug, Clone)]
pub enum Command<'r> {
    /// `add table inet secgroupd`
    AddTable,
    /// `add chain inet secgroupd inbound { type filter hook prerouting priority -160; policy accept; }`
    AddBaseChain(&'static BaseChain),
    /// `add chain inet secgroupd g7_in_0`
    AddChain(Name),
    /// `add set inet secgroupd g7_v4_0 { type ipv4_addr; flags interval; }`
    AddSet {
        /// Its name in the kernel.
        name: Name,
        /// What its elements are.
        family: Family,
        /// Whether it holds intervals, and not points alone.
        intervals: bool,
    },
    /// `add map inet secgroupd g7_in_0_3 { type ipv4_addr : verdict; flags interval; }`
    AddMap {
        /// Its name in the kernel.
        name: Name,
        /// What its keys are.
        key: MapKey,
        /// Whether it holds intervals, and not points alone.
        intervals: bool,
    },
    /// `add element inet secgroupd g7_in_0_3 { 10.0.0.0/8 : goto g7_in_0_4, … }`
    AddElements {
        /// The set or map.
        of: ElementsOf,
        /// Whether the set or map is empty so far.
        first: bool,
        /// The elements.
        elements: Elements<'r>,
    },
    /// `delete element inet secgroupd g7_in_0_3 { 10.0.0.0/8, … }`
    DeleteElements {
        /// The set or map.
        of: ElementsOf,
        /// The elements, exactly as they were added.
        elements: Elements<'r>,
    },
    /// `add rule inet secgroupd g7_in_0_4 …`, at the end of the chain.
    AddRule {
        /// The chain.
        chain: Name,
        /// The rule.
        rule: Cow<'r, NftRule>,
    },
    /// `flush chain inet secgroupd inbound`
    FlushChain(Name),
    /// `delete map inet secgroupd g6_in_0_3`
    DeleteMap(Name),
    /// `delete set inet secgroupd g6_v4_0`
    DeleteSet(Name),
    /// `delete chain inet secgroupd g6_in_0`
    DeleteChain(Name),
    /// `delete table inet secgroupd`
    DeleteTable,
}

/// The load transaction: the table and its base chains if they are not there, and the generation's objects, which
/// nothing refers to yet. It may be cut between commands, since nothing takes effect before the switch. What is
/// reused is there already.
pub fn load<'r>(ruleset: &'r Ruleset, names: &Names) -> Vec<Command<'r>> {
    let mut commands = vec![Command::AddTable];
    commands.extend(BASE_CHAINS.iter().map(Command::AddBaseChain));
    let new = |name: &str| names.reused(name).is_none();
    for set in ruleset.sets.iter().filter(|set| new(&set.name)) {
        let (name, intervals) = (names.of(&set.name), !set.elements.are_points());
        commands.push(Command::AddSet {
            name: name.clone(),
            family: set.elements.family(),
            intervals,
        });
        let of = ElementsOf { name, intervals };
        add_elements(&mut commands, of, Elements::of_set(set));
    }
    // Chains before the maps that lead to them, and the rules at last: they refer to everything.
    let chains = || ruleset.chains.iter().filter(|chain| new(&chain.name));
    commands.extend(chains().map(|chain| Command::AddChain(names.of(&chain.name))));
    for map in ruleset.maps.iter().filter(|map| new(&map.name)) {
        let (name, intervals) = (names.of(&map.name), !map.elements.are_points());
        commands.push(Command::AddMap {
            name: name.clone(),
            key: map.key,
            intervals,
        });
        let of = ElementsOf { name, intervals };
        add_elements(&mut commands, of, Elements::of_map(map));
    }
    commands.extend(chains().flat_map(|chain| add_rules(chain, names)));
    commands
}

fn add_elements<'r>(commands: &mut Vec<Command<'r>>, of: ElementsOf, elements: Elements<'r>) {
    let parts = elements.chunks(ELEMENTS_A_COMMAND);
    commands.extend(
        parts
            .enumerate()
            .map(|(index, elements)| Command::AddElements {
                of: of.clone(),
                first: index == 0,
                elements,
            }),
    );
}

/// The rules of a chain that can hold. A rule that asks for a mark without a bit never holds.
fn add_rules<'r>(chain: &'r Chain, names: &Names) -> impl Iterator<Item = Command<'r>> + use<'r> {
    let name = names.of(&chain.name);
    let bits = names.bits().clone();
    let rules = chain.rules.iter().filter(move |rule| bits.can_hold(rule));
    rules.map(move |rule| Command::AddRule {
        chain: name.clone(),
        rule: Cow::Borrowed(rule),
    })
}

/// The commands that change the marks of flows, in the transaction that puts the ruleset into force. Chains that an
/// earlier generation has loaded ask for other marks, and set others.
pub fn mark_again<'r>(ruleset: &'r Ruleset, names: &Names) -> Vec<Command<'r>> {
    let mut commands = Vec::new();
    let marks = |chain: &&Chain| chain.rules.iter().any(NftRule::is_about_marks);
    for chain in ruleset.chains.iter().filter(marks) {
        let Some(name) = names.reused(&chain.name) else {
            continue;
        };
        commands.push(Command::FlushChain(name.clone()));
        commands.extend(add_rules(chain, names));
    }
    commands
}

/// The switch transaction: each base chain jumps to the generation's chain and to nothing else.
pub fn switch() -> Vec<Command<'static>> {
    let jump = |base: &BaseChain| NftRule::plain(vec![], NftVerdict::Jump(base.name.into()));
    let each = |base: &BaseChain| {
        [
            Command::FlushChain(base.name.into()),
            Command::AddRule {
                chain: base.name.into(),
                rule: Cow::Owned(jump(base)),
            },
        ]
    };
    BASE_CHAINS.iter().flat_map(each).collect()
}

/// The delete transaction. Chains are emptied first, since rules hold chains and maps, and maps hold chains.
pub fn delete(chains: &[String], maps: &[String], sets: &[String]) -> Vec<Command<'static>> {
    fn each(
        names: &[String],
        command: fn(Name) -> Command<'static>,
    ) -> impl Iterator<Item = Command<'static>> {
        names.iter().map(move |name| command(name.as_str().into()))
    }
    each(chains, Command::FlushChain)
        .chain(each(maps, Command::DeleteMap))
        .chain(each(sets, Command::DeleteSet))
        .chain(each(chains, Command::DeleteChain))
        .collect()
}

impl Command<'_> {
    /// What the rule that is added decides for.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Command::AddRule { rule, .. } => rule.reason.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;
    use crate::policy::Interval;
    use crate::ruleset::Generation;

    fn ruleset() -> Ruleset {
        let point = |number: u16| Interval::point(number);
        let address = |number: u32| Interval::point(number);
        let goto: NftVerdict = NftVerdict::Goto("in_0".into());
        let lookup = NftVerdict::Map(MapKey::Port(Transport::Tcp), "in_0_1".into());
        Ruleset {
            sets: vec![Set {
                name: "v4_0".into(),
                elements: Addresses::V4((0..501).map(|i| address(i * 2)).collect()),
            }],
            maps: vec![Map {
                name: "in_0_1".into(),
                key: MapKey::Port(Transport::Tcp),
                elements: MapElements::Ports(vec![(point(22), goto)]),
            }],
            chains: vec![Chain::new("in_0", vec![NftRule::plain(vec![], lookup)])],
            ..Ruleset::default()
        }
    }

    fn texts(commands: &[Command], names: &Names) -> Vec<String> {
        let texts = commands.iter().map(|each| text::command(each, names));
        texts
            .map(|text| text.replace("inet secgroupd ", ""))
            .collect()
    }

    #[test]
    fn long_sets_are_loaded_in_parts() {
        let ruleset = ruleset();
        let parts = Elements::of_set(&ruleset.sets[0]).chunks(ELEMENTS_A_COMMAND);
        assert_eq!(parts.map(|part| part.len()).collect::<Vec<_>>(), [500, 1]);
    }

    #[test]
    fn what_is_reused_is_not_loaded_again_and_keeps_its_name() {
        let ruleset = ruleset();
        let mut names = Names::new(Generation(7));
        names.reuse("v4_0".into(), "g5_v4_9".into());
        names.reuse("in_0_1".into(), "g6_in_0_1".into());
        let commands = load(&ruleset, &names);
        assert_eq!(
            texts(&commands, &names)[3..],
            [
                "add chain g7_in_0",
                "add rule g7_in_0 tcp dport vmap @g6_in_0_1"
            ]
        );
    }

    #[test]
    fn chains_are_emptied_before_what_they_hold_is_deleted() {
        let chains = ["g1_a".to_owned(), "g1_b".to_owned()];
        let commands = delete(&chains, &["g1_m".to_owned()], &["g1_s".to_owned()]);
        assert_eq!(
            texts(&commands, &Names::new(Generation(2))),
            [
                "flush chain g1_a",
                "flush chain g1_b",
                "delete map g1_m",
                "delete set g1_s",
                "delete chain g1_a",
                "delete chain g1_b"
            ]
        );
    }

    #[test]
    fn elements_of_a_live_map() {
        let ruleset = ruleset();
        let names = Names::new(Generation(7));
        let of = ElementsOf {
            name: "g5_in_0_1".into(),
            intervals: false,
        };
        let elements = Elements::of_map(&ruleset.maps[0]);
        let commands = [
            Command::DeleteElements {
                of: of.clone(),
                elements,
            },
            Command::AddElements {
                of,
                first: false,
                elements,
            },
        ];
        assert_eq!(
            texts(&commands, &names),
            [
                "delete element g5_in_0_1 { 22 }",
                "add element g5_in_0_1 { 22 : goto g7_in_0 }"
            ]
        );
    }
}
