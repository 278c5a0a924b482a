//! The definition as it was written: shapes are right, values are not yet judged.

use super::reader::{Text, Texts};
use super::source::{LARGEST_FILE, Sources, Span};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What all files of a definition say together.
#[derive(Debug, Default)]
pub struct Definition {
    /// The files.
    pub sources: Sources,
    /// The groups, in the order of the files.
    pub security_groups: Vec<GroupEntry>,
    /// Address templates and groups of them.
    pub address_templates: Vec<AddressTemplateEntry>,
    /// Service templates and groups of them.
    pub service_templates: Vec<ServiceTemplateEntry>,
    /// The instances.
    pub instances: Vec<InstanceEntry>,
    /// The subnets.
    pub subnets: Vec<SubnetEntry>,
    /// The network ACLs.
    pub network_acls: Vec<NetworkAclEntry>,
    /// What the cloud does by itself.
    pub platform: PlatformEntry,
    /// What a lab adds.
    pub lab: LabEntry,
    /// What the rules must do.
    pub tests: Vec<TestEntry>,
    /// Warnings that are meant so, about anything.
    pub silence: Vec<SilenceEntry>,
    /// Whether a file could not be read at all: what it defines is not known then.
    pub incomplete: bool,
}

impl Definition {
    /// The files that address templates name, as paths to open: a relative one is relative to the
    /// definition file that names it.
    pub fn template_files(&self) -> Vec<PathBuf> {
        let written = self.written_files();
        let mut paths: Vec<_> = written.map(|name| resolve(&self.sources, name)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// The names of these files, as they are written.
    pub fn template_names(&self) -> impl Iterator<Item = &str> {
        self.written_files().map(|name| name.text.as_str())
    }

    /// The path to open of a file that a template names.
    pub fn path_of(&self, written: &Text) -> PathBuf {
        resolve(&self.sources, written)
    }

    fn written_files(&self) -> impl Iterator<Item = &Text> {
        let templates = self.address_templates.iter();
        templates.filter_map(|template| match &template.content {
            AddressTemplateContent::File { written, .. } => Some(written),
            AddressTemplateContent::Items(_) | AddressTemplateContent::Unreadable => None,
        })
    }

    /// Takes in the texts of [`Self::template_files`], or why they could not be read, in words that name the file.
    pub fn attach(&mut self, files: &HashMap<PathBuf, Result<String, String>>) {
        let mut added: HashMap<PathBuf, Result<u32, String>> = HashMap::new();
        for template in &mut self.address_templates {
            let AddressTemplateContent::File { written, loaded } = &mut template.content else {
                continue;
            };
            let path = resolve(&self.sources, written);
            let result = added
                .entry(path)
                .or_insert_with_key(|path| match files.get(path) {
                    Some(Ok(text)) if text.len() > LARGEST_FILE => {
                        Err(format!("it is larger than {} MB", LARGEST_FILE / 1_000_000))
                    }
                    Some(Ok(text)) => Ok(self.sources.add(
                        &path.to_string_lossy(),
                        text.strip_prefix('\u{feff}').unwrap_or(text),
                    )),
                    Some(Err(error)) => Err(error.clone()),
                    None => Err("it was not read".into()),
                });
            *loaded = Some(result.clone());
        }
    }
}

fn resolve(sources: &Sources, written: &Text) -> PathBuf {
    let named_by = Path::new(&*sources.get(written.span.source).path);
    named_by
        .parent()
        .unwrap_or(Path::new(""))
        .join(&written.text)
}

/// A security group.
#[derive(Debug)]
pub struct GroupEntry {
    /// Its id.
    pub id: Text,
    /// Its name, for people.
    pub name: Option<Text>,
    /// Its region, for people.
    pub region: Option<Text>,
    /// Its project, for people.
    pub project: Option<Text>,
    /// Whether its rules refuse nothing.
    pub observe: Option<bool>,
    /// Warnings about it that are meant so.
    pub silence: Vec<SilenceEntry>,
    /// Its inbound rules; `None` stands for a rule of which nothing could be read.
    pub inbound: Vec<Option<RuleEntry>>,
    /// Its outbound rules.
    pub outbound: Vec<Option<RuleEntry>>,
}

impl GroupEntry {
    /// A group of which nothing but the id could be read.
    pub fn empty(id: Text) -> Self {
        GroupEntry {
            id,
            name: None,
            region: None,
            project: None,
            observe: None,
            silence: Vec::new(),
            inbound: Vec::new(),
            outbound: Vec::new(),
        }
    }
}

/// A rule; `None` where what is wrong was reported, so that the rest is still judged.
#[derive(Debug)]
pub struct RuleEntry {
    /// Where it stands.
    pub span: Span,
    /// `true` for allow.
    pub allow: Option<bool>,
    /// What it matches beside the remote.
    pub service: Option<RuleService>,
    /// Its source or destination.
    pub remote: Option<Texts>,
    /// Free text.
    pub description: Option<Text>,
    /// When it ends.
    pub until: Option<Text>,
    /// Warnings about it that are meant so.
    pub silence: Vec<SilenceEntry>,
}

/// A warning that is meant so.
#[derive(Debug)]
pub struct SilenceEntry {
    /// Where its code stands.
    pub span: Span,
    /// The code of the warning.
    pub code: &'static str,
    /// Why it is meant so.
    pub reason: Text,
}

/// A promise about the rules; `None` where what is wrong was reported.
#[derive(Debug)]
pub struct TestEntry {
    /// Where it stands.
    pub span: Span,
    /// Who opens the flow.
    pub from: Option<Text>,
    /// To whom.
    pub to: Option<Text>,
    /// Its protocol.
    pub protocol: Option<Text>,
    /// Its destination port.
    pub port: Option<Text>,
    /// `true` for allow.
    pub expect: Option<bool>,
}

/// The protocol part of a rule.
#[derive(Debug)]
pub enum RuleService {
    /// `protocol` and `port`; the protocol is `None` where what is wrong with it was reported.
    Protocol(Option<Text>, Option<Texts>),
    /// `service`.
    Template(Text),
    /// Both, which was reported: each is judged, and the rule is none.
    Both {
        /// `service`.
        template: Option<Text>,
        /// `protocol`.
        protocol: Option<Text>,
        /// `port`.
        port: Option<Texts>,
    },
}

/// An address template, or a group of them.
#[derive(Debug)]
pub struct AddressTemplateEntry {
    /// Its id.
    pub id: Text,
    /// What it holds.
    pub content: AddressTemplateContent,
}

/// What an address template holds.
#[derive(Debug)]
pub enum AddressTemplateContent {
    /// Addresses, CIDRs and ranges; of an `ipmg-`, ids of templates.
    Items(Texts),
    /// A file with one entry a line.
    File {
        /// Its path, as written.
        written: Text,
        /// Its text among the [`Sources`], or why it could not be read; `None` until it was asked for.
        loaded: Option<Result<u32, String>>,
    },
    /// What is wrong with it was reported.
    Unreadable,
}

/// A service template, or a group of them.
#[derive(Debug)]
pub struct ServiceTemplateEntry {
    /// Its id.
    pub id: Text,
    /// Its entries; of a `ppmg-`, ids of templates. `None`: what is wrong with them was reported.
    pub items: Option<Texts>,
}

/// An instance.
#[derive(Debug, Clone)]
pub struct InstanceEntry {
    /// Its id.
    pub id: Text,
    /// Which host it is.
    pub hostname: Option<Text>,
    /// What it is.
    pub kind: InstanceKind,
    /// How it is paid.
    pub prepaid: bool,
    /// Where `smtp: unblocked` stands.
    pub smtp_unblocked: Option<Span>,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceEntry>,
}

/// What an instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstanceKind {
    /// A virtual machine.
    #[default]
    Cvm,
    /// A load balancer.
    Clb,
    /// A network interface of its own.
    Eni,
    /// A database.
    Database,
}

impl InstanceKind {
    /// Its word in a definition.
    pub fn word(self) -> &'static str {
        match self {
            InstanceKind::Cvm => "cvm",
            InstanceKind::Clb => "clb",
            InstanceKind::Eni => "eni",
            InstanceKind::Database => "database",
        }
    }
}

