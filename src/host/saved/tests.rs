//! A saved policy of another version is compiled again, or enforced as it was compiled.

#![allow(clippy::unwrap_used, reason = "a test")]

use super::*;
use crate::ruleset::table::LAYOUT;
use crate::ruleset::text;
use crate::source::load::load;
use crate::source::read::Trust;
use crate::state::saved_policy::Origin;
use crate::state::seal::{BODY, seal, sealed_begin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;

const DEFINITION: &str = "version: 1
security_groups:
  sg-web:
    inbound:
      - { action: allow, protocol: tcp, port: \"80,8000-8100\", source: ipm-list }
    outbound:
      - { action: allow, protocol: all, destination: any }
address_templates:
  ipm-list: { file: list.txt }
instances:
  ins-a: { hostname: a, interfaces: { eth0: { security_groups: [sg-web] } } }
";

/// What is said of it.
#[derive(Serialize, Deserialize)]
struct Summary {
    generation: u64,
    instance: String,
}

/// A definition of two files as it is saved, and what was enforced.
fn saved() -> (Vec<u8>, Ruleset) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.yaml");
    std::fs::write(&path, DEFINITION).unwrap();
    std::fs::write(folder.path().join("list.txt"), "203.0.113.7\n").unwrap();
    let loaded = load(&path, Trust::Any);
    let account = loaded.account.as_ref().unwrap();
    let policy = account
        .policy(&account.instances[0].id, &BTreeSet::new())
        .unwrap();
    let ruleset = compile(&policy);
    let origin = Origin::of(&loaded, &policy, &BTreeSet::new());
    let summary = Summary {
        generation: 7,
        instance: "ins-a".into(),
    };
    let bytes = origin.hashed().write_down(&summary, &ruleset).unwrap();
    (bytes.seal(), ruleset)
}

/// As the kernel would be told.
fn said(ruleset: &Ruleset) -> String {
    text::table(ruleset, crate::ruleset::Generation(1))
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
        assert_eq!(said(&ruleset_of(&saved).unwrap()), said(&ruleset), "{key}");
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
    assert_eq!(said(&ruleset_of(&strict(LAYOUT)).unwrap()), said(&ruleset));
    let refused = ruleset_of(&strict(99)).unwrap_err().to_string();
    assert!(
        refused.contains("of secgroupd 0.0.9") && refused.contains("it was not kept"),
        "{refused}"
    );
}
