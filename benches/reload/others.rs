//! The same change by other programs: from the start of the program to its end, with its text ready in memory.

use crate::lists;
use crate::programs::{feed, median, undo};
use crate::support::Host;
use crate::ufw::{Ufw, user_rules};
use secgroupd::policy::Policy;
use std::time::Duration;

/// An address that is in none of the lists.
const NEW: &str = "198.51.100.9";

/// Medians of what each took; `None` where it has no way.
#[derive(Default)]
pub struct Others {
    pub nft: Option<Duration>,
    pub legacy: Option<Duration>,
    pub iptables_nft: Option<Duration>,
    pub ufw: Option<Duration>,
}

/// All rules again, in place of those that stand: none of these programs knows which one has changed.
pub fn all_rules(policy: &Policy, ufw: Option<&Ufw>, runs: usize) -> Others {
    let host = Host::new("others");
    let table = lists::nft(policy);
    // It goes and comes in one transaction, as it does in everyone's scripts.
    let nft = format!("table inet plain\ndelete table inet plain\n{table}");
    let list = lists::iptables(policy);
    let restore = |program: &str| times(runs, |_| feed(&mut host.command(program), &list.rules));
    let others = Others {
        nft: times(runs, |_| feed(host.command("nft").args(["-f", "-"]), &nft)),
        legacy: restore("iptables-legacy-restore"),
        iptables_nft: restore("iptables-nft-restore"),
        ..Others::default()
    };
    let reload = |ufw: &Ufw| {
        let own = Host::new("ufw");
        ufw.rules(&user_rules(&list.rules));
        times(runs.min(3), |_| feed(&mut ufw.reload(&own), ""))
    };
    Others {
        ufw: ufw.and_then(reload),
        ..others
    }
}

/// One address of the set that stands for another: what a script would run that knows which.
pub fn one_address(policy: &Policy, list: &str, runs: usize) -> Others {
    let host = Host::new("others");
    let old = list.lines().next().expect("an address");
    let pair = |run: usize| match run % 2 {
        0 => (old, NEW),
        _ => (NEW, old),
    };
    feed(host.command("nft").args(["-f", "-"]), &lists::nft(policy));
    let nft = times(runs, |run| {
        let (out, new) = pair(run);
        let text = format!(
            "delete element inet plain s0 {{ {out} }}\nadd element inet plain s0 {{ {new} }}\n"
        );
        feed(host.command("nft").args(["-f", "-"]), &text)
    });
    undo(&host, &["nft", "delete", "table", "inet", "plain"]);
    let list = lists::iptables(policy);
    feed(host.command("ipset").arg("restore"), &list.sets);
    // The set is the same whichever program made the rules that ask it.
    let ipset = times(runs, |run| {
        let (out, new) = pair(run);
        let text = format!("del s0 {out}\nadd s0 {new}\n");
        feed(host.command("ipset").arg("restore"), &text)
    });
    Others {
        nft,
        legacy: ipset,
        iptables_nft: ipset,
        ..Others::default()
    }
}

/// The median of so many runs, after one that has nothing to replace.
fn times(runs: usize, mut run: impl FnMut(usize) -> Duration) -> Option<Duration> {
    run(0);
    let mut times: Vec<Duration> = (1..=runs).map(run).collect();
    Some(median(&mut times))
}