/// An interface of an instance.
#[derive(Debug, Clone)]
pub struct InterfaceEntry {
    /// Its name or glob.
    pub name: Text,
    /// Its own addresses.
    pub addresses: Vec<Text>,
    /// Where `addresses` stands.
    pub addresses_span: Option<Span>,
    /// The bound groups, highest priority first.
    pub security_groups: Vec<Text>,
}

/// A subnet; `None` where nothing was written, or what is wrong was reported.
#[derive(Debug)]
pub struct SubnetEntry {
    /// Its id.
    pub id: Text,
    /// Its networks.
    pub cidr: Option<Texts>,
    /// The network ACL in front of it.
    pub network_acl: Option<Text>,
}

/// A network ACL.
#[derive(Debug)]
pub struct NetworkAclEntry {
    /// Its id.
    pub id: Text,
    /// Its inbound entries; `None` stands for one of which nothing could be read.
    pub inbound: Vec<Option<WrittenAclEntry>>,
    /// Its outbound entries.
    pub outbound: Vec<Option<WrittenAclEntry>>,
}

/// An entry of a network ACL. What is required is `None` where what is wrong was reported.
#[derive(Debug)]
pub struct WrittenAclEntry {
    /// Where it stands.
    pub span: Span,
    /// `true` for allow.
    pub allow: Option<bool>,
    /// Its protocol.
    pub protocol: Option<Text>,
    /// Destination ports.
    pub port: Option<Texts>,
    /// Source ports.
    pub source_port: Option<Texts>,
    /// Source addresses; required inbound.
    pub source: Option<Texts>,
    /// Destination addresses; required outbound.
    pub destination: Option<Texts>,
    /// Free text.
    pub description: Option<Text>,
}

