//! What is counted of live flows: those that a change has judged again, and those that it has ended, once.

use std::net::SocketAddr;
use std::time::Duration;

use libtest_mimic::Trial;
use nix::sys::signal::Signal;
use secgroupd::netfilter::seed::{TcpSocket, track};

use super::site::{Site, WRONG, opening, until};
use super::talk::{change, start};
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test(
            "a_save_that_changes_nothing_judges_no_flow",
            &["nft"],
            nothing_new,
        ),
        kernel_test("flows_that_have_ended_are_counted_once", &["nft"], once),
    ]
}

/// So many flows from the peer to this port, as connection tracking has them.
fn flows(site: &Site, port: u16, count: u32) {
    let socket = |number: u32| TcpSocket {
        local: SocketAddr::from(([10, 0, 0, 5], port)),
        remote: SocketAddr::from((
            std::net::Ipv4Addr::from(0x0a00_0009 + number / 16_000),
            1_000 + (number % 16_000 * 4) as u16,
        )),
        opened_by_remote: true,
    };
    let sockets: Vec<TcpSocket> = (0..count).map(socket).collect();
    assert_eq!(site.host.enter(|| track(&sockets)).unwrap() as u32, count);
}

fn counted(site: &Site) -> [u64; 2] {
    let status = site.status();
    ["judged_again_flows", "ended_flows"].map(|name| status[name].as_u64().unwrap())
}

fn nothing_new() {
    let (site, daemon) = start(&opening(&[22, 80]));
    flows(&site, 22, 10);
    flows(&site, 80, 5);
    change(&site, &daemon, &(opening(&[22, 80]) + "# the same\n"), 2);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counted(&site), [0, 0]);
    change(&site, &daemon, &opening(&[22]), 3);
    until("they are judged", || counted(&site) == [15, 5]);
    change(&site, &daemon, &(opening(&[22]) + "# the same\n"), 4);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counted(&site), [15, 5]);
    // All is loaded anew, and so they are.
    assert_eq!(site.run("reload").code, 0);
    until("they are judged again", || counted(&site) == [30, 5]);
}

/// A daemon that finds a later policy in force than the one that was kept does not know what that has ended.
fn once() {
    let (site, daemon) = start(&opening(&[22, 80]));
    super::kept::until_kept(&site, &opening(&[22, 80]));
    let kept = ["policy", "in-force"].map(|name| site.path(&format!("state/{name}")));
    let old = kept.clone().map(|path| std::fs::read(path).unwrap());
    flows(&site, 80, 5);
    change(&site, &daemon, &opening(&[22]), 2);
    until("they have ended", || counted(&site)[1] == 5);
    daemon.end(Signal::SIGKILL);
    for (path, bytes) in kept.iter().zip(&old) {
        std::fs::write(path, bytes).unwrap();
    }
    site.write("groups.yaml", WRONG);
    let daemon = site.launch("run");
    daemon.until_logged("generation 2 of an earlier daemon stays enforced");
    site.save("groups.yaml", &opening(&[22]));
    daemon.until_logged(" enforced for ");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(counted(&site)[1], 0, "{}", daemon.log());
}
