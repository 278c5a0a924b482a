//! Texts as people write them, and what a change makes of them.

use super::*;

const GROUPS: &str = r##"# groups of the shop
version: 1   # the format

security_groups:

  sg-web:   # front
    inbound:
      # admins
      - { action: allow, protocol: tcp, port: 22, source: 'ipm-office' }   # ssh

      # the web
      - { action: allow, protocol: tcp, port: "80,443", source: any }
      - action: refuse   # spread
        protocol: all
        source: any
    outbound: [{ action: allow, protocol: all, destination: any }]

  sg-db: { name: "db", inbound: [] }

instances:
  ins-web1:
    interfaces:
      eth0: { addresses: [10.0.0.5], security_groups: [ sg-web, sg-db ] }
      eth1:
        security_groups: [
          sg-web,   # first
          sg-db,
        ]
"##;

fn rule(port: &str) -> Tree {
    Tree::map([
        ("action", Tree::text("allow")),
        ("protocol", Tree::text("tcp")),
        ("port", Tree::text(port)),
        ("source", Tree::text("any")),
    ])
}

fn inbound() -> Path {
    keys(["security_groups", "sg-web", "inbound"])
}

fn bound(interface: &str) -> Path {
    keys([
        "instances",
        "ins-web1",
        "interfaces",
        interface,
        "security_groups",
    ])
}

fn insert(list: Path, at: usize, value: Tree) -> Patch {
    Patch::Insert { list, at, value }
}

fn set(map: &[&str], key: &str, value: Tree) -> Patch {
    Patch::Set {
        map: keys(map.iter().copied()),
        key: key.to_owned(),
        value,
        spot: Spot::End,
    }
}

/// The lines that go, with `-`, and those that come, with `+`.
fn change(text: &str, patch: Patch) -> String {
    let new = patched(text, &[patch]).unwrap_or_else(|error| panic!("{error:?}"));
    let (old, new): (Vec<_>, Vec<_>) = (
        text.split_inclusive('\n').collect(),
        new.split_inclusive('\n').collect(),
    );
    let same = |(a, b): &(&&str, &&str)| a == b;
    let begin = old.iter().zip(&new).take_while(same).count();
    let rest = old[begin..].iter().rev().zip(new[begin..].iter().rev());
    let end = rest.take_while(same).count();
    let gone = old[begin..old.len() - end]
        .iter()
        .map(|line| format!("-{line}"));
    let come = new[begin..new.len() - end]
        .iter()
        .map(|line| format!("+{line}"));
    gone.chain(come).collect()
}

#[test]
fn one_rule_added_is_one_line() {
    let line = "+      - { action: allow, protocol: tcp, port: 8080, source: any }\n";
    for at in 0..3 {
        assert_eq!(
            change(GROUPS, insert(inbound(), at, rule("8080"))),
            line,
            "{at}"
        );
    }
    let spread = "+      - action: allow\n+        protocol: tcp\n+        port: 8080\n+        source: any\n";
    assert_eq!(change(GROUPS, insert(inbound(), 3, rule("8080"))), spread);
    let without_end = GROUPS
        .replace("\n    outbound", "\n    outbound:")
        .split("    outbound")
        .next()
        .unwrap()
        .trim_end()
        .to_owned();
    let new = patched(&without_end, &[insert(inbound(), 3, rule("1"))]).unwrap();
    assert_eq!(
        new,
        format!(
            "{without_end}\n      - action: allow\n        protocol: tcp\n        port: 1\n        source: any"
        )
    );
    let windows = GROUPS.replace('\n', "\r\n");
    let new = patched(
        &format!("\u{feff}{windows}"),
        &[insert(inbound(), 1, rule("8080"))],
    )
    .unwrap();
    assert_eq!(
        new.replace("\r\n", "\n"),
        format!(
            "\u{feff}{}",
            patched(GROUPS, &[insert(inbound(), 1, rule("8080"))]).unwrap()
        )
    );
    assert_eq!(new.matches('\n').count(), new.matches("\r\n").count());
}

