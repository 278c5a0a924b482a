//! Runs the nft program, with a time limit and with everything it says kept.

use super::events::EventSocket;
use super::programs::{die_with_us, find};
use parking_lot::Mutex;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Weak, mpsc};
use std::time::Duration;

/// A list of 100,000 addresses takes about two seconds on a slow machine; longer than this, nft hangs.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The nft program.
#[derive(Debug, Clone)]
pub struct Nft {
    program: PathBuf,
    time_limit: Duration,
    /// Hears what other programs do.
    listener: Arc<Mutex<Weak<EventSocket>>>,
}

/// Why a run of nft failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It is not installed.
    #[error("the program nft was not found; install the package nftables")]
    Missing,
    /// It could not be started or spoken to.
    #[error("cannot run {program}: {error}")]
    Run {
        /// Its path.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// It did not end in time, and was killed.
    #[error("nft did not end within {} s and was stopped", .0.as_secs())]
    TimeLimit(Duration),
    /// It refused the batch.
    #[error("nft refused the ruleset: {}", .message.trim())]
    Refused {
        /// All it said.
        message: String,
        /// The batch it refused.
        batch: String,
    },
}

impl Nft {
    /// Finds nft on the path or where it usually stands.
    pub fn find() -> Result<Self, NftError> {
        let program = find("nft").ok_or(NftError::Missing)?;
        Ok(Self::at(&program))
    }

    /// The nft at this path.
    pub fn at(program: &Path) -> Self {
        Nft {
            program: program.to_owned(),
            time_limit: TIME_LIMIT,
            listener: Arc::default(),
        }
    }

    /// With another time limit.
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Nft { time_limit, ..self }
    }

    /// What nft does from now on is kept from this listener. A script in nft's place must become nft (`exec`): what a
    /// child of it does counts as another program's.
    pub(super) fn is_not_for(&self, listener: &Arc<EventSocket>) {
        *self.listener.lock() = Arc::downgrade(listener);
    }

    fn listener(&self) -> Option<Arc<EventSocket>> {
        self.listener.lock().upgrade()
    }

    /// Applies a batch of nft text as one transaction.
    /// On [`NftError::Refused`] the kernel has changed nothing.
    pub fn apply(&self, batch: &str) -> Result<(), NftError> {
        let (success, message) = self.run(&["-f", "-"], batch)?;
        match success {
            true => Ok(()),
            false => Err(NftError::Refused {
                message,
                batch: batch.to_owned(),
            }),
        }
    }

    /// Whether it succeeded, and its standard error.
    fn run(&self, arguments: &[&str], input: &str) -> Result<(bool, String), NftError> {
        let failed = |error| NftError::Run {
            program: self.program.display().to_string(),
            error,
        };
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // An nft that outlived us would go on loading beside whoever is started next.
        die_with_us(&mut command);
        let mut child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(NftError::Missing);
            }
            other => other.map_err(failed)?,
        };
        // The kernel names nft's socket after its process, and nft sends nothing before it has read its input to the
        // end.
        let listener = self.listener();
        if let Some(listener) = &listener {
            let _ = listener.pass_over(Some(child.id()));
        }
        let message = self.converse(&mut child, input);
        if message.is_err() {
            // Its pipes are closed with it; a kill can only fail if it has ended.
            let _ = child.kill();
        }
        let status = child.wait().map_err(failed);
        if let Some(listener) = &listener {
            let _ = listener.pass_over(None);
        }
        let status = status?;
        Ok((status.success(), message?))
    }

    /// Writes the input while reading the standard error to its end, so that neither side waits for the other.
    fn converse(&self, child: &mut Child, input: &str) -> Result<String, NftError> {
        let (Some(mut stdin), Some(mut stderr)) = (child.stdin.take(), child.stderr.take()) else {
            return Ok(String::new());
        };
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            let _ = stderr.read_to_end(&mut message);
            let _ = ended.send(String::from_utf8_lossy(&message).into_owned());
        });
        let input = input.to_owned();
        std::thread::spawn(move || {
            // An nft that gives up early closes the pipe; its standard error says why.
            let _ = stdin.write_all(input.as_bytes());
        });
        end.recv_timeout(self.time_limit)
            .map_err(|_| NftError::TimeLimit(self.time_limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn fake(script: &str) -> (tempfile::TempDir, Nft) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("nft");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))
            .expect("executable");
        let nft = Nft::at(&program).with_time_limit(Duration::from_millis(300));
        (folder, nft)
    }

    #[test]
    fn keeps_what_nft_says_and_what_it_refused() {
        let (_folder, nft) = fake("cat >/dev/null; echo 'Error: no' >&2; echo second >&2; exit 1");
        match nft.apply("add table x\n") {
            Err(NftError::Refused { message, batch }) => {
                assert_eq!(message, "Error: no\nsecond\n");
                assert_eq!(batch, "add table x\n");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_hanging_nft_is_stopped() {
        let (_folder, nft) = fake("exec sleep 20");
        let start = std::time::Instant::now();
        assert!(matches!(nft.apply(""), Err(NftError::TimeLimit(_))));
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn large_batches_do_not_block() {
        let (_folder, nft) = fake(
            "i=0; while [ $i -lt 2000 ]; do echo 'a line of noise that fills the pipe before anything was read' >&2; i=$((i+1)); done; cat >/dev/null",
        );
        let nft = nft.with_time_limit(Duration::from_secs(10));
        assert!(nft.apply(&"x".repeat(1 << 20)).is_ok());
        let (_folder, early) = fake("exit 0");
        assert!(early.apply(&"x".repeat(1 << 20)).is_ok());
    }

    #[test]
    fn a_missing_nft_is_named() {
        assert!(matches!(
            Nft::at(Path::new("/nonexistent/nft")).apply(""),
            Err(NftError::Missing)
        ));
    }
}
