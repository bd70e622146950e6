//! Failing disks, damaged files, two processes; and that no watcher loses or doubles an event.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use proptest::prelude::*;
use redb::{Builder, Database, DatabaseError, StorageBackend};
use serde_json::{Value, json};

use super::open::Disk;
use super::*;
use crate::watch::Hub;

/// A disk that fails when it is told to.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Switches>);

#[derive(Debug, Default)]
struct Switches {
    full: AtomicBool,
    writes: AtomicU32,
    syncs: AtomicU32,
}

impl Faults {
    pub fn open(&self, builder: &Builder, path: &Path) -> Result<Database, DatabaseError> {
        let io = |e| DatabaseError::Storage(redb::StorageError::Io(e));
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        builder.create_with_backend(Backend { file, faults: self.clone() })
    }

    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::SeqCst)
    }

    fn take(counter: &AtomicU32) -> Result<(), Error> {
        let took = counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        if took.is_ok() { Err(Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct Backend {
    file: File,
    faults: Faults,
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), Error> {
        Faults::take(&self.faults.0.syncs)?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        Faults::take(&self.faults.0.writes)?;
        self.file.write_all_at(data, offset)
    }
}

type Seen = Arc<Mutex<Vec<(u64, String)>>>;

struct Bench {
    store: Store,
    faults: Faults,
    seen: Seen,
}

fn open_in(dir: &Path) -> Bench {
    let (seen, faults) = (Seen::default(), Faults::default());
    let log = seen.clone();
    let observer: Observer = Box::new(move |events| {
        log.lock().extend(events.iter().map(|e| (e.object.revision, e.object.key.name.to_string())))
    });
    let store = Store::open_on(dir, observer, Disk { faults: faults.clone() }).unwrap();
    Bench { store, faults, seen }
}

fn key(name: &str) -> Key {
    Key::new(&"/things".into(), "default", name)
}

fn put(name: &str, expect: Option<u64>, value: u32, durability: Durability) -> Write {
    let mut object = json!({"metadata": {"name": name}, "value": value});
    Write {
        key: key(name),
        expect,
        draft: Draft::new(&mut object).unwrap(),
        delete: false,
        meta: Arc::default(),
        old: None,
        durability,
    }
}

fn value_of(bench: &Bench, name: &str) -> Option<Value> {
    bench.store.get(&key(name)).unwrap().map(|o| serde_json::from_slice(&o.bytes).unwrap())
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open_in(dir.path());
    let first = bench.store.write(put("a", None, 1, Durability::Immediate)).await.unwrap();
    let derived = bench.store.write(put("d", None, 2, Durability::Derived)).await.unwrap();

    bench.faults.0.writes.store(1, Ordering::SeqCst);
    for _ in 0..3 {
        let refused = bench.store.write(put("b", None, 3, Durability::Immediate)).await.unwrap_err();
        assert!(matches!(refused, WriteError::Full { .. }), "{refused}");
        assert_eq!(value_of(&bench, "a").unwrap()["value"], 1);
        assert_eq!(value_of(&bench, "d").unwrap()["value"], 2, "acknowledged without an fsync, still there");
        assert!(value_of(&bench, "b").is_none());
        bench.faults.0.full.store(true, Ordering::SeqCst);
    }
    bench.faults.0.full.store(false, Ordering::SeqCst);
    let after = bench.store.write(put("b", None, 4, Durability::Immediate)).await.unwrap();
    assert!(after.revision > derived.revision && derived.revision > first.revision);

    drop(bench);
    let again = open_in(dir.path());
    assert_eq!(value_of(&again, "d").unwrap()["value"], 2);
    assert_eq!(value_of(&again, "b").unwrap()["value"], 4);
}

#[tokio::test]
async fn a_failed_fsync_is_either_seen_by_all_or_by_none() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open_in(dir.path());
    bench.store.write(put("a", None, 1, Durability::Immediate)).await.unwrap();
    bench.faults.0.syncs.store(1, Ordering::SeqCst);
    let failed = bench.store.write(put("b", None, 2, Durability::Immediate)).await;
    assert!(failed.is_err());
    let there = bench.store.get(&key("b")).unwrap();
    let announced = bench.seen.lock().iter().find(|(_, name)| name == "b").cloned();
    assert_eq!(there.as_ref().map(|o| o.revision), announced.map(|(revision, _)| revision));
    let next = bench.store.write(put("c", None, 3, Durability::Immediate)).await.unwrap();
    let seen = bench.seen.lock().clone();
    assert!(seen.windows(2).all(|w| w[0].0 < w[1].0), "revisions only rise: {seen:?}");
    assert_eq!(seen.last().unwrap().0, next.revision);
}

#[tokio::test]
async fn expectations_are_held_against_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open_in(dir.path());
    let store = &bench.store;
    let one = store.write(put("a", None, 1, Durability::Immediate)).await.unwrap();
    assert_eq!(store.write(put("a", None, 1, Durability::Immediate)).await, Err(WriteError::Exists));
    assert_eq!(store.write(put("x", Some(1), 1, Durability::Immediate)).await, Err(WriteError::Missing));
    let two = store.write(put("a", Some(one.revision), 2, Durability::Derived)).await.unwrap();
    assert_eq!(
        store.write(put("a", Some(one.revision), 3, Durability::Immediate)).await,
        Err(WriteError::Changed { current: two.revision })
    );
    let list = store.list(&"/things".into(), Some("default"), 0).unwrap();
    assert_eq!((list.items.len(), list.revision), (1, two.revision));
}

