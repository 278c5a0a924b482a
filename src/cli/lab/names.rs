//! What a lab is called when nobody says.

use std::path::Path;

/// Of `groups.yaml` it is `groups`, of a directory its own name; what no name may hold becomes `-`.
pub fn of(definition: &Path) -> String {
    let real = std::path::absolute(definition).unwrap_or_else(|_| definition.to_owned());
    let stem = match real.is_dir() {
        true => real.file_name(),
        false => real.file_stem(),
    };
    let name: String = stem
        .unwrap_or_default()
        .to_string_lossy()
        .chars()
        .take(64)
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') => c,
            _ => '-',
        })
        .collect();
    match name.is_empty() {
        true => "lab".to_owned(),
        false => name,
    }
}

#[cfg(test)]
mod tests {
    use super::of;
    use std::path::Path;

    #[test]
    fn of_a_path() {
        assert_eq!(of(Path::new("x/groups.yaml")), "groups");
        assert_eq!(of(Path::new("/")), "lab");
        assert_eq!(of(Path::new("a b.yaml")), "a-b");
    }
}
