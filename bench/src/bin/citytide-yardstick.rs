//! The yardstick: the least that a program can do which fills a table from a topic. It links nothing of the product.
//!
//! Each of N threads consumes the partitions p with p mod N equal to its number, parses every record and streams it
//! by COPY BINARY, 50,000 rows per COPY and transaction, into one plain table without index. Thirteen columns.
//! It knows no lateness, no windows, no rules, no dead letters and no exactly-once: it panics where it fails. What it
//! is careful about is speed: borrowed parsing, a time parser of its own, librdkafka's queues set as the product
//! sets them, and the server working on the rows of a COPY while the next ones are being parsed.

// It measures itself; nothing in it is replayed.
#![allow(clippy::disallowed_methods)]

use std::pin::Pin;
use std::thread;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use futures_util::SinkExt;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Deserialize;
use tokio::runtime::{Builder, Handle};
use tokio_postgres::{Client, CopyInSink, NoTls};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS_PER_COPY: usize = 50_000;
const CHUNK_BYTES: usize = 256 * 1024;
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;
const TABLE: &str = "create table if not exists yardstick (epoch bigint, kafka_partition integer, kafka_offset bigint, \
    sensor_id text, zone text, recorded_at timestamptz, temperature float8, humidity float8, aqi float8, \
    noise_level float8, traffic_flow float8, is_late boolean, is_anomaly boolean)";

/// Consumes, parses and copies: a bare measure of what Kafka and PostgreSQL allow on this machine.
#[derive(Parser)]
struct Arguments {
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    #[arg(long)]
    topic: String,
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    #[arg(short = 't', long, default_value_t = 2)]
    threads: usize,
}

#[derive(Deserialize)]
struct Reading<'a> {
    sensor_id: &'a str,
    timestamp: &'a str,
    zone: &'a str,
    temperature: Option<f64>,
    humidity: Option<f64>,
    aqi: Option<f64>,
    noise_level: Option<f64>,
    traffic_flow: Option<f64>,
}

fn main() {
    let arguments = Arguments::parse();
    let start = Instant::now();
    // One thread drives the connections, so that bytes leave while the consuming threads parse.
    let driver = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let runtime = driver.handle().clone();
    thread::spawn(move || driver.block_on(std::future::pending::<()>()));
    let table = connect(&runtime, &arguments.database_url);
    runtime.block_on(table.batch_execute(TABLE)).expect("creating the table");
    let readings: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads)
            .map(|number| {
                let (arguments, runtime) = (&arguments, &runtime);
                scope.spawn(move || drain(arguments, runtime, number))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that does not panic")).sum()
    });
    let seconds = start.elapsed().as_secs_f64();
    println!("{readings} readings in {seconds:.3} s: {:.0} readings/s", readings as f64 / seconds);
}

fn connect(runtime: &Handle, database_url: &str) -> Client {
    let (client, connection) =
        runtime.block_on(tokio_postgres::connect(database_url, NoTls)).expect("connecting to PostgreSQL");
    runtime.spawn(connection);
    client
}

/// Reads this thread's partitions to their ends as of now; returns how many readings that were.
fn drain(arguments: &Arguments, runtime: &Handle, number: usize) -> u64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("group.id", "yardstick")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "4")
        .set("fetch.max.bytes", "8388608")
        .set("socket.nagle.disable", "true")
        .set("check.crcs", "false")
        .create()
        .expect("a consumer");
    let answer_within = Duration::from_secs(10);
    let metadata = consumer.fetch_metadata(Some(&arguments.topic), answer_within).expect("metadata");
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let mut list = TopicPartitionList::new();
    let mut left: i64 = 0;
    for partition in (0..partitions).filter(|p| *p as usize % arguments.threads == number) {
        let (low, end) =
            consumer.fetch_watermarks(&arguments.topic, partition, answer_within).expect("bounds");
        list.add_partition_offset(&arguments.topic, partition, Offset::Offset(low)).expect("an offset");
        left += end - low;
    }
    consumer.assign(&list).expect("assigning partitions");

    let mut table = Table::new(runtime, connect(runtime, &arguments.database_url));
    let mut readings = 0;
    while left > 0 {
        let Some(record) = consumer.poll(Duration::from_millis(100)) else { continue };
        let record = record.expect("a record");
        let payload = std::str::from_utf8(record.payload().expect("a payload")).expect("text");
        let reading: Reading<'_> = serde_json::from_str(payload).expect("a reading");
        table.push(record.partition(), record.offset(), &reading);
        readings += 1;
        left -= 1;
    }
    table.finish();
    readings
}

