//! A directory of files in a topic's place: one file per partition, one line per record.
//!
//! Files are replaced as wholes, with the same modification time each time, so that what stands for Kafka's timestamp
//! is the test's. To the product that is a file that has grown.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use crate::city::City;
use crate::kafka::{Meaning, Sent};
use crate::load::{DAWN, Reading, rfc3339};
use crate::process::scratch;
use crate::services::unique;

/// What every file's modification time is, milliseconds: after all that the tests send.
pub const MODIFIED_MS: i64 = DAWN / 1000 + 86_400_000;
/// How long lines may wait before they are written.
const WRITE_INTERVAL: Duration = Duration::from_millis(150);

/// What the files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// JSON lines.
    Json,
    /// JSON lines within gzip.
    JsonGzip,
    /// CSV; readings only.
    Csv,
}

/// The directory.
pub struct Folder {
    /// Where it is.
    pub path: PathBuf,
    form: Form,
    city: City,
    written: Mutex<(Vec<usize>, Instant)>,
}

impl Folder {
    /// A directory with an empty file per partition.
    pub fn create(test: &str, city: &City, partitions: i32, form: Form) -> Folder {
        let path = scratch().join(unique(test));
        std::fs::create_dir_all(&path).expect("a directory");
        let written = Mutex::new((vec![usize::MAX; partitions as usize], Instant::now()));
        let folder = Folder { path, form, city: city.clone(), written };
        folder.write(&vec![Vec::new(); partitions as usize]);
        folder
    }

    /// The path of a partition's file.
    pub fn file(&self, partition: usize) -> PathBuf {
        let extension = match self.form {
            Form::Json => "jsonl",
            Form::JsonGzip => "json.gz",
            Form::Csv => "csv",
        };
        self.path.join(format!("partition-{partition:03}.{extension}"))
    }

    /// What a record becomes as a line.
    pub fn line(&self, payload: Vec<u8>, meaning: Meaning) -> Sent {
        let sent = |payload, meaning| Sent { received_at_ms: MODIFIED_MS, payload, meaning };
        match (self.form, &meaning) {
            // An empty line holds no record.
            _ if payload.is_empty() => sent(payload, Meaning::Gap),
            (Form::Csv, Meaning::Reading(reading)) => sent(self.row(reading).into_bytes(), meaning),
            (Form::Csv, other) => panic!("{other:?} is no row"),
            _ => sent(payload, meaning),
        }
    }

    /// Writes what is new, if that has waited for long enough.
    pub fn write_now_and_then(&self, logs: &[Vec<Sent>]) {
        if self.written.lock().expect("what was written").1.elapsed() >= WRITE_INTERVAL {
            self.write(logs);
        }
    }

    /// Writes the files of which something is new.
    pub fn write(&self, logs: &[Vec<Sent>]) {
        let mut written = self.written.lock().expect("what was written");
        for (partition, log) in logs.iter().enumerate() {
            if written.0[partition] == log.len() {
                continue;
            }
            let mut bytes = Vec::new();
            if self.form == Form::Csv {
                bytes.extend_from_slice(self.header().as_bytes());
                bytes.push(b'\n');
            }
            for sent in log {
                bytes.extend_from_slice(&sent.payload);
                bytes.push(b'\n');
            }
            if self.form == Form::JsonGzip {
                bytes = gzip(&bytes);
            }
            let hidden = self.path.join(format!(".{partition}.new"));
            let mut file = File::create(&hidden).expect("a file");
            file.write_all(&bytes).expect("writing a file");
            let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(MODIFIED_MS as u64);
            file.set_modified(modified).expect("setting a file's time");
            std::fs::rename(&hidden, self.file(partition)).expect("putting a file in its place");
            written.0[partition] = log.len();
        }
        written.1 = Instant::now();
    }

    fn header(&self) -> String {
        let City { zone, sensor, time, metrics, .. } = &self.city;
        let mut names = vec![zone.clone(), "unknown".to_owned(), sensor.clone(), time.clone()];
        names.extend(metrics.iter().map(|metric| metric.name.clone()));
        names.join(",")
    }

    fn row(&self, reading: &Reading) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let mut cells = vec![quoted(&reading.zone), "\"a, \"\"b\"\"\"".to_owned(), quoted(&reading.sensor)];
        cells.push(rfc3339(reading.event_us));
        cells.extend(reading.values.iter().map(|value| value.map(|v| v.to_string()).unwrap_or_default()));
        cells.join(",")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::env::var_os("CITYTIDE_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// What the program gzip makes of it.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["-c", "-1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program gzip");
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = bytes.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().expect("gzip's output");
    writing.join().expect("writing to gzip").expect("writing to gzip");
    output.stdout
}
