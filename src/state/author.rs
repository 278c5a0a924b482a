//! Who has changed a definition.

use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;

/// The longest of its texts, in bytes.
const LONGEST: usize = 400;

/// Who has changed a definition, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// The user's name, or number where there is none.
    pub user: String,
    /// The command, as in `secgroupd rule add sg-web/in --allow tcp:443`; `None` for a plain save.
    pub command: Option<String>,
    /// Where it was called from: the address of an SSH session, or an API's client.
    pub client: Option<String>,
}

impl Author {
    /// A plain save: nobody has said anything, and the file has an owner.
    pub fn by_hand(uid: u32) -> Self {
        Author {
            user: user_name(uid),
            ..Author::default()
        }
    }

    /// A plain save of these files: the owner of the one that was changed last.
    pub fn of_files<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let found = paths.into_iter().filter_map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some(((found.mtime(), found.mtime_nsec()), found.uid()))
        });
        match found.max() {
            Some((_, uid)) => Author::by_hand(uid),
            None => Author {
                user: "unknown".into(),
                ..Author::default()
            },
        }
    }

    /// The same with texts that are short.
    pub fn shortened(self) -> Self {
        Author {
            user: shortened(self.user),
            command: self.command.map(shortened),
            client: self.client.map(shortened),
        }
    }
}

/// The name of a user, or the number where there is none.
pub fn user_name(uid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}
