//! What the daemon owes, has failed to do, and tries again.

use crate::host::report::Failure;

/// Why it has failed last, and what was wrong before that.
#[derive(Debug, Default)]
pub(super) struct Retried(Option<(Failure, Option<Failure>)>);

impl Retried {
    /// Whether the last attempt has failed.
    pub fn has_failed(&self) -> bool {
        self.0.is_some()
    }

    /// Notes whether it could be done now. What was wrong besides is so again when it could, unless a definition was
    /// enforced or refused meanwhile. Returns whether a failure is news.
    pub fn note(&mut self, failure: Option<&Failure>, last_error: &mut Option<Failure>) -> bool {
        let last = self.0.take();
        let again =
            matches!((&last, failure), (Some((last, _)), Some(now)) if last.text == now.text);
        if let Some((last, before)) = last
            && last_error.as_ref() == Some(&last)
        {
            *last_error = before;
        }
        let Some(failure) = failure else {
            return false;
        };
        let before = last_error.replace(failure.clone());
        self.0 = Some((failure.clone(), before));
        !again
    }
}
