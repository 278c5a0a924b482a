//! The examples of the pages print what the pages show.
//!
//! Each page has a folder and a host of its own. Its `yaml` blocks are right, and those that name a file are written into
//! the folder. Its `console` blocks run there in their order. CONTRIBUTING.md describes the blocks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod support;

mod docs {
    pub mod compare;
    pub mod page;
    pub mod run;

    use super::support;
}

use std::fs;
use std::path::Path;

use docs::compare::difference;
use docs::page::{Block, Command, blocks};
use docs::run::Laptop;
use libtest_mimic::Trial;
use support::kernel_test;

/// Blocks that are not run: the page, the first command, and why.
const NOT_RUN: [(&str, &str, &str); 4] = [
    (
        "docs/observability.md",
        "sudo secgroupd diagnose 443",
        "looks at the iptables and the processes of a certain host",
    ),
    (
        "docs/observability.md",
        "secgroupd status",
        "asks the service, which has met certain packets",
    ),
    (
        "docs/observability.md",
        "secgroupd events",
        "asks the service, which has refused certain packets",
    ),
    (
        "docs/operations.md",
        "sudo secgroupd apply --confirm 60 groups.yaml",
        "asks the service, which watches /etc/secgroupd",
    ),
];

/// Blocks of text that a command prints which the page shows in another form: the page, the first line, the command.
const PRINTED_BY: [(&str, &str, &str); 1] = [(
    "README.md",
    "lab.yaml is written",
    // The page shows it in the foreground, built by cargo.
    "secgroupd lab up --demo --detach",
)];

fn main() -> std::process::ExitCode {
    support::run_waiting(4, || {
        let mut tests: Vec<Trial> = pages()
            .into_iter()
            .map(|page| {
                let name = format!("the_examples_of_{page}_print_what_it_shows");
                kernel_test(&name, &["iptables"], move || examples(&page))
            })
            .collect();
        let unit = |name: &str, body: fn()| {
            Trial::test(name, move || {
                body();
                Ok(())
            })
        };
        tests.extend([
            unit("every_block_that_is_not_run_is_in_a_page", none_is_stale),
            unit("the_blocks_of_a_page_are_found", blocks_are_found),
            unit("an_example_that_is_wrong_is_found", wrong_is_found),
            unit("an_example_that_is_right_is_passed", right_is_passed),
        ]);
        tests
    })
}

fn read(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// README.md and the pages of docs.
fn pages() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let names = fs::read_dir(folder).expect("the pages").map(|entry| {
        let name = entry.expect("a page").file_name();
        format!("docs/{}", name.to_str().expect("text"))
    });
    let mut pages: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    pages.push("README.md".into());
    pages.sort();
    pages
}

/// The commands that a block shows the output of. None of a block that has none, or that is not run.
fn commands(page: &str, block: &Block) -> Vec<Command> {
    let printed_by = PRINTED_BY
        .iter()
        .find(|(of, first, _)| *of == page && block.text.starts_with(first));
    match (&*block.kind, printed_by) {
        ("console", _) => {
            let commands = block.commands();
            let is_listed = NOT_RUN
                .iter()
                .any(|(of, first, _)| *of == page && commands[0].line == *first);
            if is_listed { Vec::new() } else { commands }
        }
        (_, Some((_, _, line))) => vec![Command {
            line: (*line).to_owned(),
            shown: block.text.clone(),
        }],
        _ => Vec::new(),
    }
}

fn examples(page: &str) {
    let laptop = Laptop::new();
    let mut wrong = Vec::new();
    for block in blocks(&read(page)) {
        if block.kind == "yaml" {
            let file = block.file().unwrap_or("unnamed.yaml");
            laptop.write(file, &block.text);
            let printed = laptop.prints(&format!("secgroupd check {file}"));
            assert!(
                printed.contains("; 0 errors, "),
                "line {}: {printed}",
                block.line
            );
        }
        for command in commands(page, &block) {
            let printed = laptop.prints(&command.line);
            if let Some(difference) = difference(&command.shown, &printed) {
                wrong.push(format!(
                    "{page}:{}: $ {}\n{difference}\nIt printed:\n{printed}",
                    block.line, command.line
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn none_is_stale() {
    for (page, first, why) in NOT_RUN {
        let blocks = blocks(&read(page));
        let mut consoles = blocks.iter().filter(|block| block.kind == "console");
        assert!(
            consoles.any(|block| block.commands()[0].line == first),
            "{page} has no `{first}` any more ({why})"
        );
    }
    for (page, first, _) in PRINTED_BY {
        let blocks = blocks(&read(page));
        assert!(
            blocks.iter().any(|block| block.text.starts_with(first)),
            "{page} has no `{first}` any more"
        );
    }
}

fn blocks_are_found() {
    let page = "# A page\n```yaml\n# a.yaml\nversion: 1\n```\ntext\n\n```console\n$ first\none\ntwo\n$ second\n```\n";
    let [yaml, console] = &blocks(page)[..] else {
        panic!("{:?}", blocks(page));
    };
    assert_eq!(
        (yaml.line, &*yaml.kind, yaml.file()),
        (3, "yaml", Some("a.yaml"))
    );
    assert_eq!((console.line, console.file()), (9, None));
    let commands = console.commands();
    assert_eq!(commands.len(), 2);
    assert_eq!(
        (&*commands[0].line, &*commands[0].shown),
        ("first", "one\ntwo\n")
    );
    assert_eq!((&*commands[1].line, &*commands[1].shown), ("second", ""));
}

/// What a page shows, what the program prints, and a word of the difference.
fn wrong_is_found() {
    for (shown, printed, word) in [
        ("allow\n", "refuse\n", "not printed here: allow"),
        ("allow\n", "allow\nbut\n", "not shown: but"),
        ("allow\nbut\n", "allow\n", "not printed here: but"),
        ("", "allow\n", "not shown: allow"),
        ("allow\n", "", "not printed here: allow"),
        ("…\nlast\n", "first\nlast\nmore\n", "not printed here: last"),
        ("first\n…\nlast\n", "first\n", "not printed here: last"),
        (
            "first\n…\nb\nc\n…\n",
            "first\nb\nd\nc\n",
            "not printed here: b",
        ),
        ("…\nb\n…\na\n…\n", "a\nb\n", "not printed here: a"),
        ("5 cells in 1 s\n", "6 cells in 1 s\n", "5 cells in <time>"),
    ] {
        let found = difference(shown, printed);
        let found = found.unwrap_or_else(|| panic!("{shown:?} is taken for {printed:?}"));
        assert!(found.contains(word), "{shown:?}, {printed:?}: {found}");
    }
}

fn right_is_passed() {
    for (shown, printed) in [
        ("allow\n", "allow\n"),
        ("allow\n", "allow  \n\n"),
        ("", ""),
        ("…\n", ""),
        ("allow\n…\n", "allow\n"),
        ("allow\n…\n", "allow\nmore\nand more\n"),
        ("first\n…\nlast\n", "first\nlast\n"),
        ("first\n…\nlast\n", "first\nlast\nlast\n"),
        ("…\nb\n…\nd\n…\n", "a\nb\nc\nd\ne\n"),
        ("up after 0.2 s\n", "up after 12.25 s\n"),
        ("in 14 ms: 1 interface\n", "in 3 s: 1 interface\n"),
    ] {
        assert_eq!(difference(shown, printed), None, "{shown:?}, {printed:?}");
    }
}
