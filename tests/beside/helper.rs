//! A flow that a connection-tracking helper expects is a new flow: what FTP announces opens no port.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use secgroupd::ruleset::{Generation, text};

use crate::reaches;
use crate::support::{Host, Iptables, join, ruleset};

/// 4444 is blocked by the platform, also for this group; 5555 is in no group; 50000 is open.
const POLICY: &str = "
version: 1
security_groups:
  sg-a:
    inbound: [{ action: allow, protocol: tcp, port: '21,4444,50000', source: any }]
    outbound: [{ action: allow, protocol: tcp, port: '4444,50000', destination: any }]
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-a] } } }
";

const PORTS: [(u16, bool); 3] = [(4444, false), (5555, false), (50000, true)];

/// Who gives the control connection its helper.
#[derive(Clone, Copy)]
pub enum Assigned {
    Nft,
    Iptables(&'static str),
}

/// A server and a client, and counters of expected packets before the place of our chains.
struct Ftp {
    server: Host,
    client: Host,
    control: TcpListener,
}

/// Which side opens the data connection, and in which words.
#[derive(Clone, Copy, Debug)]
enum Data {
    /// The client, to the server's port: `227` over IPv4, `229` over IPv6.
    Passive,
    /// The server, to the client's port: `PORT` over IPv4, `EPRT` over IPv6.
    Active,
}

impl Ftp {
    fn new(assigned: Assigned) -> Self {
        let (server, client) = (Host::new("server"), Host::new("client"));
        join(
            &server,
            "eth0",
            &["10.0.0.5/24", "2001:db8::5/64"],
            &client,
            "wire",
            &["10.0.0.9/24", "2001:db8::9/64"],
        );
        match assigned {
            Assigned::Nft => server.nft(
                "table inet helper { ct helper ftp { type \"ftp\" protocol tcp; };
                    chain c { type filter hook prerouting priority -180; tcp dport 21 ct helper set \"ftp\"; }; }",
            ),
            Assigned::Iptables(variant) => Iptables::of(variant).for_each(|iptables| {
                let rule = "*raw\n-A PREROUTING -p tcp --dport 21 -j CT --helper ftp\nCOMMIT\n";
                iptables.restore(&server, rule);
            }),
        }
        server.nft(
            "table inet watch { counter Passive { }; counter Active { };
                chain in { type filter hook prerouting priority -165;
                    iifname eth0 tcp flags syn / syn,ack ct state related counter name Passive; };
                chain out { type filter hook postrouting priority 240;
                    oifname eth0 tcp flags syn / syn,ack ct state related counter name Active; }; }",
        );
        let control = server.enter(|| TcpListener::bind("[::]:21").unwrap());
        Self {
            server,
            client,
            control,
        }
    }

    /// Whether a data connection to this port comes about, once it is announced; it must have been expected.
    fn transfers(&self, data: Data, four: bool, port: u16) -> bool {
        let (server, client) = match four {
            true => ("10.0.0.5", "10.0.0.9"),
            false => ("[2001:db8::5]", "[2001:db8::9]"),
        };
        let (high, low) = (port / 256, port % 256);
        let dialog = match (data, four) {
            (Data::Passive, true) => [
                "PASV".into(),
                format!("227 Entering Passive Mode (10,0,0,5,{high},{low})."),
            ],
            (Data::Passive, false) => [
                "EPSV".into(),
                format!("229 Entering Extended Passive Mode (|||{port}|)"),
            ],
            (Data::Active, true) => [
                format!("PORT 10,0,0,9,{high},{low}"),
                "200 PORT command successful.".into(),
            ],
            (Data::Active, false) => [
                format!("EPRT |2|2001:db8::9|{port}|"),
                "200 EPRT command successful.".into(),
            ],
        };
        let from_client = self
            .client
            .enter(|| TcpStream::connect(format!("{server}:21")).expect("the control connection"));
        let from_server = self.control.accept().unwrap().0;
        for stream in [&from_client, &from_server] {
            stream
                .set_read_timeout(Some(Duration::from_secs(5)))
                .unwrap();
        }
        let mut at_client = BufReader::new(from_client.try_clone().unwrap());
        let mut at_server = BufReader::new(from_server.try_clone().unwrap());
        let say = |mut from: &TcpStream, to: &mut BufReader<TcpStream>, line: &str| {
            // In one segment: the helper drops half a command.
            from.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            let mut heard = String::new();
            to.read_line(&mut heard)
                .unwrap_or_else(|error| panic!("after {line:?}: {error}"));
            assert_eq!(heard.trim_end(), line);
        };
        say(&from_server, &mut at_client, "220 ready");
        say(&from_client, &mut at_server, "USER somebody");
        say(&from_server, &mut at_client, "230 logged in");
        say(&from_client, &mut at_server, &dialog[0]);
        say(&from_server, &mut at_client, &dialog[1]);

        let (listening, connecting, address) = match data {
            Data::Passive => (&self.server, &self.client, server),
            Data::Active => (&self.client, &self.server, client),
        };
        let _listener = listening.enter(|| TcpListener::bind(("::", port)).unwrap());
        let expected = || self.server.counters("inet watch")[&format!("{data:?}")];
        let before = expected();
        let reached = reaches(connecting, &format!("{address}:{port}"));
        assert!(
            expected() > before,
            "{data:?} to {address}:{port} was not expected by the helper, so this test proves nothing"
        );
        reached
    }

    /// Whether each port is reached both ways over both families.
    fn assert_transfers(&self, wanted: impl Fn(bool) -> bool) {
        for data in [Data::Passive, Data::Active] {
            for four in [true, false] {
                for (port, open) in PORTS {
                    let reached = self.transfers(data, four, port);
                    assert_eq!(
                        reached,
                        wanted(open),
                        "{data:?} to port {port}, IPv4: {four}"
                    );
                }
            }
        }
    }
}

pub fn ftp(assigned: Assigned) {
    let ftp = Ftp::new(assigned);
    ftp.server.enforce(POLICY);
    ftp.assert_transfers(|open| open);
}

/// A ruleset that accepted every related packet would open all of them: the test above can fail.
pub fn related_wholesale() {
    let ftp = Ftp::new(Assigned::Nft);
    // With `recheck` the flow would be judged again, and refused.
    let keep = format!("{POLICY}platform: {{ established: keep }}\n");
    let table = text::table(&ruleset(&keep), Generation(1));
    let lines = table
        .lines()
        .map(|line| match line.split_once("jump g1_exempt_") {
            Some((_, way)) => format!("ct state related counter goto g1_passed_{way}_0\n{line}\n"),
            None => format!("{line}\n"),
        });
    let wholesale: String = lines.collect();
    assert_ne!(table, wholesale);
    ftp.server.nft(&wholesale);
    ftp.assert_transfers(|_| true);
}
