//! The short form of `cargo bench --bench reload`: seven saves each, and a limit that a slow and shared machine keeps.

use libtest_mimic::Trial;

use super::save_to_enforced::{Ports, measure};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test(
        "from_save_to_enforced_in_time",
        &["nft"],
        in_time,
    )]
}

fn in_time() {
    for ports in Ports::ALL {
        let times = measure(ports, 7);
        println!("{times}");
        // The target is a release build's on a quiet machine; here other tests run, so the least says most.
        assert!(times.least() < 4 * ports.target(), "{times}");
    }
}
