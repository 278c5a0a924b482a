//! Why a cell is not what the rules say. It is tried again while the packets are traced on the way through its ends'
//! rules: then either somebody else's rule was seen to stop it, and it is said which, or nothing explains it. Our
//! counters tell how far it came.

use super::cell::{Agreement, Cell, Expected, Judgement};
use super::evidence::{Evidence, watch};
use super::node::{Node, NodeError};
use super::probe::Found;
use super::service::LabService;
use crate::netfilter::others;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a node says of itself.
#[derive(Debug, Clone, Default)]
struct NodeState {
    /// Packets by what decided about them.
    hits: HashMap<String, u64>,
    /// Whose rules stand beside ours.
    others: Vec<String>,
    /// The UDP ports that somebody has.
    udp: Vec<u16>,
}

/// What the nodes said.
type NodeStates = HashMap<String, NodeState>;

/// So many cells of a node with rules of its own are traced at once: the kernel has room for some hundreds of messages
/// that nobody has read, and a packet makes a dozen.
const TRACED_AT_ONCE: usize = 64;
/// The same where some of that was lost.
const TRACED_AGAIN: usize = 8;

/// Tries the doubtful cells once more, by parts with `again`, and says of each what is the matter.
pub fn settle(
    nodes: &[Arc<Node>],
    cells: &mut [Cell],
    doubtful: &[usize],
    mut again: impl FnMut(&mut [Cell], &[usize]) -> Result<Vec<String>, NodeError>,
) -> Result<Vec<String>, NodeError> {
    let involved = |cells: &[Cell], part: &[usize]| -> Vec<&Arc<Node>> {
        let of = |node: &&Arc<Node>| {
            let name = node.name();
            let mut part = part.iter().map(|&index| &cells[index]);
            part.any(|cell| cell.from == name || cell.to == name)
        };
        nodes.iter().filter(of).collect()
    };
    let begin = states(&involved(cells, doubtful))?;
    let has_others = |name: &str| {
        begin
            .get(name)
            .is_some_and(|state| !state.others.is_empty())
    };
    let mut errors = Vec::new();
    let mut rest = doubtful.to_vec();
    for at_once in [TRACED_AT_ONCE, TRACED_AGAIN] {
        let mut lost = Vec::new();
        for part in parts(cells, &rest, at_once, has_others) {
            let here = involved(cells, &part);
            let watched: Vec<_> = here
                .iter()
                .copied()
                .filter(|node| has_others(node.name()))
                .collect();
            let before = states(&here)?;
            let (more, evidence) = watch(&watched, || again(cells, &part));
            errors.extend(more?);
            let after = states(&here)?;
            judge(cells, &part, &[before, after], &evidence);
            lost.extend(part.into_iter().filter(|&index| {
                let cell = &cells[index];
                matches!(cell.agreement, Agreement::Different(_))
                    && (evidence.has_lost(&cell.from) || evidence.has_lost(&cell.to))
            }));
        }
        rest = lost;
    }
    Ok(errors)
}

/// Parts of which none has more than so many cells of a node that is traced.
fn parts(
    cells: &[Cell],
    all: &[usize],
    at_once: usize,
    is_traced: impl Fn(&str) -> bool,
) -> Vec<Vec<usize>> {
    let mut rest = all.to_vec();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let (part, later) = rest.into_iter().partition(|&index: &usize| {
            let ends = [&*cells[index].from, &*cells[index].to];
            let ends = ends.into_iter().filter(|end| is_traced(end));
            let fits = ends
                .clone()
                .all(|end| counts.get(end).is_none_or(|count| *count < at_once));
            if fits {
                ends.for_each(|end| *counts.entry(end).or_default() += 1);
            }
            fits
        });
        parts.push(part);
        rest = later;
    }
    parts
}

