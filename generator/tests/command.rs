//! The binary from outside, as far as it needs no broker.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn generator(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_citytide-generator"));
    command.args(arguments).env_remove("KAFKA_BROKERS");
    command
}

fn output(arguments: &[&str]) -> Output {
    generator(arguments).output().expect("the binary starts")
}

fn code_and_words(arguments: &[&str]) -> (Option<i32>, String) {
    let output = output(arguments);
    (output.status.code(), String::from_utf8(output.stderr).expect("text"))
}

const PRINTED: &[&str] = &["--stdout", "--rate", "0", "--start", "2026-11-01T05:00:00Z", "--count"];

#[test]
fn the_same_seed_and_start_print_the_same_lines_and_another_seed_does_not() {
    let printed = |count: &str, seed: &str| {
        let output = output(&[PRINTED, &[count, "--seed", seed]].concat());
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("text")
    };
    let lines = printed("1000", "7");
    assert_eq!(lines.lines().count(), 1000);
    assert_eq!(lines, printed("1000", "7"));
    assert!(lines.starts_with(&printed("400", "7")), "more of the same city begins with the same readings");
    assert_ne!(lines, printed("1000", "8"));
    for line in lines.lines() {
        let (partition, json) = line.split_once('\t').expect("partition, tab, JSON");
        assert!(partition.parse::<u32>().expect("a number") < 4);
        serde_json::from_str::<serde_json::Value>(json).expect("valid JSON");
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_run_in_peace() {
    let mut child = generator(&["--stdout", "--rate", "0", "--quiet"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").is_ok());
    drop(lines);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_cannot_be_done_ends_with_the_reason_and_its_code() {
    let (code, words) = code_and_words(&["--stdout", "--domain", "no-such.toml"]);
    assert_eq!(code, Some(78));
    assert!(words.contains("cannot read the domain file no-such.toml"), "{words}");

    let (code, words) = code_and_words(&["--stdout", "--start", "9999-01-01T00:00:00Z"]);
    assert_eq!(code, Some(78));
    assert!(words.contains("lies in the future"), "{words}");

    let (code, words) = code_and_words(&["--stdout", "--anomalies", "2"]);
    assert_eq!(code, Some(78));
    assert!(words.contains("from 0 to 1"), "{words}");

    // Port 1 is privileged and unused: the connection is refused at once.
    let (code, words) = code_and_words(&["--brokers", "127.0.0.1:1"]);
    assert_eq!(code, Some(69));
    assert!(words.contains("no Kafka broker answers at 127.0.0.1:1"), "{words}");
}
