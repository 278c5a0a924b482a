//! Interfaces that come, go, are renamed or become ports: the service's state follows, and the log says so.

use libtest_mimic::Trial;

use super::site::{Daemon, Manager, SOON, Site, WHILE, opening, until};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test(
        "interfaces_that_come_and_go",
        &["nft"],
        come_and_go,
    )]
}

fn come_and_go() {
    let site = Site::new();
    let bound = "eth7: { security_groups: [] }, eth0:";
    site.write("groups.yaml", &opening(&[22]).replace("eth0:", bound));
    let manager = Manager::new(site.path("").as_path());
    let mut command = site.command("run");
    command.env("NOTIFY_SOCKET", &manager.path);
    let daemon = Daemon::start(command);
    let missing = "this host has no interface eth7";
    let degraded = |words: &str| manager.hears_until(&format!("STATUS=DEGRADED: {words}"));
    let well = || manager.hears_until("STATUS=generation 1 enforced");
    degraded(missing);
    for _ in 0..2 {
        site.host.ip("link add eth7 type veth peer name other");
        well();
        daemon.until_logged(&format!("no longer so: {missing}"));
        site.host.ip("link set eth7 name eth8");
        degraded(missing);
        site.host.ip("link set eth8 name eth7");
        well();
        site.host
            .ip("link add br0 type bridge\nlink set eth7 master br0");
        degraded("eth7 is a port of the bridge br0");
        site.host.ip("link set eth7 nomaster\nlink del br0");
        well();
        site.host.ip("link del eth7");
        degraded(missing);
    }
    // The service manager may hear of it before the log is read.
    let logged = || daemon.log().matches(missing).count();
    until("each change is logged", || logged() >= 9);
    assert_eq!(logged(), 9, "each change once:\n{}", daemon.log());
    // What has no bearing on the bindings is not told.
    while manager.hears(WHILE).is_some() {}
    site.host
        .ip("link add br1 type bridge\nlink set br1 up\nlink del br1");
    site.host.ip("route add 192.0.2.0/24 via 10.0.0.9");
    assert_eq!(manager.hears(WHILE), None);
    // Where the default route leads has.
    site.host.ip(
        "link add eth9 type veth peer name other9\naddr add 10.9.0.1/24 dev eth9\nlink set other9 up\nlink set eth9 up\n\
         route replace default via 10.9.0.2",
    );
    let told = manager.hears(SOON).unwrap_or_default();
    assert!(told.contains("the default route leaves by eth9"), "{told}");
    assert!(
        site.status()["warnings"]
            .to_string()
            .contains("leaves by eth9")
    );
}
