//! Which files there are. A file is known to differ by its identity, size and times, without reading it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::mistake::Mistake;

/// Bytes of one file.
pub(crate) const MOST_BYTES: u64 = 32 << 20;
/// Files of all directories.
const MOST_FILES: usize = 10_000;
/// Directories inside of directories.
const MOST_LEVELS: usize = 16;

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Signature {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files, by path.
    pub files: BTreeMap<PathBuf, Signature>,
    /// Directories whose changes matter: those that were listed, what symbolic links lead to, and their parents.
    pub directories: BTreeSet<PathBuf>,
    /// What couldn't be listed: below these, nothing is known.
    pub unknown: BTreeSet<PathBuf>,
    /// Why.
    pub mistakes: Vec<Mistake>,
}

/// Lists all files below directories; a root may be a file itself.
pub(crate) fn list(roots: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    for root in roots {
        // A root that is replaced, or comes back, is an event of its parent.
        listing.directories.extend(root.parent().map(Path::to_owned));
        let mut seen = BTreeSet::new();
        match fs::metadata(root) {
            Ok(metadata) if metadata.is_file() => listing.file(root, &metadata),
            _ => listing.directory(root, 0, &mut seen),
        }
    }
    listing
}

impl Listing {
    /// Whether what a file said stays, though it wasn't found.
    pub(crate) fn is_unknown(&self, file: &Path) -> bool {
        self.unknown.iter().any(|directory| file.starts_with(directory))
    }

    fn directory(&mut self, path: &Path, level: usize, seen: &mut BTreeSet<PathBuf>) {
        self.note_link(path);
        let entries = fs::canonicalize(path).and_then(|real| Ok((real, fs::read_dir(path)?)));
        let (real, entries) = match entries {
            Ok(found) => found,
            Err(error) => return self.cannot(path, &error),
        };
        if !seen.insert(real) {
            // A link that leads back.
            return;
        }
        self.directories.insert(path.to_owned());
        if level >= MOST_LEVELS {
            let message = format!("is nested deeper than {MOST_LEVELS} directories and isn't read; move it up");
            return self.leave(path, message);
        }
        let mut paths = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => paths.push(entry.path()),
                Err(error) => return self.cannot(path, &error),
            }
        }
        paths.sort();
        for path in paths {
            self.entry(&path, level, seen);
        }
    }

    fn entry(&mut self, path: &Path, level: usize, seen: &mut BTreeSet<PathBuf>) {
        // `..data` of Kubernetes' volumes, and what editors put aside.
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            return;
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            // Where a link leads to is being replaced, or was lost: that is nobody's wish to delete what was there.
            Err(error) if error.kind() == ErrorKind::NotFound && path.is_symlink() => {
                self.note_link(path);
                return self.leave(path, "leads to nothing; what was read from it stays until it does".to_owned());
            }
            // Gone again.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.cannot(path, &error),
        };
        if metadata.is_dir() {
            return self.directory(path, level + 1, seen);
        }
        if metadata.is_file() && is_manifest(path) {
            self.file(path, &metadata);
        }
    }

    fn file(&mut self, path: &Path, metadata: &Metadata) {
        self.note_link(path);
        if self.files.len() >= MOST_FILES {
            let message = format!("there are more than {MOST_FILES} files; this one isn't read: put several into one");
            return self.leave(path, message);
        }
        self.files.insert(path.to_owned(), Signature::of(metadata));
    }

    /// What a symbolic link leads to changes somewhere else.
    fn note_link(&mut self, path: &Path) {
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
            && let Ok(target) = fs::read_link(path)
        {
            // One step: `a.yaml -> ..data/a.yaml`, where `..data` is a link that is replaced in this directory.
            let target = path.parent().map_or_else(|| target.clone(), |parent| parent.join(&target));
            self.directories.extend(target.parent().map(Path::to_owned));
            if let Ok(real) = fs::canonicalize(path) {
                self.directories.extend(real.parent().map(Path::to_owned));
            }
        }
    }

    fn cannot(&mut self, path: &Path, error: &std::io::Error) {
        let message = if error.kind() == ErrorKind::NotFound {
            "isn't there; what was read from it stays until it is back".to_owned()
        } else {
            format!("can't be read, and what was read from it stays: {error}")
        };
        self.leave(path, message);
    }

    fn leave(&mut self, path: &Path, message: String) {
        self.mistakes.push(Mistake::of_file(path, message));
        self.unknown.insert(path.to_owned());
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|it| ["yaml", "yml", "json"].iter().any(|known| it.eq_ignore_ascii_case(known)))
}

