//! ICMP errors: about a tracked flow four kinds pass, a redirect does not; about nothing they are invalid.

use crate::support::{Probe, Scene};

/// UDP 53 is open, everything else is refused, ICMP too.
const POLICY: &str = "
version: 1
security_groups:
  sg-a:
    inbound: [{ action: allow, protocol: udp, port: 53, source: any }]
    outbound: [{ action: allow, protocol: udp, port: 5300, destination: any }]
instances:
  ins-a: { interfaces: { eth0: { addresses: [10.0.0.5], security_groups: [sg-a] } } }
";

/// The addresses of a family, and its errors with their verdict when a flow is tracked.
struct Family {
    host: &'static str,
    world: &'static str,
    router: &'static str,
    errors: &'static [(u8, u8, &'static str)],
}

const REDIRECT6: u8 = 137;

const FAMILIES: [Family; 2] = [
    Family {
        host: "10.0.0.5",
        world: "10.0.0.9",
        router: "10.0.0.77",
        errors: &[
            (3, 1, "pass unjudged"),
            (3, 3, "pass unjudged"),
            // IPv4's "too big".
            (3, 4, "pass unjudged"),
            (11, 0, "pass unjudged"),
            (11, 1, "pass unjudged"),
            (12, 0, "pass unjudged"),
            // Source quench and the redirects are related to the flow and get no free pass.
            (4, 0, "drop default"),
            (5, 0, "drop default"),
            (5, 1, "drop default"),
        ],
    },
    Family {
        host: "2001:db8::5",
        world: "2001:db8::9",
        router: "2001:db8::77",
        errors: &[
            (1, 0, "pass unjudged"),
            (1, 4, "pass unjudged"),
            (2, 0, "pass unjudged"),
            (3, 0, "pass unjudged"),
            (4, 0, "pass unjudged"),
            // Errors by their number, and not of the four.
            (5, 0, "drop default"),
            (100, 0, "drop default"),
            (REDIRECT6, 0, "drop default"),
        ],
    },
];

fn socket(address: &str, port: u16) -> String {
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}

fn udp(from: &str, from_port: u16, to: &str, to_port: u16) -> Probe {
    Probe::udp(
        socket(from, from_port).as_str(),
        socket(to, to_port).as_str(),
    )
}

/// An error that quotes another packet; IPv6's redirect quotes it in an option, behind two addresses,
/// and comes from the link with the full hop limit.
fn error_about(from: &str, to: &str, (kind, code): (u8, u8), about: &Probe) -> Probe {
    let error = Probe::icmp_error(from, to, kind, code, about);
    match kind {
        REDIRECT6 => {
            let mut quoted = error.payload.clone();
            quoted.resize(quoted.len().next_multiple_of(8), 0);
            let eights = u8::try_from(quoted.len() / 8 + 1).unwrap();
            let payload = [&[0; 32][..], &[4, eights, 0, 0, 0, 0, 0, 0], &quoted].concat();
            let source = "fe80::77".parse().unwrap();
            Probe {
                source,
                payload,
                ..error
            }
            .hop_limit(255)
        }
        _ => error,
    }
}

pub fn about_a_tracked_flow() {
    for family in FAMILIES {
        let Family {
            host,
            world,
            router,
            errors,
        } = family;
        let scene = Scene::new();
        scene.host.enforce(POLICY);
        let mut port = 40_000;
        for (kind, code, verdict) in errors {
            port += 1;
            // A flow that came in: the error quotes the host's answer.
            assert_eq!(scene.inbound(&udp(world, port, host, 53)), "pass sg-a/in/0");
            let answer = udp(host, 53, world, port);
            let error = error_about(router, host, (*kind, *code), &answer);
            let what = format!("{kind}/{code} about an inbound flow");
            assert_eq!(scene.inbound(&error), *verdict, "{what}");
            // A flow that went out, and the error from outside about it.
            let request = udp(host, port, world, 5300);
            assert_eq!(scene.outbound(&request), "pass sg-a/out/0");
            let error = error_about(router, host, (*kind, *code), &request);
            let what = format!("{kind}/{code} about an outbound flow");
            assert_eq!(scene.inbound(&error), *verdict, "{what}");
            // The host's own error about what came in.
            let error = error_about(host, world, (*kind, *code), &udp(world, port, host, 53));
            let what = format!("{kind}/{code} of the host's own");
            assert_eq!(scene.outbound(&error), *verdict, "{what}");
        }
    }
}

pub fn about_nothing() {
    for family in FAMILIES {
        let Family {
            host,
            world,
            router,
            errors,
        } = family;
        let scene = Scene::new();
        scene.host.enforce(POLICY);
        let passing = errors
            .iter()
            .filter(|(.., verdict)| verdict.starts_with("pass"));
        for (kind, code, _) in passing {
            let what = format!("{kind}/{code}");
            let error = error_about(router, host, (*kind, *code), &udp(host, 53, world, 4));
            assert_eq!(scene.inbound(&error), "drop invalid", "{what}");
            let error = error_about(host, world, (*kind, *code), &udp(world, 4, host, 53));
            assert_eq!(scene.outbound(&error), "drop invalid", "{what} outbound");
        }
    }
}
