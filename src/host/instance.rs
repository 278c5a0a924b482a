//! Which instance of a definition this host is.

use crate::policy::{Account, Instance};

/// This host's name, as the kernel has it.
pub fn hostname() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The instance that this host is; else a sentence that says what there is.
///
/// # Errors
///
/// When none is asked for and none fits, several fit, or there is none of that id.
pub fn choose<'a>(account: &'a Account, asked: Option<&str>) -> Result<&'a Instance, String> {
    if account.instances.is_empty() {
        return Err("the definition has no instances: write this host under `instances:`".into());
    }
    account
        .choose(asked, &hostname())
        .map_err(|error| error.to_string())
}
