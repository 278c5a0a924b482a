//! A lab that is up.

use super::addresses::{Given, GivenAddress};
use super::cell::Cell;
use super::ends::{ProbeEnd, between};
use super::ground::Ground;
use super::network::{Arranged, Network};
use super::node::{Node, NodeError};
use super::plan::{GATEWAYS, INTERNET, is_no_host};
use super::reach::{Reach, ReachError, ReachNode, Wanted, cells, descriptors, try_all};
use super::read::{Reading, read};
use super::service::LabService;
use super::status::{LabStatus, node_status};
use crate::definition::Sources;
use crate::host::report::now;
use crate::policy::Account;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lab: its nodes, and what they were made by.
#[derive(Debug)]
pub struct Lab {
    name: String,
    definition: PathBuf,
    since: u64,
    ground: Ground,
    network: Mutex<Network>,
    /// Held while something is tried: two at once would count, and trace, each other's packets.
    trying: Mutex<()>,
    given: Mutex<Given>,
    current: Mutex<Current>,
}

/// What the nodes were made by last.
#[derive(Debug)]
struct Current {
    account: Account,
    sources: Sources,
    template_files: Vec<PathBuf>,
    given: Vec<GivenAddress>,
    last_error: Option<String>,
    changes: u64,
}

/// What a saved definition has changed.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// The nodes that came, went or were made anew.
    pub arranged: Arranged,
    /// The instances whose policy is another.
    pub enforced: Vec<String>,
    /// What could not be done.
    pub errors: Vec<String>,
    /// Requests to unblock TCP 25 that are over the account's limit.
    pub refused: Vec<String>,
    /// How long it took, in ms.
    pub took_ms: f64,
}

impl Changed {
    /// Whether all is as before.
    pub fn is_nothing(&self) -> bool {
        self.arranged == Arranged::default() && self.enforced.is_empty() && self.errors.is_empty()
    }
}

impl Lab {
    /// Brings up what was read. The process must be off the machine's network.
    pub fn raise(
        name: &str,
        definition: &Path,
        reading: Reading,
        given: Given,
        ground: Ground,
    ) -> Result<Self, Vec<String>> {
        let (Some(nodes), Some(account)) = (&reading.nodes, reading.loaded.account) else {
            return Err(vec!["the definition is refused".into()]);
        };
        descriptors();
        let mut network = Network::new().map_err(|error| vec![error.to_string()])?;
        let (_, mut errors) = network.arrange(nodes);
        if errors.is_empty() {
            errors.extend(network.enforce(&account).1);
        }
        if !errors.is_empty() {
            return Err(errors.iter().map(NodeError::to_string).collect());
        }
        Ok(Lab {
            name: name.to_owned(),
            definition: definition.to_owned(),
            since: now(),
            ground,
            network: Mutex::new(network),
            trying: Mutex::new(()),
            given: Mutex::new(given),
            current: Mutex::new(Current {
                account,
                sources: reading.loaded.sources,
                template_files: reading.loaded.template_files,
                given: reading.given,
                last_error: None,
                changes: 0,
            }),
        })
    }

    /// The definition.
    pub fn definition(&self) -> &Path {
        &self.definition
    }

    /// Kills everything that was started in it, and waits for that. The rest ends with the process.
    pub fn clear(&self) {
        self.ground.clear();
    }

    /// The files that its templates name.
    pub fn template_files(&self) -> Vec<PathBuf> {
        self.current.lock().template_files.clone()
    }

