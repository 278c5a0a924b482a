//! Files into a [`Definition`]: every error of every file in one run.

mod directed;
mod lab;
mod network_acl;
mod platform;
mod promises;

use self::directed::directed;
use self::platform::observe;
use super::diagnostic::{Diagnostic, Severity};
use super::merge::merge;
use super::model::*;
use super::patch::FileTree;
use super::reader::{Fields, Text, TreeReader};
use super::recover::{Recovered, is_fatal, recover};
use super::source::{LARGEST_FILE, Sources, Span};
use super::yaml::{Key, Value, YamlNode, parse as parse_yaml, parse_around};
use std::cell::OnceCell;

/// What came out of parsing: as much of the definition as could be read, and what is wrong with it.
#[derive(Debug)]
pub struct Parsed {
    /// The definition; complete only if no diagnostic is an error.
    pub definition: Definition,
    /// Everything that is wrong.
    pub diagnostics: Vec<Diagnostic>,
}

/// Parses the files of a definition, given as path to show and text.
pub fn parse<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Parsed {
    parse_read(files.into_iter().map(|(path, text)| (path, text, None)))
}

/// The same of files of which some were read as trees already; their numbers are those of the files.
pub fn parse_read<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str, Option<&'a FileTree<'a>>)>,
) -> Parsed {
    let mut sources = Sources::default();
    let mut reader = TreeReader::default();
    let mut roots = Vec::new();
    let files: Vec<_> = files.into_iter().collect();
    let recovered: Vec<_> = files.iter().map(|_| OnceCell::new()).collect();
    let mut incomplete = false;
    for ((path, text, tree), recovered) in files.into_iter().zip(&recovered) {
        let root = file(&mut reader, &mut sources, path, text, tree, recovered);
        incomplete |= root.is_none() || recovered.get().is_some();
        roots.extend(root);
    }
    let mut definition = match merge(roots, &mut reader.diagnostics) {
        Some(root) => definition(&mut reader, &root),
        None => Definition::default(),
    };
    definition.incomplete |= incomplete;
    definition.sources = sources;
    Parsed {
        definition,
        diagnostics: reader.diagnostics.into_vec(),
    }
}

impl Parsed {
    /// Whether any diagnostic refuses the definition.
    pub fn refused(&self) -> bool {
        self.diagnostics
            .iter()
            .any(|d| d.severity == Severity::Error)
    }
}

/// The mapping that a file is, with its version checked.
fn file<'a>(
    reader: &mut TreeReader,
    sources: &mut Sources,
    path: &str,
    text: &'a str,
    tree: Option<&FileTree<'a>>,
    recovered: &'a OnceCell<Recovered>,
) -> Option<YamlNode<'a>> {
    if text.len() > LARGEST_FILE {
        let source = sources.add(path, "");
        let start = Span {
            source,
            start: 0,
            end: 0,
        };
        let message = format!("the file is larger than {} MB", LARGEST_FILE / 1_000_000);
        let help = "split it: the files of a directory are merged";
        reader.push(Diagnostic::error("too-large", start, message).help(help));
        return None;
    }
    // A byte order mark is no part of the text that places are counted in.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let source = sources.add(path, text);
    let (mut root, mut diagnostics) = match tree {
        Some(tree) => (Some(tree.node().clone()), Vec::new()),
        None => parse_yaml(source, text),
    };
    if let Some(fatal) = diagnostics
        .last()
        .filter(|last| root.is_none() && is_fatal(last))
        && let Some(found) = recover(source, text, fatal.clone())
    {
        let found = recovered.get_or_init(|| found);
        diagnostics.pop();
        if found.is_yaml {
            (root, diagnostics) = parse_around(source, &found.text, &found.blanked);
            // Nothing may be left but blanks.
            diagnostics.retain(|each| each.code != "empty-file");
        }
        diagnostics.extend(found.faults.iter().cloned());
        reader
            .blanked
            .extend(found.blanked.iter().map(|range| Span {
                source,
                start: range.start as u32,
                end: range.end as u32,
            }));
    }
    reader.diagnostics.extend(diagnostics);
    let root = root?;
    reader.entries(&root, "")?;
    check_version(reader, &root);
    Some(root)
}

