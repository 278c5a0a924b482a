//! Events as structured entries of systemd's journal, by its native protocol: `journalctl SECGROUPD_RULE=sg-web/in/3`.

use super::event::Event;
use crate::daemon::logging::is_the_journal;
use crate::definition::printable;
use serde_json::Value;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where the journal takes entries.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What our fields begin with.
const PREFIX: &str = "SECGROUPD_";

/// The journal.
#[derive(Debug)]
pub struct Journal(UnixDatagram);

impl Journal {
    /// Where this process logs to the journal; elsewhere a line says it all.
    pub fn of_this_process() -> Option<Self> {
        is_the_journal().then(|| Journal::at(Path::new(SOCKET)))?
    }

    fn at(path: &Path) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        // A journal that is behind keeps nobody waiting.
        socket.set_nonblocking(true).ok()?;
        Some(Journal(socket))
    }

    /// Adds an entry. Gives whether it was taken.
    pub fn tell(&self, event: &Event) -> bool {
        let entry = entry(event);
        // An entry is smaller than any socket's buffer: it is taken whole or not at all.
        entry.is_some_and(|entry| self.0.send(entry.as_bytes()).is_ok())
    }
}

/// `MESSAGE=… SECGROUPD_RULE=…`, a field a line.
fn entry(event: &Event) -> Option<String> {
    // Its own time stands in front of it, and the journal has that as well.
    let text = event.to_string();
    let (_, message) = text.split_once(' ')?;
    let mut entry = format!(
        "MESSAGE={}\nPRIORITY=6\nSYSLOG_IDENTIFIER=secgroupd\n",
        printable(message)
    );
    let Value::Object(fields) = serde_json::to_value(event).ok()? else {
        return None;
    };
    for (name, value) in fields {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let name = name.to_ascii_uppercase();
        // A value of several lines would begin another field.
        entry += &format!("{PREFIX}{name}={}\n", printable(&value));
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::super::event::{LeftOut, Refusal};
    use super::*;
    use crate::policy::Direction;

    fn refusal() -> Refusal {
        Refusal {
            time: "2026-11-23T06:00:00.123456Z".into(),
            interface: "eth0\nMESSAGE=forged".into(),
            direction: Direction::Inbound,
            observed: false,
            protocol: "tcp".into(),
            source: [203, 0, 113, 9].into(),
            destination: [10, 0, 0, 5].into(),
            source_port: Some(4242),
            destination_port: Some(23),
            icmp_type: None,
            layer: "group".into(),
            rule: Some("sg-web/in/3".into()),
            place: Some("groups.yaml:14".into()),
        }
    }

    #[test]
    fn entries_have_fields_and_forge_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::at(&path).is_none(), "nobody is there");
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        assert!(journal.tell(&Event::Refused(refusal())));
        let mut bytes = [0; 4096];
        let mut read = || {
            let length = listener.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        let entry = read();
        for line in [
            "PRIORITY=6",
            "SECGROUPD_EVENT=refused",
            "SECGROUPD_RULE=sg-web/in/3",
            "SECGROUPD_PLACE=groups.yaml:14",
            "SECGROUPD_DESTINATION_PORT=23",
            "SECGROUPD_OBSERVED=false",
            "SECGROUPD_INTERFACE=eth0\\u{a}MESSAGE=forged",
        ] {
            assert!(entry.lines().any(|each| each == line), "{line}: {entry}");
        }
        let messages = entry.lines().filter(|line| line.starts_with("MESSAGE="));
        let messages: Vec<&str> = messages.collect();
        assert_eq!(messages.len(), 1, "{entry}");
        let words =
            "inbound tcp 203.0.113.9:4242 -> 10.0.0.5:23 refused by sg-web/in/3 (groups.yaml:14)";
        assert!(messages[0].ends_with(words), "{entry}");
        let left_out = LeftOut {
            time: "2026-11-23T06:00:01.000000Z".into(),
            limited: 7,
            lost: 2,
        };
        assert!(journal.tell(&Event::LeftOut(left_out)));
        let entry = read();
        assert!(
            entry.contains("\nSECGROUPD_LIMITED=7\n") && entry.contains("\nSECGROUPD_LOST=2\n"),
            "{entry}"
        );
    }
}
