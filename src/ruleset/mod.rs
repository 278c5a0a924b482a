//! The policy as nftables objects.
