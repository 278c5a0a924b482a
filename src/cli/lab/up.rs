//! `secgroupd lab up`.

use super::progress::Progress;
use super::{matrix, names, status};
use crate::cli::outcome::{ERROR, NO, Result};
use crate::cli::print;
use crate::daemon::logging;
use crate::lab::addresses::{Given, GivenAddress};
use crate::lab::cell::Cell;
use crate::lab::control::server::{bind, serve};
use crate::lab::follow::{LabEvent, follow};
use crate::lab::ground::{Ground, silence};
use crate::lab::live::{Changed, Lab};
use crate::lab::reach::{Reach, Wanted};
use crate::lab::read::read;
use crate::lab::service::LabService;
use crate::source::shown::shown;
use crate::words::count;
use anyhow::{Context, bail};
use clap::Args;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;
use tokio::sync::Notify;

/// Brings up the lab of a definition and follows what is saved, until Ctrl-C or `lab down` ends it. It needs no root,
/// and leaves nothing behind, however it ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  secgroupd lab up --demo                  two web servers, a database and who is around them
  secgroupd lab up groups.yaml             then, in another terminal: secgroupd lab reach
  secgroupd lab up groups.yaml --reach     print who reaches whom, and what each save changes
  secgroupd lab up groups.yaml --detach    return when it is up; `secgroupd lab down` ends it")]
