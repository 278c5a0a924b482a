//! Questions about groups as things that one makes, copies and gives up. Each answer is read out of the command.

use crate::answers::{listen, says, web};
use crate::site::Site;
use crate::support::kernel_test;
use libtest_mimic::Trial;
use serde_json::Value;
use std::fs;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "why_should_i_open_a_port_and_how_by_the_command",
            &[],
            open_a_port,
        ),
        kernel_test(
            "how_can_an_improper_security_group_be_fixed",
            &["nft"],
            reset,
        ),
        kernel_test(
            "a_reset_that_nobody_confirms_is_taken_back",
            &["nft"],
            reset_unconfirmed,
        ),
        kernel_test(
            "a_reset_of_a_directory_of_files",
            &["nft"],
            reset_of_a_directory,
        ),
        kernel_test(
            "i_have_returned_all_cvms_but_still_cannot_delete_the_security_group",
            &[],
            cannot_delete,
        ),
        kernel_test(
            "when_i_clone_a_security_group_to_another_region_can_they_share_the_same_name",
            &[],
            clone_to_another_region,
        ),
        kernel_test(
            "can_i_clone_a_security_group_to_another_project",
            &[],
            clone_to_another_project,
        ),
        kernel_test(
            "will_the_cvms_associated_with_the_security_group_also_be_cloned",
            &[],
            rules_only,
        ),
    ]
}

fn text(site: &Site) -> String {
    fs::read_to_string(site.definition()).unwrap()
}

fn json(site: &Site, line: &str) -> Value {
    let ran = site.run(&format!("{line} --json"));
    serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
}

/// Steps of the console, as commands: the port is opened for an address, seen before it is done, and closed again.
fn open_a_port() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &web(&["action: allow, protocol: tcp, port: 22, source: 10.0.0.0/8"]),
    );
    let _daemon = site.start();
    let before = text(&site);
    let line = "rule add sg-web/in --allow tcp:8080 --from 10.0.0.9";
    let dry = site.run(&format!("{line} --dry-run"));
    says(
        &dry,
        0,
        &[
            "+      - { action: allow, protocol: tcp, port: 8080, source: 10.0.0.9 }",
            "eth0",
            "8080",
        ],
    );
    assert_eq!(text(&site), before);
    site.until_open(&[22], &[8080]);
    says(&site.run(line), 0, &["added the rule sg-web/in/1", "8080"]);
    site.until_open(&[22, 8080], &[]);
    let added = text(&site);
    assert_eq!(added.lines().count(), before.lines().count() + 1, "{added}");
    says(
        &site.run("group show sg-web"),
        0,
        &["sg-web/in/1", "tcp:8080", "10.0.0.9", "ins-web1"],
    );
    says(
        &site.run("rule replace sg-web/in/1 --refuse tcp:8080"),
        0,
        &["replaced the rule sg-web/in/1"],
    );
    site.until_open(&[22], &[8080]);
    says(
        &site.run("rule move sg-web/in/1 0"),
        0,
        &["moved the rule sg-web/in/1 to sg-web/in/0"],
    );
    says(
        &site.run("rule delete sg-web/in/0"),
        0,
        &["deleted the rule sg-web/in/0"],
    );
    assert_eq!(text(&site), before);
    let refused = site.run("rule delete sg-web/in/7");
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("no sg-web/in/7") && refused.err.contains("no byte was changed"),
        "{refused:?}"
    );
    let refused = json(&site, "rule add sg-web/in --allow tcp:70000 --from any");
    assert_eq!(refused["reasons"][0]["code"], "bad-port", "{refused}");
    assert_eq!(text(&site), before);
}

/// "Only bind all-pass security groups by default", on trial; and what was bound comes back on request.
fn reset() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &web(&["action: refuse, protocol: all, source: any"]),
    );
    let _daemon = site.start();
    let before = text(&site);
    let _service = listen(&site.host, "0.0.0.0:8080");
    site.until_open(&[], &[8080]);
    let ran = site.run("reset ins-web1 --all-pass --confirm 300");
    says(
        &ran,
        0,
        &[
            "bound ins-web1/eth0 to sg-all-pass only; it was bound to sg-web",
            "on trial",
            "secgroupd confirm",
        ],
    );
    site.until_open(&[8080], &[]);
    assert_eq!(text(&site), before, "until it is confirmed");
    assert_eq!(site.run("confirm").code, 0);
    site.until_open(&[8080], &[]);
    let open = text(&site);
    assert!(
        open.contains("# reset of ins-web1/eth0, was: sg-web\n"),
        "{open}"
    );
    let again = site.run("reset ins-web1 --all-pass");
    assert_eq!(again.code, 1);
    assert!(
        again.err.contains("already") && again.err.contains("--undo"),
        "{again:?}"
    );
    says(
        &site.run("reset ins-web1 --undo --confirm 300"),
        0,
        &["bound ins-web1/eth0 to sg-web again"],
    );
    site.until_open(&[], &[8080]);
    assert_eq!(site.run("confirm").code, 0);
    site.until_open(&[], &[8080]);
    let back = text(&site);
    assert!(
        back.contains("[sg-web]") && !back.contains("# reset of"),
        "{back}"
    );
    let unknown = site.run("reset ins-web9 --all-pass");
    assert!(
        unknown.code == 1 && unknown.err.contains("did you mean `ins-web1`"),
        "{unknown:?}"
    );
}