#[test]
fn a_new_rule_stands_above_the_comment_of_the_next() {
    let new = patched(GROUPS, &[insert(inbound(), 1, rule("1"))]).unwrap();
    assert!(
        new.contains("# ssh\n      - { action: allow, protocol: tcp, port: 1, source: any }\n\n      # the web\n"),
        "{new}"
    );
}

#[test]
fn a_rule_goes_with_the_comment_that_is_about_it_alone() {
    let remove = |at| Patch::Remove {
        list: inbound(),
        at,
    };
    assert_eq!(
        change(GROUPS, remove(0)),
        "-      # admins\n-      - { action: allow, protocol: tcp, port: 22, source: 'ipm-office' }   # ssh\n"
    );
    // The comment above is about the next rule as well.
    assert_eq!(
        change(GROUPS, remove(1)),
        "-      - { action: allow, protocol: tcp, port: \"80,443\", source: any }\n"
    );
    assert_eq!(
        change(GROUPS, remove(2)),
        "-      - action: refuse   # spread\n-        protocol: all\n-        source: any\n"
    );
    let outbound = Patch::Remove {
        list: keys(["security_groups", "sg-web", "outbound"]),
        at: 0,
    };
    assert_eq!(
        change(GROUPS, outbound),
        "-    outbound: [{ action: allow, protocol: all, destination: any }]\n+    outbound: []\n"
    );
}

#[test]
fn a_rule_moves_with_its_comments() {
    let text = change(
        GROUPS,
        Patch::Move {
            list: inbound(),
            from: 0,
            to: 2,
        },
    );
    let moved = "      # admins\n      - { action: allow, protocol: tcp, port: 22, source: 'ipm-office' }   # ssh\n";
    let new = patched(
        GROUPS,
        &[Patch::Move {
            list: inbound(),
            from: 0,
            to: 2,
        }],
    )
    .unwrap();
    assert!(
        new.contains(&format!("        source: any\n{moved}    outbound")),
        "{text}"
    );
    let lines = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for (from, to) in [(0, 1), (1, 0), (2, 0), (0, 2), (2, 1)] {
        let new = patched(
            GROUPS,
            &[Patch::Move {
                list: inbound(),
                from,
                to,
            }],
        )
        .unwrap();
        assert_eq!(lines(&new), lines(GROUPS), "{from} {to}");
    }
}

#[test]
fn lists_between_brackets_keep_their_style() {
    assert_eq!(
        change(GROUPS, insert(bound("eth0"), 2, Tree::text("sg-x")))
            .lines()
            .last()
            .unwrap(),
        "+      eth0: { addresses: [10.0.0.5], security_groups: [ sg-web, sg-db, sg-x ] }"
    );
    assert_eq!(
        change(GROUPS, insert(bound("eth0"), 0, Tree::text("sg-x")))
            .lines()
            .last()
            .unwrap(),
        "+      eth0: { addresses: [10.0.0.5], security_groups: [ sg-x, sg-web, sg-db ] }"
    );
    assert_eq!(
        change(GROUPS, insert(bound("eth1"), 2, Tree::text("sg-x"))),
        "+          sg-x,\n"
    );
    assert_eq!(
        change(GROUPS, insert(bound("eth1"), 0, Tree::text("sg-x"))),
        "+          sg-x,\n"
    );
    assert_eq!(
        change(
            GROUPS,
            Patch::Remove {
                list: bound("eth1"),
                at: 0
            }
        ),
        "-          sg-web,   # first\n"
    );
    assert_eq!(
        change(
            GROUPS,
            Patch::Remove {
                list: bound("eth1"),
                at: 1
            }
        ),
        "-          sg-db,\n"
    );
    assert_eq!(
        change(
            GROUPS,
            Patch::Remove {
                list: bound("eth0"),
                at: 1
            }
        )
        .lines()
        .last()
        .unwrap(),
        "+      eth0: { addresses: [10.0.0.5], security_groups: [ sg-web ] }"
    );
    assert_eq!(
        change(
            GROUPS,
            Patch::Remove {
                list: bound("eth0"),
                at: 0
            }
        )
        .lines()
        .last()
        .unwrap(),
        "+      eth0: { addresses: [10.0.0.5], security_groups: [ sg-db ] }"
    );
    assert_eq!(
        change(
            GROUPS,
            Patch::Move {
                list: bound("eth0"),
                from: 0,
                to: 1
            }
        )
        .lines()
        .last()
        .unwrap(),
        "+      eth0: { addresses: [10.0.0.5], security_groups: [ sg-db, sg-web ] }"
    );
}

