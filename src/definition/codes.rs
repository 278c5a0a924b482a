//! The codes of `check`'s warnings: of what is right, but probably not meant. A definition can silence each with a reason.

/// A code and what it says.
#[derive(Debug)]
pub struct Code {
    /// As it stands in brackets behind the word warning.
    pub name: &'static str,
    /// What it is about.
    pub meaning: &'static str,
}

macro_rules! codes {
    ($($constant:ident $name:literal $meaning:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $constant: &str = $name;
        )*
        /// All of them.
        pub const CODES: &[Code] = &[$(Code { name: $name, meaning: $meaning }),*];
    };
}

codes! {
    NEVER_MATCHES "never-matches" "Everything that a rule is about is decided before it.";
    CHANGES_NOTHING "changes-nothing" "Without the rule every flow would fare the same.";
    OVERRULED "overruled" "A group of higher priority decides the opposite of all that a rule says about some port.";
    ADMIN_PORT "admin-port" "An inbound rule opens TCP 22 or 3389 to every address.";
    IPV4_ONLY "ipv4-only" "A rule is about 0.0.0.0/0, and none says the same about ::/0.";
    BLOCKED_PORT "blocked-port" "A rule allows a port that the platform blocks.";
    NEVER_A_REMOTE "never-a-remote" "An allow names a remote that no packet comes from, or goes to.";
    NEAR_QUOTA "near-quota" "Four fifths of a quota of the cloud are used.";
    ENDED "ended" "The time of a rule's `until` has come: it matches nothing.";
    EMPTY_GROUP "empty-group" "A rule names a group that has no members.";
    APPROVED_ALL_PORTS "approved-all-ports" "An inbound approved service is about all ports.";
    ACL_NO_ANSWER "acl-no-answer" "A network ACL lets pass what a rule allows, and refuses every answer to it.";
    RESOLVER_REFUSED "resolver-refused" "The outbound rules refuse a resolver that this host uses.";
    TIME_SERVER_REFUSED "time-server-refused" "The outbound rules refuse a time server that this host uses.";
    GATEWAY_REFUSED "gateway-refused" "The outbound rules refuse a ping to this host's gateway.";
    PORT_NOT_OPEN "port-not-open" "A process listens on a port that no rule opens to anybody.";
}

/// Each as a word that may be written.
pub fn choices() -> Vec<(&'static str, &'static str)> {
    CODES.iter().map(|code| (code.name, code.name)).collect()
}