fn reset_unconfirmed() {
    let site = Site::new();
    site.write(
        "groups.yaml",
        &web(&["action: refuse, protocol: all, source: any"]),
    );
    let daemon = site.start();
    let before = text(&site);
    says(
        &site.run("reset ins-web1 --all-pass --confirm 1"),
        0,
        &["on trial"],
    );
    daemon.until_logged("the old policy is back");
    site.until_open(&[], &[8080]);
    assert_eq!(text(&site), before);
}

/// Of several files the folder is exchanged, with everything else that stands in it.
fn reset_of_a_directory() {
    let site = Site::new();
    let folder = site.path("etc");
    fs::create_dir(&folder).unwrap();
    let whole = web(&["action: refuse, protocol: all, source: any"]);
    let (groups, instances) = whole.split_at(whole.find("instances:").unwrap());
    fs::write(folder.join("10-groups.yaml"), groups).unwrap();
    fs::write(
        folder.join("20-hosts.yaml"),
        format!("version: 1\n{instances}"),
    )
    .unwrap();
    fs::write(folder.join("README"), "kept").unwrap();
    let place = format!("--definition {}", folder.display());
    let daemon = site.launch(&format!("run {place}"));
    daemon.until_logged(" enforced for ");
    says(
        &site.run(&format!("reset ins-web1 --all-pass --confirm 300 {place}")),
        0,
        &["on trial"],
    );
    site.until_open(&[8080], &[]);
    assert_eq!(site.run("confirm").code, 0);
    site.until_open(&[8080], &[]);
    assert!(
        fs::read_to_string(folder.join("20-hosts.yaml"))
            .unwrap()
            .contains("# reset of")
    );
    assert!(
        fs::read_to_string(folder.join("10-groups.yaml"))
            .unwrap()
            .contains("sg-all-pass")
    );
    assert_eq!(fs::read_to_string(folder.join("README")).unwrap(), "kept");
}

/// "Besides CVMs, a security group can also be bound with CLB, ENI and cloud database instances."
fn cannot_delete() {
    let site = Site::quiet();
    let definition = "version: 1
security_groups:
  sg-old: {}
  sg-web: { inbound: [{ action: allow, protocol: tcp, port: 443, source: sg-old }] }
instances:
  ins-web1: { interfaces: { eth0: { security_groups: [sg-old] } } }
  ins-lb: { kind: clb, interfaces: { eth0: { security_groups: [sg-old] } } }
  ins-card: { kind: eni, interfaces: { eth1: { security_groups: [sg-old] } } }
  ins-sql: { kind: database, interfaces: { eth0: { security_groups: [sg-old] } } }
";
    site.write("groups.yaml", definition);
    let refused = site.run("group delete sg-old");
    assert_eq!(refused.code, 1);
    for word in [
        "the cvm ins-web1, eth0",
        "the clb ins-lb, eth0",
        "the eni ins-card, eth1",
        "the database ins-sql, eth0",
        "the rule sg-web/in/0",
        "groups.yaml:6:",
        "unbind it with",
    ] {
        assert!(refused.err.contains(word), "{word}: {}", refused.err);
    }
    assert_eq!(text(&site), definition);
    says(
        &site.run("group list"),
        0,
        &[
            "sg-old",
            "ins-web1/eth0, ins-lb/eth0, ins-card/eth1, ins-sql/eth0",
            "sg-web/in/0",
        ],
    );
    // Disassociated from all resources, it goes.
    for place in ["ins-web1", "ins-lb", "ins-card/eth1", "ins-sql"] {
        says(
            &site.run(&format!("group unbind {place} sg-old")),
            0,
            &["unbound sg-old"],
        );
    }
    assert_eq!(site.run("group delete sg-old").code, 1, "a rule names it");
    says(&site.run("rule delete sg-web/in/0"), 0, &["deleted"]);
    says(
        &site.run("group delete sg-old"),
        0,
        &["deleted the security group sg-old"],
    );
    assert!(!text(&site).contains("sg-old"), "{}", text(&site));
    // Deleted by hand while it is used, it is refused with everything that uses it.
    site.write("groups.yaml", &definition.replace("  sg-old: {}\n", ""));
    says(
        &site.run("check"),
        1,
        &[
            "`sg-old` is not defined, but used by",
            "ins-sql (eth0)",
            "sg-web/in/0",
        ],
    );
}

