//! Right definitions made of any bytes, down to the kernel of a network namespace that this process has for itself.
#![no_main]

#[path = "../../tests/generate/mod.rs"]
mod generate;
#[path = "../checks/ruleset.rs"]
mod ruleset;

use nix::sched::{CloneFlags, unshare};
use secgroupd::netfilter::enforce::Kernel;
use secgroupd::netfilter::native::Native;
use std::cell::OnceCell;

thread_local! {
    static KERNEL: OnceCell<Kernel> = const { OnceCell::new() };
}

/// One run in so many goes to the kernel, which takes longer than all the rest: which ones, the bytes say, so that a find is one
/// each time.
const TO_THE_KERNEL: u32 = 8;

libfuzzer_sys::fuzz_target!(
    init: {
        // Before there is a second thread, which would keep us from having a user namespace.
        let flags = match nix::unistd::geteuid().is_root() {
            true => CloneFlags::CLONE_NEWNET,
            false => CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET,
        };
        unshare(flags).expect("a network namespace");
    },
    |data: &[u8]| {
        let mixed = data.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        KERNEL.with(|kernel| {
            let kernel = kernel.get_or_init(|| Kernel::new(Native::open().expect("netlink")).expect("netlink"));
            let now = (mixed >> 16).is_multiple_of(TO_THE_KERNEL);
            ruleset::check(data, now.then_some(kernel));
        });
    }
);