#[tokio::test]
async fn a_clean_end_keeps_everything_and_wastes_no_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let last = {
        let bench = open_in(dir.path());
        bench.store.write(put("a", None, 1, Durability::Derived)).await.unwrap().revision
    };
    let again = open_in(dir.path());
    assert_eq!(value_of(&again, "a").unwrap()["metadata"]["resourceVersion"], last.to_string());
    assert_eq!(again.store.start(), last + 1);
}

#[test]
fn two_processes_do_not_share_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let _first = open_in(dir.path());
    let error = Store::open(dir.path(), Box::new(|_| {})).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, OpenError::Locked { .. }), "{text}");
    assert!(text.contains("store.lock") && text.contains(&std::process::id().to_string()), "{text}");
}

#[tokio::test]
async fn a_damaged_file_is_refused_with_its_name() {
    for damage in ["empty", "cut", "garbage", "scribbled"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(open::FILE);
        {
            let bench = open_in(dir.path());
            for i in 0..50 {
                bench.store.write(put(&format!("n{i}"), None, i, Durability::Immediate)).await.unwrap();
            }
        }
        let length = std::fs::metadata(&path).unwrap().len();
        match damage {
            "empty" => File::create(&path).map(drop).unwrap(),
            "cut" => OpenOptions::new().write(true).open(&path).unwrap().set_len(length / 3).unwrap(),
            "garbage" => std::fs::write(&path, vec![7; 9000]).unwrap(),
            _ => {
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                for at in (4096..length).step_by(1024) {
                    file.write_all_at(&[0xA5; 64], at).unwrap();
                }
            }
        }
        let error = Store::open(dir.path(), Box::new(|_| {})).map(drop).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{damage}: {error:?}");
        assert!(error.to_string().contains("store.redb"), "{damage}: {error}");
    }
}

/// What a writer does next.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, bool),
    Delete(u8),
}

/// What a watcher does next.
#[derive(Clone, Copy, Debug)]
enum Look {
    Read(usize),
    Reconnect,
    List,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..12_u8, any::<bool>()).prop_map(|(n, derived)| Step::Put(n, derived)),
        1 => (0..12_u8).prop_map(Step::Delete),
    ];
    prop::collection::vec(step, 1..60)
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let look = prop_oneof![
        4 => (1..9_usize).prop_map(Look::Read),
        1 => Just(Look::Reconnect),
        1 => Just(Look::List),
    ];
    prop::collection::vec(look, 1..40)
}

type State = BTreeMap<String, (u64, Bytes)>;