const TO_CLONE: &str = "version: 1
security_groups:
  sg-web:
    name: web
    region: ap-guangzhou
    inbound: [{ action: allow, protocol: tcp, port: 443, source: ipm-office, description: the shop }]
  sg-peer: { region: ap-guangzhou, inbound: [{ action: allow, protocol: all, source: sg-web }] }
address_templates: { ipm-office: [203.0.113.0/24] }
instances: { ins-web1: { interfaces: { eth0: { security_groups: [sg-web] } } } }
";

fn cloned<'v>(groups: &'v Value, id: &str) -> &'v Value {
    let mut groups = groups["groups"].as_array().unwrap().iter();
    groups.find(|group| group["id"] == id).unwrap()
}

fn clone_to_another_region() {
    let site = Site::quiet();
    site.write("groups.yaml", TO_CLONE);
    says(
        &site.run("group clone sg-web --id sg-copy --region ap-shanghai"),
        0,
        &["cloned sg-web to sg-copy"],
    );
    let groups = json(&site, "group list");
    let copy = cloned(&groups, "sg-copy");
    assert_eq!(
        (&copy["name"], &copy["region"]),
        (&Value::from("web"), &Value::from("ap-shanghai"))
    );
    says(&site.run("check"), 0, &["3 groups"]);
    // Groups are of their region: a rule cannot name one of another.
    let refused = site.run("group clone sg-peer --region ap-shanghai");
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.contains("its rules name groups") && refused.err.contains("sg-peer"),
        "{refused:?}"
    );
}

fn clone_to_another_project() {
    let site = Site::quiet();
    site.write("groups.yaml", TO_CLONE);
    let said = json(&site, "group clone sg-web --project staging --name web");
    assert_eq!(said["changed"], true, "{said}");
    let groups = json(&site, "group list");
    let all = groups["groups"].as_array().unwrap();
    let copy = all
        .iter()
        .find(|group| group["project"] == "staging")
        .unwrap();
    assert_eq!(copy["name"], "web");
    assert_eq!(copy["id"].as_str().unwrap().len(), "sg-6ebxp9qd".len());
    // And to another definition, with the templates that its rules use.
    site.write("other.yaml", "version: 1\n");
    let other = site.path("other.yaml").display().to_string();
    says(
        &site.run(&format!("group clone sg-web --to {other}")),
        0,
        &["took the template ipm-office along"],
    );
    let page = site.run(&format!("group show sg-web --definition {other}"));
    says(
        &page,
        0,
        &["tcp:443", "ipm-office", "the shop", "nothing uses it"],
    );
    let again = site.run(&format!("group clone sg-web --to {other}"));
    assert!(
        again.code == 1 && again.err.contains("sg-web already"),
        "{again:?}"
    );
}

/// "Only the inbound and outbound rules of the security group are cloned. You need to associate CVMs again after cloning."
fn rules_only() {
    let site = Site::quiet();
    site.write("groups.yaml", TO_CLONE);
    says(
        &site.run("group clone sg-web --id sg-copy"),
        0,
        &[
            "only rules are cloned",
            "group bind INSTANCE sg-copy",
            "no flow",
        ],
    );
    let groups = json(&site, "group list");
    let copy = cloned(&groups, "sg-copy");
    assert_eq!(
        (&copy["inbound"], &copy["bound_to"]),
        (&Value::from(1), &serde_json::json!([]))
    );
    says(
        &site.run("group bind ins-web1 sg-copy --at 0"),
        0,
        &["bound sg-copy to ins-web1/eth0, at 0"],
    );
    says(
        &site.run("group order ins-web1 sg-web sg-copy"),
        0,
        &["ordered the groups of ins-web1/eth0"],
    );
    says(
        &site.run("group show sg-copy"),
        0,
        &["bound to the cvm ins-web1, eth0"],
    );
}
