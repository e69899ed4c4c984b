//! Why a root cannot be served: how each comes about, what is said of it, and
//! what takes it away.

use std::fs;
use std::path::Path;

use crate::harness::Setup;

/// One cause. Before it, the root was served with a volume `known`.
pub struct Cause {
    pub what: &'static str,
    /// Breaks the root. What it takes away goes into the second directory.
    pub harm: fn(&Setup, &Path),
    /// What is said of it.
    pub reason: fn(&Setup) -> String,
    /// Takes the cause away.
    pub mend: fn(&Setup, &Path),
    /// Whether what the state directory knows of the root is still there.
    pub remembered: Remembered,
}

/// What the state directory still says of the root.
pub enum Remembered {
    Known,
    Nothing,
    Unreadable,
}

pub const CAUSES: [Cause; 14] = [
    Cause {
        what: "the root is missing",
        harm: |setup, away| fs::rename(setup.root(), away.join("root")).unwrap(),
        reason: |setup| {
            let root = setup.root().display().to_string();
            format!(
                "root {root} does not exist: mount its disk, or make it with 'dirvol init {root}'"
            )
        },
        mend: |setup, away| fs::rename(away.join("root"), setup.root()).unwrap(),
        remembered: Remembered::Known,
    },
    Cause {
        what: "the root is a file",
        harm: |setup, away| {
            fs::rename(setup.root(), away.join("root")).unwrap();
            fs::write(setup.root(), "bytes").unwrap();
        },
        reason: |setup| {
            format!("root {} is not a directory: give another --root", setup.root().display())
        },
        mend: |setup, away| {
            fs::remove_file(setup.root()).unwrap();
            fs::rename(away.join("root"), setup.root()).unwrap();
        },
        remembered: Remembered::Known,
    },
    Cause {
        what: "the root is the empty mountpoint of a disk that is not mounted",
        harm: |setup, away| {
            fs::rename(setup.root(), away.join("root")).unwrap();
            fs::create_dir(setup.root()).unwrap();
        },
        reason: vanished,
        mend: |setup, away| {
            fs::remove_dir(setup.root()).unwrap();
            fs::rename(away.join("root"), setup.root()).unwrap();
        },
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is missing, and an id is known",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
        },
        reason: vanished,
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is missing, no id is known, and the root is not empty",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            fs::remove_dir_all(setup.state()).unwrap();
        },
        reason: |setup| {
            format!(
                "root {} has no dirvol.json and is not empty: give an empty directory, or mount \
                 the disk that belongs here",
                setup.root().display()
            )
        },
        mend: put_marker_back,
        remembered: Remembered::Nothing,
    },
    Cause {
        what: "the root has another id",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            mark(setup, r#"{"format":1,"id":"another","scope":"local"}"#);
        },
        reason: |setup| {
            let known = fs::read_to_string(setup.state().join("root-id")).unwrap();
            format!(
                "root {} is another, and {} was served last: mount the disk of that one, or \
                 accept this one with DIRVOL_ACCEPT_ROOT=another",
                setup.root().display(),
                known.trim()
            )
        },
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is torn",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            mark(setup, r#"{"format":1,"id":"#);
        },
        reason: |setup| unusable(setup, "EOF while parsing a value at line 1 column 17"),
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is empty",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            mark(setup, "");
        },
        reason: |setup| unusable(setup, "EOF while parsing a value at line 1 column 0"),
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is of a later format",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            mark(setup, r#"{"format":2,"anything":"else"}"#);
        },
        reason: |setup| unusable(setup, "it has format 2; this dirvol knows format 1"),
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the marker is a directory",
        harm: |setup, away| {
            fs::rename(setup.root().join("dirvol.json"), away.join("marker")).unwrap();
            fs::create_dir(setup.root().join("dirvol.json")).unwrap();
        },
        reason: |setup| unusable(setup, "Is a directory (os error 21)"),
        mend: |setup, away| {
            fs::remove_dir(setup.root().join("dirvol.json")).unwrap();
            put_marker_back(setup, away);
        },
        remembered: Remembered::Known,
    },
    Cause {
        what: "the root was made for another scope",
        harm: |setup, away| {
            let marker = setup.root().join("dirvol.json");
            let text = fs::read_to_string(&marker).unwrap();
            fs::rename(marker, away.join("marker")).unwrap();
            mark(setup, &text.replace("local", "global"));
        },
        reason: |setup| {
            format!(
                "root {} was made for scope global, and --scope local is asked for: serve it with \
                 --scope global, or give another --root",
                setup.root().display()
            )
        },
        mend: put_marker_back,
        remembered: Remembered::Known,
    },
    Cause {
        what: "the directory of the volumes is missing",
        harm: |setup, away| {
            fs::rename(setup.root().join("volumes"), away.join("volumes")).unwrap();
        },
        reason: |setup| {
            format!(
                "root {} has lost its directory 'volumes': restore it, or make it if it was empty",
                setup.root().display()
            )
        },
        mend: |setup, away| {
            fs::rename(away.join("volumes"), setup.root().join("volumes")).unwrap();
        },
        remembered: Remembered::Known,
    },
    Cause {
        what: "the state directory is a file",
        harm: |setup, away| {
            fs::rename(setup.state(), away.join("state")).unwrap();
            fs::write(setup.state(), "bytes").unwrap();
        },
        reason: |setup| {
            format!(
                "mkdir {}: File exists (os error 17): see the kernel's log, and who may use \
                 that path",
                setup.state().display()
            )
        },
        mend: |setup, away| {
            fs::remove_file(setup.state()).unwrap();
            fs::rename(away.join("state"), setup.state()).unwrap();
        },
        remembered: Remembered::Unreadable,
    },
    Cause {
        what: "the note of the id is a directory",
        harm: |setup, away| {
            fs::rename(setup.state().join("root-id"), away.join("root-id")).unwrap();
            fs::create_dir(setup.state().join("root-id")).unwrap();
        },
        reason: |setup| {
            format!(
                "read {}: Is a directory (os error 21): see the kernel's log, and \
                 who may use that path",
                setup.state().join("root-id").display()
            )
        },
        mend: |setup, away| {
            fs::remove_dir(setup.state().join("root-id")).unwrap();
            fs::rename(away.join("root-id"), setup.state().join("root-id")).unwrap();
        },
        remembered: Remembered::Known,
    },
];

fn mark(setup: &Setup, marker: &str) {
    fs::write(setup.root().join("dirvol.json"), marker).unwrap();
}

fn put_marker_back(setup: &Setup, away: &Path) {
    fs::rename(away.join("marker"), setup.root().join("dirvol.json")).unwrap();
}

/// What is said where the root was, and is not.
pub fn vanished(setup: &Setup) -> String {
    let known = fs::read_to_string(setup.state().join("root-id")).unwrap();
    format!(
        "root {root} has no dirvol.json, and root {known} was served last: mount its disk; or, to \
         begin anew, run 'dirvol init {root}' and accept the id it prints with DIRVOL_ACCEPT_ROOT",
        root = setup.root().display(),
        known = known.trim()
    )
}

fn unusable(setup: &Setup, why: &str) -> String {
    format!(
        "root {}: dirvol.json cannot be used: {why}: restore it from a copy",
        setup.root().display()
    )
}
