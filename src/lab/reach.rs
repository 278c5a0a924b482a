//! Who reaches whom: every cell is tried with real packets and held against what the rules of both sides say.

use super::cell::{Agreement, Cell, Expected};
use super::differences::settle;
use super::listen::MOST_LINGERING;
use super::node::{Node, NodeError};
use super::probe::{Found, Limits, Shot, probe};
use super::service::LabService;
use super::status::node_status;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// So many cells are tried at most, some 500 bytes each.
const MOST_CELLS: usize = 1_000_000;

/// How long a cell may be silent: longer than TCP waits before it sends its first packet again, so that one lost packet
/// is no silence.
const SILENCE: Duration = Duration::from_millis(1300);
/// The same when a few cells are looked at again.
const SECOND_SILENCE: Duration = Duration::from_millis(900);
/// The same for what nothing explains, which a machine that stood still for a second would be too.
const THIRD_SILENCE: Duration = Duration::from_secs(3);
/// What a namespace tries at once, at most: no queue on the way is shorter.
const AT_ONCE: usize = 512;
/// The longest that all of it may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// What to try.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// These services; where none is named, all that the definition has listen anywhere.
    #[serde(default)]
    pub services: BTreeSet<LabService>,
    /// From these alone.
    #[serde(default)]
    pub from: BTreeSet<String>,
    /// To these alone.
    #[serde(default)]
    pub to: BTreeSet<String>,
}

/// A node of the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReachNode {
    /// Its name.
    pub name: String,
    /// Whether it is an instance.
    pub is_instance: bool,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its groups, highest priority first.
    pub groups: Vec<String>,
}

impl ReachNode {
    /// This node, as it is now.
    pub fn of(node: &Node) -> Self {
        let status = node_status(node);
        let interfaces = status.interfaces.iter();
        ReachNode {
            addresses: interfaces
                .clone()
                .flat_map(|interface| interface.addresses.iter().map(IpAddr::to_string))
                .collect(),
            groups: interfaces
                .flat_map(|interface| interface.groups.clone())
                .collect(),
            name: status.name,
            is_instance: status.is_instance,
        }
    }
}

/// The matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reach {
    /// The lab.
    pub lab: String,
    /// Who is in it.
    pub nodes: Vec<ReachNode>,
    /// What was tried.
    pub services: Vec<LabService>,
    /// Each cell.
    pub cells: Vec<Cell>,
    /// The text of each line that decided something, by its place.
    pub lines: BTreeMap<String, String>,
    /// What could not be tried.
    pub errors: Vec<String>,
    /// What was wrong with the last save, which the lab therefore does not show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How long it took, in s.
    pub seconds: f64,
}

impl Reach {
    /// Cells of this outcome.
    pub fn count(&self, found: Found) -> usize {
        self.cells.iter().filter(|cell| cell.found == found).count()
    }

    /// Cells that are not what was expected, and nothing explains it.
    pub fn differences(&self) -> impl Iterator<Item = (&Cell, &str)> {
        self.cells.iter().filter_map(|cell| match &cell.agreement {
            Agreement::Different(what) => Some((cell, what.as_str())),
            _ => None,
        })
    }

    /// Whether each cell was tried and is as expected, or explained.
    pub fn is_right(&self) -> bool {
        self.errors.is_empty() && self.differences().next().is_none()
    }
}

/// Why nothing was tried.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// A name that is not there.
    #[error("the lab has no `{asked}`; it has {known}")]
    Unknown {
        /// As asked.
        asked: String,
        /// What there is.
        known: String,
    },
    /// Nothing named and nothing listens.
    #[error(
        "nothing listens in this lab, so there is no port to try: name some (--ports tcp:22,tcp:80), or write `lab: {{ services: … }}` into the definition"
    )]
    Nothing,
    /// More than memory and patience are for.
    #[error(
        "more than {MOST_CELLS} tries: name fewer ports (--ports), senders (--from) or receivers (--to)"
    )]
    TooMany,
    /// It was overtaken each time.
    #[error("the lab was changed again and again while it was tried: try it when it holds still")]
    Restless,
    /// The nodes do not answer.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl ReachError {
    /// No node of the lab has this name.
    pub(super) fn unknown(asked: &str, nodes: &[Arc<Node>]) -> Self {
        let names: Vec<&str> = nodes.iter().map(|node| node.name()).collect();
        ReachError::Unknown {
            asked: asked.to_owned(),
            known: names.join(", "),
        }
    }
}

