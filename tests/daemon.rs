//! The daemon and the command, as processes: a saved file goes in, and what the kernel then does comes out.
//!
//! Each test has a host of its own with one interface, `eth0`, cabled to a peer, and a folder of its own for the definition,
//! the state directory and the control socket; see `daemon/site.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;
mod workloads;

mod daemon {
    pub mod alone;
    pub mod asking;
    pub mod asymmetric;
    pub mod bindings;
    pub mod boot;
    pub mod booted;
    pub mod candidate;
    pub mod change_fails;
    pub mod closed;
    pub mod disk_fails;
    pub mod edited;
    pub mod ended;
    pub mod essential;
    pub mod first_start;
    pub mod history;
    pub mod hits;
    pub mod hostile_names;
    pub mod icmp_about_flows;
    pub mod instance;
    pub mod interfaces;
    pub mod judged;
    pub mod kept;
    pub mod kernel_fails;
    pub mod killed;
    pub mod latency;
    pub mod links;
    pub mod live_flows;
    pub mod lost_flows;
    pub mod moved_flows;
    pub mod nft_fails;
    pub mod observed;
    pub mod owned;
    pub mod owned_flood;
    pub mod pairs;
    pub mod process;
    pub mod refusals;
    pub mod refused;
    pub mod restored;
    pub mod restored_flood;
    pub mod rights;
    pub mod save_to_enforced;
    pub mod saved;
    pub mod saved_often;
    pub mod service;
    pub mod several;
    pub mod site;
    pub mod ssh;
    pub mod stopped;
    pub mod talk;
    pub mod translated_flows;
    pub mod trial;
    pub mod trouble;
    pub mod unblocks;
    pub mod upgraded;

    use super::{support, workloads};
}

fn main() -> std::process::ExitCode {
    support::run_waiting(4, || {
        [
            daemon::saved::tests(),
            daemon::refused::tests(),
            daemon::service::tests(),
            daemon::stopped::tests(),
            daemon::alone::tests(),
            daemon::instance::tests(),
            daemon::rights::tests(),
            daemon::unblocks::tests(),
            daemon::nft_fails::tests(),
            daemon::kept::tests(),
            daemon::boot::tests(),
            daemon::booted::tests(),
            daemon::closed::tests(),
            daemon::trial::tests(),
            daemon::ssh::tests(),
            daemon::owned::tests(),
            daemon::owned_flood::tests(),
            daemon::restored::tests(),
            daemon::links::tests(),
            daemon::live_flows::tests(),
            daemon::lost_flows::tests(),
            daemon::translated_flows::tests(),
            daemon::judged::tests(),
            daemon::observed::tests(),
            daemon::refusals::tests(),
            daemon::asking::tests(),
            daemon::hits::tests(),
            daemon::pairs::tests(),
            daemon::first_start::tests(),
            daemon::trouble::tests(),
            daemon::restored_flood::tests(),
            daemon::candidate::tests(),
            daemon::change_fails::tests(),
            daemon::edited::tests(),
            daemon::kernel_fails::tests(),
            daemon::disk_fails::tests(),
            daemon::killed::tests(),
            daemon::upgraded::tests(),
            daemon::hostile_names::tests(),
            daemon::asymmetric::tests(),
            daemon::icmp_about_flows::tests(),
            daemon::interfaces::tests(),
            daemon::moved_flows::tests(),
            daemon::bindings::tests(),
            daemon::essential::tests(),
            daemon::saved_often::tests(),
            daemon::latency::tests(),
            daemon::ended::tests(),
            daemon::history::tests(),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}
