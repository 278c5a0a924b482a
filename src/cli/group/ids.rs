//! Ids of groups on the command line.

use crate::policy::id::GroupId;
use std::hash::{BuildHasher, Hasher};

/// Reads an id.
pub fn group_id(text: &str) -> Result<GroupId, String> {
    GroupId::parse(text).map_err(|error| error.to_string())
}

/// A new id, as the cloud makes them: `sg-` and eight letters or digits.
pub fn new_id() -> anyhow::Result<GroupId> {
    // The standard library's hashers begin with random keys of the system.
    let mut random = std::hash::RandomState::new().build_hasher().finish();
    let mut text = String::from("sg-");
    for _ in 0..8 {
        let digit = u32::try_from(random % 36).unwrap_or_default();
        text.extend(char::from_digit(digit, 36));
        random /= 36;
    }
    Ok(GroupId::parse(&text)?)
}
