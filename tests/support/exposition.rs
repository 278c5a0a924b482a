//! Whether a page is what Prometheus reads: its text format 0.0.4, and what `promtool check metrics` asks for beside.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of a page by what stands before the value.
///
/// # Panics
///
/// Where the page is not valid.
pub fn samples(page: &str) -> BTreeMap<String, f64> {
    assert!(page.ends_with('\n'), "the last line has no end");
    let mut helped = BTreeSet::new();
    let mut families: BTreeMap<&str, &str> = BTreeMap::new();
    let mut family = ("", "");
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(!help.is_empty() && helped.insert(name), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert!(is_name(name, true) && helped.contains(name), "{line}");
            assert!(["counter", "gauge", "summary"].contains(&kind), "{line}");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(families.insert(name, kind).is_none(), "{name} twice");
            family = (name, kind);
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let value: f64 = value.parse().expect(line);
            let name = series.split('{').next().unwrap_or_default();
            let suffix = name.strip_prefix(family.0).expect(line);
            let allowed: &[&str] = match family.1 {
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{line} under {}", family.0);
            labels(&series[name.len()..]);
            assert!(
                samples.insert(series.to_owned(), value).is_none(),
                "{series} twice"
            );
        }
    }
    samples
}

/// `{rule="sg-web/in/3",group="sg-web"}`, or nothing.
fn labels(text: &str) {
    if text.is_empty() {
        return;
    }
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.expect(text);
    let mut known = BTreeSet::new();
    loop {
        let (name, value) = rest.split_once("=\"").expect(text);
        assert!(is_name(name, false) && known.insert(name), "{text}");
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().expect(text) {
                (at, '"') => break at,
                (_, '\\') => {
                    let (_, escaped) = characters.next().expect(text);
                    assert!(['\\', '"', 'n'].contains(&escaped), "{text}");
                }
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => break,
        }
    }
    assert_eq!(rest, "", "{text}");
}

fn is_name(name: &str, colon: bool) -> bool {
    let first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || (colon && byte == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(first) && bytes.all(|byte| first(byte) || byte.is_ascii_digit())
}
