//! A case: a folder with a definition, as `definition.yaml` or as files in `definition/`, and the files
//! that its templates name.

use secgroupd::definition::{Definition, Diagnostic, Sources, parse};
use secgroupd::policy::{Account, Policy, Validated, validate_at};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

/// A definition that was read and judged.
pub struct Judged {
    pub sources: Sources,
    /// As it was written; its sources are those above.
    pub definition: Definition,
    pub account: Option<Account>,
    pub diagnostics: Vec<Diagnostic>,
}

/// The cases of `tests/<kind>/`, by name.
pub fn cases(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(kind);
    sorted(&folder)
}

/// Of a directory, its own `*.yaml` and `*.yml`; names starting with `.` are ignored.
fn definition_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = sorted(folder);
    files.retain(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"))
    });
    files
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Reads and judges the definition of a case; places are shown relative to its folder.
pub fn judge(case: &Path) -> Judged {
    let several = case.join("definition");
    let files = match several.is_dir() {
        true => definition_files(&several),
        false => vec![case.join("definition.yaml")],
    };
    let files: Vec<(String, String)> = files
        .iter()
        .map(|path| {
            let shown = path.strip_prefix(case).unwrap().to_string_lossy();
            (shown.into_owned(), fs::read_to_string(path).unwrap())
        })
        .collect();
    let files = files.iter().map(|(path, text)| (&**path, &**text));
    judge_texts(files, case)
}

/// When the cases are judged: 2027-01-15T08:00:00Z.
pub const NOW: u64 = 1_800_000_000;

/// Judges texts; the files of templates are looked up in `folder`.
pub fn judge_texts<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
    folder: &Path,
) -> Judged {
    let mut parsed = parse(files);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(folder.join(&path));
        let text = text.map_err(|error| format!("{}: {error}", path.display()));
        (path, text)
    };
    let templates: HashMap<_, _> = parsed
        .definition
        .template_files()
        .into_iter()
        .map(read)
        .collect();
    parsed.definition.attach(&templates);
    let Validated {
        account,
        diagnostics,
    } = validate_at(&parsed.definition, parsed.diagnostics, NOW);
    Judged {
        sources: std::mem::take(&mut parsed.definition.sources),
        definition: parsed.definition,
        account,
        diagnostics,
    }
}

impl Judged {
    /// The diagnostics as a person sees them, without colour.
    pub fn rendered(&self) -> String {
        let each = self.diagnostics.iter();
        let texts: Vec<_> = each.map(|d| d.render(&self.sources, false)).collect();
        texts.join("\n\n") + "\n"
    }

    /// What the first instance enforces; it gets the unblock that it asks for.
    pub fn policy(&self) -> Policy {
        let account = self.account.as_ref();
        let account = account.unwrap_or_else(|| panic!("refused:\n{}", self.rendered()));
        let first = &account.instances[0];
        let unblocked = match first.smtp_request {
            true => BTreeSet::from([first.id.clone()]),
            false => BTreeSet::new(),
        };
        account.policy(&first.id, &unblocked).unwrap()
    }
}

/// Compares with a file, or writes it when `UPDATE_EXPECT=1`.
pub fn expect(path: &Path, text: &str) {
    if std::env::var("UPDATE_EXPECT").is_ok_and(|value| value == "1") {
        fs::write(path, text).unwrap();
        return;
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    assert!(
        wanted == text,
        "{} differs (UPDATE_EXPECT=1 rewrites it).\n--- wanted\n{wanted}\n--- got\n{text}",
        path.display()
    );
}
