//! Who is compared: the same policy, enforced in six ways.

use super::{before, byhand};
use crate::lists;
use crate::support::{Host, namespace::feed};
use crate::workloads::Workload;
use secgroupd::policy::Policy;
use secgroupd::ruleset::compile;

/// A way to enforce a policy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    Secgroupd,
    NftList,
    IptablesLegacy,
    IptablesNft,
    NftByHand,
    IpsetByHand,
    /// secgroupd as another commit has it: see [`before`].
    Before,
}

use Contestant::*;

/// In the order of the tables.
pub const ALL: [Contestant; 6] = [
    Secgroupd,
    NftList,
    IptablesLegacy,
    IptablesNft,
    NftByHand,
    IpsetByHand,
];

/// The same, and last the other commit's program, if there is one.
pub fn all_and_before() -> impl Iterator<Item = Contestant> {
    ALL.into_iter().chain(before::program().map(|_| Before))
}

impl Contestant {
    /// As it heads a column.
    pub fn name(self) -> &'static str {
        match self {
            Secgroupd => "secgroupd",
            NftList => "nft, a rule each",
            IptablesLegacy => "iptables-legacy",
            IptablesNft => "iptables-nft",
            NftByHand => "nft by hand",
            IpsetByHand => "ipset by hand",
            Before => "before",
        }
    }

    /// Loads it on a host. Gives how it works where that depends on the workload; `None` if this cannot be written so.
    pub fn install(
        self,
        host: &Host,
        workload: &Workload,
        policy: &Policy,
    ) -> Option<Option<&'static str>> {
        let load = |program: &str, arguments: &[&str], text: &str| {
            let fed = feed(host.command(program).args(arguments), text);
            fed.unwrap_or_else(|error| panic!("{} of {}: {error}", self.name(), workload.name));
        };
        match self {
            Secgroupd => {
                host.enforce_ruleset(&compile(&answered(workload).policy()));
                Some(None)
            }
            Before => {
                before::enforce(host, &answered(workload));
                Some(None)
            }
            NftList => {
                load("nft", &["-f", "-"], &lists::nft(policy));
                Some(None)
            }
            IptablesLegacy | IptablesNft => {
                let text = lists::iptables(policy);
                load("ipset", &["restore"], &text.sets);
                let restore = match self {
                    IptablesNft => "iptables-nft-restore",
                    _ => "iptables-legacy-restore",
                };
                load(restore, &[], &text.rules);
                Some(None)
            }
            NftByHand => {
                let byhand = byhand::nft(workload.name, policy);
                load("nft", &["-f", "-"], &byhand.texts[0]);
                Some(Some(byhand.says))
            }
            IpsetByHand => {
                let byhand = byhand::with_ipset(workload.name, policy)?;
                load("ipset", &["restore"], &byhand.texts[0]);
                load("iptables-legacy-restore", &[], &byhand.texts[1]);
                Some(Some(byhand.says))
            }
        }
    }
}

/// The workload with a group that lets out what the established flows were opened with; the others are not asked about that.
pub fn answered(workload: &Workload) -> Workload {
    let group = "security_groups:\n  sg-answers:\n    outbound:\n      \
                 - { action: allow, protocol: udp, port: 5300-5399, destination: any }\n";
    let definition = workload.definition.replacen("security_groups:\n", group, 1);
    Workload {
        name: workload.name,
        definition: definition.replace("security_groups: [", "security_groups: [sg-answers, "),
        template: workload.template.clone(),
        rules: workload.rules,
    }
}
