//! Whether a program printed what a page shows.
//!
//! A line `…` of the page stands for any number of lines. How long something took may differ: `1.4 s` is as good as
//! `0.2 s`. Everything else is equal to the letter; spaces at the end of a line and blank lines at the
//! end of all do not count.

use std::sync::LazyLock;

use regex::Regex;

static TIME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b\d+(\.\d+)? (µs|ms|s)\b").expect("a pattern"));

/// The first line of the page that the output does not have, or of the output that the page does not show.
pub fn difference(shown: &str, printed: &str) -> Option<String> {
    let lines = |text: &str| -> Vec<String> {
        let text = text.trim_end().lines();
        text.map(|line| TIME.replace_all(line.trim_end(), "<time>").into_owned())
            .collect()
    };
    let (shown, printed) = (lines(shown), lines(printed));
    let mut at = 0;
    let pieces: Vec<&[String]> = shown.split(|line| line == "…").collect();
    for (number, piece) in pieces.iter().enumerate() {
        let (is_first, is_last) = (number == 0, number + 1 == pieces.len());
        // The first place where the piece stands; the first piece stands at the beginning, the last one at the end.
        let places = match (is_first, is_last && !piece.is_empty()) {
            (true, _) => 0..=0,
            (false, true) => {
                let last = printed.len().saturating_sub(piece.len()).max(at);
                last..=last
            }
            (false, false) => at..=printed.len(),
        };
        let fits = |place: &usize| printed[(*place).min(printed.len())..].starts_with(piece);
        match places.clone().find(fits) {
            Some(place) => at = place + piece.len(),
            None => {
                return Some(first_difference(
                    piece,
                    &printed[*places.start()..],
                    is_first,
                ));
            }
        }
    }
    let ends_open = shown.last().is_some_and(|line| line == "…");
    match printed.get(at) {
        Some(line) if !ends_open => Some(format!("is not shown: {line}")),
        _ => None,
    }
}

/// The line that has no equal at its place; of a piece behind `…` one that stands nowhere, or else its first.
fn first_difference(piece: &[String], printed: &[String], is_first: bool) -> String {
    let differs = |(number, line): &(usize, &String)| match is_first {
        true => printed.get(*number) != Some(*line),
        false => !printed.contains(line),
    };
    let (_, line) = piece
        .iter()
        .enumerate()
        .find(differs)
        .unwrap_or((0, &piece[0]));
    format!("is not printed here: {line}")
}