/// What came of reading a file.
#[derive(Debug)]
pub(crate) enum Text {
    Read(String),
    /// It went away meanwhile: the next pass finds that out.
    Gone,
    Unreadable(Mistake),
}

/// Reads a file, as far as it may be large.
pub(crate) fn read(path: &Path) -> Text {
    let mut bytes = Vec::new();
    let result = fs::File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes));
    match result {
        Ok(_) if bytes.len() as u64 > MOST_BYTES => {
            let message = format!("is larger than {} MiB; spread it over several files", MOST_BYTES >> 20);
            Text::Unreadable(Mistake::of_file(path, message))
        }
        Ok(_) => match String::from_utf8(bytes) {
            Ok(text) => Text::Read(text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
                Text::Unreadable(Mistake { line, ..Mistake::of_file(path, "is not UTF-8") })
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Text::Gone,
        Err(error) => Text::Unreadable(Mistake::of_file(path, format!("can't be read: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(listing: &Listing, root: &Path) -> Vec<String> {
        listing.files.keys().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn manifests_are_found_wherever_they_are_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        fs::create_dir_all(root.join("sub/deeper")).unwrap();
        for name in ["a.yaml", "b.YML", "c.json", "d.txt", ".e.yaml", "f.yaml~", "sub/deeper/g.yaml"] {
            fs::write(root.join(name), "").unwrap();
        }
        symlink(&root, root.join("sub/loop")).unwrap();
        let listing = list(std::slice::from_ref(&root));
        assert_eq!(names(&listing, &root), ["a.yaml", "b.YML", "c.json", "sub/deeper/g.yaml"]);
        assert!(listing.mistakes.is_empty() && listing.unknown.is_empty(), "{:?}", listing.mistakes);
        for directory in [root.as_path(), root.parent().unwrap(), &root.join("sub"), &root.join("sub/deeper")] {
            assert!(listing.directories.contains(directory), "{directory:?}");
        }
    }

    #[test]
    fn a_root_may_be_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one");
        fs::write(&file, "").unwrap();
        let listing = list(std::slice::from_ref(&file));
        assert_eq!(names(&listing, dir.path()), ["one"]);
        assert!(listing.directories.contains(dir.path()) && listing.mistakes.is_empty());
    }

    #[test]
    fn a_swapped_link_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        for version in ["..1", "..2"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("a.yaml"), version).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        let before = list(std::slice::from_ref(&root));
        assert_eq!(names(&before, &root), ["a.yaml"]);
        symlink("..2", root.join("..next")).unwrap();
        fs::rename(root.join("..next"), root.join("..data")).unwrap();
        let after = list(std::slice::from_ref(&root));
        assert_ne!(before.files, after.files);
        assert!(matches!(read(&root.join("a.yaml")), Text::Read(text) if text == "..2"));
    }

    #[test]
    fn a_link_to_nothing_is_told_and_what_it_led_to_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        symlink("elsewhere", root.join("sub")).unwrap();
        let listing = list(std::slice::from_ref(&root));
        assert!(listing.files.is_empty());
        let told: Vec<String> = listing.mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().all(|it| it.ends_with("leads to nothing; what was read from it stays until it does")));
        assert!(listing.is_unknown(&root.join("a.yaml")) && listing.is_unknown(&root.join("sub/b.yaml")));
        assert!(!listing.is_unknown(&root.join("c.yaml")));
        assert!(listing.directories.contains(&root.join("..data")), "that tells when it comes back");
    }

    #[test]
    fn a_directory_that_is_not_there_is_told_and_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let listing = list(std::slice::from_ref(&missing));
        assert!(listing.is_unknown(&missing.join("a.yaml")) && !listing.is_unknown(dir.path()));
        assert!(listing.mistakes[0].to_string().ends_with("isn't there; what was read from it stays until it is back"));
        assert!(listing.directories.contains(dir.path()), "its parent tells when it comes back");
    }

    #[test]
    fn files_that_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(&dir.path().join("gone.yaml")), Text::Gone));
        let latin = dir.path().join("latin.yaml");
        fs::write(&latin, b"a: 1\nb: \xe4\n").unwrap();
        let Text::Unreadable(mistake) = read(&latin) else { panic!() };
        assert!(mistake.to_string().ends_with("latin.yaml:2: is not UTF-8"));
        let large = dir.path().join("large.yaml");
        fs::File::create(&large).unwrap().set_len(MOST_BYTES + 1).unwrap();
        let Text::Unreadable(mistake) = read(&large) else { panic!() };
        assert!(mistake.message.contains("larger than 32 MiB"));
    }
}
