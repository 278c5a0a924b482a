//! Lines of a text, and the comments that belong to an item.

/// Where the line begins on which this place is.
pub fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Where the next line begins.
pub fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// Bytes between the beginning of the line and this place.
pub fn column(text: &str, at: usize) -> usize {
    at - line_start(text, at)
}

/// Whether only blanks stand before this place on its line.
pub fn is_first(text: &str, at: usize) -> bool {
    text[line_start(text, at)..at].bytes().all(|b| b == b' ')
}

/// The line end that a text uses.
pub fn line_ending(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((first, _)) if first.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Where the comment begins whose lines stand directly above the line at `start`, none of them indented deeper than
/// `deepest`; `start` where there is none.
pub fn comment_above(text: &str, start: usize, deepest: usize) -> usize {
    let mut begin = start;
    while begin > 0 {
        let above = line_start(text, begin - 1);
        if comment_at(text, above).is_none_or(|column| column > deepest) {
            break;
        }
        begin = above;
    }
    begin
}

/// Where the comment ends whose lines begin at `end`, each indented deeper than `column`; `end` where there is none.
pub fn comment_below(text: &str, end: usize, column: usize) -> usize {
    let mut end = end;
    while end < text.len() && comment_at(text, end).is_some_and(|at| at > column) {
        end = line_end(text, end);
    }
    end
}

/// The column of the comment that is all of the line at `start`.
fn comment_at(text: &str, start: usize) -> Option<usize> {
    let line = &text[start..line_end(text, start)];
    let comment = line.trim_start_matches(' ');
    comment.starts_with('#').then(|| line.len() - comment.len())
}

/// Whether the line above the line at `start` is empty.
pub fn is_blank_above(text: &str, start: usize) -> bool {
    start > 0 && text[line_start(text, start - 1)..start].trim().is_empty()
}
