//! Volumes as archives.

use std::path::Path;
use std::process::Command;

use dirvol::archive::{Entry, Kind, Piece, Time, Writer};

use crate::harness::Serve;
use crate::ledger::Spec;

/// An archive of a volume.
pub fn archive(spec: &Spec) -> Vec<u8> {
    let text = spec.payload.clone().unwrap_or_default();
    let len = text.len() as u64;
    let file = Kind::File { size: len, pieces: vec![Piece { at: 0, len }] };
    let entry = |path: &str, kind, mode| {
        let (path, xattrs) = (path.as_bytes().to_vec(), Vec::new());
        Entry { path, kind, mode, uid: 0, gid: 0, mtime: Time::default(), xattrs }
    };
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes);
    writer.entry(&entry("./", Kind::Dir, spec.given.unwrap_or(0o755))).unwrap();
    writer.entry(&entry("./payload", file, 0o644)).unwrap();
    writer.data(text.as_bytes()).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Imports the archive at `path`; the error is what the command says.
pub fn import(serve: &Serve, name: &str, path: &Path) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dirvol"));
    command.arg("--socket").arg(&serve.socket).args(["import", name]).arg(path);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if output.status.success() { Ok(()) } else { Err(said) }
}
