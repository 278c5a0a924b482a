//! Ids of groups, templates, instances, subnets and network ACLs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// The longest id, in bytes.
const LONGEST: usize = 64;

/// Why a text is no id of its kind.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdError {
    /// It begins with something else.
    #[error("`{written}` is not {what}: its id begins with `{prefix}`")]
    Prefix {
        /// As written.
        written: String,
        /// What was expected.
        what: &'static str,
        /// How it begins.
        prefix: &'static str,
    },
    /// Characters other than letters, digits and `-`, or none.
    #[error("`{0}` is not an id: after the prefix come letters, digits and `-`")]
    Characters(String),
    /// Too long.
    #[error("the id `{0}` is longer than {LONGEST} bytes")]
    TooLong(String),
}

macro_rules! id {
    ($name:ident, $prefix:literal, $what:literal) => {
        #[doc = concat!("The id of ", $what, ": `", $prefix, "` and then letters, digits and `-`.")]
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Whether a text can only be meant as such an id.
            pub fn is_meant_by(text: &str) -> bool {
                text.starts_with($prefix)
            }

            /// Reads an id.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let Some(rest) = text.strip_prefix($prefix) else {
                    return Err(IdError::Prefix {
                        written: text.into(),
                        what: $what,
                        prefix: $prefix,
                    });
                };
                if text.len() > LONGEST {
                    return Err(IdError::TooLong(text.into()));
                }
                let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
                match !rest.is_empty() && rest.bytes().all(allowed) {
                    true => Ok($name(text.into())),
                    false => Err(IdError::Characters(text.into())),
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }
    };
}

id!(GroupId, "sg-", "a security group");
id!(AddressTemplateId, "ipm-", "an address template");
id!(
    AddressTemplateGroupId,
    "ipmg-",
    "a group of address templates"
);
id!(ServiceTemplateId, "ppm-", "a service template");
id!(
    ServiceTemplateGroupId,
    "ppmg-",
    "a group of service templates"
);
id!(InstanceId, "ins-", "an instance");
id!(SubnetId, "subnet-", "a subnet");
id!(AclId, "acl-", "a network ACL");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain() {
        assert!(GroupId::parse("sg-web").is_ok());
        assert!(GroupId::parse("sg-6ebXp-9").is_ok());
        for wrong in [
            "web",
            "sg-",
            "sg-a b",
            "sg-ä",
            "sg-a\"; drop",
            "sg-a/b",
            "ins-web",
            "SG-web",
        ] {
            assert!(GroupId::parse(wrong).is_err(), "{wrong}");
        }
        assert!(GroupId::parse(&format!("sg-{}", "a".repeat(61))).is_ok());
        assert_eq!(
            GroupId::parse(&format!("sg-{}", "a".repeat(62)))
                .map_err(|e| matches!(e, IdError::TooLong(_))),
            Err(true)
        );
    }
}
