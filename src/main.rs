//! The `secgroupd` binary: see [`secgroupd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    secgroupd::cli::main()
}
