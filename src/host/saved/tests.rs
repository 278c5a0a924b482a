//! A saved policy of another version is compiled again, or enforced as it was compiled.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::ruleset::table::LAYOUT;
use crate::state::saved_policy::tests::{Summary, said, saved};
use crate::state::seal::{BODY, seal, sealed_begin};
use serde_json::Value;

fn now(saved: &SavedPolicy) -> Result<Ruleset, Refused> {
    let meant = ruleset_of(saved, 0, |policy| policy.host.clone());
    meant.map(|meant| meant.ruleset)
}

/// The same with another header.
fn rewritten(bytes: &[u8], change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let length = u32::from_le_bytes(bytes[BODY..BODY + 4].try_into().unwrap()) as usize;
    let (header, rest) = bytes[BODY + 4..].split_at(length);
    let mut header = serde_json::from_slice(header).unwrap();
    change(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    let mut new = sealed_begin();
    new.extend((header.len() as u32).to_le_bytes());
    new.extend(header);
    new.extend(rest);
    seal(new)
}

#[test]
fn another_version_compiles_the_texts() {
    let (bytes, ruleset) = saved();
    for (key, value) in [
        ("program", Value::from("0.0.9")),
        ("layout", Value::from(99)),
    ] {
        let other = rewritten(&bytes, |header| {
            header["program"] = "0.0.9".into();
            header[key] = value;
            // What a later version said of it.
            header["summary"] = serde_json::json!({ "new": true });
        });
        let saved = SavedPolicy::read(other).unwrap();
        assert!(saved.compiled().is_none() && saved.summary::<Summary>().is_none());
        assert_eq!(said(&now(&saved).unwrap()), said(&ruleset), "{key}");
    }
}

#[test]
fn a_stricter_version_falls_back_to_what_was_compiled() {
    let (bytes, ruleset) = saved();
    let strict = |layout: u32| {
        let bytes = rewritten(&bytes, |header| {
            header["program"] = "0.0.9".into();
            header["layout"] = layout.into();
            // As if this version knew no such template file.
            header["files"][1][0] = "/elsewhere".into();
        });
        SavedPolicy::read(bytes).unwrap()
    };
    assert_eq!(said(&now(&strict(LAYOUT)).unwrap()), said(&ruleset));
    let refused = now(&strict(99)).unwrap_err().to_string();
    assert!(
        refused.contains("of secgroupd 0.0.9") && refused.contains("it was not kept"),
        "{refused}"
    );
}