pub struct Arguments {
    /// The definition: a file, or a directory with *.yaml files
    #[arg(required_unless_present = "demo")]
    path: Option<PathBuf>,
    /// Use lab.yaml of this folder, which is written if there is none, and print who reaches whom
    #[arg(long, conflicts_with = "path")]
    demo: bool,
    /// Print who reaches whom when it is up, and after each save what has changed
    #[arg(long)]
    reach: bool,
    /// Return when it is up
    #[arg(long)]
    detach: bool,
    /// The lab's name; by default that of the definition
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// What the demonstration shows.
const DEMO: &str = include_str!("../../../config/lab.yaml");

pub fn run(arguments: Arguments) -> Result {
    logging::init(Some("warn"))?;
    let path = match (&arguments.path, arguments.demo) {
        (Some(path), _) => path.clone(),
        (None, _) => demo()?,
    };
    let start = Instant::now();
    let mut given = Given::default();
    let reading = read(&path, &mut given);
    print::diagnostics(&reading.loaded);
    if reading.nodes.is_none() {
        return Ok(ExitCode::from(NO));
    }
    reading.refused.iter().for_each(|what| print::error(what));
    let name = arguments.name.clone().unwrap_or_else(|| names::of(&path));
    let listener = bind(&name)?;
    let ready = match arguments.detach {
        true => match detach()? {
            Detached::Parent(code) => return Ok(code),
            Detached::Child(ready) => Some(ready),
        },
        false => None,
    };
    let ground = Ground::leave(Some(listener.as_fd()))?;
    ignore_closed_pipes();
    let lab = match Lab::raise(&name, &path, reading, given, ground) {
        Ok(lab) => Arc::new(lab),
        Err(errors) => {
            errors.iter().for_each(|error| print::error(error));
            return Ok(ExitCode::from(ERROR));
        }
    };
    let down = Arc::new(Notify::new());
    let asked = down.clone();
    serve(&lab, listener, move || asked.notify_one());
    let what = lab.status();
    let took = start.elapsed().as_secs_f64();
    print::out(&format!("the lab `{name}` is up after {took:.1} s\n"));
    print::out(&status::nodes(&what.nodes));
    remark(&what.given);
    let shows = arguments.reach || arguments.demo;
    let mut last = None;
    if shows {
        last = tried(&lab);
        if let Some(reach) = &last {
            print::out("\n");
            print::out(&matrix::matrix(reach, print::colour(&std::io::stdout())));
            hint(reach);
        }
    }
    let ends = if arguments.detach { "" } else { "Ctrl-C or " };
    let named = format!(" --name {name}");
    let named = arguments.name.as_ref().map_or("", |_| &named);
    print::out(&format!(
        "\n{} is followed. {ends}`secgroupd lab down{named}` ends the lab.\n",
        shown(&path)
    ));
    if let Some(ready) = ready {
        background(ready)?;
    }
    let (tell, told) = channel();
    let here = lab.clone();
    // In a thread of its own: what is tried takes seconds, and saves and signals do not wait for it.
    std::thread::spawn(move || say_all(&told, &here, shows.then_some(last)));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(follow(lab.clone(), down, move |event| {
        // It listens as long as the process lives.
        let _ = tell.send(event);
    }));
    // A reading that is under way is not waited for: nothing of a lab outlives its process.
    runtime.shutdown_background();
    lab.clear();
    Progress::clear();
    done?;
    print::out("the lab has ended\n");
    Ok(ExitCode::SUCCESS)
}

/// Says what happens; and if anything was tried, what a save has changed in that.
fn say_all(told: &Receiver<LabEvent>, lab: &Lab, mut last: Option<Option<Reach>>) {
    while let Ok(event) = told.recv() {
        let mut changed = false;
        // Of several saves each is said, and what they come to is tried once.
        for event in [event].into_iter().chain(told.try_iter()) {
            match event {
                LabEvent::Changed(change) => {
                    say(&change);
                    changed = true;
                }
                LabEvent::Refused(reading) => {
                    print::diagnostics(&reading.loaded);
                    print::note("the lab stays as it was");
                }
            }
        }
        if let Some(last) = &mut last
            && changed
        {
            let now = tried(lab);
            if let (Some(before), Some(now)) = (&last, &now) {
                differences(before, now);
            }
            *last = now.or(last.take());
        }
    }
}

/// The file of the demonstration: a copy, because whoever edits what the program is built from builds it again.
fn demo() -> anyhow::Result<PathBuf> {
    let path = PathBuf::from("lab.yaml");
    if !path.exists() {
        std::fs::write(&path, DEMO)
            .context("cannot write lab.yaml here: go to a folder that you may write to")?;
        print::out("lab.yaml is written: the definition of this lab\n");
    }
    Ok(path)
}

/// A group as a remote means listed addresses, and on VMs nobody lists these.
fn remark(given: &[GivenAddress]) {
    if given.is_empty() {
        return;
    }
    let list: Vec<String> = given
        .iter()
        .take(5)
        .map(|given| format!("{} {} {}", given.instance, given.interface, given.address))
        .collect();
    let more = if given.len() > 5 { ", …" } else { "" };
    print::note(&format!(
        "note: no addresses are listed for some interfaces, and the lab gave them its own ({}{more}); a group as a remote means listed addresses, here as on a host: list them",
        list.join(", ")
    ));
}

fn tried(lab: &Lab) -> Option<Reach> {
    let mut progress = Progress::new();
    let reach = lab.reach(&Wanted::default(), &mut |done, total| {
        progress.show(done, total);
    });
    drop(progress);
    reach.map_err(|error| print::error(&error.to_string())).ok()
}

/// Which line to edit to see a refusal turn into a pass.
fn hint(reach: &Reach) {
    let Some((cell, side)) = matrix::refusal_to_edit(reach) else {
        return;
    };
    let place = side.place.as_deref().unwrap_or_default();
    let line = reach.lines.get(place).map_or("", String::as_str);
    print::out(&format!(
        "\nTry it: {} at {} is refused to {} by {}, {place}:\n  {line}\nWrite `allow` for `refuse` in that line and save the file: it is enforced at once, and you see here what changes.\n",
        cell.service,
        cell.to,
        cell.from,
        side.by()
    ));
}

fn say(changed: &Changed) {
    let mut parts = Vec::new();
    for (what, names) in [
        ("new", &changed.arranged.added),
        ("made anew", &changed.arranged.rewired),
        ("gone", &changed.arranged.removed),
        ("another policy", &changed.enforced),
    ] {
        match names.as_slice() {
            [] => {}
            few @ ([_] | [_, ..]) if few.len() <= 5 => {
                parts.push(format!("{what}: {}", few.join(", ")));
            }
            many => parts.push(format!("{what}: {}", count(many.len(), "instance"))),
        }
    }
    for error in changed.errors.iter().chain(&changed.refused) {
        print::error(error);
    }
    let what = match parts.is_empty() {
        true => "nothing changes".to_owned(),
        false => parts.join("; "),
    };
    print::out(&format!("saved: {what} ({:.0} ms)\n", changed.took_ms));
}

/// Cells whose outcome is another.
fn differences(before: &Reach, now: &Reach) {
    fn key(cell: &Cell) -> (&str, &str, IpAddr, IpAddr, LabService) {
        let (from, to) = (&*cell.from, &*cell.to);
        (from, to, cell.source, cell.target, cell.service)
    }
    let old: HashMap<_, _> = before
        .cells
        .iter()
        .map(|cell| (key(cell), cell.found))
        .collect();
    let mut said = HashSet::new();
    for cell in &now.cells {
        if let Some(old) = old.get(&key(cell)).filter(|old| **old != cell.found) {
            let line = format!(
                "  {} -> {} {}: {old} -> {}\n",
                cell.from, cell.to, cell.service, cell.found
            );
            // Of several addresses once.
            if said.insert(line.clone()) {
                print::out(&line);
            }
        }
    }
    for (cell, why) in now.differences() {
        print::error(&format!("{}: not as predicted: {why}", matrix::one(cell)));
    }
}

/// A client that has gone away ends no lab.
#[allow(unsafe_code)]
fn ignore_closed_pipes() {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: to ignore is no handler of ours, and no other thread runs yet.
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
}

enum Detached {
    /// The process that was started: it ends with this status.
    Parent(ExitCode),
    /// The lab's process; a byte written here says that it is up.
    Child(OwnedFd),
}

/// Goes on in a process of its own, and waits in this one until it is up or has failed.
#[allow(unsafe_code)]
fn detach() -> anyhow::Result<Detached> {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork, pipe2, read};
    let (heard, say) = pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    // SAFETY: this process has one thread, so that the child may do whatever it could.
    match unsafe { fork() }? {
        // Until it is up, Ctrl-C ends it too.
        ForkResult::Child => Ok(Detached::Child(say)),
        ForkResult::Parent { child } => {
            drop(say);
            if let Ok(1..) = read(&heard, &mut [0]) {
                return Ok(Detached::Parent(ExitCode::SUCCESS));
            }
            match waitpid(child, None)? {
                WaitStatus::Exited(_, code) => {
                    let code = u8::try_from(code).unwrap_or(ERROR);
                    Ok(Detached::Parent(ExitCode::from(code)))
                }
                ended => bail!("the lab has ended: {ended:?}"),
            }
        }
    }
}

/// Lets go of the terminal, and says that the lab is up.
fn background(ready: OwnedFd) -> anyhow::Result<()> {
    nix::unistd::setsid()?;
    silence()?;
    nix::unistd::write(&ready, b"1")?;
    Ok(())
}
