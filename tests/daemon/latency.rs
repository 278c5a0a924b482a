//! The short form of `cargo bench --bench reload`: each of seven saves is enforced, and the times are printed.

use libtest_mimic::Trial;

use super::save_to_enforced::{Saved, measure};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test("each_save_is_enforced", &["nft"], each_save)]
}

fn each_save() {
    for saved in [Saved::SinglePorts, Saved::PortLists] {
        println!("{}", measure(saved, 7));
    }
}
