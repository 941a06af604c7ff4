//! The generator's city, line by line, for tests that send it at a pace of their own.

use std::fs::File;

use chrono::DateTime;

use crate::city::SECOND;
use crate::kafka::{Meaning, Topic};
use crate::load::{Reading, rfc3339};
use crate::process::{CommandLine, Ended, scratch};
use crate::scene::LIMIT;
use crate::services::{services, unique};

/// A reading as the generator prints it.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its partition.
    pub partition: i32,
    /// Event time in microseconds.
    pub at_us: i64,
    /// The JSON.
    pub payload: Vec<u8>,
}

impl Line {
    /// Sends it; it reaches Kafka at its own event time. No oracle knows what is in it.
    pub fn send(self, topic: &Topic) {
        let reading =
            Reading { sensor: String::new(), zone: String::new(), event_us: self.at_us, values: Vec::new() };
        topic.send(
            self.partition,
            self.at_us.div_euclid(SECOND / 1000),
            self.payload,
            Meaning::Reading(reading),
        );
    }
}

/// What the generator prints from a start on; `arguments` give partitions, sensors, count and so on.
pub fn lines(arguments: &str, start_us: i64) -> Vec<Line> {
    let path = scratch().join(format!("{}.jsonl", unique("generated")));
    let mut generator = CommandLine::new(&services().generator, "generated")
        .args(["--stdout", "--quiet", "--rate", "0", "--start", &rfc3339(start_us)])
        .args(arguments.split_whitespace())
        .stdout(File::create(&path).expect("a file"))
        .spawn();
    assert_eq!(generator.wait(LIMIT), Ended::Exit(0), "{}", generator.log());
    let line = |line: &str| {
        let (partition, payload) = line.split_once('\t').expect("a partition and a reading");
        let reading: serde_json::Value = serde_json::from_str(payload).expect("JSON");
        let at = reading["timestamp"].as_str().and_then(|at| DateTime::parse_from_rfc3339(at).ok());
        Line {
            partition: partition.parse().expect("a number"),
            at_us: at.expect("a time").timestamp_micros(),
            payload: payload.as_bytes().to_vec(),
        }
    };
    std::fs::read_to_string(path).expect("it was just written").lines().map(line).collect()
}
