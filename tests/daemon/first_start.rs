//! The first policy on a host that tracked no connections cuts no TCP flow that it allows.

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use libtest_mimic::Trial;

use super::site::{Daemon, SOON, Site};
use crate::support::{CUT, kernel_test};

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("allowed_feeds_survive_the_first_start", &["nft"], || {
            allowed(true)
        }),
        kernel_test(
            "allowed_feeds_survive_whose_listener_has_gone",
            &["nft"],
            || allowed(false),
        ),
        kernel_test("refused_feeds_end_at_the_first_start", &["nft"], refused),
    ]
}

/// Inbound TCP 22 and outbound TCP 5514, and nothing else.
const BOTH: &str = "version: 1
security_groups:
  sg-feeds:
    inbound:  [{ action: allow, protocol: tcp, port: 22, source: any }]
    outbound: [{ action: allow, protocol: tcp, port: 5514, destination: any }]
instances:
  ins-web1: { interfaces: { eth0: { security_groups: [sg-feeds] } } }
";

/// A flow in which only one side ever speaks.
struct Feed {
    speaker: TcpStream,
    listener: Lines<BufReader<TcpStream>>,
    ear: TcpStream,
    /// Whether the server still listens; who opened a flow is told by that.
    _server: Option<TcpListener>,
}

impl Feed {
    /// The speaker is the side that accepts on this machine, whoever that is.
    fn new(
        server: &crate::support::Host,
        client: &crate::support::Host,
        address: &str,
        keep: bool,
    ) -> Self {
        let listener = server.enter(|| TcpListener::bind(address).unwrap());
        let ear = client.enter(|| TcpStream::connect(address).unwrap());
        let speaker = listener.accept().unwrap().0;
        let lines = BufReader::new(ear.try_clone().unwrap()).lines();
        let mut feed = Self {
            speaker,
            listener: lines,
            ear,
            _server: keep.then_some(listener),
        };
        assert!(feed.carries("before", SOON));
        feed
    }

    fn carries(&mut self, line: &str, within: Duration) -> bool {
        writeln!(self.speaker, "{line}").unwrap();
        self.ear.set_read_timeout(Some(within)).unwrap();
        matches!(self.listener.next(), Some(Ok(heard)) if heard == line)
    }
}

/// A push feed (the host accepts and only sends) and a followed log (the host connects and only listens), both families.
fn feeds(site: &Site, keep: bool) -> Vec<Feed> {
    [("10.0.0.5", "10.0.0.9"), ("[2001:db8::5]", "[2001:db8::9]")]
        .into_iter()
        .flat_map(|(host, peer)| {
            [
                Feed::new(&site.host, &site.peer, &format!("{host}:22"), keep),
                Feed::new(&site.peer, &site.host, &format!("{peer}:5514"), keep),
            ]
        })
        .collect()
}

fn tracked(site: &Site) -> u32 {
    site.host
        .get("net/netfilter/nf_conntrack_count")
        .parse()
        .unwrap()
}

fn start(definition: &str, keep: bool) -> (Site, Vec<Feed>, Daemon) {
    let site = Site::quiet();
    let feeds = feeds(&site, keep);
    assert_eq!(tracked(&site), 0, "nothing asks for states yet");
    site.write("groups.yaml", definition);
    let daemon = site.start();
    (site, feeds, daemon)
}

fn allowed(keep: bool) {
    let (site, mut feeds, daemon) = start(BOTH, keep);
    for line in ["one", "two", "three"] {
        for (number, feed) in feeds.iter_mut().enumerate() {
            assert!(
                feed.carries(line, SOON),
                "feed {number} was cut at {line}: {}",
                daemon.log()
            );
        }
    }
    daemon.until_logged("4 established TCP flows put into connection tracking");
    // They go on over a reload and after the daemon.
    site.save("groups.yaml", &BOTH.replace("5514", "5514-5515"));
    daemon.until_logged("generation 2 enforced");
    drop(daemon);
    assert!(feeds.iter_mut().all(|feed| feed.carries("four", SOON)));
}

/// The seed lets through nothing that the policy refuses.
fn refused() {
    let neither = BOTH.replace("22", "23").replace("5514", "5515");
    let (site, mut feeds, daemon) = start(&neither, true);
    for (number, feed) in feeds.iter_mut().enumerate() {
        assert!(
            !feed.carries("one", CUT),
            "feed {number} was not cut: {}",
            daemon.log()
        );
    }
    assert!(
        !daemon.log().contains("put into connection tracking"),
        "{}",
        daemon.log()
    );
    assert_eq!(site.generations(), [1]);
}
