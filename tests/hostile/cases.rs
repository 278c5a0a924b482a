//! What the fuzzers have found, and some of what they began with, judged again.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;

use super::support::{Host, kernel, kernel_test};
use super::{definition, ruleset};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("cases_of_the_definition_fuzzer", &[], || {
            for (path, bytes) in cases("definition") {
                println!("{}", path.display());
                definition::check(&bytes);
            }
        }),
        kernel_test("cases_of_the_ruleset_fuzzer", &["ip"], || {
            let host = Host::new("host");
            for (path, bytes) in cases("ruleset") {
                println!("{}", path.display());
                host.enter(|| ruleset::check(&bytes, Some(&kernel())));
            }
        }),
        kernel_test("random_bytes_down_to_the_kernel", &["ip"], || {
            let host = Host::new("host");
            let mut rng = fastrand::Rng::with_seed(1);
            host.enter(|| {
                let kernel = kernel();
                for _ in 0..40 {
                    let bytes: Vec<u8> = (0..600).map(|_| rng.u8(..)).collect();
                    ruleset::check(&bytes, Some(&kernel));
                }
            });
        }),
    ]
}

fn cases(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/cases")
        .join(target);
    let mut cases: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "{} is empty", folder.display());
    cases
}
