//! The tables of a text, and the way of a packet through the chains of INPUT or OUTPUT as one list.

use super::condition::{Condition, ESTABLISHED, INVALID, NEW, RELATED, UNTRACKED, less};
use super::line::{Line, Target};
use crate::cloud::formats::notes::Notes;
use crate::policy::{AddressSet, Direction};
use std::collections::{HashMap, HashSet};

/// How deep chains may call each other.
const DEEPEST: usize = 64;
/// How many lines may be passed, each counted as often as it is called.
const MOST_STEPS: usize = 200_000;

/// The table `filter` of a text.
#[derive(Debug, Default)]
pub struct Chains {
    /// What its file is called.
    pub name: String,
    /// Whether it is that of IPv6.
    pub v6: bool,
    /// Its chains, with their lines in order.
    pub lines: HashMap<String, Vec<Line>>,
    /// The policies of built-in chains: whether they accept, and the line.
    pub policies: HashMap<String, (bool, usize)>,
}

/// A rule of the list.
#[derive(Debug, Clone)]
pub struct Flat {
    /// Whether it allows.
    pub allow: bool,
    /// What it matches.
    pub condition: Condition,
    /// The lines that lead to it.
    pub lines: Vec<usize>,
    /// The comment of the last of them.
    pub comment: Option<String>,
}

/// What goes on behind a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    /// Some packets come back.
    GoesOn,
    /// Every packet was judged.
    Ends,
}

/// Makes one list of the chains.
pub struct Walk<'c, 'n> {
    chains: &'c Chains,
    direction: Direction,
    notes: &'n mut Notes,
    /// The list.
    pub rules: Vec<Flat>,
    /// Lines that are part of it.
    pub kept: HashSet<usize>,
    steps: usize,
}

impl<'c, 'n> Walk<'c, 'n> {
    /// Walks through the chain of a direction, its policy included.
    ///
    /// # Errors
    /// When chains call each other too deep or too often.
    pub fn of(
        chains: &'c Chains,
        direction: Direction,
        notes: &'n mut Notes,
    ) -> Result<Self, String> {
        let mut walk = Walk {
            chains,
            direction,
            notes,
            rules: Vec::new(),
            kept: HashSet::new(),
            steps: 0,
        };
        let chain = match direction {
            Direction::Inbound => "INPUT",
            Direction::Outbound => "OUTPUT",
        };
        let after = walk.chain(chain, Condition::default(), &[])?;
        // Without a line of its own, as in a text of rules alone, a chain accepts.
        let (accepts, line) = chains.policies.get(chain).copied().unwrap_or((true, 0));
        if after == After::GoesOn && accepts {
            walk.rules.push(Flat {
                allow: true,
                condition: Condition::default(),
                lines: vec![line],
                comment: None,
            });
        }
        Ok(walk)
    }

    fn chain(
        &mut self,
        name: &str,
        mut context: Condition,
        trail: &[usize],
    ) -> Result<After, String> {
        if trail.len() > DEEPEST {
            return Err(format!(
                "chains call each other more than {DEEPEST} levels deep: is `{name}` called by itself?"
            ));
        }
        let chains = self.chains;
        let lines = chains
            .lines
            .get(name)
            .map(Vec::as_slice)
            .unwrap_or_default();
        for (index, line) in lines.iter().enumerate() {
            self.steps += 1;
            if self.steps > MOST_STEPS {
                return Err(format!(
                    "chains call each other so often that more than {MOST_STEPS} lines are passed: import a part"
                ));
            }
            let rest = &lines[index + 1..];
            match self.line(line, &mut context, trail)? {
                After::GoesOn => {}
                After::Ends => {
                    self.not_reached(rest, line);
                    let comes_back = line.target == Target::Return;
                    return Ok(if comes_back {
                        After::GoesOn
                    } else {
                        After::Ends
                    });
                }
            }
        }
        Ok(After::GoesOn)
    }

    /// Follows one line. `Ends`: no packet of this chain goes on to the next one.
    fn line(
        &mut self,
        line: &Line,
        context: &mut Condition,
        trail: &[usize],
    ) -> Result<After, String> {
        if let Some(why) = &line.unknown {
            self.left_out(line, why);
            // It may come back under a condition that is not known: what follows is not known.
            return match line.target {
                Target::Return => {
                    self.notes.not_kept(
                        self.place(line.number),
                        "what follows in its chain is left out: it returns under a condition that no rule has",
                    );
                    Ok(After::Ends)
                }
                _ => Ok(After::GoesOn),
            };
        }
        let mut own = line.condition.clone();
        if self.direction == Direction::Inbound {
            // What comes in through INPUT is for this host.
            own.to_this_host = false;
        }
        let Some(condition) = context.and(&own) else {
            let message = "it matches nothing where it is called";
            self.notes.assumed(self.place(line.number), message);
            return Ok(After::GoesOn);
        };
        let always = own.is_always_met();
        let ends = if always { After::Ends } else { After::GoesOn };
        let trail_here = || [trail, &[line.number]].concat();
        match &line.target {
            Target::None => {
                self.notes
                    .assumed(self.place(line.number), "it decides nothing: it counts");
                Ok(After::GoesOn)
            }
            Target::Accept => {
                self.judge(line, condition, true, trail_here());
                Ok(ends)
            }
            Target::Drop | Target::Reject => {
                if line.target == Target::Reject {
                    let message = "it answers the sender: a group refuses in silence";
                    self.notes.assumed(self.place(line.number), message);
                }
                self.judge(line, condition, false, trail_here());
                Ok(ends)
            }
            Target::Return if always => {
                self.notes
                    .assumed(self.place(line.number), "its chain ends here");
                Ok(After::Ends)
            }
            Target::Return => Ok(self.returns(line, &own, context)),
            Target::Goto(name) => {
                self.left_out(line, &format!("`-g {name}` does not come back"));
                Ok(After::GoesOn)
            }
            Target::Chain(name) if !self.chains.lines.contains_key(name) => {
                match name.as_str() {
                    "LOG" | "NFLOG" | "ULOG" => {
                        let message =
                            "it logs: `platform: { events: refusals }` logs what is refused";
                        self.notes.not_kept(self.place(line.number), message);
                    }
                    name => self.left_out(line, &format!("a rule has no target like {name}")),
                }
                Ok(After::GoesOn)
            }
            Target::Chain(name) => {
                let before = self.rules.len();
                let after = self.chain(name, condition, &trail_here())?;
                if self.rules.len() == before {
                    let message = format!("no rule comes of this: what {name} does is named there");
                    self.notes.assumed(self.place(line.number), message);
                }
                Ok(if always { after } else { After::GoesOn })
            }
        }
    }

