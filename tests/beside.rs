//! Beside iptables in both variants, ufw, published container ports and connection-tracking helpers (spec 2, "Beside iptables").

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "beside/helper.rs"]
mod helper;
#[path = "beside/order.rs"]
mod order;
#[path = "beside/published.rs"]
mod published;
#[path = "beside/reset.rs"]
mod reset;
mod support;
#[path = "beside/untouched.rs"]
mod untouched;

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use support::{Host, kernel_test};

fn main() -> ExitCode {
    support::run_waiting(4, || {
        let nft: &[&str] = &["nft", "iptables-nft", "ip6tables-nft"];
        let legacy: &[&str] = &["nft", "iptables-legacy", "ip6tables-legacy"];
        let every: &[&str] = &[
            "nft",
            "iptables-nft",
            "iptables-legacy",
            "ip6tables-legacy",
            "ufw",
        ];
        vec![
            kernel_test("order_inbound_iptables_nft", nft, || order::inbound("nft")),
            kernel_test("order_inbound_iptables_legacy", legacy, || {
                order::inbound("legacy")
            }),
            kernel_test("order_outbound_iptables_nft", nft, || {
                order::outbound("nft")
            }),
            kernel_test("order_outbound_iptables_legacy", legacy, || {
                order::outbound("legacy")
            }),
            kernel_test("published_port_iptables_nft", nft, || {
                published::port("nft")
            }),
            kernel_test("published_port_iptables_legacy", legacy, || {
                published::port("legacy")
            }),
            kernel_test(
                "published_port_between_two_bound_interfaces",
                nft,
                published::both_bound,
            ),
            kernel_test("reset_of_iptables_nft", nft, || reset::arrives("nft")),
            kernel_test("reset_of_iptables_legacy", legacy, || {
                reset::arrives("legacy")
            }),
            kernel_test("ftp_helper_of_nft", &["nft"], || {
                helper::ftp(helper::Assigned::Nft)
            }),
            kernel_test("ftp_helper_of_iptables_nft", nft, || {
                helper::ftp(helper::Assigned::Iptables("nft"))
            }),
            kernel_test("ftp_helper_of_iptables_legacy", legacy, || {
                helper::ftp(helper::Assigned::Iptables("legacy"))
            }),
            kernel_test(
                "ftp_helper_would_open_a_port",
                &["nft"],
                helper::related_wholesale,
            ),
            kernel_test("others_are_untouched", every, untouched::others),
        ]
    })
}

/// Whether a machine gets a TCP connection to an address.
fn reaches(from: &Host, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    from.enter(|| TcpStream::connect_timeout(&to, Duration::from_millis(400)).is_ok())
}
