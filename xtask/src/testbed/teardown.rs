//! The end of the test bed: processes, mounts, cgroups, files, the namespace. Nothing depends on how far its start got.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::record::{Record, kill};
use super::{network, state};
use crate::files;
use crate::process::{TaskError, run};

/// The cgroup that all pods are under, in every hierarchy.
pub const CGROUP: &str = "foregate-testbed";
const HIERARCHIES: &str = "/sys/fs/cgroup";
/// How long processes may take to be gone, and mounts and cgroups after them.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes everything but the logs.
///
/// # Errors
/// When something stays.
pub fn down() -> Result<(), TaskError> {
    let record = Record::load()?;
    let began = !record.is_empty() || network::path().exists();
    // The kubelet first, lest it starts again what ends.
    record.processes.iter().rev().for_each(super::record::Process::kill);
    until("processes of the test bed don't end", || {
        let left = ours(&record);
        left.iter().copied().for_each(kill);
        left.is_empty()
    })?;
    unmount()?;
    until("cgroups of the test bed stay", remove_cgroups)?;
    network::remove()?;
    super::node::remove_places();
    files::remove(state::run())?;
    for path in files::list(state::dir()).unwrap_or_default() {
        if ![state::logs(), state::dir().join("lock"), state::dir().join("turn")].contains(&path) {
            files::remove(&path)?;
        }
    }
    if began {
        println!("test bed: down; its logs stay in {}", state::logs().display());
    }
    Ok(())
}

fn until(otherwise: &str, mut holds: impl FnMut() -> bool) -> Result<(), TaskError> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return Err(TaskError::Other(otherwise.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What still runs: recorded processes, those of pods, and those that others started in the namespace (shims, Envoys).
fn ours(record: &Record) -> Vec<i32> {
    let recorded = record.processes.iter().chain(&record.guests).filter(|process| process.is_alive());
    let mut all: Vec<i32> = recorded.map(|process| process.pid).collect();
    for group in cgroups() {
        let pids = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        all.extend(pids.lines().filter_map(|pid| pid.parse::<i32>().ok()).filter(|pid| *pid > 1));
    }
    all.extend(inside_from(&crate::tools::cache_dir().unwrap_or_default()));
    all.extend(inside_from(state::dir()));
    all.sort_unstable();
    all.dedup();
    all
}

/// Ends those who use the test bed, and what they started.
///
/// # Errors
/// When a process doesn't end.
pub fn end_guests(record: &Record) -> Result<(), TaskError> {
    until("processes that use the test bed don't end", || {
        let recorded = record.guests.iter().filter(|process| process.is_alive()).map(|process| process.pid);
        let left: Vec<i32> = recorded.chain(inside_from(state::dir())).collect();
        left.iter().copied().for_each(kill);
        left.is_empty()
    })
}

/// Processes in the namespace whose program is under a folder.
fn inside_from(folder: &Path) -> Vec<i32> {
    let namespace = inode(&network::path());
    let is_inside = |pid: &i32| {
        let at = PathBuf::from(format!("/proc/{pid}"));
        let program = std::fs::read_link(at.join("exe")).unwrap_or_default();
        namespace.is_some() && inode(&at.join("ns/net")) == namespace && program.starts_with(folder)
    };
    let processes = files::list(Path::new("/proc")).unwrap_or_default();
    let pids = processes.iter().filter_map(|path| path.file_name()?.to_str()?.parse::<i32>().ok());
    pids.filter(is_inside).collect()
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).map(|data| data.ino()).ok()
}

/// What an earlier way of mounting, or a process outside, may have left under the state.
fn unmount() -> Result<(), TaskError> {
    let table = files::read(Path::new("/proc/self/mounts"))?;
    let table = String::from_utf8_lossy(&table);
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let ours: Vec<&str> = points
        .filter(|point| [state::dir(), state::run()].iter().any(|dir| Path::new(point).starts_with(dir)))
        .collect();
    ours.iter().rev().try_for_each(|point| run(&mut crate::process::command("umount", &["--lazy", point])))
}

/// The hierarchies: version 1 has a folder for each, version 2 is one.
fn hierarchies() -> Vec<PathBuf> {
    let root = PathBuf::from(HIERARCHIES);
    if root.join("cgroup.controllers").exists() {
        return vec![root];
    }
    let mut all = files::list(&root).unwrap_or_default();
    all.retain(|path| path.is_dir() && !path.is_symlink());
    all
}

/// Makes the cgroup that the kubelet is told to stay in.
///
/// # Errors
/// When one can't be made.
pub fn make_cgroups() -> Result<(), TaskError> {
    for hierarchy in hierarchies() {
        let group = hierarchy.join(CGROUP);
        files::make_dir(&group)?;
        // Of version 1: a group begins without processors, and takes no process until it has some.
        for name in ["cpuset.mems", "cpuset.cpus"] {
            let (from, to) = (hierarchy.join(name), group.join(name));
            if from.exists() && to.exists() {
                files::write(&to, files::read(&from)?)?;
            }
        }
    }
    Ok(())
}

/// Every group, those inside of others first.
fn cgroups() -> Vec<PathBuf> {
    fn walk(group: PathBuf, all: &mut Vec<PathBuf>) {
        for inner in files::list(&group).unwrap_or_default().into_iter().filter(|path| path.is_dir()) {
            walk(inner, all);
        }
        all.push(group);
    }
    let mut all = Vec::new();
    for group in hierarchies().into_iter().map(|hierarchy| hierarchy.join(CGROUP)).filter(|group| group.exists()) {
        walk(group, &mut all);
    }
    all
}

/// Whether all are gone: the kernel lets go of one shortly after its last process.
fn remove_cgroups() -> bool {
    cgroups().into_iter().filter(|group| std::fs::remove_dir(group).is_err() && group.exists()).count() == 0
}
