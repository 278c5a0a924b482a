//! What iptables refuses aloud (REJECT) reaches the one who asked: the host's own reset is an answer, although no rule of ours
//! lets it out.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::{Host, Iptables, join};

const POLICY: &str = "
version: 1
security_groups:
  sg-a:
    inbound:
      - { action: allow, protocol: tcp, port: 80, source: any }
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5, '2001:db8::5'], security_groups: [sg-a] } } }
";

pub fn arrives(variant: &'static str) {
    let [world, host] = ["world", "host"].map(Host::new);
    join(
        &host,
        "eth0",
        &["10.0.0.5/24", "2001:db8::5/64"],
        &world,
        "wire",
        &["10.0.0.9/24", "2001:db8::9/64"],
    );
    for iptables in Iptables::of(variant) {
        let rule = "-A INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset";
        iptables.restore(&host, &format!("*filter\n{rule}\nCOMMIT\n"));
    }
    host.enforce(POLICY);
    for address in ["10.0.0.5:80", "[2001:db8::5]:80"] {
        let to: SocketAddr = address.parse().unwrap();
        let asked = world.enter(|| TcpStream::connect_timeout(&to, Duration::from_secs(2)));
        let refused = asked.map(|_| ()).map_err(|error| error.kind());
        assert_eq!(refused, Err(ErrorKind::ConnectionRefused), "{address}");
    }
}
