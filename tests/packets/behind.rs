//! What another machine behind the host may not make use of, and what it may: multicast routing and bridges. And what only
//! the kernel itself, or a host without an address, sends.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};

use crate::support::{Host, Injector, Probe, SOON, Scene, Side, join, until};

/// Nothing is allowed but what is essential.
const NOTHING: &str = "
version: 1
security_groups: {}
instances:
  ins-a: { interfaces: { eth0: { security_groups: [] }, br0: { security_groups: [] } } }
";

/// The side where forwarded packets leave is bound, and lets all out or nothing.
const INNER_OPEN: &str = "
version: 1
security_groups:
  sg-out: { outbound: [{ action: allow, protocol: all, destination: any }] }
instances:
  ins-a: { interfaces: { eth1: { security_groups: [sg-out] } } }
";
const INNER_CLOSED: &str = "
version: 1
security_groups: {}
instances:
  ins-a: { interfaces: { eth1: { security_groups: [] } } }
";

/// The copies that multicast routing sends have no input interface, as what a process sends has none.
pub fn multicast_routing() {
    let scene = Scene::new();
    let group = Ipv4Addr::new(239, 1, 1, 1);
    let _routed = route_multicast(&scene, group);
    let dhcp = |from| Probe::udp(format!("10.0.0.9:{from}").as_str(), "239.1.1.1:67");

    scene.host.enforce(INNER_OPEN);
    assert_eq!(
        scene.forwarded(&dhcp(69)),
        "pass sg-out/out/0",
        "it is forwarded"
    );
    scene.host.enforce(INNER_CLOSED);
    assert_eq!(scene.forwarded(&dhcp(69)), "drop default");
    assert_eq!(scene.forwarded(&dhcp(68)), "drop default");

    scene.host.enforce(NOTHING);
    let answer = |to: &str| Probe::udp("10.0.0.9:67", format!("{to}:68").as_str());
    assert_eq!(scene.inbound(&answer("239.1.1.1")), "drop default");
    assert_eq!(scene.inbound(&answer("10.0.0.5")), "pass essential");
}