/// Takes an event; panics when it can't follow on what the watcher knows.
fn follow(state: &mut State, cursor: &mut u64, event: &Event) {
    let object = &event.object;
    assert!(object.revision > *cursor, "an event came twice, or out of order");
    *cursor = object.revision;
    let name = object.key.name.to_string();
    match event.kind {
        EventKind::Added => {
            assert!(state.insert(name, (object.revision, object.bytes.clone())).is_none(), "added twice")
        }
        EventKind::Modified => {
            assert!(state.insert(name, (object.revision, object.bytes.clone())).is_some(), "an addition was lost");
        }
        EventKind::Deleted => assert!(state.remove(&name).is_some(), "an addition was lost"),
    }
}

fn snapshot(store: &Store) -> (State, u64) {
    let list = store.list(&"/things".into(), None, 0).unwrap();
    let state = list.items.into_iter().map(|o| (o.key.name.to_string(), (o.revision, o.bytes))).collect();
    (state, list.revision)
}

async fn write_all(store: Arc<Store>, steps: Vec<Step>) {
    for step in steps {
        let (name, derived) = match &step {
            Step::Put(n, derived) => (format!("n{n}"), *derived),
            Step::Delete(n) => (format!("n{n}"), true),
        };
        let durability = if derived { Durability::Derived } else { Durability::Immediate };
        let expect = store.get(&key(&name)).unwrap().map(|o| o.revision);
        let mut write = put(&name, expect, 0, durability);
        if matches!(step, Step::Delete(_)) {
            if expect.is_none() {
                continue;
            }
            write.delete = true;
        }
        // Another writer may have been faster: then nothing was written, which is all that matters here.
        let _ = store.write(write).await;
    }
}

async fn watch(store: Arc<Store>, hub: Arc<Hub>, looks: Vec<Look>, done: tokio_util::sync::CancellationToken) {
    let log = hub.log(&"/things".into());
    let mut bell = log.bell();
    let (mut state, mut cursor) = snapshot(&store);
    let mut looks = looks.into_iter().cycle();
    loop {
        let last = done.is_cancelled();
        let limit = match looks.next() {
            Some(Look::Read(limit)) if !last => limit,
            Some(Look::List) if !last => {
                (state, cursor) = snapshot(&store);
                continue;
            }
            Some(Look::Reconnect) if !last => {
                bell = log.bell();
                1
            }
            _ => usize::MAX,
        };
        match log.after(cursor, limit) {
            Ok(events) => {
                let empty = events.is_empty();
                events.iter().for_each(|e| follow(&mut state, &mut cursor, e));
                if empty && last {
                    assert_eq!(state, snapshot(&store).0, "what was watched is what is stored");
                    return;
                }
                if empty {
                    tokio::select! { _ = bell.changed() => {}, () = done.cancelled() => {} }
                }
            }
            // Too slow for this small log: list anew.
            Err(_) => (state, cursor) = snapshot(&store),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_watcher_loses_or_doubles_an_event(
        writers in prop::collection::vec(steps(), 1..4),
        watchers in prop::collection::vec(looks(), 1..4),
        limit in 3..200_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let hub: Arc<std::sync::OnceLock<Arc<Hub>>> = Arc::default();
            let observed = hub.clone();
            let observer: Observer = Box::new(move |events| observed.get().unwrap().publish(events));
            let store = Arc::new(Store::open(dir.path(), observer).unwrap());
            let hub = hub.get_or_init(|| Arc::new(Hub::with_limit(store.start(), limit))).clone();
            let done = tokio_util::sync::CancellationToken::new();
            let watching: Vec<_> = watchers
                .into_iter()
                .map(|looks| tokio::spawn(watch(store.clone(), hub.clone(), looks, done.clone())))
                .collect();
            let writing: Vec<_> = writers.into_iter().map(|steps| tokio::spawn(write_all(store.clone(), steps))).collect();
            for writer in writing {
                writer.await.unwrap();
            }
            done.cancel();
            for watcher in watching {
                watcher.await.unwrap();
            }
        });
    }
}