#[test]
fn keys_are_set_in_their_style() {
    assert_eq!(
        change(
            GROUPS,
            set(
                &["security_groups", "sg-db"],
                "name",
                Tree::text("databases")
            )
        ),
        "-  sg-db: { name: \"db\", inbound: [] }\n+  sg-db: { name: databases, inbound: [] }\n"
    );
    let value = Tree::List(vec![rule("1")]);
    assert_eq!(
        change(
            GROUPS,
            set(&["security_groups", "sg-db"], "inbound", value.clone())
        ),
        "-  sg-db: { name: \"db\", inbound: [] }\n+  sg-db: { name: \"db\", inbound: [{ action: allow, protocol: tcp, port: 1, source: any }] }\n"
    );
    let group = Tree::map([("name", Tree::text("new: one")), ("inbound", value)]);
    assert_eq!(
        change(GROUPS, set(&["security_groups"], "sg-new", group)),
        "+  sg-new:\n+    name: \"new: one\"\n+    inbound:\n+      - { action: allow, protocol: tcp, port: 1, source: any }\n+\n"
    );
    let unset = Patch::Unset {
        map: keys(["security_groups"]),
        key: "sg-db".into(),
    };
    assert_eq!(
        change(GROUPS, unset),
        "-  sg-db: { name: \"db\", inbound: [] }\n-\n"
    );
}

#[test]
fn empty_lists_become_lists_of_lines() {
    let text = "a:\n  b:   # none yet\n  c: []   # none\n  d: ~\ne: 1\n";
    let value = Tree::List(vec![rule("1")]);
    for key in ["b", "c", "d"] {
        let new = patched(text, &[set(&["a"], key, value.clone())]).unwrap();
        assert_eq!(new.lines().count(), text.lines().count() + 1, "{new}");
        assert_eq!(new.matches('#').count(), 2, "{new}");
        assert!(new.contains("    - { action: allow"), "{new}");
    }
}

#[test]
fn what_is_shared_is_refused() {
    let text = "a: &x\n  - 1\n  - 2\nb: *x\nc: &y 5\nd: *y\n";
    let at = |key| insert(keys([key]), 0, Tree::text("3"));
    assert!(matches!(
        patched(text, &[at("b")]),
        Err(PatchError::Shared { .. })
    ));
    assert!(matches!(
        patched(text, &[at("a")]),
        Err(PatchError::Elsewhere { .. })
    ));
    let unset = Patch::Unset {
        map: vec![],
        key: "a".into(),
    };
    assert!(matches!(
        patched(text, &[unset]),
        Err(PatchError::Elsewhere { .. })
    ));
    assert_eq!(
        patched(text, &[set(&[], "d", Tree::text("6"))]).unwrap(),
        text.replace("*y", "6")
    );
    assert_eq!(
        patched(text, &[set(&[], "b", Tree::texts(["6"]))]).unwrap(),
        text.replace("*x", "[6]")
    );
}

/// Every list and every mapping of a value, with what they hold.
fn collections(value: &Tree, path: &Path, found: &mut Vec<(Path, Tree)>) {
    let children: Vec<(Step, &Tree)> = match value {
        Tree::List(items) => items
            .iter()
            .enumerate()
            .map(|(n, item)| (Step::Item(n), item))
            .collect(),
        Tree::Map(entries) => entries
            .iter()
            .map(|(key, node)| (Step::Key(key.clone()), node))
            .collect(),
        _ => return,
    };
    found.push((path.clone(), value.clone()));
    for (step, child) in children {
        let path = [path.clone(), vec![step]].concat();
        collections(child, &path, found);
    }
}

