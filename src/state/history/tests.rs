//! What is recorded, what is left of it, and what a full disk and a killed process leave.

use super::*;
use crate::policy::InstanceId;
use crate::source::content::content;
use crate::state::author::Author;
use crate::state::directory::full::set_full;
use std::collections::BTreeSet;

fn sources(text: &str) -> Sources {
    let mut sources = Sources::default();
    sources.add("/etc/secgroupd/groups.yaml", text);
    sources.add("/etc/secgroupd/list.txt", "203.0.113.7\n");
    sources
}

fn definition(port: u16) -> String {
    format!(
        "version: 1
security_groups: {{ sg-a: {{ inbound: [{{ action: allow, protocol: tcp, port: {port}, source: ipm-a }}] }} }}
address_templates: {{ ipm-a: {{ file: /etc/secgroupd/list.txt }} }}
instances: {{ ins-a: {{ interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }} }}
"
    )
}

fn enforced(sources: &Sources) -> Enforced {
    Enforced {
        at: 1_800_000_000,
        generation: 7,
        definition: "/etc/secgroupd".into(),
        instance: InstanceId::parse("ins-a").unwrap(),
        unblocked: BTreeSet::new(),
        author: Author {
            user: "alice".into(),
            command: Some("secgroupd rule add".into()),
            client: Some("x".repeat(10_000)),
        },
        content: content(sources),
        definition_files: 1,
    }
}

fn add(state: &State, text: &str) -> Result<Option<u64>, HistoryError> {
    let sources = sources(text);
    record(state, enforced(&sources), &sources)
}

fn state() -> (tempfile::TempDir, State) {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(&folder.path().join("state")).unwrap();
    (folder, state)
}

#[test]
fn what_was_recorded_is_read_again() {
    let (_folder, state) = state();
    let text = definition(22);
    assert_eq!(add(&state, &text).unwrap(), Some(1));
    assert_eq!(add(&state, &text).unwrap(), None, "the same is no change");
    assert_eq!(add(&state, &definition(23)).unwrap(), Some(2));
    assert_eq!(add(&state, &text).unwrap(), Some(3), "back is one");
    let entry = read(&state, 1).unwrap().unwrap();
    let files: Vec<_> = entry.definition_files().collect();
    assert_eq!(files, [("/etc/secgroupd/groups.yaml", text.as_str())]);
    let templates: Vec<_> = entry.template_files().collect();
    assert_eq!(templates, [("/etc/secgroupd/list.txt", "203.0.113.7\n")]);
    let loaded = entry.loaded();
    assert!(loaded.account.is_some(), "{:?}", loaded.diagnostics);
    assert_eq!(entry.head.author.user, "alice");
    let client = entry.head.author.client.unwrap();
    assert!(client.len() < 500, "what others say is short");
    assert!(read(&state, 9).unwrap().is_none());
}

#[test]
fn the_last_fifty_are_kept_and_numbers_go_on() {
    let (_folder, state) = state();
    for port in 1..=60 {
        assert_eq!(add(&state, &definition(port)).unwrap(), Some(port.into()));
    }
    assert_eq!(numbers(&state), (11..=60).collect::<Vec<u64>>());
    // Bounded in bytes as well: the newest stay.
    let size = std::fs::metadata(state.directory().join(name(60)))
        .unwrap()
        .len();
    assert!(shrink(&state, MOST, 3 * size + size / 2));
    assert_eq!(numbers(&state), [58, 59, 60]);
    assert!(!shrink(&state, MOST, MOST_BYTES));
    assert!(shrink(&state, 0, 0) && numbers(&state).is_empty());
}

#[test]
fn a_damaged_entry_is_named_and_the_others_are_read() {
    let (_folder, state) = state();
    add(&state, &definition(1)).unwrap();
    add(&state, &definition(2)).unwrap();
    let path = state.directory().join(name(1));
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let error = read(&state, 1).unwrap_err().to_string();
        assert!(error.contains("history-000001 cannot be used"), "{error}");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        assert!(format::read(&bytes).is_err(), "byte {at}");
    }
    assert!(read(&state, 2).unwrap().is_some());
    // A damaged newest one keeps no other from being recorded.
    std::fs::write(state.directory().join(name(2)), "half").unwrap();
    assert_eq!(add(&state, &definition(2)).unwrap(), Some(3));
}

/// Texts that unfold to more than they say are refused before they have.
#[test]
fn a_text_that_is_longer_than_it_says_is_refused() {
    let sources = sources(&"x".repeat(1_000_000));
    let mut entry = Entry::of(1, enforced(&sources), &sources);
    entry.head.files[0].1 = 1000;
    let error = format::read(&format::written(&entry)).unwrap_err();
    assert!(error.to_string().contains("its texts cannot be read"));
}

#[test]
fn a_full_disk_leaves_the_history_as_it_was() {
    let (_folder, state) = state();
    add(&state, &definition(1)).unwrap();
    set_full(true);
    let full = add(&state, &definition(2));
    set_full(false);
    assert!(matches!(full, Err(HistoryError::State(error)) if error.is_full()));
    assert_eq!(numbers(&state), [1]);
    assert_eq!(add(&state, &definition(2)).unwrap(), Some(2));
}
