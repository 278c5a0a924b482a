//! Says who changes a definition, before it is saved: for the history of the daemon that follows it.

use super::client::ask;
use super::messages::Request;
use crate::definition::Sources;
use crate::source::content::content;
use std::path::Path;
use std::time::Duration;

/// A daemon that takes longer does without.
const LIMIT: Duration = Duration::from_secs(2);

/// Says that this command is about to save or apply a definition of these texts: the whole definition as it is then, with
/// its template files. `client` is where it was called from. Where no daemon runs, or it may not be asked, the history
/// shows a plain save.
pub fn announce(socket: &Path, sources: &Sources, client: Option<String>) {
    announce_content(socket, content(sources), client);
}

/// The same of texts whose hash is known.
pub fn announce_content(socket: &Path, content: String, client: Option<String>) {
    let words = std::env::args_os().skip(1);
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let request = Request::Announce {
        content,
        line: format!("secgroupd {}", words.join(" ")),
        client,
        sudo_user: std::env::var("SUDO_USER").ok(),
    };
    if let Err(error) = ask(socket, &request, LIMIT) {
        tracing::debug!("the daemon does not hear who changes the definition: {error}");
    }
}
