//! Facts about the kernel's hooks that the compiled ruleset stands on.

use crate::support::{Host, Injector, Link, Outbound, Probe, Sent, join};

/// A router between two cables: `eth0` to the world, `eth1` to a machine inside.
struct Router {
    outer: Link,
    inner: Link,
}

fn router() -> Router {
    let (router, world, inside) = (Host::new("router"), Host::new("world"), Host::new("inside"));
    let outer = join(
        &router,
        "eth0",
        &["10.0.0.5/24", "2001:db8::5/64"],
        &world,
        "wire",
        &["10.0.0.9/24", "2001:db8::9/64"],
    );
    let inner = join(
        &router,
        "eth1",
        &["10.1.0.5/24", "2001:db8:1::5/64"],
        &inside,
        "wire",
        &["10.1.0.9/24", "2001:db8:1::9/64"],
    );
    router.forwards();
    Router { outer, inner }
}

/// The names of those rules that see what `send` sends. Each rule stands alone, in one table at this hook.
fn seen_by(host: &Host, hook: &str, rules: &[(&str, &str)], send: impl FnOnce()) -> Vec<String> {
    let counters: String = rules
        .iter()
        .map(|(name, _)| format!(" counter k_{name} {{ }}\n"))
        .collect();
    let body: String = rules
        .iter()
        .map(|(name, when)| format!("  th dport 7 {when} counter name k_{name}\n"))
        .collect();
    host.nft(&format!(
        "add table inet facts; delete table inet facts\n\
         table inet facts {{\n{counters} chain c {{ type filter hook {hook};\n{body} }}\n}}"
    ));
    send();
    let counters = host.counters("inet facts");
    let seen = |(name, _): &&(&str, &str)| counters[&format!("k_{name}")] > 0;
    rules
        .iter()
        .filter(seen)
        .map(|(name, _)| (*name).to_owned())
        .collect()
}

fn listing(host: &Host) {
    for line in host
        .output("nft", &["list", "chain", "inet", "facts", "c"])
        .lines()
    {
        println!("    {line}");
    }
    println!(
        "    {}",
        host.output("nft", &["-j", "list", "chain", "inet", "facts", "c"])
            .trim()
    );
}

/// In postrouting, a packet of the host's own has no input interface and a forwarded one has.
pub fn own_packets_have_no_input_interface() {
    let Router { outer, inner } = router();
    let host = &outer.a.host;
    let world = Injector::new(&outer.b, &outer.a);
    let out = Outbound::new(&inner.a);
    let rules = [
        ("any", ""),
        ("iif_0", "iif 0"),
        ("meta_iif_0", "meta iif 0"),
        ("iifname_empty", "iifname \"\""),
        ("iif_not_0", "iif != 0"),
        ("iifname_eth0", "iifname \"eth0\""),
    ];
    let usable: Vec<_> = rules
        .iter()
        .copied()
        .filter(|(name, when)| {
            let fit = host.try_nft(&format!(
                "table inet probe {{ chain c {{ type filter hook postrouting priority 250; {when} counter; }}; }}\ndelete table inet probe"
            ));
            fit.inspect_err(|error| println!("{name} does not load: {error}")).is_ok()
        })
        .collect();
    let hook = "postrouting priority 250";
    for (own, forwarded) in [
        (
            Probe::udp("10.1.0.5:4000", "10.1.0.9:7"),
            Probe::udp("10.0.0.9:4000", "10.1.0.9:7"),
        ),
        (
            Probe::udp("[2001:db8:1::5]:4000", "[2001:db8:1::9]:7"),
            Probe::udp("[2001:db8::9]:4000", "[2001:db8:1::9]:7"),
        ),
    ] {
        println!(
            "own       {}: {:?}",
            own.source,
            seen_by(host, hook, &usable, || assert_eq!(
                out.send(&own),
                Sent::Passed
            ))
        );
        let seen = seen_by(host, hook, &usable, || {
            world.send(&forwarded);
            world.wait();
        });
        println!("forwarded {}: {seen:?}", forwarded.source);
    }
    listing(host);
}

