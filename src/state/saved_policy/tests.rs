//! What is saved is what is read again, or it is refused as damaged.

use super::*;
use crate::policy::{Direction, GroupId, InterfaceName, Interval, PortSet, Reason, RuleId};
use crate::ruleset::ir::*;
use crate::ruleset::{compile, text};
use crate::source::read::Trust;

const DEFINITION: &str = "version: 1
security_groups:
  sg-web:
    inbound:
      - { action: allow, protocol: tcp, port: \"80,8000-8100\", source: ipm-list }
      - { action: refuse, protocol: icmpv6, source: \"2001:db8::/32\" }
      - { action: allow, protocol: gre, source: [192.0.2.1, 192.0.2.3-192.0.2.9] }
    outbound:
      - { action: allow, protocol: all, destination: any }
address_templates:
  ipm-list: { file: list.txt }
instances:
  ins-a: { hostname: a, interfaces: { eth0: { security_groups: [sg-web] }, \"wg*\": { security_groups: [] } } }
platform: { unbound_interfaces: refuse }
";

/// What is said of it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Summary {
    pub generation: u64,
    pub instance: String,
}

/// A definition of two files as it is saved, and what was enforced.
pub(crate) fn saved() -> (Vec<u8>, Ruleset) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("groups.yaml");
    std::fs::write(&path, DEFINITION).unwrap();
    std::fs::write(
        folder.path().join("list.txt"),
        "203.0.113.7\n2001:db8:1::/48\n",
    )
    .unwrap();
    let loaded = crate::source::load::load(&path.into(), Trust::Any);
    let account = loaded.account.as_ref().unwrap();
    let policy = account
        .policy(&account.instances[0].id, &BTreeSet::new())
        .unwrap();
    let ruleset = compile(&policy);
    let origin = Origin::of(&loaded, &policy, &BTreeSet::new(), 0);
    let summary = Summary {
        generation: 7,
        instance: "ins-a".into(),
    };
    let bytes = origin.hashed().write_down(&summary, &ruleset).unwrap();
    (bytes.seal(), ruleset)
}

/// As the kernel would be told.
pub(crate) fn said(ruleset: &Ruleset) -> String {
    text::table(ruleset, crate::ruleset::Generation(1))
}

#[test]
fn what_was_saved_is_read_again() {
    let (bytes, ruleset) = saved();
    let saved = SavedPolicy::read(bytes).unwrap();
    assert_eq!(said(&saved.compiled().unwrap()), said(&ruleset));
    let policy = saved.policy(0).unwrap();
    assert_eq!(
        said(&compile(&policy)),
        said(&ruleset),
        "the texts say the same"
    );
    let summary = saved.summary::<Summary>().unwrap();
    assert_eq!((summary.generation, &*summary.instance), (7, "ins-a"));
}

#[test]
fn every_byte_counts() {
    let (bytes, _) = saved();
    for length in 0..bytes.len() {
        let cut = SavedPolicy::read(bytes[..length].to_vec());
        assert!(
            matches!(cut, Err(SavedPolicyError::Sealed(SealError::Damaged(_)))),
            "cut at {length}"
        );
    }
    for at in 0..bytes.len() {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x40;
        let read = SavedPolicy::read(wrong);
        assert!(
            matches!(read, Err(SavedPolicyError::Sealed(_))),
            "byte {at}"
        );
    }
}

#[test]
fn a_later_format_is_named() {
    let (mut bytes, _) = saved();
    bytes[8] = 9;
    let error = SavedPolicy::read(bytes).unwrap_err().to_string();
    assert!(error.contains("format 9"), "{error}");
}

/// One of each kind.
fn sample() -> Ruleset {
    let at = |number: u16| Interval::new(number, number + 1).unwrap();
    let v4 = |number: u32| Interval::new(number, number + 1).unwrap();
    let v6 = |number: u128| Interval::new(number, number + 1).unwrap();
    let rule = |matches, verdict, reason| NftRule {
        matches,
        verdict,
        reason,
    };
    let address = |with, negated| Match::Address {
        side: Side::Source,
        with,
        negated,
    };
    let id = RuleId {
        group: GroupId::parse("sg-a").unwrap(),
        direction: Direction::Outbound,
        index: 300,
    };
    let conditions = vec![
        Match::Interface(Side::Destination, InterfaceName::parse("eth*").unwrap()),
        Match::Loopback(Side::Source),
        Match::State(CtState::Related),
        Match::Family(Family::V6),
        Match::Protocol(47),
        Match::Port(Transport::Udp, Side::Source, PortSet::single(53)),
        address(AddressMatch::Inline(Addresses::V4([v4(7)].into())), true),
        address(AddressMatch::Set("v6_0".into(), Family::V6), false),
        Match::IcmpType(vec![(3, 4)].into()),
        Match::Icmpv6Type(vec![(1, 4)].into()),
        Match::HopLimit(255),
        Match::ToThisHost,
        Match::FromProcess,
        Match::FromLinkToMany,
        Match::Decrypted,
        Match::WillEncrypt,
        Match::LoopedBack,
        Match::Marked(vec![Mark::Passes(Direction::Inbound, "sg-a".into())]),
        Match::MarkedOr(vec![Mark::Answers("sg-a".into())], vec![]),
        Match::OpenedSomewhere,
        Match::SetMarks(vec![Mark::Opened(Direction::Outbound, Slot::Elsewhere)]),
        Match::OwnOfAnother(Direction::Inbound),
        Match::WithoutSyn,
    ];
    let key = MapKey::Address(Side::Source, Family::V4);
    Ruleset {
        recheck: true,
        marks: vec![Mark::Opened(
            Direction::Inbound,
            Slot::Interface(InterfaceName::parse("eth0").unwrap()),
        )],
        sets: vec![Set {
            name: "v6_0".into(),
            elements: Addresses::V6([v6(1 << 100)].into()),
        }],
        maps: vec![
            Map {
                name: "m".into(),
                key: MapKey::Port(Transport::Tcp),
                elements: MapElements::Ports(vec![(at(80), NftVerdict::Goto("c".into()))]),
            },
            Map {
                name: "n".into(),
                key,
                elements: MapElements::V4(vec![(v4(9), NftVerdict::Drop)]),
            },
            Map {
                name: "o".into(),
                key: MapKey::Address(Side::Destination, Family::V6),
                elements: MapElements::V6(vec![(v6(9), NftVerdict::Accept)]),
            },
        ],
        chains: vec![Chain {
            name: "c".into(),
            rules: vec![
                rule(conditions, NftVerdict::Map(key, "n".into()), None),
                rule(vec![], NftVerdict::Goto("c".into()), None),
                rule(vec![], NftVerdict::Jump("c".into()), Some(Reason::Default)),
                rule(vec![], NftVerdict::Return, Some(Reason::Rule(id))),
                rule(
                    vec![],
                    NftVerdict::Drop,
                    Some(Reason::ApprovedService("dns".into())),
                ),
            ],
        }],
        cuts: vec![Cut {
            chain: "c".into(),
            entries: 2,
            parts: 1,
        }],
    }
}

/// What older programs have kept must mean the same to this one, or not be read as a ruleset: if this fails, what is
/// new does not stand last, and `LAYOUT` is to be counted up.
#[test]
fn a_ruleset_is_written_as_ever() {
    let bytes = postcard::to_allocvec(&sample()).unwrap();
    let again: Ruleset = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(said(&again), said(&sample()));
    let digest = hex(&Sha256::digest(&bytes)[..8]);
    assert_eq!((LAYOUT, &*digest), (7, "a7f931d791215904"));
}