    /// Reads the definition again and makes the lab what it says. Nodes and policies that stay the same are not
    /// touched. A definition that is refused is returned, and changes nothing.
    pub fn follow(&self) -> Result<Changed, Box<Reading>> {
        let start = Instant::now();
        let mut given = self.given.lock();
        let mut attempt = given.clone();
        let mut reading = read(&self.definition, &mut attempt);
        let (Some(nodes), Some(account)) = (&reading.nodes, reading.loaded.account.take()) else {
            let rendered = reading.loaded.diagnostics.iter();
            let text: Vec<String> = rendered
                .map(|diagnostic| diagnostic.render(&reading.loaded.sources, false))
                .collect();
            self.current.lock().last_error = Some(format!(
                "The last save was refused, and changed nothing:\n{}",
                text.join("\n\n")
            ));
            return Err(Box::new(reading));
        };
        let mut network = self.network.lock();
        let (arranged, mut errors) = network.arrange(nodes);
        let (enforced, more) = network.enforce(&account);
        errors.extend(more);
        let errors: Vec<String> = errors.iter().map(NodeError::to_string).collect();
        *given = attempt;
        let changed = Changed {
            arranged,
            enforced,
            errors,
            refused: reading.refused,
            took_ms: start.elapsed().as_secs_f64() * 1000.0,
        };
        let mut current = self.current.lock();
        *current = Current {
            account,
            sources: reading.loaded.sources,
            template_files: reading.loaded.template_files,
            given: reading.given,
            last_error: (!changed.errors.is_empty()).then(|| {
                let errors = changed.errors.join("\n");
                format!("The last save could not be followed in full:\n{errors}")
            }),
            changes: current.changes + u64::from(!changed.is_nothing()),
        };
        Ok(changed)
    }

    /// The time that is left until the next rule of any group ends, if one does.
    pub fn next_end(&self) -> Option<Duration> {
        let ends = self.current.lock().account.next_end()?;
        Some(Duration::from_secs(ends.seconds().saturating_sub(now())))
    }

    /// Takes out the rules whose time has come, at the instances that enforce them.
    pub fn end_rules(&self) -> Changed {
        let start = Instant::now();
        let mut network = self.network.lock();
        let mut current = self.current.lock();
        current.account.end_rules(now());
        let (enforced, errors) = network.enforce(&current.account);
        let changed = Changed {
            enforced,
            errors: errors.iter().map(NodeError::to_string).collect(),
            took_ms: start.elapsed().as_secs_f64() * 1000.0,
            ..Changed::default()
        };
        current.changes += u64::from(!changed.is_nothing());
        changed
    }

    /// What there is.
    pub fn status(&self) -> LabStatus {
        let nodes = self.network.lock().nodes().to_vec();
        let current = self.current.lock();
        LabStatus {
            name: self.name.clone(),
            pid: std::process::id(),
            definition: self.definition.clone(),
            since: self.since,
            changes: current.changes,
            last_error: current.last_error.clone(),
            given: current.given.clone(),
            nodes: nodes.iter().map(|node| node_status(node)).collect(),
        }
    }