fn random_patch(random: &mut fastrand::Rng, path: Path, value: &Tree) -> Patch {
    let texts = ["80,443", "sg-x", "a # b", "", "10.0.0.0/8"];
    let scalar = Tree::text(*random.choice(&texts).unwrap());
    let new = match random.u8(0..4) {
        0 => scalar,
        1 => Tree::texts(["a", "b: c"]),
        2 => Tree::List(vec![rule("1"), rule("2,3")]),
        _ => rule("80,443"),
    };
    match value {
        Tree::List(items) if !items.is_empty() => {
            let (at, to) = (random.usize(0..items.len()), random.usize(0..items.len()));
            match random.u8(0..3) {
                0 => Patch::Insert {
                    list: path,
                    at: random.usize(0..=items.len()),
                    value: new,
                },
                1 => Patch::Remove { list: path, at },
                _ => Patch::Move {
                    list: path,
                    from: at,
                    to,
                },
            }
        }
        Tree::Map(entries) => {
            let keys: Vec<&String> = entries.iter().map(|(key, _)| key).collect();
            let key = random.choice(&keys).map_or("new", |key| key).to_owned();
            match random.u8(0..3) {
                0 => Patch::Unset {
                    map: path,
                    key: key.clone(),
                },
                1 => Patch::Set {
                    map: path,
                    key: key.clone(),
                    value: new,
                    spot: Spot::End,
                },
                _ => Patch::Set {
                    map: path,
                    key: "new key".into(),
                    value: new,
                    spot: Spot::Behind(key.clone()),
                },
            }
        }
        _ => Patch::Insert {
            list: path,
            at: 0,
            value: new,
        },
    }
}

