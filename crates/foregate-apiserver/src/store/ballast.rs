//! Space kept free for a full disk.
//!
//! After a failed write redb must reopen its file, which takes some space itself. This file gives it back, so that
//! reads go on while the disk is full; writes are refused until the file can be made again.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Enough for a repair and one transaction of what was acknowledged but not yet on disk.
const SIZE: usize = 4 << 20;

pub(super) struct Ballast {
    path: PathBuf,
    held: bool,
}

impl Ballast {
    pub fn new(dir: &Path) -> Self {
        let mut ballast = Self { path: dir.join("store.reserve"), held: false };
        ballast.hold();
        ballast
    }

    /// Takes the space; whether it is held now.
    pub fn hold(&mut self) -> bool {
        if !self.held {
            self.held = fill(&self.path).is_ok();
            if !self.held {
                let _ = std::fs::remove_file(&self.path);
            }
        }
        self.held
    }

    /// Gives the space back.
    pub fn release(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        self.held = false;
    }
}

fn fill(path: &Path) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|m| m.len() == SIZE as u64) {
        return Ok(());
    }
    let mut file: File = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
    let block = [0_u8; 64 << 10];
    for _ in 0..SIZE / block.len() {
        file.write_all(&block)?;
    }
    file.sync_all()
}