fn check_version(reader: &mut TreeReader, root: &YamlNode) {
    let Value::Mapping(entries) = &root.value else {
        return;
    };
    let start = Span {
        end: root.span.start,
        ..root.span
    };
    let Some((_, node)) = entries.iter().find(|(key, _)| key.text == "version") else {
        if reader.was_blanked(root.span) {
            return;
        }
        let diagnostic = Diagnostic::error("missing-version", start, "this file has no `version`");
        return reader.push(diagnostic.help("begin it with `version: 1`"));
    };
    if let Some(text) = reader.text(node, "`version`")
        && text.text != "1"
    {
        let message = format!(
            "version `{}` is unknown: this program reads version 1",
            text.text
        );
        reader
            .push(Diagnostic::error("bad-version", text.span, message).help("write `version: 1`"));
    }
}

fn definition(reader: &mut TreeReader, root: &YamlNode) -> Definition {
    let mut definition = Definition::default();
    let Some(fields) = reader.fields(root, "") else {
        return definition;
    };
    let section = |name| fields.get(name).map(|node| &node.value);
    let sections = [
        "security_groups",
        "address_templates",
        "service_templates",
        "instances",
        "subnets",
        "network_acls",
    ];
    // What stands in a list in its place is not known.
    definition.incomplete = sections
        .into_iter()
        .filter_map(section)
        .any(|value| !matches!(value, Value::Mapping(_) | Value::Null));
    definition.security_groups = reader.each(&fields, "security_groups", group);
    definition.address_templates = reader.each(&fields, "address_templates", address_template);
    definition.service_templates = reader.each(&fields, "service_templates", |reader, id, node| {
        let items = reader.texts(node, format_args!("`{}`", id.text));
        Some(ServiceTemplateEntry { id, items })
    });
    definition.instances = reader.each(&fields, "instances", instance);
    definition.subnets = reader.each(&fields, "subnets", network_acl::subnet);
    definition.network_acls = reader.each(&fields, "network_acls", network_acl::network_acl);
    if let Some(node) = fields.get("platform") {
        definition.platform = platform::platform(reader, node).unwrap_or_default();
    }
    if let Some(node) = fields.get("lab") {
        definition.lab = lab::lab(reader, node).unwrap_or_default();
    }
    definition.tests = promises::tests(reader, &fields);
    definition.silence = promises::silence(reader, &fields, "silence[]");
    definition
}

fn group(reader: &mut TreeReader, id: Text, node: &YamlNode) -> Option<GroupEntry> {
    let Some(fields) = reader.fields(node, "security_groups.<sg-id>") else {
        // It is wrong, but it is defined: what names it is right.
        return Some(GroupEntry::empty(id));
    };
    Some(GroupEntry {
        id,
        name: reader.optional_text(&fields, "name"),
        region: reader.optional_text(&fields, "region"),
        project: reader.optional_text(&fields, "project"),
        observe: observe(reader, &fields),
        silence: promises::silence(reader, &fields, "security_groups.<sg-id>.silence[]"),
        inbound: directed(reader, &fields, "inbound", rule),
        outbound: directed(reader, &fields, "outbound", rule),
    })
}

fn rule(reader: &mut TreeReader, node: &YamlNode, direction: &'static str) -> Option<RuleEntry> {
    let (path, remote_key, silence) = match direction {
        "inbound" => (
            "security_groups.<sg-id>.inbound[]",
            "source",
            "security_groups.<sg-id>.inbound[].silence[]",
        ),
        _ => (
            "security_groups.<sg-id>.outbound[]",
            "destination",
            "security_groups.<sg-id>.outbound[].silence[]",
        ),
    };
    let fields = reader.fields(node, path)?;
    let allow = reader
        .required(&fields, "action", "a rule", node.span)
        .and_then(|node| reader.choice(node, "action", &[("allow", true), ("refuse", false)]));
    let remote = reader
        .required(&fields, remote_key, "a rule", node.span)
        .and_then(|node| reader.texts(node, format_args!("`{remote_key}`")));
    let service = rule_service(reader, &fields);
    let description = reader.optional_text(&fields, "description");
    let until = reader.optional_text(&fields, "until");
    Some(RuleEntry {
        span: node.span,
        allow,
        service,
        remote,
        description,
        until,
        silence: promises::silence(reader, &fields, silence),
    })
}

