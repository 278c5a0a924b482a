//! Who binds or names which group: a group that is used but not defined is refused with all its users.

use crate::definition::reader::Text;
use crate::definition::{Definition, Diagnostic, Diagnostics, Span};
use crate::policy::id::GroupId;
use std::collections::{BTreeMap, HashSet};

/// So many users of a group that is missing are named.
const MOST_USERS: usize = 100;

/// The uses of groups, kept while the definition is judged.
#[derive(Debug)]
pub struct GroupUses<'d> {
    defined: HashSet<&'d str>,
    missing: BTreeMap<String, Vec<(Span, String)>>,
    /// A file could not be read: it may define what is missing.
    incomplete: bool,
}

impl<'d> GroupUses<'d> {
    /// Knows the groups that are defined.
    pub fn new(definition: &'d Definition) -> Self {
        let defined = definition
            .security_groups
            .iter()
            .map(|group| group.id.text.as_str());
        GroupUses {
            defined: defined.collect(),
            missing: BTreeMap::new(),
            incomplete: definition.incomplete,
        }
    }

    /// A group that is used here by `user`. Returns its id if it is defined; an id that is none at all is
    /// reported at once.
    pub fn used(
        &mut self,
        text: &Text,
        user: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<GroupId> {
        match GroupId::parse(&text.text) {
            Ok(id) if self.defined.contains(id.as_str()) => Some(id),
            Ok(_) => {
                self.missing
                    .entry(text.text.clone())
                    .or_default()
                    .push((text.span, user.to_owned()));
                None
            }
            // The definition of this id was reported already.
            Err(_) if self.defined.contains(text.text.as_str()) => None,
            Err(error) => {
                let prefixed = format!("sg-{}", text.text);
                let help = match self.defined.contains(prefixed.as_str()) {
                    true => format!("did you mean `{prefixed}`?"),
                    false => "ids look like `sg-web` or `sg-6ebxp9qd`".to_owned(),
                };
                diagnostics.error("bad-id", text.span, error.to_string(), help);
                None
            }
        }
    }

    /// One error for each group that is used but not defined, with everything that uses it.
    pub fn missing(self, diagnostics: &mut Diagnostics) {
        if self.incomplete {
            return;
        }
        let defined: Vec<&str> = self.defined.into_iter().collect();
        for (id, uses) in self.missing {
            let mut users: Vec<&str> = uses.iter().map(|(_, user)| user.as_str()).collect();
            users.dedup();
            let more = users.len().saturating_sub(MOST_USERS);
            users.truncate(MOST_USERS);
            let mut message = format!(
                "the security group `{id}` is not defined, but used by {}",
                users.join(", ")
            );
            if more > 0 {
                message += &format!(" and {more} more");
            }
            let help = match diagnostics.closest(&id, &defined) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "define it, or remove it from everything that uses it".to_owned(),
            };
            let diagnostic = Diagnostic::error("undefined-group", uses[0].0, message).help(help);
            let others = uses.into_iter().take(MOST_USERS).skip(1);
            diagnostics.push(others.fold(diagnostic, |diagnostic, (span, user)| {
                diagnostic.related(span, format!("used by {user}"))
            }));
        }
    }
}
