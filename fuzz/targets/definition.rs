//! Any bytes as the files of a definition.
#![no_main]

#[path = "../checks/definition.rs"]
mod definition;

libfuzzer_sys::fuzz_target!(|data: &[u8]| definition::check(data));
