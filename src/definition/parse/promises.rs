//! The part of a definition that is about its rules: tests that they must pass, and warnings that are meant so.

use crate::definition::codes::choices;
use crate::definition::diagnostic::Diagnostic;
use crate::definition::model::{SilenceEntry, TestEntry};
use crate::definition::reader::{Fields, Text, TreeReader};
use crate::definition::yaml::YamlNode;

/// What stands under `tests`.
pub fn tests(reader: &mut TreeReader, fields: &Fields) -> Vec<TestEntry> {
    let nodes = fields
        .get("tests")
        .and_then(|node| reader.sequence(node, "`tests`"));
    let nodes = nodes.unwrap_or_default();
    nodes.iter().filter_map(|node| test(reader, node)).collect()
}

fn test(reader: &mut TreeReader, node: &YamlNode) -> Option<TestEntry> {
    let fields = reader.fields(node, "tests[]")?;
    let mut text = |name| -> Option<Text> {
        let node = reader.required(&fields, name, "a test", node.span)?;
        reader.text(node, format_args!("`{name}`"))
    };
    let (from, to, protocol) = (text("from"), text("to"), text("protocol"));
    let expect = reader
        .required(&fields, "expect", "a test", node.span)
        .and_then(|node| reader.choice(node, "expect", &[("allow", true), ("refuse", false)]));
    Some(TestEntry {
        span: node.span,
        from,
        to,
        protocol,
        port: reader.optional_text(&fields, "port"),
        expect,
    })
}

/// What stands under `silence` here; `path` is that of its entries in the table of keys.
pub fn silence(reader: &mut TreeReader, fields: &Fields, path: &'static str) -> Vec<SilenceEntry> {
    let Some(node) = fields.get("silence") else {
        return Vec::new();
    };
    let nodes = reader.sequence(node, "`silence`").unwrap_or_default();
    let entries = nodes.iter().filter_map(|node| {
        let fields = reader.fields(node, path)?;
        let code = reader.required(&fields, "code", "an entry of `silence`", node.span);
        let span = code.map(|node| node.span);
        let code = code.and_then(|node| reader.choice(node, "code", &choices()));
        let reason = reader.required(&fields, "reason", "an entry of `silence`", node.span);
        Some(SilenceEntry {
            span: span?,
            code: code?,
            reason: reason.and_then(|node| reason_of(reader, node))?,
        })
    });
    entries.collect()
}

/// A reason that says something.
fn reason_of(reader: &mut TreeReader, node: &YamlNode) -> Option<Text> {
    let reason = reader.text(node, "`reason`")?;
    if reason.text.trim().is_empty() {
        let wrong = Diagnostic::error("bad-value", reason.span, "an empty text is not a reason");
        reader.push(wrong.help("write why the warning is meant so, for whoever reads this next"));
        return None;
    }
    Some(reason)
}
