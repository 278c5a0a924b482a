//! Texts of other formats to one definition.

use super::aws;
use super::complete::complete;
use super::console;
use super::definition_text::definition_text;
use super::detect::{Format, of_json, of_text};
use super::error::ImportError;
use super::inventory::Inventory;
use super::iptables;
use super::json::Object;
use super::notes::{Note, Notes};
use super::tencent;
use super::terraform;
use crate::definition::LARGEST_FILE;
use crate::policy::GroupId;
use serde_json::{Deserializer, Value};

/// A text to read.
#[derive(Debug, Clone)]
pub struct Input {
    /// What it is called in notes.
    pub name: String,
    /// What it holds.
    pub text: String,
}

/// A definition, and what is to be said about it.
#[derive(Debug)]
pub struct Imported {
    /// The text of the definition.
    pub definition: String,
    /// What could not be kept, and what was assumed.
    pub notes: Vec<Note>,
}

/// Reads texts, of one format or of several, into one definition. `group` is the id of the group of rules that come
/// without one.
///
/// # Errors
/// When a text is of none of the formats, or nothing in it is part of a definition.
pub fn import(
    inputs: &[Input],
    from: Option<Format>,
    group: Option<&str>,
) -> Result<Imported, ImportError> {
    if let Some(group) = group {
        GroupId::parse(group)?;
    }
    let mut inventory = Inventory::default();
    let mut notes = Notes::default();
    let mut texts = Vec::new();
    let mut documents = Vec::new();
    for input in inputs {
        if input.text.len() > LARGEST_FILE {
            return Err(ImportError::TooLarge {
                name: input.name.clone(),
            });
        }
        let text = input.text.trim_start_matches('\u{feff}').trim_start();
        match text.starts_with(['{', '[']) {
            true => documents.extend(json(input, text)?),
            false => texts.push(input),
        }
    }
    read_json(&documents, from, group, &mut inventory, &mut notes)?;
    let mut tables = iptables::Tables::default();
    for input in texts {
        let format = from.or_else(|| of_text(&input.text));
        match format {
            Some(Format::Iptables) => {
                tables.read(&input.name, &input.text, &mut notes)?;
            }
            Some(Format::Console) => {
                let id = group
                    .map(str::to_owned)
                    .or_else(|| group_of_name(&input.name));
                console::read(&input.name, &input.text, id, &mut inventory, &mut notes)?;
            }
            _ => return Err(ImportError::Unknown(input.name.clone())),
        }
    }
    tables.finish(&mut inventory, &mut notes)?;
    complete(&mut inventory, &mut notes);
    let notes = notes.into_vec();
    if inventory.is_empty() {
        let first = notes.first();
        let why = first.map(|note| format!("{}: {}", note.place, note.message));
        return Err(ImportError::Nothing(
            why.unwrap_or("it is empty".to_owned()),
        ));
    }
    Ok(Imported {
        definition: definition_text(&inventory),
        notes,
    })
}

/// A JSON value of a text.
struct Document {
    /// The text's name.
    name: String,
    /// The place of its keys.
    place: String,
    value: Value,
}

/// The values of a text; those of a list each for itself.
fn json(input: &Input, text: &str) -> Result<Vec<Document>, ImportError> {
    let mut documents = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        let mut value = value.map_err(|error| ImportError::Json {
            name: input.name.clone(),
            error,
        })?;
        if value.get("resource").is_some_and(Value::is_object) {
            terraform::unescape(&mut value);
        }
        let values = match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        documents.extend(values.into_iter().map(|value| Document {
            name: input.name.clone(),
            place: format!("{}: ", input.name),
            value,
        }));
    }
    if documents.len() > 1 {
        for (index, document) in documents.iter_mut().enumerate() {
            document.place = format!("{}: [{index}]", input.name);
        }
    }
    Ok(documents)
}

/// Reads all documents, since those of one format belong together.
fn read_json(
    documents: &[Document],
    from: Option<Format>,
    group: Option<&str>,
    inventory: &mut Inventory,
    notes: &mut Notes,
) -> Result<(), ImportError> {
    let mut resources = Vec::new();
    let mut of_aws = Vec::new();
    let mut of_tencent = Vec::new();
    for document in documents {
        let map = document.value.as_object();
        let map = map.ok_or_else(|| ImportError::NotAnObject(document.name.clone()))?;
        let object = Object::new(map, document.place.clone());
        match from.or_else(|| of_json(&object)) {
            Some(Format::Terraform) => resources.extend(terraform::resources(&object, notes)),
            Some(Format::Aws) => of_aws.push(object),
            Some(Format::Tencent) => of_tencent.push((document, object)),
            _ => return Err(ImportError::Unknown(document.name.clone())),
        }
    }
    let mut reader = tencent::read::Reader::new(inventory, notes);
    for (document, object) in of_tencent {
        reader.group = group
            .map(str::to_owned)
            .or_else(|| group_of_name(&document.name));
        reader.document(&object);
    }
    reader.finish();
    terraform::read(&resources, inventory, notes);
    aws::read(&of_aws, inventory, notes);
    Ok(())
}

/// The group that a file is called after: `sg-web.json`, `sg-web-in.csv` is not.
fn group_of_name(name: &str) -> Option<String> {
    let file = name.rsplit('/').next()?;
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    GroupId::parse(stem).ok().map(|id| id.to_string())
}