/// All cells, with what is expected of each.
pub fn cells(
    nodes: &[Arc<Node>],
    wanted: &Wanted,
) -> Result<(Vec<LabService>, Vec<Cell>), ReachError> {
    for asked in wanted.from.iter().chain(&wanted.to) {
        if !nodes.iter().any(|node| node.name() == asked) {
            return Err(ReachError::unknown(asked, nodes));
        }
    }
    let plans: Vec<_> = nodes.iter().map(|node| node.plan()).collect();
    let services: BTreeSet<LabService> = match wanted.services.is_empty() {
        false => wanted.services.clone(),
        true => plans
            .iter()
            .flat_map(|plan| plan.services.clone())
            .collect(),
    };
    if services.is_empty() {
        return Err(ReachError::Nothing);
    }
    let asked = |names: &BTreeSet<String>, name: &str| names.is_empty() || names.contains(name);
    let mut ways = Vec::new();
    for (to, to_plan) in nodes.iter().zip(&plans) {
        if !asked(&wanted.to, to.name()) {
            continue;
        }
        for (from, from_plan) in nodes.iter().zip(&plans) {
            if from.name() == to.name() || !asked(&wanted.from, from.name()) {
                continue;
            }
            for (_, target) in to_plan.addresses() {
                let sources = from_plan.sources(target);
                ways.extend(sources.map(|source| (from, source, to, target, to_plan)));
            }
        }
    }
    if ways.len().saturating_mul(services.len()) > MOST_CELLS {
        return Err(ReachError::TooMany);
    }
    let mut cells = Vec::new();
    for (from, source, to, target, to_plan) in ways {
        for service in &services {
            let shot = Shot {
                source,
                target,
                service: *service,
            };
            let listens = to_plan.services.contains(service);
            let cell = Cell::expect(from, to, &shot, listens);
            cells.push(cell.map_err(|what| from.error(what))?);
        }
    }
    Ok((services.into_iter().collect(), cells))
}

/// Tries all cells, and looks twice at what is not as expected. Returns what could not be tried.
pub fn try_all(
    nodes: &[Arc<Node>],
    cells: &mut [Cell],
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<String>, NodeError> {
    let limits = Limits {
        at_once: at_once(nodes.len()),
        patience: SILENCE,
        again: true,
    };
    let all: Vec<usize> = (0..cells.len()).collect();
    let mut errors = shoot(nodes, cells, &all, limits, progress)?;
    let doubtful: Vec<usize> = all
        .into_iter()
        .filter(|&index| !cells[index].is_as_expected())
        .collect();
    // A packet may be lost for many reasons; one that came through where it is refused is a fault, however seldom.
    let leaked: Vec<(usize, Found)> = doubtful
        .iter()
        .map(|&index| (index, &cells[index]))
        .filter(|(_, cell)| cell.expected == Expected::Silent)
        .map(|(index, cell)| (index, cell.found))
        .collect();
    if !doubtful.is_empty() {
        let limits = Limits {
            patience: SECOND_SILENCE,
            again: false,
            ..limits
        };
        errors.extend(settle(nodes, cells, &doubtful, |cells, part| {
            shoot(nodes, cells, part, limits, &mut |_, _| {})
        })?);
        let is_different = |cell: &Cell| matches!(cell.agreement, Agreement::Different(_));
        let different: Vec<usize> = doubtful
            .into_iter()
            .filter(|&index| is_different(&cells[index]))
            .collect();
        let limits = Limits {
            patience: THIRD_SILENCE,
            again: true,
            ..limits
        };
        errors.extend(shoot(nodes, cells, &different, limits, &mut |_, _| {})?);
        for index in different {
            if cells[index].is_as_expected() {
                cells[index].agreement = Agreement::Equal;
            }
        }
    }
    for (index, found) in leaked {
        let cell = &mut cells[index];
        if cell.is_as_expected() {
            cell.found = found;
            cell.agreement = Agreement::Different(
                "it came through once, and not when it was tried again".into(),
            );
        }
    }
    errors.sort();
    errors.dedup();
    Ok(errors)
}

/// Tries these cells, each from its sender's namespace, all of them side by side.
fn shoot(
    nodes: &[Arc<Node>],
    cells: &mut [Cell],
    which: &[usize],
    limits: Limits,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<String>, NodeError> {
    let (tell, told) = channel::<usize>();
    let mut begun = Vec::new();
    for node in nodes {
        let mut mine: Vec<usize> = which
            .iter()
            .copied()
            .filter(|&index| cells[index].from == node.name())
            .collect();
        // Not all at one receiver at a time.
        mine.sort_by_key(|&index| cells[index].service);
        if mine.is_empty() {
            continue;
        }
        let shots: Vec<Shot> = mine.iter().map(|&index| cells[index].shot()).collect();
        let tell = tell.clone();
        let answer = node.aside(move || {
            probe(&shots, limits, |done| {
                let _ = tell.send(done);
            })
        });
        begun.push((node, mine, answer));
    }
    drop(tell);
    let mut done = 0;
    while let Ok(more) = told.recv_timeout(PATIENCE) {
        done += more;
        progress(done, which.len());
    }
    let mut errors = Vec::new();
    for (node, mine, answer) in begun {
        let found = node.wait(&answer, PATIENCE)?;
        for (index, found) in mine.into_iter().zip(found) {
            match found {
                Ok(found) => cells[index].found = found,
                Err(error) => errors.push(format!(
                    "{} cannot try {} at {}: {error}",
                    node.name(),
                    cells[index].service,
                    cells[index].target
                )),
            }
        }
    }
    Ok(errors)
}

/// Asks for as many descriptors as this process may have, and returns how many: a lab of fifty listens on more than the
/// 1,024 that most systems begin with.
pub(super) fn descriptors() -> usize {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// What each namespace may try at once.
fn at_once(nodes: usize) -> usize {
    let room = descriptors();
    let used = std::fs::read_dir("/proc/self/fd").map_or(1000, Iterator::count) + 100;
    // Of each node, what it tries and what it has just answered.
    (room.saturating_sub(used) / nodes.max(1))
        .saturating_sub(MOST_LINGERING)
        .clamp(8, AT_ONCE)
}
