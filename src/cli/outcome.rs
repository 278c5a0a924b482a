//! What a subcommand returns.

use std::process::ExitCode;

/// The exit status, or a usage or run-time error.
pub type Result = anyhow::Result<ExitCode>;

/// The answer is no: errors were found, or a flow is refused.
pub const NO: u8 = 1;
/// A usage or run-time error.
pub const ERROR: u8 = 2;

/// Success if the answer is yes.
pub fn yes(is_so: bool) -> ExitCode {
    match is_so {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NO),
    }
}
