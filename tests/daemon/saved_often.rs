//! Saves while many flows are tracked: each is enforced, in order.

use std::net::{Ipv6Addr, SocketAddr};

use libtest_mimic::Trial;
use secgroupd::netfilter::seed::{TcpSocket, track};

use super::site::{Site, opening};
use super::talk::change;
use crate::support::kernel_test;

pub fn tests() -> Vec<Trial> {
    vec![kernel_test("saved_often_under_many_flows", &["nft"], often)]
}

fn often() {
    const FLOWS: u32 = 5_000;
    const SAVES: u32 = 60;
    let site = Site::new();
    site.write("groups.yaml", &opening(&[22, 20_000]));
    let daemon = site.start();
    let sockets: Vec<TcpSocket> = (0..FLOWS)
        .map(|number| {
            let port = 1_024 + u16::try_from(number).unwrap();
            let (local, remote) = match number % 2 {
                0 => ([10, 0, 0, 5].into(), [10, 0, 0, 9].into()),
                _ => (
                    "2001:db8::5".parse::<Ipv6Addr>().unwrap().into(),
                    "2001:db8::9".parse::<Ipv6Addr>().unwrap().into(),
                ),
            };
            TcpSocket {
                local: SocketAddr::new(local, 22),
                remote: SocketAddr::new(remote, port),
                opened_by_remote: true,
            }
        })
        .collect();
    assert_eq!(site.host.enter(|| track(&sockets)).unwrap() as u32, FLOWS);
    for save in 1..=SAVES {
        let port = 20_000 + u16::try_from(save).unwrap();
        change(&site, &daemon, &opening(&[22, port]), save + 1);
        let let_in = [port, port - 1].map(|port| site.lets_in(port));
        assert_eq!(let_in, [true, false], "save {save}\n{}", daemon.log());
    }
    let log = daemon.log();
    let enforced: Vec<u32> = log
        .lines()
        .filter_map(|line| {
            line.split_once(" enforced for ")?
                .0
                .rsplit(' ')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let all: Vec<u32> = (1..=SAVES + 1).collect();
    assert_eq!(enforced, all, "{log}");
}
