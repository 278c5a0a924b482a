//! Running kernel tests, and saying so when one cannot run.
//!
//! A test that lacks a tool or a namespace counts as skipped and names the reason. With `CI=true` or
//! `SECGROUPD_NO_SKIP=1` a skip is a failure: in CI none may be skipped.

use std::{env, process::ExitCode, sync::OnceLock};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::namespace;

/// Why a test could not run here.
#[derive(Debug)]
pub struct Skip(pub String);

/// How a test's body may end: with nothing, or with a reason to skip found on the way. A failure is a panic.
pub trait Ending {
    /// The same as libtest-mimic's words.
    fn completion(self) -> Result<(), Skip>;
}

impl Ending for () {
    fn completion(self) -> Result<(), Skip> {
        Ok(())
    }
}

impl Ending for Result<(), Skip> {
    fn completion(self) -> Result<(), Skip> {
        self
    }
}

/// Whether this process has a world of its own; decided once, before any thread is started.
static ISOLATED: OnceLock<Result<(), String>> = OnceLock::new();

/// Moves the process into namespaces of its own and runs the tests there. Call it first in `main`, while the process
/// has one thread: a user namespace can be entered only then.
pub fn run(tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    run_with(Arguments::from_args(), tests)
}

/// The same for tests that mostly wait: so many of them run side by side, more than there are cores.
pub fn run_waiting(at_once: usize, tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(at_once);
    run_with(arguments, tests)
}

fn run_with(arguments: Arguments, tests: impl FnOnce() -> Vec<Trial>) -> ExitCode {
    ISOLATED.get_or_init(|| {
        if arguments.list {
            Ok(())
        } else {
            namespace::isolate()
        }
    });
    libtest_mimic::run(&arguments, tests()).exit_code()
}

/// A test in the private world, which needs these programs on the path.
pub fn kernel_test<E: Ending>(
    name: &str,
    tools: &'static [&'static str],
    body: impl FnOnce() -> E + Send + 'static,
) -> Trial {
    Trial::ignorable_test(name, move || {
        match ready(tools).and_then(|()| body().completion()) {
            Ok(()) => Ok(Completion::Completed),
            Err(Skip(reason)) if skips_are_failures() => {
                Err(Failed::from(format!("may not be skipped here: {reason}")))
            }
            Err(Skip(reason)) => Ok(Completion::ignored_with(reason)),
        }
    })
}

fn ready(tools: &[&str]) -> Result<(), Skip> {
    match ISOLATED.get() {
        Some(Ok(())) => {}
        Some(Err(reason)) => return Err(Skip(reason.clone())),
        None => return Err(Skip("the test binary did not call support::run".into())),
    }
    match ["ip"].iter().chain(tools).find(|tool| !is_installed(tool)) {
        Some(tool) => Err(Skip(format!("`{tool}` is not installed"))),
        None => Ok(()),
    }
}

/// Whether a program is found on the path.
pub fn is_installed(tool: &str) -> bool {
    env::split_paths(&namespace::search_path()).any(|folder| folder.join(tool).is_file())
}

fn skips_are_failures() -> bool {
    let set = |name: &str| {
        env::var(name).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
    };
    set("CI") || set("SECGROUPD_NO_SKIP")
}
