//! The commands: standard input, files, exit statuses, notes as text and as data.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const GROUPS: &str = "version: 1
security_groups:
  sg-web:
    inbound:
      - { action: allow, protocol: tcp, port: 443, source: any }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-web] } } }
  ins-b: { interfaces: { eth0: { security_groups: [sg-web] } } }
platform: { established: keep }
";

fn run(folder: &Path, arguments: &str, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_secgroupd"))
        .args(arguments.split(' '))
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends before it has read all closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_export_prints_import_reads() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("groups.yaml"), GROUPS).unwrap();
    let out = run(folder.path(), "export groups.yaml --to tencent", "");
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(
        text(&out.stderr).contains("not kept: platform: `established`"),
        "{}",
        text(&out.stderr)
    );
    assert!(text(&out.stderr).ends_with("1 thing could not be kept\n"));
    let back = run(folder.path(), "import - --strict", &text(&out.stdout));
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    let definition = text(&back.stdout);
    assert!(
        definition.contains("eth0: { addresses: [10.0.0.5], security_groups: [sg-web] }"),
        "{definition}"
    );
    let strict = run(
        folder.path(),
        "export groups.yaml --to terraform --strict",
        "",
    );
    assert_eq!(strict.status.code(), Some(1));
    let piped = run(folder.path(), "export - --to tencent", GROUPS);
    assert_eq!(text(&piped.stdout), text(&out.stdout));
}

#[test]
fn notes_are_data_and_output_is_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let dump = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p icmp --icmp-type 8 -j ACCEPT\nCOMMIT\n";
    let out = run(folder.path(), "import - --json", dump);
    let object: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (object["not_kept"].as_u64(), out.status.code()),
        (Some(1), Some(0))
    );
    assert!(
        object["definition"]
            .as_str()
            .unwrap()
            .starts_with("version: 1\n")
    );
    assert_eq!(object["notes"][0]["kind"], "not-kept");
    assert_eq!(object["notes"][0]["place"], "standard input:3");
    assert_eq!(text(&out.stderr), "");
    let written = run(folder.path(), "import - --output new.yaml", dump);
    assert_eq!(
        (written.status.code(), text(&written.stdout)),
        (Some(0), String::new())
    );
    let first = fs::read_to_string(folder.path().join("new.yaml")).unwrap();
    assert_eq!(object["definition"].as_str().unwrap(), first);
    let checked = run(folder.path(), "check new.yaml", "");
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let again = run(
        folder.path(),
        "import - --output new.yaml",
        "*filter\n-A INPUT -j DROP\n",
    );
    assert_eq!(again.status.code(), Some(2));
    assert!(
        text(&again.stderr).contains("name a file that does not exist"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(
        fs::read_to_string(folder.path().join("new.yaml")).unwrap(),
        first
    );
}

#[test]
fn what_is_no_format_says_which_there_are() {
    let folder = tempfile::tempdir().unwrap();
    for (input, words) in [
        (
            "resource \"tencentcloud_security_group\" \"a\" {}\n",
            "terraform show -json",
        ),
        ("{ \"SecurityGroupSet\": [ }", "standard input"),
        ("[1]", "a JSON object is expected"),
        ("{\"SecurityGroupSet\": []}", "nothing of the input"),
        ("source,protocol port,policy\nany,TCP:1,allow\n", "--group"),
    ] {
        let out = run(folder.path(), "import -", input);
        assert_eq!(out.status.code(), Some(2), "{input}");
        assert!(
            text(&out.stderr).contains(words),
            "{input}: {}",
            text(&out.stderr)
        );
    }
    let missing = run(folder.path(), "import no.json", "");
    assert_eq!(missing.status.code(), Some(2));
    assert!(text(&missing.stderr).contains("no.json cannot be read"));
    let wrong = run(
        folder.path(),
        "export - --to tencent",
        "version: 1\nsecurity_group: {}\n",
    );
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stderr));
}

#[test]
fn the_ruleset_is_what_compile_prints() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("groups.yaml"), GROUPS).unwrap();
    let exported = run(
        folder.path(),
        "export groups.yaml --to nft --instance ins-a",
        "",
    );
    let compiled = run(folder.path(), "compile groups.yaml --instance ins-a", "");
    assert!(text(&exported.stdout).contains("table inet secgroupd"));
    assert_eq!(text(&exported.stdout), text(&compiled.stdout));
    assert!(
        text(&exported.stderr).contains("ins-b is left out"),
        "{}",
        text(&exported.stderr)
    );
}
