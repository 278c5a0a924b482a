//! A policy that would refuse the SSH session that a command is called from.

use libtest_mimic::Trial;

use super::site::{Ran, Site, opening};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("check_and_apply_warn_of_the_ssh_session", &["nft"], warned),
        kernel_test(
            "the_ssh_session_is_judged_as_the_daemon_s_instance",
            &["nft"],
            as_the_daemon,
        ),
        kernel_test("apply_asks_at_a_terminal", &["nft", "script"], asked),
    ]
}

const SESSION: &str = "10.0.0.9 51000 10.0.0.5 22";
const WARNING: &str = "this policy refuses the SSH session that you are in, from 10.0.0.9 to 10.0.0.5 port 22 at eth0: no rule";

fn warned() {
    let site = Site::new();
    let from_ssh = |line: &str| Ran::of(site.command(line).env("SSH_CONNECTION", SESSION));
    site.write("groups.yaml", &opening(&[22]));
    let check = from_ssh("check");
    assert!(
        check.code == 0 && !check.out.contains("SSH session"),
        "{check:?}"
    );
    let apply = from_ssh("apply");
    assert!(
        apply.code == 0 && !apply.err.contains("SSH session"),
        "{apply:?}"
    );
    site.write("groups.yaml", &opening(&[443]));
    let check = from_ssh("check");
    assert!(check.code == 0 && check.out.contains(WARNING), "{check:?}");
    let json = from_ssh("check --json").out;
    assert!(json.contains("\"ssh-session\""), "{json}");
    // Nobody is there to be asked.
    let apply = from_ssh("apply");
    assert!(apply.code == 0 && apply.err.contains(WARNING), "{apply:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    // sudo hides the variable; its own parents have it.
    let mut command = site.host.command("sh");
    command.env("SSH_CONNECTION", SESSION).args([
        "-c",
        "env -u SSH_CONNECTION \"$0\" \"$@\"; exit $?",
        super::site::PROGRAM,
    ]);
    site.arguments(&mut command, "check");
    let hidden = Ran::of(&mut command);
    assert!(hidden.out.contains(WARNING), "{hidden:?}");
}

/// Whom the daemon was told to be, and no name of the definition.
fn as_the_daemon() {
    let two = |port: u16| {
        format!(
            "version: 1
security_groups:
  sg-a: {{ inbound: [{{ action: allow, protocol: tcp, port: 22, source: any }}] }}
  sg-b: {{ inbound: [{{ action: allow, protocol: tcp, port: {port}, source: any }}] }}
instances:
  ins-a: {{ hostname: no-host-a, interfaces: {{ eth0: {{ security_groups: [sg-a] }} }} }}
  ins-b: {{ hostname: no-host-b, interfaces: {{ eth0: {{ security_groups: [sg-b] }} }} }}
"
        )
    };
    let site = Site::new();
    let from_ssh = |line: &str| Ran::of(site.command(line).env("SSH_CONNECTION", SESSION));
    site.write("groups.yaml", &two(22));
    let daemon = site.launch("run --instance ins-b");
    daemon.until_logged("enforced for ins-b");
    site.write("new.yaml", &two(443));
    let says = |line: &str, warns: bool| {
        let ran = from_ssh(line);
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(ran.err.contains(WARNING), warns, "{ran:?}");
        assert!(warns || !ran.err.contains("SSH session"), "{ran:?}");
    };
    let candidate = format!("apply {}", site.path("new.yaml").display());
    says(&candidate, true);
    // Another instance for once is not who the daemon is.
    says("apply --instance ins-a", false);
    says(&candidate, true);
    says("apply --instance ins-b", false);
    // Without a daemon nobody knows, and that is said.
    drop(daemon);
    let unknown = "it is not known whether this policy refuses the SSH session that you are in";
    from_ssh("apply").failed(2, &[unknown, "no-host-b"]);
}

/// `script` gives the command a terminal.
fn asked() {
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22]));
    assert_eq!(site.run("apply").code, 0);
    let before = site.listing();
    site.write("groups.yaml", &opening(&[443]));
    let at_terminal = |answer: &str, line: &str| {
        let apply = site.command(line);
        let words = std::iter::once(apply.get_program()).chain(apply.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let mut command = site.host.command("sh");
        let piped = format!(
            "(sleep 0.3; echo {answer}) | script -qec '{}' /dev/null",
            words.join(" ")
        );
        command.args(["-c", &piped]).env("SSH_CONNECTION", SESSION);
        Ran::of(&mut command)
    };
    let no = at_terminal("n", "apply");
    assert_eq!(no.code, 1, "{no:?}");
    assert!(
        no.out.contains(WARNING) && no.out.contains("[y/N]"),
        "{no:?}"
    );
    site.unchanged(&before);
    let yes = at_terminal("y", "apply");
    assert_eq!(yes.code, 0, "{yes:?}");
    assert!(site.lets_in(443) && !site.lets_in(22));
    let told = at_terminal("n", "apply --yes");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(!told.out.contains("[y/N]"), "{told:?}");
}
