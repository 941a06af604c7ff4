//! The binary from outside: started with words, read by lines.
#![allow(dead_code, reason = "each test file uses its part")]

use std::path::PathBuf;
use std::process::{Command, Output};

/// The binary with these words, and nothing of the environment that it would heed.
pub fn generator(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citytide-generator"));
    command.args(words).env_remove("KAFKA_BROKERS").env_remove("NO_COLOR");
    command
}

/// Runs it to its end.
pub fn output(words: &[&str]) -> Output {
    generator(words).output().expect("the binary starts")
}

/// Its exit code and what it says on standard error.
pub fn code_and_words(words: &[&str]) -> (Option<i32>, String) {
    let output = output(words);
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

/// A record that was printed.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub partition: u32,
    pub offset: u64,
    pub payload: Vec<u8>,
}

impl Record {
    /// As JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).expect("valid JSON")
    }
}

/// The records of a run with `--stdout` and these words; an offset is the count of its partition's lines before it.
pub fn printed(words: &str) -> Vec<Record> {
    let words: Vec<&str> = ["--stdout", "--quiet"].into_iter().chain(words.split_whitespace()).collect();
    let output = output(&words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut next_offsets = std::collections::BTreeMap::<u32, u64>::new();
    let mut records = Vec::new();
    for line in output.stdout.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").expect("whole lines");
        let tab = line.iter().position(|byte| *byte == b'\t').expect("partition, tab, payload");
        let partition = std::str::from_utf8(&line[..tab]).expect("digits").parse().expect("a number");
        let next = next_offsets.entry(partition).or_default();
        records.push(Record { partition, offset: *next, payload: line[tab + 1..].to_vec() });
        *next += 1;
    }
    records
}

/// A line of the truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub partition: u32,
    pub offset: u64,
    pub kind: String,
    pub metrics: Vec<String>,
    pub event: String,
    pub sensor: String,
}

/// The lines of a truth file.
pub fn truth(file: &std::path::Path) -> Vec<Told> {
    let text = std::fs::read_to_string(file).expect("the truth was written");
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("partition,offset,kind,metrics,event,sensor"));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.split(',').collect();
            let [partition, offset, kind, metrics, event, sensor] = fields[..] else {
                panic!("six fields: {line}")
            };
            Told {
                partition: partition.parse().expect("a number"),
                offset: offset.parse().expect("a number"),
                kind: kind.to_owned(),
                metrics: metrics.split_whitespace().map(str::to_owned).collect(),
                event: event.to_owned(),
                sensor: sensor.to_owned(),
            }
        })
        .collect()
}

/// A file of this test's own, which is not there yet.
pub fn file(name: &str) -> PathBuf {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&file);
    file
}
