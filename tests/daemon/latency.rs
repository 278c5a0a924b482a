//! The short form of `cargo bench --bench reload`: seven saves each, and a limit that a slow and shared machine keeps.

use libtest_mimic::Trial;

use super::save_to_enforced::{Saved, measure};
use crate::support::{kernel_test, through_nft};

pub fn tests() -> Vec<Trial> {
    vec![kernel_test(
        "from_save_to_enforced_in_time",
        &["nft"],
        in_time,
    )]
}

fn in_time() {
    // The target is a release build's on a quiet machine, without nft's own start; here other tests run, so the least
    // says most.
    let slower = if through_nft() { 20 } else { 6 };
    for saved in [Saved::SinglePorts, Saved::PortLists] {
        let times = measure(saved, 7);
        println!("{times}");
        let target = saved.target().expect("a target");
        assert!(times.least() < slower * target, "{times}");
    }
}
