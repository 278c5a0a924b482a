//! The resources of a Terraform document, whichever of its forms it has.

use crate::cloud::formats::json::Object;
use crate::cloud::formats::notes::Notes;
use crate::cloud::formats::values::made_id;
use std::collections::HashMap;

/// How deep modules may lie in each other.
const DEEPEST: usize = 32;

/// A managed resource with its attributes.
#[derive(Debug, Clone)]
pub struct Resource<'j> {
    /// Its type: `tencentcloud_security_group`.
    pub kind: String,
    /// Its name in the configuration.
    pub name: String,
    /// Its attributes, at its address.
    pub object: Object<'j>,
}

impl Resource<'_> {
    /// Its id; one that is not made yet is called after its name.
    pub fn id(&self) -> String {
        self.object.text("id").unwrap_or_else(|| {
            let prefix = match self.kind.as_str() {
                "tencentcloud_security_group" | "aws_security_group" => "sg-",
                "tencentcloud_address_template" | "tencentcloud_address_extra_template" => "ipm-",
                "tencentcloud_address_template_group" => "ipmg-",
                "tencentcloud_protocol_template" => "ppm-",
                "tencentcloud_protocol_template_group" => "ppmg-",
                "tencentcloud_instance" | "aws_instance" => "ins-",
                "tencentcloud_subnet" => "subnet-",
                "tencentcloud_vpc_acl" => "acl-",
                _ => "",
            };
            match self.name.starts_with(prefix) {
                true => self.name.clone(),
                false => made_id(prefix, &self.name),
            }
        })
    }
}

/// Whether a document is of Terraform.
pub fn is_one(object: &Object) -> bool {
    let state =
        object.has("resources") && (object.has("lineage") || object.has("terraform_version"));
    let shown = object.has("format_version");
    state || shown || object.object("resource").is_some()
}

/// The managed resources of a document. What data sources hold is of others.
pub fn resources<'j>(document: &Object<'j>, notes: &mut Notes) -> Vec<Resource<'j>> {
    let mut found = Vec::new();
    if let Some(configuration) = document.object("resource") {
        of_configuration(&configuration, notes, &mut found);
    }
    if document.has("resource") {
        for key in ["module", "data", "locals"] {
            if document.says(key) {
                notes.not_kept(document.at(key), "import reads resources, and this is none");
            }
        }
    }
    for key in ["values", "planned_values"] {
        // A plan has both: what is planned is what is meant.
        if let Some(values) = document.object(key)
            && (key == "planned_values" || !document.has("planned_values"))
            && let Some(root) = values.object("root_module")
        {
            of_module(&root, 0, notes, &mut found);
        }
    }
    if document.has("resources") {
        of_state(document, notes, &mut found);
    }
    found
}

fn of_state<'j>(document: &Object<'j>, notes: &mut Notes, found: &mut Vec<Resource<'j>>) {
    for resource in document.objects("resources", notes) {
        let Some((kind, name)) = kind_and_name(&resource, notes) else {
            continue;
        };
        let module = resource.text("module");
        let module = module
            .map(|module| format!("{module}."))
            .unwrap_or_default();
        for instance in resource.objects("instances", notes) {
            let index = instance.text("index_key");
            let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
            if let Some(mut attributes) = instance.object("attributes") {
                let file = file_of(&document.place);
                attributes.place = format!("{file}{module}{kind}.{name}{index}");
                found.push(Resource {
                    kind: kind.clone(),
                    name: name.clone(),
                    object: attributes,
                });
            }
        }
    }
}

fn of_module<'j>(
    module: &Object<'j>,
    depth: usize,
    notes: &mut Notes,
    found: &mut Vec<Resource<'j>>,
) {
    for resource in module.objects("resources", notes) {
        let Some((kind, name)) = kind_and_name(&resource, notes) else {
            continue;
        };
        if let Some(mut values) = resource.object("values") {
            let address = resource.text("address");
            let address = address.unwrap_or_else(|| format!("{kind}.{name}"));
            values.place = format!("{}{address}", file_of(&module.place));
            found.push(Resource {
                kind,
                name,
                object: values,
            });
        }
    }
    for child in module.objects("child_modules", notes) {
        match depth < DEEPEST {
            true => of_module(&child, depth + 1, notes, found),
            false => notes.not_kept(&child.place, "modules lie too deep in each other"),
        }
    }
}

fn of_configuration<'j>(
    configuration: &Object<'j>,
    notes: &mut Notes,
    found: &mut Vec<Resource<'j>>,
) {
    for (kind, _) in configuration.entries() {
        let Some(of_kind) = configuration.object(kind) else {
            continue;
        };
        for (name, _) in of_kind.entries() {
            // A body is an object, or a list of one.
            for mut body in of_kind.objects(name, notes) {
                body.place = format!("{}{kind}.{name}", file_of(&configuration.place));
                found.push(Resource {
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                    object: body,
                });
            }
        }
    }
}

fn kind_and_name(resource: &Object, notes: &mut Notes) -> Option<(String, String)> {
    let (kind, name) = (resource.text("type")?, resource.text("name")?);
    if resource.text("mode").is_some_and(|mode| mode == "data") {
        let message = format!("data.{kind}.{name} is a data source: import reads resources");
        notes.not_kept(&resource.place, message);
        return None;
    }
    Some((kind, name))
}

/// `groups.json: ` of a place in it.
fn file_of(place: &str) -> &str {
    match place.find(": ") {
        Some(end) => &place[..end + 2],
        None => "",
    }
}

/// The ids of resources, by what names them in expressions.
#[derive(Debug)]
pub struct Names {
    ids: HashMap<String, String>,
}

impl Names {
    /// Those of all resources.
    pub fn of(resources: &[Resource]) -> Self {
        let ids = resources.iter().map(|resource| {
            let address = format!("{}.{}", resource.kind, resource.name);
            (address, resource.id())
        });
        Names { ids: ids.collect() }
    }

    /// The id that a text is, or that its expression `${type.name.id}` means.
    pub fn id(&self, text: &str) -> String {
        let inner = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(inner) = inner else {
            return text.to_owned();
        };
        let named = inner
            .trim()
            .rsplit_once('.')
            .map_or(inner, |(named, _)| named);
        self.ids
            .get(named)
            .cloned()
            .unwrap_or_else(|| text.to_owned())
    }

    /// The ids of a list.
    pub fn ids(&self, texts: Vec<String>) -> Vec<String> {
        texts.iter().map(|text| self.id(text)).collect()
    }
}
