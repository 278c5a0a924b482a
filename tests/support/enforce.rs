//! Enforcing a definition on a host, and asking which rule decided.

use std::collections::BTreeMap;
use std::time::Instant;

use secgroupd::netfilter::enforce::{EnforceError, Kernel, Switched};
use secgroupd::netfilter::hits::rule_hits;
use secgroupd::netfilter::native::Native;
use secgroupd::netfilter::nft::Nft;
use secgroupd::ruleset::{Generation, Ruleset, TABLE, compile};

use super::wait::{PAUSE, SOON};
use super::{Host, Side, policy::policy};

/// Compiles a definition's text.
pub fn ruleset(definition: &str) -> Ruleset {
    compile(&policy(definition))
}

/// Works once no earlier socket of this process owns the table: a program that another test starts at that moment has all
/// of them until it runs.
fn unowned<T>(mut work: impl FnMut() -> Result<T, EnforceError>) -> Result<T, EnforceError> {
    let ours = format!("belongs to process {} ", std::process::id());
    let start = Instant::now();
    loop {
        match work() {
            Err(error) if error.to_string().contains(&ours) && start.elapsed() < SOON => {
                std::thread::sleep(PAUSE);
            }
            done => return done,
        }
    }
}

impl Host {
    /// Enforces the first instance of a definition here, as the daemon does.
    pub fn enforce(&self, definition: &str) -> Switched {
        self.enforce_ruleset(&ruleset(definition))
    }

    /// Enforces a compiled ruleset here, as the daemon does.
    pub fn enforce_ruleset(&self, ruleset: &Ruleset) -> Switched {
        let enforced = self.enter(|| unowned(|| kernel().enforce(ruleset, Generation(1))));
        enforced.unwrap_or_else(|error| panic!("on {}: {error}", self.name()))
    }

    /// Takes our table away again.
    pub fn remove(&self) {
        let removed = self.enter(|| unowned(|| kernel().remove()));
        assert!(removed.unwrap_or_else(|error| panic!("on {}: {error}", self.name())));
    }

    /// The packets that each reason has decided about in one direction: `sg-web/in/3`, `default`. Those without any are
    /// left out.
    pub fn hits(&self, side: Side) -> BTreeMap<String, u64> {
        let mut hits = BTreeMap::new();
        for each in self.enter(|| rule_hits(TABLE)).expect("the counters") {
            if let (Some(reason), true) = (each.comment, stands_in(&each.chain, side)) {
                *hits.entry(reason).or_insert(0) += each.packets;
            }
        }
        hits.retain(|_, packets| *packets > 0);
        hits
    }
}

/// The kernel of the host that the calling thread is on: spoken to directly, or through nft with
/// `SECGROUPD_TEST_THROUGH=nft`.
pub fn kernel() -> Kernel {
    let kernel = match through_nft() {
        true => Kernel::new(Nft::find().expect("nft")),
        false => Kernel::new(Native::open().expect("a netlink socket")),
    };
    kernel.expect("a netlink socket")
}

/// Whether this run of the tests goes through nft.
pub fn through_nft() -> bool {
    match std::env::var("SECGROUPD_TEST_THROUGH").as_deref() {
        Ok("nft") => true,
        Ok("") | Err(_) => false,
        Ok(other) => panic!("SECGROUPD_TEST_THROUGH={other}: `nft` or nothing"),
    }
}

/// Chains are named `g1_in_0`, `g1_exempt_in`, `g1_sg_web_in`.
fn stands_in(chain: &str, side: Side) -> bool {
    let word = match side {
        Side::Inbound => "in",
        Side::Outbound => "out",
    };
    Generation::of(chain).is_some_and(|(_, name)| {
        // Those of network ACLs are `acl_in_0`.
        let of_list = name.strip_prefix("acl_").unwrap_or(name);
        of_list.split('_').next() == Some(word) || name.ends_with(&format!("_{word}"))
    })
}