    /// A chain is left under a condition: what follows holds for the other remotes, if it is about those alone.
    fn returns(&mut self, line: &Line, condition: &Condition, context: &mut Condition) -> After {
        let mut only = Condition::default();
        let remote = match self.direction {
            Direction::Inbound => {
                only.source = condition.source.clone();
                &condition.source
            }
            Direction::Outbound => {
                only.destination = condition.destination.clone();
                &condition.destination
            }
        };
        let Some(remote) = remote.as_ref().filter(|_| only == *condition) else {
            self.notes.not_kept(
                self.place(line.number),
                "what follows in its chain is left out: it returns under a condition that a rule cannot except",
            );
            return After::Ends;
        };
        let slot = match self.direction {
            Direction::Inbound => &mut context.source,
            Direction::Outbound => &mut context.destination,
        };
        let before = slot.clone().unwrap_or_else(AddressSet::any);
        let message = "what follows in its chain holds for the other addresses";
        self.notes.assumed(self.place(line.number), message);
        match less(&before, remote) {
            Some(rest) => {
                *slot = Some(rest);
                After::GoesOn
            }
            None => After::Ends,
        }
    }

    /// Adds a rule, or says why it needs none or cannot be one.
    fn judge(&mut self, line: &Line, condition: Condition, allow: bool, lines: Vec<usize>) {
        let place = self.place(line.number);
        let (own, far, near) = match self.direction {
            Direction::Inbound => (
                &condition.incoming,
                &condition.outgoing,
                &condition.destination,
            ),
            Direction::Outbound => (&condition.outgoing, &condition.incoming, &condition.source),
        };
        let loopback = own.iter().any(|each| each.name == "lo" && !each.others);
        if loopback && allow {
            return self
                .notes
                .assumed(place, "it is not needed: lo is never filtered");
        }
        if loopback {
            return self.left_out(line, "lo is never filtered");
        }
        let known = ESTABLISHED | RELATED;
        match condition.states {
            Some(states) if states & (NEW | UNTRACKED) != 0 => {}
            Some(states) if allow && states & !known == 0 => {
                let message = "it is not needed: what belongs to an allowed flow passes";
                return self.notes.assumed(place, message);
            }
            Some(INVALID) if !allow => {
                let message = "it is not needed: what is invalid to connection tracking is dropped";
                return self.notes.assumed(place, message);
            }
            Some(_) => return self.left_out(line, "a rule has no state"),
            None => {}
        }
        if near.is_some() || condition.to_this_host {
            return self.left_out(line, "a rule has no address of the host itself");
        }
        if condition.source_ports.is_some() {
            return self.left_out(line, "a rule of a group has no source port");
        }
        if !far.is_empty() {
            return self.left_out(line, "the interface is of the other direction");
        }
        let ports = condition.destination_ports.is_some();
        if ports && !matches!(condition.protocol, Some("tcp" | "udp")) {
            return self.left_out(line, "ports need tcp or udp");
        }
        self.kept.extend(&lines);
        self.rules.push(Flat {
            allow,
            condition,
            lines,
            comment: line.comment.clone(),
        });
    }

    fn not_reached(&mut self, rest: &[Line], by: &Line) {
        let returns = by.target == Target::Return && !by.condition.is_always_met();
        for line in rest {
            if by.unknown.is_some() || returns {
                self.left_out(line, "it follows a return that cannot be kept");
                continue;
            }
            let message = format!("no packet comes here: line {} decides about all", by.number);
            self.notes.not_kept(self.place(line.number), message);
        }
    }

    /// Names a line that is not kept. A refusal that goes opens something, which is said.
    fn left_out(&mut self, line: &Line, why: &str) {
        let refuses = matches!(line.target, Target::Drop | Target::Reject);
        let caution = match refuses {
            true => "; what it dropped may pass now",
            false => "",
        };
        self.notes.not_kept(
            self.place(line.number),
            format!("the rule is left out: {why}{caution}"),
        );
    }

    fn place(&self, number: usize) -> String {
        format!("{}:{number}", self.chains.name)
    }
}
