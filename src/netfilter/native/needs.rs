//! What a kernel lacks that refuses a command of ours: the module and the option that it comes from.

use nix::errno::Errno;

/// A word of nft, and what a kernel needs for it. Of several the first that a command has.
const NEEDS: [(&str, &str); 7] = [
    (
        "ct label",
        "labels of connection tracking: CONFIG_NF_CONNTRACK_LABELS, a part of the module nf_conntrack",
    ),
    (
        "log prefix",
        "the modules nft_log (CONFIG_NFT_LOG) and nfnetlink_log (CONFIG_NETFILTER_NETLINK_LOG)",
    ),
    (
        "ipsec",
        "the module nft_xfrm (CONFIG_NFT_XFRM) or CONFIG_XFRM",
    ),
    ("fib ", "the module nft_fib_inet (CONFIG_NFT_FIB_INET)"),
    (
        "ct ",
        "the modules nft_ct (CONFIG_NFT_CT) and nf_conntrack (CONFIG_NF_CONNTRACK)",
    ),
    (
        "type filter hook",
        "nf_tables for both families: CONFIG_NF_TABLES_INET",
    ),
    ("add table", "the module nf_tables (CONFIG_NF_TABLES)"),
];

/// What the kernel probably lacks: it answers so to an expression that it does not know.
pub fn needs(command: &str, error: Errno) -> Option<&'static str> {
    let unknown = matches!(
        error,
        Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EPROTONOSUPPORT | Errno::EAFNOSUPPORT
    );
    // What a policy names itself is no expression.
    let words: String = command.split('"').step_by(2).collect();
    let mut known = NEEDS.iter().filter(|_| unknown);
    known
        .find(|(word, _)| words.contains(word))
        .map(|(_, needs)| *needs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_module_is_named() {
        let of = |command| needs(command, Errno::ENOENT).unwrap_or_default();
        assert!(of("add rule inet x in ct label set 3 | 5").contains("CONFIG_NF_CONNTRACK_LABELS"));
        assert!(of("add rule inet x in log prefix \"a\" group 9").contains("nfnetlink_log"));
        assert!(of("add rule inet x in fib daddr type local").contains("nft_fib_inet"));
        assert!(of("add rule inet x in ct state invalid").contains("nft_ct"));
        assert_eq!(of("add rule inet x in accept comment \"ct label\""), "");
        assert_eq!(
            needs("add rule inet x in ct label set 3", Errno::EBUSY),
            None
        );
    }
}