/// Has the host send on from eth0 to eth1 what 10.0.0.9 sends to a group, as long as the socket is open.
fn route_multicast(scene: &Scene, group: Ipv4Addr) -> OwnedFd {
    /// `MRT_INIT` and its like of `linux/mroute.h`.
    const INIT: i32 = 200;
    const ADD_VIF: i32 = 202;
    const ADD_MFC: i32 = 204;
    const VIFF_USE_IFINDEX: u8 = 8;
    let router = scene.host.enter(|| {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: the kernel returns a new descriptor, or a failure, which is asserted first.
        #[allow(unsafe_code)]
        unsafe {
            let socket = libc::socket(libc::AF_INET, kind, libc::IPPROTO_IGMP);
            assert!(socket >= 0, "{}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(socket)
        }
    });
    let option = |name, value: &[u8]| {
        // SAFETY: the kernel reads `value.len()` bytes of the slice.
        #[allow(unsafe_code)]
        let failed = unsafe {
            libc::setsockopt(
                router.as_raw_fd(),
                libc::IPPROTO_IP,
                name,
                value.as_ptr().cast(),
                value.len() as libc::socklen_t,
            )
        };
        assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    };
    option(INIT, &1_i32.to_ne_bytes());
    for (number, end) in [(0_u16, &scene.outer.a), (1, &scene.inner.a)] {
        // struct vifctl
        let mut vif = number.to_ne_bytes().to_vec();
        vif.extend([VIFF_USE_IFINDEX, 1]);
        vif.extend(0_u32.to_ne_bytes());
        vif.extend(end.index.to_ne_bytes());
        vif.extend([0; 4]);
        option(ADD_VIF, &vif);
    }
    // struct mfcctl: from interface 0 to interface 1, whatever the time to live is above.
    let mut ttls = [0_u8; 32];
    ttls[1] = 1;
    let source = Ipv4Addr::new(10, 0, 0, 9);
    let mut route = [source.octets(), group.octets()].concat();
    route.extend(0_u16.to_ne_bytes());
    route.extend(ttls);
    route.resize(60, 0);
    option(ADD_MFC, &route);
    router
}

/// Neighbour discovery between two guests; what is judged is their packet, with a guest's address.
pub fn bridged_discovery() {
    let [host, left, right] = ["host", "left", "right"].map(Host::new);
    let one = join(&host, "p1", &[], &left, "wire", &["2001:db8::1/64"]);
    let two = join(&host, "p2", &[], &right, "wire", &["2001:db8::2/64"]);
    host.ip("link add br0 type bridge
link set p1 master br0
link set p2 master br0
link set br0 up");
    host.set("net/bridge/bridge-nf-call-ip6tables", "1");
    host.enforce(NOTHING);
    // From one guest to the other, across the bridge.
    let guest = Injector::new(&one.b, &two.b);
    let essential = |side| host.hits(side).get("essential").copied().unwrap_or(0);
    let deadline = Instant::now() + SOON;
    for (kind, hops, passes) in [
        (135, 255, true),
        (136, 255, true),
        (135, 254, false),
        (137, 255, false),
    ] {
        let probe = Probe::icmp("2001:db8::1", "2001:db8::2", kind, 0).hop_limit(hops);
        // The guests' own discovery may come between; of each of ours one passes, both ways.
        loop {
            let (before, before_out) = (essential(Side::Inbound), essential(Side::Outbound));
            guest.send(&probe);
            guest.wait();
            let entered = essential(Side::Inbound) - before;
            let left = essential(Side::Outbound) - before_out;
            let wanted = u64::from(passes);
            if (entered, left) == (wanted, wanted) {
                break;
            }
            assert!(
                Instant::now() < deadline,
                "type {kind} with hop limit {hops}: {entered} entered, {left} left"
            );
            sleep(Duration::from_millis(50));
        }
    }
}

/// The kernel's own IGMP reports carry the interface that they leave by as their input interface.
pub fn kernel_reports() {
    let scene = Scene::new();
    scene.host.enforce(NOTHING);
    let before = scene.host.hits(Side::Outbound);
    let listener = listen(&scene.host, Ipv4Addr::new(10, 0, 0, 5));
    await_essential(&scene.host);
    drop(listener);
    let after = scene.host.hits(Side::Outbound);
    assert_eq!(after.get("default"), before.get("default"));
}

/// A host without an address asks for one, and says to which groups it listens.
pub fn without_an_address() {
    let [host, world] = ["host", "world"].map(Host::new);
    join(&host, "eth0", &[], &world, "wire", &[]);
    host.ip("route add 239.0.0.0/8 dev eth0");
    host.enforce(NOTHING);
    let sends = |from: u16| {
        let before = host.hits(Side::Outbound);
        let client = host.enter(|| UdpSocket::bind(("0.0.0.0", from)).unwrap());
        client.set_broadcast(true).unwrap();
        setsockopt(&client, sockopt::BindToDevice, &"eth0".into()).unwrap();
        // What is refused fails.
        let _ = client.send_to(&[0; 300], (Ipv4Addr::BROADCAST, 67));
        let after = host.hits(Side::Outbound);
        ["essential", "default"].map(|reason| {
            let of = |hits: &std::collections::BTreeMap<String, u64>| {
                hits.get(reason).copied().unwrap_or(0)
            };
            of(&after) - of(&before)
        })
    };
    // Multicast reports of IPv6 pass besides.
    let [essential, refused] = sends(68);
    assert!(essential > 0 && refused == 0, "{essential}, {refused}");
    // The copy that is looped back is refused too.
    let [_, refused] = sends(69);
    assert_eq!(refused, 2);
    let refused = host.hits(Side::Outbound).get("default").copied();
    let listener = listen(&host, Ipv4Addr::UNSPECIFIED);
    await_essential(&host);
    drop(listener);
    assert_eq!(host.hits(Side::Outbound).get("default").copied(), refused);
}

/// Joins a group by the interface with this address, or by the route.
fn listen(host: &Host, address: Ipv4Addr) -> UdpSocket {
    host.nft(
        "table inet reports { chain c { type filter hook postrouting priority 270; oifname eth0 meta l4proto igmp counter comment \"igmp\"; }; }",
    );
    let socket = host.enter(|| UdpSocket::bind("0.0.0.0:5000").unwrap());
    let joined = socket.join_multicast_v4(&Ipv4Addr::new(239, 1, 1, 1), &address);
    joined.expect("joining");
    socket
}

/// Waits until a report of IGMP has left.
fn await_essential(host: &Host) {
    until("a report has left", || {
        !host.nft_list("chain inet reports c").contains("packets 0 ")
    });
}
