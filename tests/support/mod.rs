//! The test bench of the kernel tests: hosts made of network namespaces, packets made of bytes, and counters.
//!
//! A binary that uses it is a `[[test]]` with `harness = false`; its `main` is one call:
//!
//! ```ignore
//! mod support;
//! use support::{Host, Injector, Probe, join, kernel_test};
//!
//! fn main() -> std::process::ExitCode {
//!     support::run(|| vec![kernel_test("a_refused_port_is_refused", &["nft"], a_refused_port_is_refused)])
//! }
//!
//! fn a_refused_port_is_refused() {
//!     let (host, peer) = (Host::new("host"), Host::new("peer"));
//!     let wire = join(&host, "eth0", &["10.0.0.5/24"], &peer, "wire", &["10.0.0.9/24"]);
//!     host.nft("table ip t { counter seen { }; chain c { type filter hook prerouting priority -160; \
//!               tcp dport 22 counter name seen drop; }; }");
//!     let injector = Injector::new(&wire.b, &wire.a);
//!     injector.send(&Probe::tcp("10.0.0.9:40000", "10.0.0.5:22"));
//!     injector.wait();
//!     assert_eq!(host.counters("ip t")["seen"], 1);
//! }
//! ```
//!
//! | file | subject |
//! |---|---|
//! | `suite` | running tests, and what a skipped one is |
//! | `namespace` | the process's private world, and the hosts in it |
//! | `link` | a cable between two hosts |
//! | `nft` | loading rulesets and reading counters |
//! | `probe` | what a test wants to send |
//! | `packet` | from a [`Probe`] to the bytes of its IP packets |
//! | `inject` | one packet at a time, from outside or from the host itself |
//! | `flood` | tens of thousands a second |
//! | `gauge` | counting them before and after the hook under test |
//! | `transfer` | a TCP transfer beside them |
//! | `policy` | from a definition's text to the policy of its first instance |
//! | `enforce` | enforcing it on a host, and the counters of its rules |
//! | `iptables` | both iptables, both families |
//! | `exposition` | whether a page of metrics is what Prometheus reads |
//! | `scene` | a host between two silent machines, and what it decides about a packet |
//! | `wait` | waiting for what must happen, and how long anything may take |

#![allow(dead_code, unused_imports, clippy::unwrap_used, clippy::expect_used)]

pub mod enforce;
pub mod exposition;
pub mod flood;
pub mod gauge;
pub mod inject;
pub mod iptables;
pub mod link;
pub mod namespace;
pub mod nft;
pub mod packet;
pub mod policy;
pub mod probe;
pub mod scene;
pub mod suite;
pub mod transfer;
pub mod wait;

pub use enforce::{kernel, ruleset, through_nft};
pub use flood::{Flood, RunningFlood};
pub use gauge::{FloodCount, FloodReport, Port, Side};
pub use inject::{Injector, Outbound, Sent};
pub use iptables::{IPTABLES, Iptables};
pub use link::{End, Link, join};
pub use namespace::Host;
pub use nft::whatever_labels;
pub use probe::{Content, Extension, Probe, TcpFlags};
pub use scene::Scene;
pub use suite::{Skip, kernel_test, run, run_waiting};
pub use transfer::{Transfer, Transferred};
pub use wait::{CUT, SOON, WHILE, bounded, is_full, until, until_or};

/// Copies a program, in a process of its own: what another thread starts meanwhile would hold the copy open for writing, and it
/// could not be run (`ETXTBSY`).
#[allow(dead_code, reason = "not every test binary copies programs")]
pub fn copy_program(from: impl AsRef<std::path::Path>, to: impl AsRef<std::path::Path>) {
    let mut copy = std::process::Command::new("cp");
    let status = copy.arg(from.as_ref()).arg(to.as_ref()).status();
    assert!(status.unwrap().success());
}
