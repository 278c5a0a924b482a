//! Texts in which Terraform evaluates nothing.

use serde_json::Value;

/// The text, with what begins an expression doubled.
pub fn literal(text: &str) -> String {
    text.replace("${", "$${").replace("%{", "%%{")
}

/// Takes the doubling out of all texts of a configuration.
pub fn unescape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("$${") || text.contains("%%{") => {
            *text = text.replace("$${", "${").replace("%%{", "%{");
        }
        Value::Array(items) => items.iter_mut().for_each(unescape),
        Value::Object(map) => map.values_mut().for_each(unescape),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_comes_back() {
        for text in ["plain", "${x}", "$${x}", "%{if}", "a$b%c", "$$${"] {
            let mut value = Value::String(literal(text));
            unescape(&mut value);
            assert_eq!(value, Value::String(text.to_owned()), "{text}");
        }
    }
}