/// What the cloud does by itself; `None` is the default.
#[derive(Debug, Default)]
pub struct PlatformEntry {
    /// What is internal.
    pub internal_networks: Option<Texts>,
    /// Whether the profile's ports are blocked.
    pub blocked_profile: Option<BlockedProfile>,
    /// Which way they are blocked: inbound, outbound.
    pub blocked_direction: Option<(bool, bool)>,
    /// Whether only external peers are meant.
    pub blocked_external_only: Option<bool>,
    /// Ports to block besides: TCP, UDP.
    pub blocked_add: [Option<Texts>; 2],
    /// Ports of the profile not to block: TCP, UDP.
    pub blocked_remove: [Option<Texts>; 2],
    /// Whether TCP 25 to external addresses is blocked.
    pub smtp_block: Option<bool>,
    /// How often it can be unblocked.
    pub unblocks_per_account: Option<Text>,
    /// Approved services.
    pub approved_services: Vec<ApprovedServiceEntry>,
    /// Whether unbound interfaces refuse.
    pub unbound_refuse: Option<bool>,
    /// Whether live flows are judged again.
    pub recheck: Option<bool>,
    /// Whether refusals are logged.
    pub events: Option<bool>,
    /// Whether nothing is refused.
    pub observe: Option<bool>,
    /// Whether the cloud's quotas hold.
    pub quotas: Option<bool>,
}

/// The list of blocked ports to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockedProfile {
    /// The source document's.
    Tencent,
    /// No port.
    None,
}

/// A service that passes before any group is asked; `None` where what is wrong was reported.
#[derive(Debug)]
pub struct ApprovedServiceEntry {
    /// Its name.
    pub name: Text,
    /// `true` for inbound.
    pub inbound: Option<bool>,
    /// Its protocols.
    pub protocols: Option<Texts>,
    /// Its ports.
    pub port: Option<Texts>,
    /// Its source or destination.
    pub remote: Option<Texts>,
}

/// What a lab adds to the instances.
#[derive(Debug, Clone, Default)]
pub struct LabEntry {
    /// Hosts outside.
    pub hosts: Vec<LabHostEntry>,
    /// What listens where.
    pub services: Vec<LabServicesEntry>,
}

/// A host outside.
#[derive(Debug, Clone)]
pub struct LabHostEntry {
    /// Its name.
    pub name: Text,
    /// Its addresses.
    pub addresses: Texts,
}

/// What listens on an instance or a host of a lab.
#[derive(Debug, Clone)]
pub struct LabServicesEntry {
    /// Where.
    pub name: Text,
    /// `tcp:80,443`, `udp:53`.
    pub services: Texts,
}