    /// Who reaches whom. The lab goes on meanwhile; what a save has overtaken is tried anew, so that the answer is of
    /// one time.
    pub fn reach(
        &self,
        wanted: &Wanted,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Reach, ReachError> {
        let start = Instant::now();
        let _alone = self.trying.lock();
        for _ in 0..ATTEMPTS {
            let (nodes, changes) = self.nodes();
            let (services, mut cells) = cells(&nodes, wanted)?;
            let errors = try_all(&nodes, &mut cells, progress)?;
            let nodes = nodes.iter().map(|node| ReachNode::of(node)).collect();
            // Waits for a save that is being followed.
            if self.network.lock().changes() != changes {
                continue;
            }
            return Ok(Reach {
                lab: self.name.clone(),
                nodes,
                services,
                lines: self.lines(&cells),
                cells,
                errors,
                last_error: self.current.lock().last_error.clone(),
                seconds: start.elapsed().as_secs_f64(),
            });
        }
        Err(ReachError::Restless)
    }

    /// The nodes, and how often they have changed.
    fn nodes(&self) -> (Vec<Arc<Node>>, u64) {
        let network = self.network.lock();
        (network.nodes().to_vec(), network.changes())
    }

    /// One thing tried from a node or address to another: a cell for each address.
    pub fn try_one(&self, from: &str, to: &str, service: LabService) -> Result<Vec<Cell>, String> {
        let _alone = self.trying.lock();
        for _ in 0..ATTEMPTS {
            let (nodes, changes) = self.nodes();
            // Who is played is so until all is tried.
            let [from, to] = [self.end(&nodes, from)?, self.end(&nodes, to)?];
            let mut cells = between(&from, &to, service)?;
            let errors = try_all(&nodes, &mut cells, &mut |_, _| {});
            let errors = errors.map_err(|error| error.to_string())?;
            if self.network.lock().changes() != changes {
                continue;
            }
            return match errors.first() {
                None => Ok(cells),
                Some(error) => Err(error.clone()),
            };
        }
        Err(ReachError::Restless.to_string())
    }

    /// A node by its name or by an address; an address outside that nobody has is given to the internet, as long as the
    /// end is held.
    fn end(&self, nodes: &[Arc<Node>], asked: &str) -> Result<ProbeEnd, String> {
        let end = |node: &Arc<Node>, address, visit| ProbeEnd::new(node.clone(), address, visit);
        let Ok(address) = asked.parse::<IpAddr>() else {
            let node = nodes.iter().find(|node| node.name() == asked);
            let node = node.map(|node| end(node, None, None));
            return node.ok_or_else(|| ReachError::unknown(asked, nodes).to_string());
        };
        let has = |node: &&Arc<Node>| node.plan().addresses().any(|(_, own)| own == address);
        if let Some(node) = nodes.iter().find(has) {
            return Ok(end(node, Some(address), None));
        }
        if is_no_host(address) || GATEWAYS.contains(&address) {
            return Err(format!("{address} is no host's address"));
        }
        let inside = self.current.lock().account.platform.is_internal(address);
        let internet = nodes.iter().find(|node| node.name() == INTERNET.0);
        match internet {
            Some(internet) if !inside => {
                let visit = self.network.lock().visit(internet, address);
                let visit = visit.map_err(|error| error.to_string())?;
                Ok(end(internet, Some(address), Some(visit)))
            }
            _ => Err(format!(
                "no instance has the address {address}, and it lies inside the VPC's networks: name an instance, or an address outside"
            )),
        }
    }

    /// The descriptors to enter a node by, in this order: mounts, processes, network, and the user namespace if there
    /// is one.
    pub fn door(&self, asked: &str) -> Result<Vec<OwnedFd>, String> {
        let network = self.network.lock();
        let Some(node) = network.node(asked) else {
            let names: Vec<_> = network.nodes().iter().map(|node| node.name()).collect();
            return Err(format!(
                "the lab has no `{asked}`; it has {}, router",
                names.join(", ")
            ));
        };
        let all = [
            Some(self.ground.mounts()),
            Some(self.ground.processes()),
            Some(node.namespace()),
            self.ground.user(),
        ];
        all.into_iter()
            .flatten()
            .map(|descriptor| descriptor.as_fd().try_clone_to_owned())
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())
    }

    /// The text of each line that has decided something.
    fn lines(&self, cells: &[Cell]) -> BTreeMap<String, String> {
        let current = self.current.lock();
        let mut lines = BTreeMap::new();
        let places = cells
            .iter()
            .flat_map(|cell| [&cell.outbound, &cell.inbound])
            .filter_map(|side| side.as_ref()?.place.as_ref());
        for place in places {
            if lines.contains_key(place) {
                continue;
            }
            let Some((file, line)) = place.rsplit_once(':') else {
                continue;
            };
            let source = current.sources.iter().find(|source| &*source.path == file);
            let number = line.parse::<usize>().unwrap_or(0);
            let text = source.and_then(|source| source.text.lines().nth(number.checked_sub(1)?));
            if let Some(text) = text {
                let text: String = text.trim().chars().take(400).collect();
                lines.insert(place.clone(), text);
            }
        }
        lines
    }
}

/// How often something is tried that saves overtake.
const ATTEMPTS: usize = 5;
