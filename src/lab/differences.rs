//! Why a cell is not what the rules say. Our counters tell whether a packet met our rules at all, and whether they let it pass: then
//! somebody else has stopped it, and it is said who.

use super::cell::{Agreement, Cell, Expected, Judgement};
use super::node::{Node, NodeError};
use super::probe::Found;
use super::service::Service;
use crate::netfilter::others;
use std::collections::HashMap;
use std::sync::Arc;

/// What a node tells about itself.
#[derive(Debug, Clone, Default)]
struct State {
    /// Packets by what decided about them.
    hits: HashMap<String, u64>,
    /// Whose rules stand beside ours.
    others: Vec<String>,
    /// Whether somebody has this UDP port.
    udp: Vec<u16>,
}

/// Tries the doubtful cells once more, with our counters before and after, and says of each what is the matter.
///
/// # Errors
///
/// When a node does not answer.
pub fn settle(
    nodes: &[Arc<Node>],
    cells: &mut [Cell],
    doubtful: &[usize],
    again: impl FnOnce(&mut [Cell]) -> Result<Vec<String>, NodeError>,
) -> Result<Vec<String>, NodeError> {
    let named = |cells: &[Cell], name: &str| {
        doubtful
            .iter()
            .any(|&index| cells[index].from == name || cells[index].to == name)
    };
    let involved: Vec<&Arc<Node>> = nodes
        .iter()
        .filter(|node| named(cells, node.name()))
        .collect();
    let before = states(&involved)?;
    let errors = again(cells)?;
    let after = states(&involved)?;
    // How often each thing was to decide, if every packet came to it.
    let mut due: HashMap<(String, String), u64> = HashMap::new();
    for &index in doubtful {
        let cell = &cells[index];
        for (node, judged) in [(&cell.from, &cell.outbound), (&cell.to, &cell.inbound)] {
            if let Some(judged) = judged {
                *due.entry((node.clone(), judged.by().to_owned()))
                    .or_default() += 1;
            }
        }
    }
    let empty = State::default();
    let counted = |node: &str, judged: &Option<Judgement>| {
        let Some(judged) = judged else { return true };
        // An interface that is not bound counts nothing.
        if judged.layer == "unmanaged" {
            return true;
        }
        let hits = |states: &HashMap<String, State>| {
            let state = states.get(node).unwrap_or(&empty);
            state.hits.get(judged.by()).copied().unwrap_or(0)
        };
        let met = hits(&after).saturating_sub(hits(&before));
        let due = due.get(&(node.to_owned(), judged.by().to_owned()));
        met >= due.copied().unwrap_or(1)
    };
    for &index in doubtful {
        let cell = &mut cells[index];
        if cell.is_as_expected() {
            continue;
        }
        let others = |node: &str| after.get(node).unwrap_or(&empty).others.clone();
        let passed = (
            counted(&cell.from, &cell.outbound),
            counted(&cell.to, &cell.inbound),
        );
        let (sender, receiver) = (others(&cell.from), others(&cell.to));
        let whose = |node: &str, others: &[String]| {
            (!others.is_empty()).then(|| format!("{} of {node}", others.join(" and ")))
        };
        let (sender, receiver) = (whose(&cell.from, &sender), whose(&cell.to, &receiver));
        let taken = matches!(cell.service, Service::Udp(port)
            if after.get(&cell.to).unwrap_or(&empty).udp.contains(&port));
        let why = match (cell.expected, passed) {
            // A packet that our rules refuse has not come to them as it was sent.
            (Expected::Silent, (true, true)) => None,
            (Expected::Silent, _) => sender.or(receiver),
            // It did not come to the sender's outbound rules, which stand behind everybody else's.
            (_, (false, _)) => sender,
            (_, (true, false)) => sender,
            (_, (true, true)) => receiver.or(sender).or_else(|| {
                (taken && cell.found == Found::Silent)
                    .then(|| format!("a program on {} that does not answer", cell.to))
            }),
        };
        cell.agreement = match why {
            Some(why) => Agreement::Explained(why),
            None => Agreement::Different(
                match passed {
                    (true, true) => "the rules of both sides have counted it as expected",
                    (false, _) => "the sender's rules have not counted it as expected",
                    (true, false) => "the receiver's rules have not counted it as expected",
                }
                .to_owned(),
            ),
        };
    }
    Ok(errors)
}

fn states(nodes: &[&Arc<Node>]) -> Result<HashMap<String, State>, NodeError> {
    let begun: Vec<_> = nodes
        .iter()
        .map(|node| {
            let answer = node.ask(|inside| -> Result<State, String> {
                let mut state = State {
                    others: others::beside_us().map_err(|error| error.to_string())?,
                    udp: udp_ports(),
                    ..State::default()
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
