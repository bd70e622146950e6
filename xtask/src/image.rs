//! `cargo xtask image`: Foregate as an OCI image, made without a container engine and without a base image.
//!
//! What is in it is the binary, the libraries that it is linked against, as this machine has them, and what they read.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::process::{TaskError, cargo, output, root};
use crate::{files, oci, process};

/// The image's name, without its tag.
const NAME: &str = "foregate.dev/foregate";
/// Nobody in particular, who may do nothing.
const USER: &str = "65532:65532";

/// Flags of `image`.
#[derive(Args, Debug)]
pub struct ImageArgs {
    /// Cargo's profile to build with.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The program to put in, instead of one that is built for it.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    binary: Option<PathBuf>,
    /// The archive to write [default: target/foregate-image.tar].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Builds the binary and the image, and says how to use that.
///
/// # Errors
/// When the build fails or a file can't be read or written.
pub fn run(args: &ImageArgs) -> Result<(), TaskError> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => build(&args.profile)?,
    };
    let archive = args.output.clone().unwrap_or_else(|| root().join("target/foregate-image.tar"));
    let name = make(&binary, &archive)?;
    let size = std::fs::metadata(&archive).map_err(files::at(&archive))?.len();
    println!("{name}: {} ({} MiB)", archive.display(), size / (1024 * 1024));
    println!("ctr images import {0}\npodman load --input {0}", archive.display());
    Ok(())
}

/// Writes the archive; the image's name with its tag.
///
/// # Errors
/// When a file can't be read or written.
pub fn make(binary: &Path, archive: &Path) -> Result<String, TaskError> {
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("{NAME}:v{version}");
    let mut image = oci::Image::new(&[&name]).file(binary, "foregate", 0o755);
    for library in libraries(binary)? {
        let place = library.display().to_string();
        image = image.file(&library, place.trim_start_matches('/'), 0o755);
    }
    let work = PathBuf::from(format!("{}.etc", archive.display()));
    for (file, content) in [
        ("etc/nsswitch.conf", "hosts: files dns\n"),
        ("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nforegate:x:65532:65532:foregate:/:/sbin/nologin\n"),
        ("etc/group", "root:x:0:\nforegate:x:65532:\n"),
    ] {
        let from = work.join(file);
        files::write(&from, content)?;
        image = image.file(&from, file, 0o644);
    }
    image.folder("tmp").user(USER).entry(&["/foregate"]).version(version).write(archive)?;
    files::remove(&work)?;
    Ok(name)
}

/// Builds the program; where it is.
fn build(profile: &str) -> Result<PathBuf, TaskError> {
    process::run(&mut cargo(&["build", "--package", "foregate", "--bin", "foregate", "--profile", profile]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(process::target_dir().join(folder).join("foregate"))
}

/// The libraries that a program loads, with the loader itself.
fn libraries(program: &Path) -> Result<Vec<PathBuf>, TaskError> {
    let listed = output(Command::new("ldd").arg(program))?;
    // `NAME => /PATH (ADDRESS)`, and `/PATH (ADDRESS)` for the loader; the kernel's own has no path.
    let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(PathBuf::from).collect())
}
