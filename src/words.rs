//! Words that several rooms write.

/// A text of several lines in one: for a log, and for the line of a service manager.
pub fn one_line(text: &str) -> String {
    if !text.contains('\n') {
        return text.to_owned();
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.fold(String::new(), |mut one, line| {
        match one.chars().last() {
            None => {}
            Some(':' | ';' | ',') => one.push(' '),
            Some(_) => one.push_str("; "),
        }
        one + line
    })
}

/// `1 error`, `3 errors`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn lines_become_clauses() {
        assert_eq!(one_line(" as it is "), " as it is ");
        assert_eq!(
            one_line("two faults:\n  a: one\n\n  b: two\n"),
            "two faults: a: one; b: two"
        );
    }
}
