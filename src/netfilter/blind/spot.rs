//! What was found, in words.

use serde::Serialize;
use std::fmt;

/// One way past the hooks that was found open, or that could not be looked at. `Display` is one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum BlindSpot {
    /// Packet sockets: they receive before the inbound hook and send after the outbound one.
    PacketSockets {
        /// How many are open in this network namespace.
        count: usize,
        /// `name (pid)` of those holders that may be seen; another user's may not.
        processes: Vec<String>,
    },
    /// An XDP program sees, redirects or answers packets before the kernel's IP layer.
    Xdp {
        /// Where it is attached.
        interface: String,
    },
    /// An interface that uses another one below its IP layer.
    Child {
        /// The interface whose rules its packets do not meet.
        parent: String,
        /// The one to bind.
        child: String,
        /// `vlan`, `macvlan`, …
        link_kind: String,
    },
    /// A bridge whose ports exchange frames that the IP hooks never see.
    Bridge {
        /// The bridge.
        bridge: String,
        /// Its ports.
        ports: Vec<String>,
        /// `IPv4`, `IPv6` or both: those for which br_netfilter is off.
        families: Vec<&'static str>,
    },
    /// Established flows in a flowtable are forwarded from the ingress hook, past all others.
    Flowtable {
        /// `inet filter`.
        table: String,
        /// The flowtable.
        name: String,
    },
    /// Packets of these rules have no state: replies are judged as if they opened a flow.
    Notrack {
        /// Whose rules: `nftables` (iptables-nft too), `iptables-legacy` or `ip6tables-legacy`.
        program: &'static str,
        /// `ip raw`; for legacy tables `raw`.
        table: String,
        /// The chain.
        chain: String,
        /// How many rules of it.
        rules: usize,
    },
    /// This could not be looked at.
    Unknown {
        /// What, as the object of "cannot see".
        what: &'static str,
        /// Why not.
        why: String,
    },
}

impl fmt::Display for BlindSpot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PacketSockets { count, processes } => {
                let sockets = if *count == 1 {
                    "packet socket reads and writes"
                } else {
                    "packet sockets read and write"
                };
                write!(f, "{count} {sockets} past the rules")?;
                if processes.is_empty() {
                    Ok(())
                } else {
                    write!(f, ": {}", processes.join(", "))
                }
            }
            Self::Xdp { interface } => write!(
                f,
                "an XDP program on {interface} handles packets before the rules see them"
            ),
            Self::Child {
                parent,
                child,
                link_kind,
            } => {
                write!(
                    f,
                    "packets of {child} ({link_kind}) do not meet the rules of {parent}, which it stands on"
                )
            }
            Self::Bridge {
                bridge,
                ports,
                families,
            } => write!(
                f,
                "{} frames between the ports of {bridge} ({}) are not filtered, because br_netfilter is off",
                families.join(" and "),
                ports.join(", ")
            ),
            Self::Flowtable { table, name } => {
                write!(
                    f,
                    "flows in the flowtable {name} of the table {table} are forwarded past the rules"
                )
            }
            Self::Notrack {
                program,
                table,
                chain,
                rules,
            } => {
                let (rules, take) = match *rules {
                    1 => ("a rule".to_owned(), "takes"),
                    several => (format!("{several} rules"), "take"),
                };
                write!(
                    f,
                    "{rules} in the chain {chain} of the {program} table {table} {take} away the state of packets"
                )
            }
            Self::Unknown { what, why } => write!(f, "cannot see {what}: {why}"),
        }
    }
}
