//! The page of `lab reach --html`, clicked on in a browser without a screen.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;

use super::site::Site;
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test(
        "a_click_on_a_refused_flow",
        &["chromium"],
        clicked,
    )]
}

/// What a refused flow shows must be these two lines.
const GROUPS: &str = r#"version: 1
security_groups:
  sg-web: { outbound: [{ action: allow, protocol: all, destination: any }] }
  sg-db:
    inbound:
      - { action: allow, protocol: tcp, port: 3306, source: sg-web }
      - { action: refuse, protocol: tcp, port: 22, source: any, description: "</script><b>not markup</b>" }
instances:
  ins-web: { interfaces: { eth0: { addresses: [10.0.0.1, "2001:db8::1"], security_groups: [sg-web] } } }
  ins-db: { interfaces: { eth0: { addresses: [10.0.0.2], security_groups: [sg-db] } } }
lab: { services: { ins-db: ["tcp:22,3306"] } }
"#;

fn clicked() {
    let site = Site::new(GROUPS);
    let up = site.up();
    site.lab("reach --html reach.html").good();
    let page = fs::read_to_string(site.path("reach.html")).unwrap();
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let used = page
            .replace("http://www.w3.org/2000/svg", "")
            .replace("url(#", "");
        assert!(!used.contains(outside), "the page is whole: {outside}");
    }
    let first = dom(&site, "");
    assert!(first.contains("Who reaches whom in "), "{first}");
    assert!(
        first.contains("Every cell equals its prediction."),
        "{first}"
    );
    for node in ["ins-web", "ins-db", "internet"] {
        assert!(first.contains(&format!("data-node=\"{node}\"")), "{node}");
    }
    let pick = |service: &str, from: &str| {
        let click = ".dispatchEvent(new MouseEvent('click', { bubbles: true }))";
        let flow =
            format!("document.querySelector('g.flow.silent[data-from={from}][data-to=ins-db]')");
        format!("document.querySelector('[data-service=\"{service}\"]').click(); {flow}{click};")
    };
    // Refused by a rule, with its layer, group, rule and line.
    let clicked = dom(&site, &pick("tcp:22", "ins-web"));
    for (field, value) in [
        ("found", "silent"),
        ("layer", "group"),
        ("group", "sg-db"),
        ("rule", "sg-db/in/1"),
        ("line", "groups.yaml:7"),
        (
            "text",
            "- { action: refuse, protocol: tcp, port: 22, source: any, description: \"&lt;/script&gt;&lt;b&gt;not markup&lt;/b&gt;\" }",
        ),
    ] {
        let shown = format!("data-field=\"{field}\">{value}<");
        assert!(clicked.contains(&shown), "{shown} is not in {clicked}");
    }
    // What is saved and not in force is told.
    assert!(!first.contains("class=\"note\""), "{first}");
    site.save(&GROUPS.replace("action: refuse", "action: <refuse>"));
    up.until_said("the lab stays as it was");
    site.lab("reach --html reach.html").good();
    let noted = dom(&site, "");
    for words in [
        "The last save was refused",
        "groups.yaml:7",
        "&lt;refuse&gt;",
    ] {
        assert!(noted.contains(words), "{words}: {noted}");
    }
    // Refused since nothing matches.
    let clicked = dom(&site, &pick("tcp:3306", "internet"));
    assert!(
        clicked.contains("data-field=\"layer\">default<"),
        "{clicked}"
    );
    assert!(
        clicked.contains("no rule of the bound groups matches"),
        "{clicked}"
    );
}

/// The page after a script, as the browser has it, without the data and the scripts.
fn dom(site: &Site, script: &str) -> String {
    let page = fs::read_to_string(site.path("reach.html")).unwrap();
    let page = page.replace("</body>", &format!("<script>{script}</script></body>"));
    site.write("clicked.html", &page);
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args(["--virtual-time-budget=1000", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            site.path("browser").display()
        ))
        .arg(format!("file://{}", site.path("clicked.html").display()))
        .env("HOME", site.path("."))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let (shown, _) = dom
        .split_once("<script type=")
        .unwrap_or_else(|| panic!("no page: {dom}{}", String::from_utf8_lossy(&output.stderr)));
    shown.to_owned()
}
