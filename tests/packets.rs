//! Every kind of packet that spec 2 names, sent through an enforced policy in the kernel.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

#[path = "packets/behind.rs"]
mod behind;
#[path = "packets/errors.rs"]
mod errors;
#[path = "packets/essential.rs"]
mod essential;
#[path = "packets/network_acl.rs"]
mod network_acl;
#[path = "packets/shape.rs"]
mod shape;
mod support;

use std::process::ExitCode;

use support::kernel_test;

fn main() -> ExitCode {
    support::run_waiting(4, || {
        let nft = &["nft"];
        vec![
            kernel_test(
                "errors_about_a_tracked_flow",
                nft,
                errors::about_a_tracked_flow,
            ),
            kernel_test("errors_about_nothing", nft, errors::about_nothing),
            kernel_test("essential_inbound", nft, essential::inbound),
            kernel_test("essential_outbound", nft, essential::outbound),
            kernel_test(
                "essential_is_never_forwarded",
                nft,
                essential::never_forwarded,
            ),
            kernel_test(
                "essential_by_multicast_routing",
                nft,
                behind::multicast_routing,
            ),
            kernel_test("essential_between_guests", nft, behind::bridged_discovery),
            kernel_test(
                "essential_reports_of_the_kernel",
                nft,
                behind::kernel_reports,
            ),
            kernel_test(
                "essential_without_an_address",
                nft,
                behind::without_an_address,
            ),
            kernel_test("fragments", nft, shape::fragments),
            kernel_test("extension_headers", nft, shape::extension_headers),
            kernel_test(
                "untracked_by_iptables_nft",
                &["nft", "iptables-nft", "ip6tables-nft"],
                || shape::untracked("nft"),
            ),
            kernel_test(
                "untracked_by_iptables_legacy",
                &["nft", "iptables-legacy", "ip6tables-legacy"],
                || shape::untracked("legacy"),
            ),
            kernel_test("own_multicast", nft, shape::own_multicast),
            kernel_test(
                "own_multicast_through_a_tunnel",
                nft,
                shape::own_multicast_through_a_tunnel,
            ),
            kernel_test("loopback", nft, shape::loopback),
            kernel_test("network_acl_answers", nft, network_acl::answers),
            kernel_test("network_acl_exempt", nft, network_acl::exempt),
            kernel_test(
                "network_acl_and_approved_services",
                nft,
                network_acl::approved_service,
            ),
            kernel_test("network_acl_and_errors", nft, network_acl::errors),
            kernel_test("network_acl_and_live_flows", nft, network_acl::live_flows),
        ]
    })
}
