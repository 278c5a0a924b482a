//! Who has said that a definition is about to be saved: for the history.

use super::control::{Peer, Response};
use crate::state::author::{Author, user_name};
use serde_json::Value;
use std::collections::VecDeque;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many are remembered, the latest.
const MOST: usize = 32;
/// How long one is remembered.
const LONGEST: Duration = Duration::from_secs(600);
/// The length of a hash in hexadecimal digits.
const HASH: usize = 64;

/// Definitions that are about to be saved, by the hash of their texts.
#[derive(Debug, Default)]
pub(super) struct Announced(VecDeque<(Instant, String, Author)>);

/// What was said.
#[derive(Debug)]
pub(super) struct Announcement {
    pub content: String,
    pub line: String,
    pub client: Option<String>,
    pub sudo_user: Option<String>,
}

impl Announced {
    /// Remembers what root or the owner of the definition says; nobody else is believed. The kernel says who it is.
    pub fn add(&mut self, said: Announcement, peer: Peer, definition: &Path) -> Response {
        let owner = std::fs::metadata(definition).map(|found| found.uid());
        if peer.uid != 0 && !owner.is_ok_and(|owner| owner == peer.uid) {
            return Response::Refused {
                message: "only root and the owner of the definition may say who changes it".into(),
                details: Value::Null,
            };
        }
        if said.content.len() != HASH {
            let message = "the content is not named by its hash".into();
            return Response::Error { message };
        }
        let author = Author {
            user: match said.sudo_user.filter(|_| peer.uid == 0) {
                Some(user) => user,
                None => user_name(peer.uid),
            },
            command: Some(said.line),
            client: said.client,
        };
        self.0
            .retain(|(at, content, _)| at.elapsed() < LONGEST && *content != said.content);
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        let one = (Instant::now(), said.content, author.shortened());
        self.0.push_back(one);
        let payload = Value::Null;
        Response::Ok { payload }
    }

    /// Whether nobody has said anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who has said that these texts come, once.
    pub fn take(&mut self, content: &str) -> Option<Author> {
        self.0.retain(|(at, ..)| at.elapsed() < LONGEST);
        let place = self.0.iter().position(|(_, each, _)| each == content)?;
        self.0.remove(place).map(|(_, _, author)| author)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(content: &str) -> Announcement {
        Announcement {
            content: content.to_owned(),
            line: "secgroupd rule add".into(),
            client: Some("203.0.113.9".into()),
            sudo_user: Some("alice".into()),
        }
    }

    fn peer(uid: u32) -> Peer {
        Peer {
            uid,
            gid: 0,
            pid: None,
        }
    }

    fn hash(number: usize) -> String {
        format!("{number:064}")
    }

    #[test]
    fn only_root_and_the_owner_are_believed_and_only_root_for_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let owner = file.as_file().metadata().unwrap().uid();
        let mut announced = Announced::default();
        let stranger = announced.add(said(&hash(1)), peer(owner + 4711), file.path());
        assert!(matches!(stranger, Response::Refused { .. }));
        assert_eq!(announced.take(&hash(1)), None);
        let root = announced.add(said(&hash(1)), peer(0), file.path());
        assert!(matches!(root, Response::Ok { .. }));
        assert_eq!(announced.take(&hash(1)).unwrap().user, "alice");
        assert_eq!(announced.take(&hash(1)), None, "once");
        if owner != 0 {
            announced.add(said(&hash(2)), peer(owner), file.path());
            assert_eq!(announced.take(&hash(2)).unwrap().user, user_name(owner));
        }
    }

    #[test]
    fn the_latest_are_remembered_and_no_more() {
        let mut announced = Announced::default();
        let nowhere = Path::new("/nowhere");
        for number in 0..100 {
            announced.add(said(&hash(number)), peer(0), nowhere);
            announced.add(said(&hash(number)), peer(0), nowhere);
        }
        assert_eq!(announced.0.len(), MOST);
        assert!(announced.take(&hash(67)).is_none() && announced.take(&hash(68)).is_some());
        let long = announced.add(said("x"), peer(0), nowhere);
        assert!(matches!(long, Response::Error { .. }));
    }
}
