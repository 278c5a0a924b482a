//! A folder with a page's files, on a host named `laptop`, and the commands of the page in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::sethostname;
use tempfile::TempDir;

use super::support::Host;
use super::support::namespace::search_path;

/// Where the commands of one page run. A lab that they have brought up ends with it.
pub struct Laptop {
    host: Host,
    folder: TempDir,
}

impl Laptop {
    pub fn new() -> Self {
        let laptop = Self {
            host: Host::new("laptop"),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::create_dir(laptop.path("bin")).unwrap();
        symlink(
            env!("CARGO_BIN_EXE_secgroupd"),
            laptop.path("bin/secgroupd"),
        )
        .unwrap();
        fs::create_dir(laptop.path("here")).unwrap();
        laptop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path("here").join(name), text).unwrap();
    }

    /// What a terminal would show of this line.
    pub fn prints(&self, line: &str) -> String {
        // A file and no pipe: a program that stays in the background holds it open.
        let said = self.path("said");
        self.command(line, &said).status().expect("it starts");
        fs::read_to_string(said).expect("text")
    }

    fn command(&self, line: &str, said: &Path) -> Command {
        let said = fs::File::create(said).unwrap();
        let mut command = self.host.command("sh");
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(search_path());
        command
            .args(["-c", line])
            .current_dir(self.path("here"))
            .env("PATH", path)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said);
        // SAFETY: between fork and exec the closure makes two system calls and allocates nothing.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(|| {
                unshare(CloneFlags::CLONE_NEWUTS)?;
                sethostname("laptop")?;
                Ok(())
            });
        }
        command
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        self.prints("secgroupd lab down");
    }
}
