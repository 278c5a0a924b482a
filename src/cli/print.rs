//! How things are printed: colours for a terminal, one JSON object for a machine, errors in one form.

use crate::definition::{Diagnostic, Sources, acts, printable};
use crate::source::load::Loaded;
use crate::words::one_line;
use anstream::{AutoStream, ColorChoice};
use comfy_table::{ContentArrangement, Table, presets};
use std::io::{IsTerminal, Write};

/// A terminal of fewer columns breaks words rather than lines.
const NARROW: u16 = 72;

/// Writes to standard output; what cannot be written has no other place to go.
pub fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Several lines that hold names of others: of interfaces, programs, tables and files.
pub fn page(text: &str) {
    let lines: Vec<String> = text.lines().map(printable).collect();
    out(&(lines.join("\n") + "\n"));
}

/// A table of columns, as wide as what is in it; on a terminal long cells are wrapped, unless that is too narrow to be
/// read.
pub fn table() -> Table {
    let wide = terminal_size::terminal_size().is_some_and(|(width, _)| width.0 >= NARROW);
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(match wide {
            true => ContentArrangement::Dynamic,
            false => ContentArrangement::Disabled,
        });
    table
}

/// One JSON value on a line of its own.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    out(&format!("{}\n", in_json(value)?));
    Ok(())
}

/// The value as JSON in which no character can act on a terminal: `serde_json` escapes only those of ASCII.
pub fn in_json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    if text.chars().all(|c| !acts(c)) {
        return Ok(text);
    }
    // They can stand in strings only, and none is beyond the first 65,536.
    let escaped = text.chars().map(|c| match acts(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    });
    Ok(escaped.collect())
}

/// `error: …` on standard error, red on a terminal.
pub fn error(message: &str) {
    let lines: Vec<String> = message.lines().map(printable).collect();
    let word = if colour(&std::io::stderr()) {
        "\u{1b}[1;31merror\u{1b}[0m"
    } else {
        "error"
    };
    let _ = writeln!(std::io::stderr(), "{word}: {}", lines.join("\n"));
}

/// A remark on standard error.
pub fn note(message: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(&one_line(message)));
}

/// The diagnostics of a definition on standard error, and how many there are.
pub fn diagnostics(loaded: &Loaded) {
    rendered(&mut std::io::stderr(), &loaded.diagnostics, &loaded.sources);
    let (errors, warnings) = loaded.counts();
    if errors > 0 {
        error(&format!(
            "the definition is refused: {}, {}",
            crate::words::count(errors, "error"),
            crate::words::count(warnings, "warning")
        ));
    }
}

/// Diagnostics as people read them, one below the other.
pub fn rendered<S: Write + IsTerminal>(
    stream: &mut S,
    diagnostics: &[Diagnostic],
    sources: &Sources,
) {
    let colour = colour(stream);
    for diagnostic in diagnostics {
        let _ = writeln!(stream, "{}\n", diagnostic.render(sources, colour));
    }
}

/// Whether a stream shows colours: a terminal does, unless NO_COLOR is set.
pub fn colour(stream: &impl IsTerminal) -> bool {
    let choice = AutoStream::choice(&std::io::stderr());
    stream.is_terminal() && choice != ColorChoice::Never
}

/// Rust ignores SIGPIPE, so that `secgroupd compile | head` would print an error.
#[allow(unsafe_code)]
pub fn end_with_the_pipe() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: the default action is no handler of ours, and no other thread runs yet.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_for_a_terminal_is_still_json() {
        let nasty = "a\n\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{2028}日本";
        let text = super::in_json(&serde_json::json!({ "x": nasty })).unwrap();
        assert!(!text.contains(crate::definition::acts), "{text:?}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["x"], nasty);
    }
}
