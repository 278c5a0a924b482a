//! Names of network interfaces, exact or ending in `*`.

use serde::{Deserialize, Serialize};
use std::cmp::{Ordering, Reverse};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The longest interface name, in bytes (`IFNAMSIZ` without its NUL).
const LONGEST: usize = 15;

/// An exact interface name, or a glob that ends in `*`. In nft's words: `"eth0"`, `"eth*"`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName {
    /// The name, or what stands before the `*`.
    text: Arc<str>,
    glob: bool,
}

/// Why a text is no interface name.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InterfaceError {
    /// The loopback interface is never filtered.
    #[error("`lo` is the loopback interface, which is never filtered")]
    Loopback,
    /// Too long for the kernel.
    #[error("`{0}` is longer than {LONGEST} bytes, the longest name of an interface")]
    TooLong(String),
    /// Nothing before the `*`.
    #[error("`{0}` needs at least one character before `*`")]
    BareGlob(String),
    /// A character that no interface name has, or that nothing could quote.
    #[error("`{0}` is not an interface name")]
    Characters(String),
}

impl InterfaceError {
    /// The way out.
    pub fn help(&self) -> &'static str {
        match self {
            InterfaceError::Loopback => "remove it: no rule ever stands between a host and itself",
            InterfaceError::TooLong(_) => "write the name that `ip link` shows",
            InterfaceError::BareGlob(_) => {
                "name the interfaces, or what their names begin with: `e*` is eth0, ens5 and eno1"
            }
            InterfaceError::Characters(_) => {
                "write the name that `ip link` shows, at most with a `*` at its end"
            }
        }
    }
}

impl InterfaceName {
    /// Reads a name or glob.
    pub fn parse(text: &str) -> Result<Self, InterfaceError> {
        let (name, glob) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if text == "lo" {
            return Err(InterfaceError::Loopback);
        }
        if glob && name.is_empty() {
            return Err(InterfaceError::BareGlob(text.into()));
        }
        // nft takes no longer name than the kernel, the `*` included.
        if text.len() > LONGEST {
            return Err(InterfaceError::TooLong(text.into()));
        }
        // The kernel refuses `/`, `:` and white space (dev_valid_name); the rest could not be quoted for nft.
        let wrong = |byte: u8| {
            !byte.is_ascii_graphic() || matches!(byte, b'/' | b':' | b'"' | b'\\' | b'*')
        };
        if matches!(name, "" | "." | "..") || name.starts_with('@') || name.bytes().any(wrong) {
            return Err(InterfaceError::Characters(text.into()));
        }
        Ok(InterfaceName {
            text: name.into(),
            glob,
        })
    }

    /// Whether an interface of this exact name is meant.
    pub fn matches(&self, interface: &str) -> bool {
        match self.glob {
            true => interface.starts_with(&*self.text),
            false => interface == &*self.text,
        }
    }

    /// Whether some interface can be meant by both.
    pub fn meets(&self, other: &Self) -> bool {
        match (self.glob, other.glob) {
            (true, true) => {
                self.text.starts_with(&*other.text) || other.text.starts_with(&*self.text)
            }
            (true, false) => self.matches(&other.text),
            (false, _) => other.matches(&self.text),
        }
    }

    /// Whether it ends in `*`.
    pub fn is_glob(&self) -> bool {
        self.glob
    }
}

impl TryFrom<String> for InterfaceName {
    type Error = InterfaceError;
    fn try_from(text: String) -> Result<Self, InterfaceError> {
        InterfaceName::parse(&text)
    }
}

impl From<InterfaceName> for String {
    fn from(name: InterfaceName) -> String {
        name.to_string()
    }
}

/// An exact name comes before a glob, a longer glob before a shorter one: the first that matches holds.
impl Ord for InterfaceName {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |name: &Self| {
            (
                name.glob,
                Reverse(if name.glob { name.text.len() } else { 0 }),
                name.text.clone(),
            )
        };
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for InterfaceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.text, if self.glob { "*" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_name_comes_first() {
        let mut names: Vec<_> = ["e*", "eth*", "eth0", "ens*", "br0"]
            .iter()
            .map(|n| InterfaceName::parse(n).expect(n))
            .collect();
        names.sort();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["br0", "eth0", "ens*", "eth*", "e*"]);
    }

    #[test]
    fn wrong_names() {
        use InterfaceError::*;
        assert_eq!(InterfaceName::parse("lo"), Err(Loopback));
        assert_eq!(InterfaceName::parse("*"), Err(BareGlob("*".into())));
        assert!(InterfaceName::parse("lo*").is_ok());
        assert!(InterfaceName::parse("abcdefghijklmno").is_ok());
        assert!(InterfaceName::parse("abcdefghijklmn*").is_ok());
        assert!(matches!(
            InterfaceName::parse("abcdefghijklmno*"),
            Err(TooLong(_))
        ));
        assert!(matches!(
            InterfaceName::parse("abcdefghijklmnop"),
            Err(TooLong(_))
        ));
        for wrong in ["", ".", "..", "eth 0", "eth/0", "eth:0", "a\"b", "a*b", "ä"] {
            assert!(
                matches!(InterfaceName::parse(wrong), Err(Characters(_))),
                "{wrong}"
            );
        }
    }
}
