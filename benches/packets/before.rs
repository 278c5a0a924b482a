//! The program of another commit beside ours, in the same run: two runs on a machine that others use too cannot be compared.
//!
//! `SECGROUPD_BEFORE` names it:
//!
//! ```text
//! git worktree add ../before b7199e2
//! (cd ../before && cargo build --profile bench --bin secgroupd)
//! SECGROUPD_BEFORE=../before/target/release/secgroupd bash benches/run.sh packets
//! ```

use crate::support::{Host, namespace::run};
use crate::workloads::Workload;
use std::path::PathBuf;

/// What it is called in tables.
pub fn name() -> String {
    std::env::var("SECGROUPD_BEFORE_IS").unwrap_or_else(|_| "before".into())
}

/// The program, if one is named.
pub fn program() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("SECGROUPD_BEFORE")?);
    let whole = path.canonicalize();
    Some(whole.unwrap_or_else(|error| panic!("SECGROUPD_BEFORE, {}: {error}", path.display())))
}

/// Enforces a workload once, without a daemon.
pub fn enforce(host: &Host, workload: &Workload) {
    let program = program().expect("asked before");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("groups.yaml"), &workload.definition).expect("the definition");
    std::fs::write(path("addresses.txt"), &workload.template).expect("its addresses");
    let mut command = host.command(program);
    command
        .arg("apply")
        .args(["--definition".into(), path("groups.yaml")])
        .args(["--state".into(), path("state")])
        // Nobody listens there: no daemon of this machine is asked to enforce it.
        .args(["--socket".into(), path("control.sock")])
        // Whoever runs this over SSH is not on that host.
        .env_remove("SSH_CONNECTION");
    run(&mut command).unwrap_or_else(|error| panic!("{}, before: {error}", workload.name));
}
