//! What a file of 16 MB may cost at most, in time and memory, from the program's start to its end. The full form holds the program to
//! what the README promises; the short form, which may run beside anything, only to some end.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use super::inputs::{Input, faults, large, texts};
use super::support::{is_full, kernel_test};

/// The most that a run may take.
#[derive(Clone, Copy)]
struct Bounds {
    time: Duration,
    memory_mb: u64,
}

/// The promises of docs/performance.md: reading and judging, and compiling and proving what is right.
const READING: Bounds = Bounds {
    time: Duration::from_secs(10),
    memory_mb: 300,
};
const COMPILING: Bounds = Bounds {
    time: Duration::from_secs(45),
    memory_mb: 600,
};
/// Of the short form.
const PATIENT: Bounds = Bounds {
    time: Duration::from_secs(300),
    memory_mb: 1500,
};

fn bounds(command: &str) -> Bounds {
    match command {
        _ if !is_full() => PATIENT,
        "check" => READING,
        _ => COMPILING,
    }
}

pub fn tests() -> Vec<Trial> {
    vec![
        kernel_test("texts_that_cost_the_most", &[], || bounded(texts, WHOLE)),
        kernel_test("faults_that_cost_the_most", &[], || bounded(faults, WHOLE)),
        // The whole ones are refused as too large; of the others most are not, and have to be compiled.
        kernel_test("definitions_that_cost_the_most", &[], || {
            if is_full() {
                bounded(large, WHOLE);
            }
            bounded(large, [3_900_000, 300_000]);
        }),
        kernel_test("very_many_files", &[], many_files),
    ]
}

/// Bytes of a whole file, in the full and in the short form.
const WHOLE: [usize; 2] = [15_990_000, 1_500_000];

fn bounded(inputs: fn(usize) -> Vec<Input>, [full, short]: [usize; 2]) {
    let bytes = if is_full() { full } else { short };
    let only = std::env::var("SECGROUPD_ONLY").unwrap_or_default();
    for input in inputs(bytes) {
        if !input.name.contains(&only) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("groups.yaml"), &input.text).unwrap();
        fs::write(folder.path().join("t.txt"), &input.template).unwrap();
        let path = folder.path().join("groups.yaml");
        let checked = cost(&["check", path.to_str().unwrap()], input.name);
        if checked.code == Some(0) && input.text.contains("eth0") {
            cost(
                &["compile", "--instance", "ins-a", path.to_str().unwrap()],
                input.name,
            );
        }
    }
}

struct Cost {
    code: Option<i32>,
}

/// Runs the program and holds it to the bounds.
fn cost(arguments: &[&str], name: &str) -> Cost {
    let folder = tempfile::tempdir().unwrap();
    let said = fs::File::create(folder.path().join("said")).unwrap();
    let bounds = bounds(arguments[0]);
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_secgroupd"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said)
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        peak = peak_mb(child.id()).unwrap_or(peak).max(peak);
        if start.elapsed() > bounds.time || peak > bounds.memory_mb {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{name}: {arguments:?} takes {:?} and {peak} MB",
                start.elapsed()
            );
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = fs::metadata(folder.path().join("said")).unwrap().len();
    println!(
        "{:>8} {name}: {:.2} s, {peak} MB, {} kB said, {status}",
        arguments[0],
        start.elapsed().as_secs_f64(),
        said / 1000
    );
    assert!(matches!(status.code(), Some(0..=2)), "{name}: {status}");
    assert!(
        status.code() != Some(2),
        "{name}: it could not even be judged"
    );
    Cost {
        code: status.code(),
    }
}

/// The most memory that a process has had.
fn peak_mb(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1000)
}

/// A directory with a group in each of its files.
fn many_files() {
    let folder = tempfile::tempdir().unwrap();
    let count = if is_full() { 50_000 } else { 5_000 };
    for number in 0..count {
        let text = format!(
            "version: 1\nsecurity_groups: {{ sg-{number}: {{ inbound: [{{ action: allow, protocol: tcp, source: any }}] }} }}\n"
        );
        fs::write(folder.path().join(format!("{number}.yaml")), text).unwrap();
    }
    fs::write(
        folder.path().join("z.yaml"),
        "version: 1\ninstances: { ins-a: { interfaces: { eth0: { security_groups: [sg-0, sg-1] } } } }\n",
    )
    .unwrap();
    let checked = cost(
        &["check", folder.path().to_str().unwrap()],
        "very many files",
    );
    assert_eq!(checked.code, Some(0));
}
