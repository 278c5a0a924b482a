//! What is still right in a file that is not YAML. The lines that are wrong are blanked, as few as make YAML of the
//! rest, so that all other faults are told in the same run, at their places.

use super::diagnostic::Diagnostic;
use super::yaml::parse_around;
use std::ops::Range;

/// So many faults of the YAML itself are told at once.
const MOST_FAULTS: usize = 50;
/// So often a text is tried, at most.
const MOST_TRIES: usize = 200;
/// So much is tried to be blanked for one fault.
const MOST_CANDIDATES: usize = 16;
/// A longer text is not tried again: it takes too long, and nobody writes it by hand.
const LONGEST: usize = 256_000;

/// A text in which lines were blanked: every byte keeps its place.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The text.
    pub text: String,
    /// What was blanked.
    pub blanked: Vec<Range<usize>>,
    /// The faults that the lines had.
    pub faults: Vec<Diagnostic>,
    /// Whether the text is YAML: there may be more faults than are looked for.
    pub is_yaml: bool,
}

/// The text without the lines of `first`, which the parser has found, and of those that it finds then. `None` where no
/// YAML is left.
pub fn recover(source: u32, text: &str, first: Diagnostic) -> Option<Recovered> {
    if text.len() > LONGEST {
        return None;
    }
    let lines = lines(text);
    let mut found = Recovered {
        text: text.to_owned(),
        ..Recovered::default()
    };
    let mut tries = MOST_TRIES;
    let mut fault = first;
    while found.faults.len() < MOST_FAULTS {
        let at = fault.span?.start as usize;
        let line = lines
            .partition_point(|line| line.start <= at)
            .checked_sub(1)?;
        found.faults.push(fault);
        let below = block(text, &lines, line).end;
        let mut next = None;
        let mut candidates = candidates(text, &lines, line).into_iter();
        let blanked = candidates.find(|range| {
            tries = tries.saturating_sub(1);
            let tried = blank(&found.text, range);
            match parse_around(source, &tried, &[])
                .1
                .into_iter()
                .find(is_fatal)
            {
                _ if tries == 0 => false,
                None => true,
                // The next fault, and no consequence of what was blanked.
                Some(later) => {
                    let place = later.span.map_or(0, |span| span.start as usize);
                    let is_next = place >= range.end.max(below);
                    next = is_next.then_some(later);
                    is_next
                }
            }
        })?;
        found.text = blank(&found.text, &blanked);
        found.blanked.push(blanked);
        match next {
            Some(next) => fault = next,
            None => {
                found.is_yaml = true;
                break;
            }
        }
    }
    Some(found)
}

/// Whether it ends the reading of its file, and can be left out.
pub fn is_fatal(diagnostic: &Diagnostic) -> bool {
    diagnostic.code == "yaml-syntax"
}

fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let each = text.split_inclusive('\n').map(|line| {
        let range = start..start + line.len();
        start = range.end;
        range
    });
    each.collect()
}

/// How far a line is indented; `None` if it says nothing.
fn indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches([' ', '\t']);
    let says = !content.trim().is_empty() && !content.starts_with('#');
    let before = &line[..line.len() - content.len()];
    says.then(|| before.chars().map(|c| if c == '\t' { 8 } else { 1 }).sum())
}

/// A line and all that is indented further.
fn block(text: &str, lines: &[Range<usize>], line: usize) -> Range<usize> {
    let own = indent(&text[lines[line].clone()]).unwrap_or(0);
    let deeper =
        |range: &&Range<usize>| indent(&text[(*range).clone()]).is_none_or(|its| its > own);
    let last = lines[line + 1..].iter().take_while(deeper).last();
    lines[line].start..last.unwrap_or(&lines[line]).end
}

/// What can be blanked because of a fault in this line, from little to much: the line with what belongs to it, the item
/// of a list that it stands in, and what holds that.
fn candidates(text: &str, lines: &[Range<usize>], line: usize) -> Vec<Range<usize>> {
    // What is indented further would belong to something else.
    let mut all = vec![block(text, lines, line)];
    let mut own = indent(&text[lines[line].clone()]).unwrap_or(0);
    for above in (0..line).rev() {
        if own == 0 || all.len() > MOST_CANDIDATES {
            break;
        }
        let Some(its) = indent(&text[lines[above].clone()]) else {
            continue;
        };
        if its >= own {
            continue;
        }
        own = its;
        let whole = block(text, lines, above);
        // An item goes as a whole; of a key what is under it.
        if !text[lines[above].clone()].trim_start().starts_with("- ") {
            all.push(lines[above].end..whole.end);
        }
        all.push(whole);
    }
    all.dedup();
    all
}

fn blank(text: &str, range: &Range<usize>) -> String {
    let blank = text[range.clone()]
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { ' ' });
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..range.start]);
    out.extend(blank);
    out.push_str(&text[range.end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are left.
    fn left(text: &str) -> Vec<String> {
        let fatal = parse_around(0, text, &[]).1.into_iter().find(is_fatal);
        let found = recover(0, text, fatal.expect("a fault")).expect("something is left");
        assert_eq!(found.text.len(), text.len());
        let lines = found.text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn as_little_as_possible_is_blanked() {
        assert_eq!(
            left("a: 1\nb:\n  - { x: 1\n  - { y: 2 }\nc: 3\n"),
            ["a: 1", "b:", "- { y: 2 }", "c: 3"]
        );
        assert_eq!(
            left("a: 1\nb:\n\t- x\n  - y\nc: [\nd: 4\n"),
            ["a: 1", "b:", "- y", "d: 4"]
        );
        assert_eq!(left("a: 1\nb\n  c: 2\n  d: 3\ne: 4\n"), ["a: 1", "e: 4"]);
        assert_eq!(
            left("a:\n  - x: 1\n     y: 2\n    z: 3\n  - w: 4\n"),
            ["a:", "- x: 1", "z: 3", "- w: 4"]
        );
    }
}
