//! Every golden ruleset loads into a real kernel, as text and as JSON, and the kernel then holds the same.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[allow(dead_code)]
#[path = "definitions/cases.rs"]
mod cases;
mod support;

use cases::{cases, judge};
use secgroupd::ruleset::{Generation, compile, json, text};
use std::path::Path;
use std::process::ExitCode;
use support::{Host, kernel_test};

fn main() -> ExitCode {
    support::run(|| {
        let folders = cases("golden").into_iter();
        folders
            .map(|case| {
                let name = case.file_name().unwrap().to_string_lossy().into_owned();
                kernel_test(&name, &["nft"], move || text_and_json_are_the_same(&case))
            })
            .collect()
    })
}

fn text_and_json_are_the_same(case: &Path) {
    let ruleset = compile(&judge(case).policy());
    let written = text::table(&ruleset, Generation(1));
    let by_text = Host::new("text");
    by_text.nft(&written);
    let by_json = Host::new("json");
    by_json.nft_json(&serde_json::to_string(&json::table(&ruleset, Generation(1))).unwrap());
    let listing = by_text.nft_list("table inet secgroupd");
    assert_eq!(listing, by_json.nft_list("table inet secgroupd"));
    // nft 1.0.6 writes ports of connection tracking that stand in braces in a way that it does not read (`0x50 [invalid type]`).
    if !listing.contains("[invalid type]") {
        let again = Host::new("again");
        again.nft(&listing);
        assert_eq!(listing, again.nft_list("table inet secgroupd"));
    }
    assert_eq!(
        listing.matches("counter").count(),
        written.matches("counter").count(),
        "rules were lost:\n{listing}"
    );
}