/// In prerouting only a packet that came from this host carries a route already.
pub fn looped_back_packets_carry_a_route() {
    let Router { outer, inner } = router();
    let host = &outer.a.host;
    let world = Injector::new(&outer.b, &outer.a);
    let out = Outbound::new(&outer.a);
    let rules = [
        ("any", ""),
        ("eth0", "iifname \"eth0\""),
        ("route", "rt ipsec missing"),
        ("eth0_own_source", "iifname \"eth0\" fib saddr type local"),
        (
            "eth0_own_loop",
            "iifname \"eth0\" rt ipsec missing fib saddr type local fib daddr type { multicast, broadcast }",
        ),
        (
            "eth0_loop",
            "iifname \"eth0\" rt ipsec missing fib daddr type { multicast, broadcast }",
        ),
        ("new", "ct state new"),
        ("not_new", "ct state != new"),
    ];
    let hook = "prerouting priority -160";
    let mine = outer.a.link_local;
    let theirs = outer.b.link_local;
    let udp = |from: String, to: &str| {
        Probe::udp(format!("{from}:4000").as_str(), format!("{to}:7").as_str())
    };
    let b4 = || "10.0.0.9".to_owned();
    let b6 = || "[2001:db8::9]".to_owned();
    let a4 = || "10.0.0.5".to_owned();
    for (what, probe) in [
        ("unicast", udp(b4(), "10.0.0.5")),
        ("unicast 6", udp(b6(), "[2001:db8::5]")),
        ("multicast", udp(b4(), "224.0.0.1")),
        ("multicast 6", udp(format!("[{theirs}]"), "[ff02::1]")),
        ("broadcast", udp(b4(), "255.255.255.255")),
        ("subnet broadcast", udp(b4(), "10.0.0.255")),
        ("forwarded", udp(b4(), "10.1.0.9")),
        ("forwarded 6", udp(b6(), "[2001:db8:1::9]")),
        ("forged own source, unicast", udp(a4(), "10.0.0.5")),
        ("forged own source, multicast", udp(a4(), "224.0.0.1")),
        ("forged own source, broadcast", udp(a4(), "255.255.255.255")),
        (
            "forged own source, multicast 6",
            udp(format!("[{mine}]"), "[ff02::1]"),
        ),
    ] {
        let seen = seen_by(host, hook, &rules, || {
            world.send(&probe);
            world.wait();
        });
        println!("received {what}: {seen:?}");
    }
    for (what, probe) in [
        ("multicast 224.0.0.1", udp(a4(), "224.0.0.1")),
        ("multicast 239.1.1.1 (no member)", udp(a4(), "239.1.1.1")),
        ("broadcast", udp(a4(), "255.255.255.255")),
        ("subnet broadcast", udp(a4(), "10.0.0.255")),
        ("multicast ff02::1", udp(format!("[{mine}]"), "[ff02::1]")),
        (
            "multicast ff02::1 from a global address",
            udp("[2001:db8::5]".into(), "[ff02::1]"),
        ),
        ("unicast out", udp(a4(), "10.0.0.9")),
    ] {
        let seen = seen_by(host, hook, &rules, || {
            out.send(&probe);
            world.wait();
        });
        println!("own {what}, looped back: {seen:?}");
    }
    let seen = seen_by(host, hook, &rules, || {
        host.enter(|| {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.send_to(b"x", "127.0.0.1:7").unwrap();
        });
        world.wait();
    });
    println!("own unicast over lo: {seen:?}");
    drop(inner);
    listing(host);
}

/// Which destinations count as the host's own in prerouting.
pub fn fib_tells_host_from_forwarded() {
    let Router {
        outer,
        inner: _inner,
    } = router();
    let host = &outer.a.host;
    let world = Injector::new(&outer.b, &outer.a);
    let rules = [
        ("any", ""),
        (
            "daddr_iif",
            "fib daddr . iif type { local, broadcast, multicast }",
        ),
        ("daddr", "fib daddr type { local, broadcast, multicast }"),
        (
            "host",
            "fib daddr type { local, broadcast, multicast, anycast }",
        ),
        ("iif_anycast", "fib daddr . iif type anycast"),
        ("iif_unspec", "fib daddr . iif type unspec"),
        ("iif_unicast", "fib daddr . iif type unicast"),
        ("unicast", "fib daddr type unicast"),
    ];
    let mine = format!("[{}]", outer.a.link_local);
    let theirs = format!("[{}]", outer.b.link_local);
    for (what, source, destination) in [
        ("own address", "10.0.0.9", "10.0.0.5"),
        ("address of the other interface", "10.0.0.9", "10.1.0.5"),
        ("forwarded", "10.0.0.9", "10.1.0.9"),
        ("no route", "10.0.0.9", "192.0.2.1"),
        ("255.255.255.255", "10.0.0.9", "255.255.255.255"),
        ("0.0.0.0 to 255.255.255.255", "0.0.0.0", "255.255.255.255"),
        ("subnet broadcast", "10.0.0.9", "10.0.0.255"),
        ("other subnet's broadcast", "10.0.0.9", "10.1.0.255"),
        ("224.0.0.1", "10.0.0.9", "224.0.0.1"),
        ("239.1.1.1", "10.0.0.9", "239.1.1.1"),
        ("own address 6", "[2001:db8::9]", "[2001:db8::5]"),
        (
            "address of the other interface 6",
            "[2001:db8::9]",
            "[2001:db8:1::5]",
        ),
        ("forwarded 6", "[2001:db8::9]", "[2001:db8:1::9]"),
        ("no route 6", "[2001:db8::9]", "[2001:db9::9]"),
        ("link-local 6", theirs.as_str(), mine.as_str()),
        ("link-local of another", theirs.as_str(), "[fe80::1234]"),
        ("ff02::1", theirs.as_str(), "[ff02::1]"),
        ("ff05::5", "[2001:db8::9]", "[ff05::5]"),
        (
            "subnet-router anycast 2001:db8::",
            "[2001:db8::9]",
            "[2001:db8::]",
        ),
    ] {
        let probe = Probe::udp(
            format!("{source}:4000").as_str(),
            format!("{destination}:7").as_str(),
        );
        let seen = seen_by(host, "prerouting priority -160", &rules, || {
            world.send(&probe);
            world.wait();
        });
        println!("{what}: {seen:?}");
    }
    listing(host);
}
