//! A JSON object with its place: absent, `null` and `""` are one, and numbers are texts.

use super::notes::Notes;
use serde_json::{Map, Value};

/// An object of the input.
#[derive(Debug, Clone)]
pub struct Object<'j> {
    map: &'j Map<String, Value>,
    /// Where it stands: `groups.json: SecurityGroupSet[0]`.
    pub place: String,
}

impl<'j> Object<'j> {
    /// The object at a place.
    pub fn new(map: &'j Map<String, Value>, place: impl Into<String>) -> Self {
        Object {
            map,
            place: place.into(),
        }
    }

    /// Its keys and values.
    pub fn entries(&self) -> impl Iterator<Item = (&'j str, &'j Value)> + use<'j> {
        self.map.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Whether it has a key, with whatever value.
    pub fn has(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !value.is_null())
    }

    /// A text; of a number or truth value its text.
    pub fn text(&self, key: &str) -> Option<String> {
        text(self.map.get(key)?)
    }

    /// The first of these keys that has a text.
    pub fn text_of(&self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.text(key))
    }

    /// A whole number, also as a text.
    pub fn number(&self, key: &str) -> Option<i64> {
        self.text(key)?.trim().parse().ok()
    }

    /// The object behind a key.
    pub fn object(&self, key: &str) -> Option<Object<'j>> {
        let map = self.map.get(key)?.as_object()?;
        Some(Object::new(map, self.at(key)))
    }

    /// The objects of a list; one object stands for a list of one. Others are named.
    pub fn objects(&self, key: &str, notes: &mut Notes) -> Vec<Object<'j>> {
        let items = match self.map.get(key) {
            Some(Value::Array(items)) => items.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            None | Some(Value::Null) => &[],
            Some(_) => {
                notes.not_kept(self.at(key), "it is no list of objects");
                &[]
            }
        };
        let place = |index| format!("{}[{index}]", self.at(key));
        let numbered = items.iter().enumerate();
        numbered
            .filter_map(|(index, item)| {
                let map = item.as_object();
                if map.is_none() && !item.is_null() {
                    notes.not_kept(place(index), "it is no object");
                }
                Some(Object::new(map?, place(index)))
            })
            .collect()
    }

    /// The texts of a list; one text stands for a list of one.
    pub fn texts(&self, key: &str) -> Vec<String> {
        match self.map.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(text).collect(),
            Some(one) => text(one).into_iter().collect(),
            None => Vec::new(),
        }
    }

    /// The place of a key.
    pub fn at(&self, key: &str) -> String {
        match self.place.ends_with(' ') || self.place.is_empty() {
            true => format!("{}{key}", self.place),
            false => format!("{}.{key}", self.place),
        }
    }

    /// Whether a key holds something.
    pub fn says(&self, key: &str) -> bool {
        self.map.get(key).is_some_and(|value| !says_nothing(value))
    }

    /// Names each key that holds something and is none of `known`.
    pub fn name_the_rest(&self, known: &[&str], notes: &mut Notes) {
        for (key, value) in self.entries() {
            if !known.contains(&key) && !says_nothing(value) {
                notes.not_kept(self.at(key), "a definition has no key for it");
            }
        }
    }
}

/// The text of a single value that says something.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (!text.trim().is_empty()).then(|| text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Whether a value is one of those that clients print for what is not set.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(map) => map.values().all(says_nothing),
    }
}
