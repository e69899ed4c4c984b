//! What is expected: whole answers and whole listings. What differs from run to
//! run is put in its one neutral form, of the same length, before it is compared.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::harness::{Answer, DONE, eventually, tree};

/// The content type of every answer of the protocol.
const PLUGIN_JSON: &str = "application/vnd.docker.plugins.v1.2+json";

/// A time as RFC 3339 has it, an id of a root, and the tail of a trash entry's
/// name. In a form, `0` stands for a digit and `f` for a hexadecimal digit.
const FORMS: [&str; 3] =
    [TIME, "ffffffff-ffff-ffff-ffff-ffffffffffff", "~0000000000~ffffffffffffffff"];

/// The neutral form of a time.
pub const TIME: &str = "0000-00-00T00:00:00Z";

/// An answer of any kind, with all the headers it has.
pub fn response(status: u16, content_type: &str, body: impl Into<String>) -> Answer {
    let body = body.into();
    let headers =
        vec![format!("content-type: {content_type}"), format!("content-length: {}", body.len())];
    Answer { status, headers, body }
}

/// An answer of the protocol.
pub fn answered(status: u16, body: impl Into<String>) -> Answer {
    response(status, PLUGIN_JSON, body)
}

/// Success with `body`.
pub fn ok(body: impl Into<String>) -> Answer {
    answered(200, body)
}

/// Success with nothing to tell.
pub fn done() -> Answer {
    ok(DONE)
}

/// Failure, with the one line that tells why.
pub fn failed(status: u16, why: &str) -> Answer {
    answered(status, json!({"Err": why}).to_string())
}

/// The body of a call that names a volume, as dockerd writes it.
pub fn named(name: &str) -> String {
    format!("{}\n", json!({"Name": name}))
}

/// The body of a Mount or an Unmount.
pub fn with_id(name: &str, id: &str) -> String {
    format!("{}\n", json!({"Name": name, "ID": id}))
}

/// The body of a Create with options.
pub fn with_options(name: &str, options: &serde_json::Value) -> String {
    format!("{}\n", json!({"Name": name, "Opts": options}))
}

impl Answer {
    /// The answer with what differs from run to run in its neutral form.
    pub fn neutral(mut self) -> Self {
        self.body = neutral(&self.body);
        self
    }
}

/// A text with every time, id and token in its neutral form.
pub fn neutral(text: &str) -> String {
    let mut text = text.as_bytes().to_vec();
    for form in FORMS.map(str::as_bytes) {
        for at in 0..(text.len() + 1).saturating_sub(form.len()) {
            let window = &mut text[at..at + form.len()];
            let has_form = window.iter().zip(form).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'f' => byte.is_ascii_hexdigit(),
                other => byte == other,
            });
            if has_form {
                window.copy_from_slice(form);
            }
        }
    }
    String::from_utf8(text).unwrap()
}

/// A table of volumes that were made in this minute, as it is in their first second.
pub fn young(table: &str) -> String {
    let mut text = table.as_bytes().to_vec();
    for at in 2..text.len() {
        let ends = text.get(at + 1).is_none_or(u8::is_ascii_whitespace);
        if text[at] == b's' && text[at - 1].is_ascii_digit() && ends {
            text[at - 1] = b'0';
            if text[at - 2].is_ascii_digit() {
                text[at - 2] = b' ';
            }
        }
    }
    String::from_utf8(text).unwrap()
}

/// Everything below a directory, as [`tree`] lists it, in neutral form.
pub fn listing(dir: &Path) -> Vec<String> {
    let mut lines: Vec<String> = tree(dir).iter().map(|line| neutral(line)).collect();
    lines.sort();
    lines
}

/// As [`listing`] of a root, when everything is deleted that is to be deleted.
pub fn swept_listing(root: &Path) -> Vec<String> {
    let staging = root.join("staging");
    eventually("nothing is left to delete", || {
        fs::read_dir(&staging).unwrap().next().is_none().then_some(())
    });
    listing(root)
}

/// The listing of a root that holds `volumes` and `trash`: lines as those of
/// [`volume_at`].
pub fn root_with(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let marker = format!(r#"{{"format":1,"id":"{}","scope":"local"}}"#, FORMS[1]);
    let mut all = vec![
        format!("dirvol.json 0600 0:0 {:?}", format!("{marker}\n")),
        "lock 0600 0:0 \"\"".to_owned(),
        "staging/ 0700 0:0".to_owned(),
        "trash/ 0700 0:0".to_owned(),
        "volumes/ 0700 0:0".to_owned(),
    ];
    all.extend(lines);
    all.sort();
    all
}

/// The listing of a volume `name` that lies at `path` in the root: its data with
/// `data` for permissions and owner, and its record with the `stated` options.
pub fn volume_at(path: &str, name: &str, data: &str, stated: &serde_json::Value) -> [String; 3] {
    volume_set(path, name, data, stated, &json!({}))
}

/// As [`volume_at`], with options that were `set` later.
pub fn volume_set(
    path: &str,
    name: &str,
    data: &str,
    stated: &serde_json::Value,
    set: &serde_json::Value,
) -> [String; 3] {
    let set = if *set == json!({}) { String::new() } else { format!(r#","set":{set}"#) };
    let record =
        format!(r#"{{"format":1,"name":"{name}","created":"{TIME}","options":{stated}{set}}}"#);
    [
        format!("{path}/ 0700 0:0"),
        format!("{path}/data/ {data}"),
        format!("{path}/volume.json 0600 0:0 {:?}", format!("{record}\n")),
    ]
}

/// The listing of a volume `name` in use that was created without options.
pub fn volume(name: &str) -> [String; 3] {
    volume_at(&format!("volumes/{name}"), name, "0755 0:0", &json!({}))
}

/// Where an entry of the trash for `name` lies, in neutral form.
pub fn entry(name: &str) -> String {
    format!("trash/{name}{}", FORMS[2])
}