/// Definitions of the repository, as people write them.
fn definitions() -> Vec<String> {
    let mut found = vec![GROUPS.to_owned()];
    let folders = ["config", "tests/golden", "tests/lint", "tests/warn"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().and_then(|end| end.to_str()) {
                _ if path.is_dir() => folders.push(path),
                Some("yaml") => found.push(std::fs::read_to_string(path).unwrap()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// Ten thousand changes of real definitions, each on top of those before: each reads as exactly what was meant, keeps
/// every comment but those of what goes, and, where something comes, every other byte.
#[test]
fn random_changes_of_real_definitions() {
    let mut random = fastrand::Rng::with_seed(2026);
    let definitions = definitions();
    assert!(definitions.len() > 30, "{}", definitions.len());
    let mut text = String::new();
    let (mut changed, mut refused) = (0, 0);
    for round in 0..10_000 {
        if round % 20 == 0 || text.is_empty() {
            text = random.choice(&definitions).unwrap().clone();
            if random.u8(0..4) == 0 {
                text = text.replace('\n', "\r\n");
            }
            if random.u8(0..4) == 0 {
                text = text.trim_end().to_owned();
            }
        }
        let Some(tree) = FileTree::read(0, &text) else {
            continue;
        };
        let mut found = Vec::new();
        collections(&tree.values(), &vec![], &mut found);
        let Some((path, value)) = random.choice(&found) else {
            continue;
        };
        let patch = random_patch(&mut random, path.clone(), value);
        match patched(&text, std::slice::from_ref(&patch)) {
            Ok(new) => {
                changed += 1;
                let same = text
                    .bytes()
                    .zip(new.bytes())
                    .take_while(|(a, b)| a == b)
                    .count();
                let rest = text.bytes().rev().zip(new.bytes().rev());
                let same_end = rest.take_while(|(a, b)| a == b).count();
                if matches!(patch, Patch::Insert { .. }) && !text[..].contains('\u{feff}') {
                    // Only a comma may come elsewhere than the rest.
                    assert!(
                        same + same_end + 1 >= text.len(),
                        "{patch:?}\n{text}\n----\n{new}"
                    );
                }
                if matches!(patch, Patch::Remove { .. }) {
                    assert!(
                        same + same_end >= new.len() || new.contains("[]"),
                        "{patch:?}\n{text}\n----\n{new}"
                    );
                }
                if matches!(patch, Patch::Insert { .. } | Patch::Move { .. }) {
                    assert_eq!(
                        text.matches(" # ").count()
                            + usize::from(format!("{patch:?}").contains("a # b")),
                        new.matches(" # ").count(),
                        "{patch:?}\n{text}\n----\n{new}"
                    );
                }
                text = new;
            }
            Err(PatchError::Missing) if *value == Tree::List(vec![]) => {}
            // A file says something.
            Err(PatchError::Elsewhere { .. }) if path.is_empty() => {}
            // No definition has lists of lists.
            Err(PatchError::Elsewhere { .. }) if text.contains("- - ") => text.clear(),
            Err(PatchError::Shared { .. } | PatchError::Elsewhere { .. }) if text.contains('&') => {
                refused += 1
            }
            Err(error) => panic!("{error:?} {patch:?}\n{text}"),
        }
    }
    assert!(changed > 9_000, "{changed} {refused}");
}

/// A list in the column of its key, lists between brackets over several lines, comments that go on or stand below.
const STYLES: &str = r##"a:
  inbound:
  - { x: 1 }   # one
      # goes on
  # two
  - { x: 2 }
  - { x: 3 }
    # - { x: 4 }
  outbound: [
    # web
    { x: 5 },   # five
    # ssh
    { x: 6 }   # six
  ]
  from:
    - b   # bob
    - c   # carol
d:
- 1
"##;

#[test]
fn comments_go_with_what_they_are_about() {
    let list = |key: &str| keys(["a", key]);
    let x = |x: &str| Tree::map([("x", Tree::text(x))]);
    let lines = |patch| patched(STYLES, &[patch]).unwrap();
    let goes = |key: &str, from, to| {
        lines(Patch::Move {
            list: list(key),
            from,
            to,
        })
    };
    assert!(
        goes("inbound", 0, 1).contains(
            "  # two\n  - { x: 2 }\n  - { x: 1 }   # one\n      # goes on\n  - { x: 3 }\n"
        ),
        "{}",
        goes("inbound", 0, 1)
    );
    assert!(
        goes("outbound", 1, 0).contains(
            "[\n    # ssh\n    { x: 6 },   # six\n    # web\n    { x: 5 },   # five\n  ]"
        ),
        "{}",
        goes("outbound", 1, 0)
    );
    assert!(
        goes("outbound", 0, 1).contains(
            "[\n    # ssh\n    { x: 6 },   # six\n    # web\n    { x: 5 },   # five\n  ]"
        ),
        "{}",
        goes("outbound", 0, 1)
    );
    let removed = |key: &str, at| {
        change(
            STYLES,
            Patch::Remove {
                list: list(key),
                at,
            },
        )
    };
    assert_eq!(
        removed("inbound", 0),
        "-  - { x: 1 }   # one\n-      # goes on\n"
    );
    assert_eq!(removed("inbound", 2), "-  - { x: 3 }\n-    # - { x: 4 }\n");
    assert_eq!(
        removed("outbound", 1),
        "-    # ssh\n-    { x: 6 }   # six\n"
    );
    let inserted = |key: &str, at| change(STYLES, insert(list(key), at, x("9")));
    for at in 0..=3 {
        assert_eq!(inserted("inbound", at), "+  - { x: 9 }\n", "{at}");
    }
    assert_eq!(inserted("outbound", 0), "+    { x: 9 },\n");
    assert_eq!(inserted("outbound", 1), "+    { x: 9 },\n");
    assert_eq!(
        inserted("outbound", 2),
        "-    { x: 6 }   # six\n+    { x: 6 },   # six\n+    { x: 9 },\n"
    );
    assert_eq!(
        change(STYLES, set(&["a"], "from", Tree::text("z"))),
        "-  from:\n-    - b   # bob\n-    - c   # carol\n+  from: z\n"
    );
    // A key that comes behind a list stands behind what is commented out in it.
    let set = Patch::Set {
        map: keys(["a"]),
        key: "new".into(),
        value: Tree::text("1"),
        spot: Spot::Behind("inbound".into()),
    };
    assert!(lines(set).contains("    # - { x: 4 }\n  new: 1\n  outbound"));
    assert_eq!(
        change(STYLES, insert(keys(["d"]), 1, Tree::text("2"))),
        "+- 2\n"
    );
}
