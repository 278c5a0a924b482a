//! A list or a mapping in a text: its children, what belongs to each, and where a new one goes.

use super::find::is_flow;
use super::lines::*;
use super::{PatchError, Splice};
use crate::definition::yaml::{Key, YamlNode};
use std::ops::Range;

/// A collection's child: an item from its dash, or an entry from its key.
#[derive(Debug, Clone, Copy)]
struct Child {
    start: usize,
    end: usize,
}

/// A collection in a text.
pub struct Collection<'t> {
    text: &'t str,
    /// The whole of it.
    whole: Range<usize>,
    children: Vec<Child>,
    is_flow: bool,
    is_list: bool,
}

impl<'t> Collection<'t> {
    /// A list.
    pub fn of_list(text: &'t str, node: &YamlNode, items: &[YamlNode]) -> Result<Self, PatchError> {
        let is_flow = is_flow(text, node);
        let start = node.span.start as usize;
        let begin = if is_flow {
            start
        } else {
            first_dash(text, start)
        };
        let dashes = column(text, begin);
        let mut children: Vec<Child> = Vec::with_capacity(items.len());
        for item in items {
            let start = match (is_flow, children.last()) {
                (true, _) => item.span.start as usize,
                (false, None) => begin,
                (false, Some(before)) => dash(text, before.end, item.span.start as usize, dashes)
                    .ok_or(PatchError::Elsewhere { at: begin..begin })?,
            };
            let end = content_end(text, start + usize::from(!is_flow), item);
            children.push(Child { start, end });
        }
        Ok(Collection {
            text,
            whole: begin..node.span.end as usize,
            children,
            is_flow,
            is_list: true,
        })
    }

    /// A mapping.
    pub fn of_map(text: &'t str, node: &YamlNode, entries: &[(Key, YamlNode)]) -> Self {
        let children = entries.iter().map(|(key, value)| Child {
            start: key.span.start as usize,
            end: content_end(text, colon(text, key) + 1, value),
        });
        Collection {
            text,
            whole: node.span.start as usize..node.span.end as usize,
            children: children.collect(),
            is_flow: is_flow(text, node),
            is_list: false,
        }
    }

    /// Puts a new child before the one with this number, or behind the last. `block` is its text on lines of its own
    /// behind the given indent, `flow` its text between brackets.
    pub fn insert(
        &self,
        at: usize,
        block: &dyn Fn(usize) -> String,
        flow: &str,
    ) -> Result<Vec<Splice>, PatchError> {
        let first = self.children.first().ok_or(PatchError::Missing)?;
        let line = line_ending(self.text);
        let indent = column(self.text, first.start);
        let content = match (self.is_flow, self.has_lines()) {
            (true, false) => return self.insert_inline(at, flow),
            (true, true) => format!("{flow},"),
            (false, _) => block(indent),
        };
        let new = format!("{}{content}", " ".repeat(indent));
        let Some(next) = self.children.get(at) else {
            let last = *self.children.last().ok_or(PatchError::Missing)?;
            let end = self.below(last);
            // Where blank lines stand between entries, one more does.
            let apart = !self.is_list && at > 1 && is_blank_above(self.text, self.above(last));
            let apart = if apart { line } else { "" };
            let new = match self.text[..end].ends_with('\n') {
                true => format!("{apart}{new}{line}"),
                false => format!("{line}{apart}{new}"),
            };
            let comma = self.missing_comma();
            return Ok(comma.into_iter().chain([(end..end, new)]).collect());
        };
        if !is_first(self.text, next.start) {
            // The first entry behind a dash: the new one takes its place there.
            let new = format!("{content}{line}{}", " ".repeat(indent));
            return Ok(vec![(next.start..next.start, new)]);
        }
        let begin = self.above(*next);
        if at == 0 || !is_blank_above(self.text, begin) {
            return Ok(vec![(begin..begin, format!("{new}{line}"))]);
        }
        if !self.is_list {
            return Ok(vec![(begin..begin, format!("{new}{line}{line}"))]);
        }
        // What stands behind the empty line is another paragraph.
        let end = self.below(self.children[at - 1]);
        Ok(vec![(end..end, format!("{new}{line}"))])
    }

