//! How figures are written.
#![allow(dead_code, reason = "not every benchmark promises something")]

/// What is promised, what was measured, and whether the promise holds.
pub type Promise = (String, String, bool);

/// A table of promises.
pub fn table(promises: &[Promise]) -> String {
    let mut out = "| what is promised | measured | |\n|---|---|---|\n".to_owned();
    for (promise, measured, holds) in promises {
        let verdict = match holds {
            true => "holds",
            false => "**does not hold**",
        };
        out += &format!("| {promise} | {measured} | {verdict} |\n");
    }
    out
}

/// `12,345`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    match number <= -0.5 {
        true => format!("-{out}"),
        false => out,
    }
}