struct Table<'a> {
    runtime: &'a Handle,
    client: Client,
    statement: tokio_postgres::Statement,
    copy: Option<Pin<Box<CopyInSink<Bytes>>>>,
    rows: usize,
    bytes: BytesMut,
}

impl<'a> Table<'a> {
    fn new(runtime: &'a Handle, client: Client) -> Table<'a> {
        let statement = runtime
            .block_on(client.prepare("copy yardstick from stdin (format binary)"))
            .expect("preparing the COPY");
        Table { runtime, client, statement, copy: None, rows: 0, bytes: BytesMut::new() }
    }

    fn push(&mut self, partition: i32, offset: i64, reading: &Reading<'_>) {
        let bytes = &mut self.bytes;
        if self.rows == 0 {
            bytes.put_slice(HEADER);
        }
        bytes.put_i16(13);
        field(bytes, &0_i64.to_be_bytes());
        field(bytes, &partition.to_be_bytes());
        field(bytes, &offset.to_be_bytes());
        field(bytes, reading.sensor_id.as_bytes());
        field(bytes, reading.zone.as_bytes());
        field(bytes, &(time_us(reading.timestamp) - POSTGRES_EPOCH_US).to_be_bytes());
        let metrics =
            [reading.temperature, reading.humidity, reading.aqi, reading.noise_level, reading.traffic_flow];
        for metric in metrics {
            match metric {
                Some(value) => field(bytes, &value.to_be_bytes()),
                None => bytes.put_i32(-1),
            }
        }
        field(bytes, &[0]);
        field(bytes, &[0]);
        self.rows += 1;
        if self.bytes.len() >= CHUNK_BYTES {
            self.send();
        }
        if self.rows >= ROWS_PER_COPY {
            self.finish();
        }
    }

    fn send(&mut self) {
        let chunk = self.bytes.split().freeze();
        self.bytes.reserve(CHUNK_BYTES + 1024);
        let (client, statement, copy) = (&self.client, &self.statement, &mut self.copy);
        let sent = self.runtime.block_on(async {
            if copy.is_none() {
                *copy = Some(Box::pin(client.copy_in(statement).await?));
            }
            copy.as_mut().expect("opened").send(chunk).await
        });
        sent.expect("sending rows");
    }

    fn finish(&mut self) {
        if self.rows == 0 {
            return;
        }
        self.bytes.put_i16(-1);
        self.send();
        let mut copy = self.copy.take().expect("opened by send");
        let rows = self.runtime.block_on(copy.as_mut().finish()).expect("finishing a COPY");
        assert_eq!(rows as usize, self.rows, "rows of a COPY");
        self.rows = 0;
    }
}

fn field(bytes: &mut BytesMut, value: &[u8]) {
    bytes.put_i32(value.len() as i32);
    bytes.put_slice(value);
}

/// Microseconds of the Unix epoch: `2026-11-21T05:26:00.123Z` by hand, anything else by chrono.
fn time_us(text: &str) -> i64 {
    swift_us(text.as_bytes()).unwrap_or_else(|| {
        chrono::DateTime::parse_from_rfc3339(text).expect("a time in RFC 3339").timestamp_micros()
    })
}

fn swift_us(text: &[u8]) -> Option<i64> {
    let (body, end) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| {
        body[from..to].iter().try_fold(0_i64, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fraction_us = match end {
        b"Z" => 0,
        [b'.', digits @ .., b'Z'] if digits.len() <= 6 => {
            let mut number = 0;
            for place in 0..6 {
                let digit = digits.get(place).copied().unwrap_or(b'0');
                number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
            }
            number
        }
        _ => return None,
    };
    // Days from the civil calendar, with years that begin in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60_000_000 + second * 1_000_000 + fraction_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_parser_agrees_with_chrono() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59.999999Z",
            "2026-11-21T05:26:00.123Z",
            "2100-03-01T00:00:00.5Z",
        ] {
            let known = chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros();
            assert_eq!(swift_us(text.as_bytes()), Some(known), "{text}");
        }
        assert_eq!(swift_us(b"2026-11-21T05:26:00+01:00"), None);
    }
}