    /// The same on one line between brackets.
    fn insert_inline(&self, at: usize, flow: &str) -> Result<Vec<Splice>, PatchError> {
        if let Some(next) = self.children.get(at) {
            return Ok(vec![(next.start..next.start, format!("{flow}, "))]);
        }
        let last = self.children.last().ok_or(PatchError::Missing)?;
        Ok(vec![(last.end..last.end, format!(", {flow}"))])
    }

    /// Whether each child has lines of its own, in a block or between brackets.
    fn has_lines(&self) -> bool {
        let text = self.text;
        let apart = |pair: &[Child]| line_start(text, pair[1].start) >= line_end(text, pair[0].end);
        let closes = match (self.is_flow, self.children.last()) {
            (true, Some(last)) => self.whole.end > line_end(text, last.end),
            _ => true,
        };
        let mut children = self.children.iter();
        closes
            && children.all(|child| is_first(text, child.start))
            && self.children.windows(2).all(apart)
    }

    /// The comma that the last child between brackets lacks where another comes behind it.
    fn missing_comma(&self) -> Option<Splice> {
        let last = self.children.last().filter(|_| self.is_flow)?;
        let behind = self.text.get(last.end..self.whole.end)?;
        let is_there = behind.trim_start().starts_with(',');
        (!is_there).then(|| (last.end..last.end, ",".to_owned()))
    }

    /// Where the comment above a child begins, or its line: a comment that is indented deeper belongs to the child
    /// before.
    fn above(&self, child: Child) -> usize {
        let deepest = column(self.text, child.start);
        comment_above(self.text, line_start(self.text, child.start), deepest)
    }

    /// Where the lines of a child end, with comments below that are indented deeper than it.
    fn below(&self, child: Child) -> usize {
        comment_below(
            self.text,
            line_end(self.text, child.end),
            column(self.text, child.start),
        )
    }

    /// What goes with a child: its lines and the comments that are about it alone, or its part of the brackets.
    pub fn extent(&self, at: usize) -> Result<Range<usize>, PatchError> {
        let child = *self.children.get(at).ok_or(PatchError::Missing)?;
        let next = self.children.get(at + 1);
        let before = at.checked_sub(1).and_then(|at| self.children.get(at));
        if self.is_flow && !self.has_lines() {
            return Ok(match (next, before) {
                (Some(next), _) => child.start..next.start,
                (None, Some(before)) => before.end..child.end,
                (None, None) => child.start..child.end,
            });
        }
        if !is_first(self.text, child.start) {
            // The first entry behind a dash: the next one takes its place there.
            let next = next.ok_or(PatchError::Missing)?;
            return Ok(child.start..next.start);
        }
        Ok(self.lines(at))
    }

    /// The lines of a child, with the comment above that is about it alone.
    fn lines(&self, at: usize) -> Range<usize> {
        let child = self.children[at];
        let start = line_start(self.text, child.start);
        let end = self.below(child);
        // A comment above several children is about all of them, down to the next comment or empty line.
        let follows = self.children.get(at + 1);
        let covers_more = follows.is_some_and(|next| line_start(self.text, next.start) == end);
        let start = if covers_more {
            start
        } else {
            self.above(child)
        };
        // Of two empty lines that would meet, one goes.
        let is_apart = is_blank_above(self.text, start) && end < self.text.len();
        match is_apart && self.text[end..line_end(self.text, end)].trim().is_empty() {
            true => start..line_end(self.text, end),
            false => start..end,
        }
    }