/// Says of each cell of a part that is not as expected what is the matter.
fn judge(cells: &mut [Cell], part: &[usize], states: &[NodeStates; 2], evidence: &Evidence) {
    let counts = CountedHits::new(cells, part, states);
    let wrong = part.iter().copied();
    let wrong: Vec<usize> = wrong
        .filter(|&index| !cells[index].is_as_expected())
        .collect();
    let mut by_legacy: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for &index in &wrong {
        let cell = &mut cells[index];
        let passed = (
            counts.as_due(&cell.from, &cell.outbound),
            counts.as_due(&cell.to, &cell.inbound),
        );
        let is_taken =
            matches!(cell.service, LabService::Udp(port) if counts.has_udp(&cell.to, port));
        let why = evidence.of(cell).or_else(|| {
            (passed == (true, true) && is_taken && cell.found == Found::Silent)
                .then(|| format!("a program on {} that does not answer", cell.to))
        });
        if let Some(why) = why {
            cell.agreement = Agreement::Explained(why);
            continue;
        }
        let mut what = match passed {
            (true, true) => "the rules of both sides have counted it as expected",
            (false, _) => "the sender's rules have not counted it as expected",
            (true, false) => "the receiver's rules have not counted it as expected",
        }
        .to_owned();
        if let Some(unseen) = evidence.unseen([&cell.from, &cell.to]) {
            what += &format!("; what other rules did could not be seen: {unseen}");
        }
        cell.agreement = Agreement::Different(what);
        if cell.found != Found::Reached {
            // As above: of what the receiver's groups had to refuse no other chain of it may have heard.
            let to = (cell.expected != Expected::Silent).then_some(&cell.to);
            for end in [Some(&cell.from), to].into_iter().flatten() {
                by_legacy.entry(end.clone()).or_default().push(index);
            }
        }
    }
    for (node, left) in by_legacy {
        let is_open = |index: &usize| matches!(cells[*index].agreement, Agreement::Different(_));
        let left: Vec<usize> = left.into_iter().filter(is_open).collect();
        if let Some(why) = evidence.of_legacy(&node, left.len()) {
            for index in left {
                cells[index].agreement = Agreement::Explained(why.clone());
            }
        }
    }
}

/// Our counters before and after, and how far they were to rise.
struct CountedHits<'s> {
    states: &'s [NodeStates; 2],
    /// By node, and by what was to decide.
    due: HashMap<(String, String), u64>,
}

impl<'s> CountedHits<'s> {
    fn new(cells: &[Cell], part: &[usize], states: &'s [NodeStates; 2]) -> Self {
        let mut due: HashMap<(String, String), u64> = HashMap::new();
        for &index in part {
            let cell = &cells[index];
            for (node, judged) in [(&cell.from, &cell.outbound), (&cell.to, &cell.inbound)] {
                if let Some(judged) = judged {
                    let key = (node.clone(), judged.by().to_owned());
                    *due.entry(key).or_default() += 1;
                }
            }
        }
        CountedHits { states, due }
    }

    /// Whether every packet that this was to decide about has come to it.
    fn as_due(&self, node: &str, judged: &Option<Judgement>) -> bool {
        let Some(judged) = judged else { return true };
        // An interface that is not bound counts nothing.
        if judged.layer == "unmanaged" {
            return true;
        }
        let [before, after] = self.states.each_ref().map(|states| {
            let hits = states.get(node).map(|state| &state.hits);
            hits.and_then(|hits| hits.get(judged.by()))
                .copied()
                .unwrap_or(0)
        });
        let due = self.due.get(&(node.to_owned(), judged.by().to_owned()));
        after.saturating_sub(before) >= due.copied().unwrap_or(1)
    }

    fn has_udp(&self, node: &str, port: u16) -> bool {
        let [_, after] = self.states;
        after
            .get(node)
            .is_some_and(|state| state.udp.contains(&port))
    }
}

fn states(nodes: &[&Arc<Node>]) -> Result<NodeStates, NodeError> {
    let begun: Vec<_> = nodes
        .iter()
        .map(|node| {
            let answer = node.ask(|inside| -> Result<NodeState, String> {
                let mut state = NodeState {
                    others: others::beside_us().map_err(|error| error.to_string())?,
                    udp: udp_ports(),
                    ..NodeState::default()
                };
                if let Some(kernel) = &inside.kernel {
                    for hits in kernel.hits().map_err(|error| error.to_string())? {
                        if let Some(comment) = hits.comment {
                            *state.hits.entry(comment).or_default() += hits.packets;
                        }
                    }
                }
                Ok(state)
            });
            (node, answer)
        })
        .collect();
    let mut states = HashMap::new();
    for (node, answer) in begun {
        let state = node.wait(&answer, super::node::PATIENCE)?;
        let state = state.map_err(|what| node.error(what))?;
        states.insert(node.name().to_owned(), state);
    }
    Ok(states)
}

/// The UDP ports that somebody has in this thread's namespace.
fn udp_ports() -> Vec<u16> {
    let mut ports = Vec::new();
    for path in ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"] {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        // `sl  local_address …`, and in each line `0: 00000000:0035 …`.
        let local = |line: &str| {
            let (_, port) = line.split_whitespace().nth(1)?.rsplit_once(':')?;
            u16::from_str_radix(port, 16).ok()
        };
        ports.extend(text.lines().skip(1).filter_map(local));
    }
    ports
}
