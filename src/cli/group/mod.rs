//! `secgroupd group`: groups made, copied, bound and given up.

mod ids;
mod list;
mod show;

pub use ids::new_id;

use self::ids::group_id;
use super::changed::ChangeOptions;
use super::outcome::Result;
use crate::cloud::edit::{Change, Details, Draft, InterfacePlace, Preset, clone, edit};
use crate::policy::id::GroupId;
use crate::source::change::plan;
use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Lists, makes, clones, binds and deletes security groups.
///
/// The definition's text changes by that alone; it is judged whole before it is written, and a refused change changes no
/// byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd group list
  secgroupd group show sg-web                 its rules, what it is bound to, who names it
  secgroupd group create --name shop --template web
  secgroupd group clone sg-web --name web2 --project staging
  secgroupd group bind ins-web1/eth0 sg-new --at 0
                                              with the highest priority
  secgroupd group order ins-web1/eth0 sg-web sg-base
  secgroupd group unbind ins-web1 sg-old
  secgroupd group delete sg-old --dry-run

Exit status: 0 if it is done, 1 if it is refused, 2 on an error.")]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Groups with their rules, who is bound, who refers to them
    #[command(after_help = "Example:
  secgroupd group list --json")]
    List(list::Arguments),
    /// One group: its rules with their places, and everything that uses it
    #[command(after_help = "Example:
  secgroupd group show sg-web")]
    Show(show::Arguments),
    /// Make a group, with a new id
    #[command(after_help = "Example:
  secgroupd group create --name shop --template web")]
    Create {
        /// Its id; by default a new one, as the cloud makes them
        #[arg(long, value_name = "ID", value_parser = group_id)]
        id: Option<GroupId>,
        /// The rules that it begins with
        #[arg(long, value_name = "TEMPLATE", default_value = "custom")]
        template: Template,
        #[command(flatten)]
        details: DetailsOptions,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Copy a group's rules to a new group, which nothing is bound to
    #[command(after_help = "Examples:
  secgroupd group clone sg-web --region ap-beijing --project staging
                                              the name stays the same, unless --name says another
  secgroupd group clone sg-web --to /srv/lab/groups.yaml
                                              the templates that its rules use come along")]
    Clone {
        /// The group
        #[arg(value_name = "GROUP", value_parser = group_id)]
        group: GroupId,
        /// The new group's id; by default a new one, or in another definition the same
        #[arg(long, value_name = "ID", value_parser = group_id)]
        id: Option<GroupId>,
        #[command(flatten)]
        details: DetailsOptions,
        /// The definition that gets the copy, if it is another one
        #[arg(long, value_name = "DEFINITION")]
        to: Option<PathBuf>,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Delete groups that nothing uses
    #[command(after_help = "Example:
  secgroupd group delete sg-old --dry-run")]
    Delete {
        /// The groups
        #[arg(value_name = "GROUP", value_parser = group_id, required = true)]
        groups: Vec<GroupId>,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Bind groups to an interface: behind the others, or before the one of a number
    #[command(after_help = "Example:
  secgroupd group bind ins-web1/eth0 sg-web --at 0")]
    Bind {
        /// The interface; an instance that has only one needs no interface
        #[arg(value_name = "INSTANCE[/INTERFACE]")]
        place: InterfacePlace,
        /// The groups, highest priority first
        #[arg(value_name = "GROUP", value_parser = group_id, required = true)]
        groups: Vec<GroupId>,
        /// Before the group of this number, counted from 0: 0 is the highest priority
        #[arg(long, value_name = "N")]
        at: Option<usize>,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Unbind groups from an interface
    #[command(after_help = "Example:
  secgroupd group unbind ins-web1/eth0 sg-old")]
    Unbind {
        /// The interface; an instance that has only one needs no interface
        #[arg(value_name = "INSTANCE[/INTERFACE]")]
        place: InterfacePlace,
        /// The groups
        #[arg(value_name = "GROUP", value_parser = group_id, required = true)]
        groups: Vec<GroupId>,
        #[command(flatten)]
        options: ChangeOptions,
    },
    /// Order the groups of an interface by priority
    #[command(after_help = "Example:
  secgroupd group order ins-web1/eth0 sg-web sg-base")]
    Order {
        /// The interface; an instance that has only one needs no interface
        #[arg(value_name = "INSTANCE[/INTERFACE]")]
        place: InterfacePlace,
        /// All its groups, highest priority first
        #[arg(value_name = "GROUP", value_parser = group_id, required = true)]
        groups: Vec<GroupId>,
        #[command(flatten)]
        options: ChangeOptions,
    },
}

/// What people say about a group.
#[derive(Debug, Args)]
struct DetailsOptions {
    /// Its name; two groups may share one
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Its region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Its project
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,
}

/// The cloud's own groups to begin with.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Template {
    /// Everything passes, both ways
    OpenAll,
    /// ICMP and TCP 22, 80, 443 and 3389 from anywhere, private networks, everything outbound
    Web,
    /// No rule: everything is refused
    Custom,
}

impl From<Template> for Preset {
    fn from(template: Template) -> Self {
        match template {
            Template::OpenAll => Preset::OpenAll,
            Template::Web => Preset::Web,
            Template::Custom => Preset::Custom,
        }
    }
}

impl From<DetailsOptions> for Details {
    fn from(options: DetailsOptions) -> Self {
        let said = |text: Option<String>| text.filter(|text| !text.is_empty());
        Details {
            name: said(options.name),
            region: said(options.region),
            project: said(options.project),
        }
    }
}

pub fn run(arguments: Arguments) -> Result {
    let (change, options) = match arguments.command {
        Command::List(arguments) => return list::run(arguments),
        Command::Show(arguments) => return show::run(arguments),
        Command::Create {
            id,
            template,
            details,
            options,
        } => {
            let change = Change::CreateGroup {
                id: id.map_or_else(new_id, Ok)?,
                details: details.into(),
                preset: template.into(),
            };
            (change, options)
        }
        Command::Clone {
            group,
            id,
            details,
            to: Some(to),
            options,
        } => return clone_to(group, id, details.into(), to, options),
        Command::Clone {
            group,
            id,
            details,
            to: None,
            options,
        } => {
            let change = Change::CloneGroup {
                source: group,
                id: id.map_or_else(new_id, Ok)?,
                details: details.into(),
            };
            (change, options)
        }
        Command::Delete { groups, options } => (Change::DeleteGroups(groups), options),
        Command::Bind {
            place,
            groups,
            at,
            options,
        } => (Change::Bind { place, groups, at }, options),
        Command::Unbind {
            place,
            groups,
            options,
        } => (Change::Unbind { place, groups }, options),
        Command::Order {
            place,
            groups,
            options,
        } => (Change::Order { place, groups }, options),
    };
    options.run(&|draft| edit(draft, &change))
}

/// Copies a group to another definition.
fn clone_to(
    group: GroupId,
    id: Option<GroupId>,
    details: Details,
    to: PathBuf,
    options: ChangeOptions,
) -> Result {
    let id = id.unwrap_or_else(|| group.clone());
    let taken = std::cell::RefCell::new(None);
    let take = |draft: &Draft| {
        *taken.borrow_mut() = Some(clone(draft.definition, &group, &id, &details)?);
        Ok(Default::default())
    };
    if let Err(error) = plan(&options.definition, &take) {
        return options.refuse(error);
    }
    let (copy, done) = taken.into_inner().context("the group was not looked at")?;
    let change = Change::AddGroup(copy);
    let there = ChangeOptions {
        definition: to,
        ..options
    };
    there.run(&|draft| {
        let mut edit = edit(draft, &change)?;
        edit.done.splice(0..0, done.iter().cloned());
        Ok(edit)
    })
}