fn rule_service(reader: &mut TreeReader, fields: &Fields) -> Option<RuleService> {
    let service = fields.get("service");
    let protocol = fields.get("protocol");
    let port = fields.get("port");
    match (service, protocol) {
        (Some(node), None) if port.is_none() => {
            reader.text(node, "`service`").map(RuleService::Template)
        }
        (Some(node), _) => {
            let message = "a rule has either `service` or `protocol` and `port`, not both";
            let help = "remove one of the two; the entries of a service template have their ports";
            reader.push(Diagnostic::error("service-and-protocol", node.span, message).help(help));
            Some(RuleService::Both {
                template: reader.text(node, "`service`"),
                protocol: protocol.and_then(|node| reader.text(node, "`protocol`")),
                port: reader.optional_texts(fields, "port"),
            })
        }
        (None, Some(node)) => {
            let protocol = match node.value {
                Value::Sequence(_) => {
                    let message = "a rule has one protocol";
                    let help = "write a rule for each protocol, or a service template";
                    reader.push(Diagnostic::error("wrong-type", node.span, message).help(help));
                    None
                }
                _ => reader.text(node, "`protocol`"),
            };
            let port = reader.optional_texts(fields, "port");
            Some(RuleService::Protocol(protocol, port))
        }
        (None, None) => {
            let said = fields.has("protocol") || fields.has("service");
            if !said && !reader.was_blanked(fields.span) {
                let message = "a rule needs `protocol` or `service`";
                let missing = Diagnostic::error("missing-key", fields.span, message);
                reader.push(missing.help("write `protocol: all` if every protocol is meant"));
            }
            let port = reader.optional_texts(fields, "port");
            Some(RuleService::Protocol(None, port))
        }
    }
}

fn address_template(
    reader: &mut TreeReader,
    id: Text,
    node: &YamlNode,
) -> Option<AddressTemplateEntry> {
    let content = match node.value {
        Value::Mapping(_) => template_file(reader, node),
        _ => reader
            .texts(node, format_args!("`{}`", id.text))
            .map(AddressTemplateContent::Items),
    };
    let content = content.unwrap_or(AddressTemplateContent::Unreadable);
    Some(AddressTemplateEntry { id, content })
}

fn template_file(reader: &mut TreeReader, node: &YamlNode) -> Option<AddressTemplateContent> {
    let fields = reader.fields(node, "address_templates.<ipm-id>")?;
    let what = "an address template written as a mapping";
    let file = reader.required(&fields, "file", what, node.span)?;
    Some(AddressTemplateContent::File {
        written: reader.text(file, "`file`")?,
        loaded: None,
    })
}

fn instance(reader: &mut TreeReader, id: Text, node: &YamlNode) -> Option<InstanceEntry> {
    let fields = reader.fields(node, "instances.<ins-id>")?;
    let kinds = [
        InstanceKind::Cvm,
        InstanceKind::Clb,
        InstanceKind::Eni,
        InstanceKind::Database,
    ]
    .map(|kind| (kind.word(), kind));
    let kind = reader.optional_choice(&fields, "kind", &kinds);
    let billing = [("prepaid", true), ("pay-as-you-go", false)];
    let prepaid = reader.optional_choice(&fields, "billing", &billing);
    let words = [("blocked", false), ("unblocked", true)];
    let unblocked = reader.optional_choice(&fields, "smtp", &words);
    let hostname = reader.optional_text(&fields, "hostname");
    let what = format!("the instance `{}`", id.text);
    let interfaces = reader
        .required(&fields, "interfaces", &what, id.span)
        .and_then(|node| reader.entries(node, "instances.<ins-id>.interfaces"));
    if interfaces.is_some_and(|interfaces| interfaces.is_empty()) {
        let message = format!("instance `{}` has no interface", id.text);
        let help = "name at least one, such as `eth0: { security_groups: [] }`";
        reader.push(Diagnostic::error("no-interface", id.span, message).help(help));
    }
    let interfaces = interfaces
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, node)| interface(reader, key, node))
        .collect();
    Some(InstanceEntry {
        id,
        hostname,
        kind: kind.unwrap_or_default(),
        prepaid: prepaid.unwrap_or(false),
        smtp_unblocked: fields
            .get("smtp")
            .filter(|_| unblocked == Some(true))
            .map(|node| node.span),
        interfaces,
    })
}

fn interface(reader: &mut TreeReader, key: &Key, node: &YamlNode) -> Option<InterfaceEntry> {
    let fields = reader.fields(node, "instances.<ins-id>.interfaces.<name>")?;
    let addresses_node = fields.get("addresses");
    let groups = reader.required(
        &fields,
        "security_groups",
        &format!("the interface `{}`", key.text),
        key.span,
    );
    Some(InterfaceEntry {
        name: key.into(),
        addresses: addresses_node
            .map(|node| reader.list(node, "`addresses`"))
            .unwrap_or_default(),
        addresses_span: addresses_node.map(|node| node.span),
        security_groups: groups
            .map(|node| reader.list(node, "`security_groups`"))
            .unwrap_or_default(),
    })
}