    /// Moves a child to where it has another number.
    pub fn relocate(&self, from: usize, to: usize) -> Result<Vec<Splice>, PatchError> {
        let moved = *self.children.get(from).ok_or(PatchError::Missing)?;
        if to >= self.children.len() {
            return Err(PatchError::Missing);
        }
        if from == to {
            return Ok(Vec::new());
        }
        // The child that it will stand before; behind the last there is none.
        let next = if to > from { to + 1 } else { to };
        match (self.has_lines(), self.is_flow) {
            (true, _) => self.relocate_lines(from, next),
            (false, true) => {
                let content = &self.text[moved.start..moved.end];
                let mut splices = self.insert_inline(next, content)?;
                splices.push((self.extent(from)?, String::new()));
                Ok(apart(splices))
            }
            (false, false) => Err(PatchError::Elsewhere {
                at: moved.start..moved.end,
            }),
        }
    }

    fn relocate_lines(&self, from: usize, next: usize) -> Result<Vec<Splice>, PatchError> {
        let lines = self.lines(from);
        let mut content = self.text[lines.clone()].to_owned();
        let line = line_ending(self.text);
        if !content.ends_with('\n') {
            content += line;
        }
        let mut comma = self.missing_comma();
        let is_last = from + 1 == self.children.len();
        if let (Some((at, _)), true) = (&comma, is_last) {
            content.insert(at.start - lines.start, ',');
        }
        let begin = match self.children.get(next) {
            Some(next) => {
                comma = None;
                self.above(*next)
            }
            None => self.below(*self.children.last().ok_or(PatchError::Missing)?),
        };
        if begin == self.text.len() && !self.text.ends_with('\n') {
            content = format!("{line}{}", content.trim_end());
        }
        // A comment that stays stands above what followed.
        let begin = if lines.contains(&begin) {
            lines.start
        } else {
            begin
        };
        let splices = [(begin..begin, content), (lines, String::new())];
        Ok(comma.into_iter().chain(splices).collect())
    }
}

/// Two splices that meet in brackets: the text between them is taken once.
fn apart(mut splices: Vec<Splice>) -> Vec<Splice> {
    splices.sort_by_key(|(range, _)| (range.start, range.end));
    for n in 1..splices.len() {
        let end = splices[n - 1].0.end;
        if splices[n].0.start < end {
            splices[n].0.start = end.min(splices[n].0.end);
        }
    }
    splices
}

/// Where the dash of a list's first item stands: of a list that is not indented below its key, the place of the list is
/// behind it.
fn first_dash(text: &str, begin: usize) -> usize {
    let mut start = line_start(text, begin);
    loop {
        let line = &text[start..line_end(text, start)];
        let at = start + line.len() - line.trim_start_matches(' ').len();
        if at <= begin && text[at..].starts_with('-') {
            return at;
        }
        // The dash may stand on a line above, alone or with a comment.
        let is_passed = at < begin && !line.trim().is_empty() && !line.trim().starts_with('#');
        if start == 0 || is_passed {
            return begin;
        }
        start = line_start(text, start - 1);
    }
}

/// Where the dash of the item stands that begins here, between the item before and itself.
fn dash(text: &str, from: usize, item: usize, dashes: usize) -> Option<usize> {
    let mut start = line_start(text, item);
    loop {
        let at = start + dashes;
        let is_dash = text.as_bytes().get(at) == Some(&b'-') && is_first(text, at);
        if is_dash && at >= from && at <= item {
            return Some(at);
        }
        if start <= from {
            return None;
        }
        start = line_start(text, start - 1);
    }
}

/// Where the colon of an entry stands.
pub fn colon(text: &str, key: &Key) -> usize {
    let end = key.span.end as usize;
    text[end..].find(':').map_or(end, |at| end + at)
}

/// Where the content of a child ends, which begins no earlier than `from`.
pub fn content_end(text: &str, from: usize, node: &YamlNode) -> usize {
    let end = (node.span.end as usize).max(from);
    // The end of a block scalar stands where the next token begins.
    let content = text[..end].trim_end_matches([' ', '\n', '\r', '\t']).len();
    content.max(from)
}
