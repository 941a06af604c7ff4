//! The binary before a broker: librdkafka's mock cluster, which this test takes away and brings back.
//!
//! The mock does not recognise a repeated batch as a real broker does: it is only taken away while nothing is under
//! way, which readings that are half a second apart leave time for.

mod binary;

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use binary::{code_and_words, file, generator, printed, truth};
use chrono::{DateTime, TimeDelta, Utc};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// Looks at a condition before it is given up, and the time between two.
const POLLS_MAX: usize = 600;
const POLL_INTERVAL: Duration = Duration::from_millis(50);

struct Broker {
    /// Before the cluster, for it says goodbye to it.
    consumer: BaseConsumer,
    cluster: MockCluster<'static, DefaultProducerContext>,
    records: BTreeMap<(i32, i64), (Vec<u8>, Option<String>)>,
}

impl Broker {
    fn new(topic: &str, partitions: i32) -> Broker {
        let cluster = MockCluster::new(1).expect("a mock cluster");
        cluster.create_topic(topic, partitions, 1).expect("a topic");
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", cluster.bootstrap_servers())
            .set("group.id", "test")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .expect("a consumer");
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&all).expect("assigned");
        Broker { cluster, consumer, records: BTreeMap::new() }
    }

    /// Reads until there are `count` records.
    fn read(&mut self, count: usize) {
        for _ in 0..POLLS_MAX {
            while let Some(Ok(message)) = self.consumer.poll(POLL_INTERVAL) {
                let truth = message.headers().map(|headers| {
                    let header = headers.get(0);
                    assert_eq!((headers.count(), header.key), (1, "truth"));
                    String::from_utf8(header.value.expect("a value").to_vec()).expect("text")
                });
                let place = (message.partition(), message.offset());
                self.records.insert(place, (message.payload().unwrap_or_default().to_vec(), truth));
            }
            if self.records.len() >= count {
                return;
            }
        }
        panic!("{} of {count} records came", self.records.len());
    }

    fn start(&self, topic: &str, words: &str) -> Child {
        let brokers = self.cluster.bootstrap_servers();
        let mut command = generator(&["--brokers", &brokers, "--topic", topic]);
        command.args(words.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary starts")
    }
}

fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn records_lie_where_they_were_made_for_with_the_truth_in_a_header() {
    let mut broker = Broker::new("city", 3);
    let path = file("delivered.csv");
    let words = format!("--rate 0 --start 2026-11-01T05:00:00Z --quiet --truth {}", path.display());
    for count in [5000, 1000] {
        // The second run goes on where the first one ended.
        let (code, _, said) = ended(broker.start("city", &format!("{words} --count {count}")));
        assert_eq!((code, said.as_str()), (Some(0), ""));
    }
    broker.read(6000);
    let expected = printed("--rate 0 --start 2026-11-01T05:00:00Z --count 5000 --partitions 3");
    for record in expected {
        let (payload, _) = &broker.records[&(record.partition as i32, record.offset as i64)];
        assert_eq!(*payload, record.payload);
    }
    let headers: BTreeMap<(i32, i64), &String> =
        broker.records.iter().filter_map(|(place, (_, truth))| Some((*place, truth.as_ref()?))).collect();
    let told = truth(&path);
    let lines: BTreeMap<(i32, i64), String> = told
        .iter()
        .filter(|told| told.kind != "silence")
        .map(|told| {
            ((told.partition as i32, told.offset as i64), format!("{}:{}", told.kind, told.metrics.join(" ")))
        })
        .collect();
    assert!(headers.len() > 100, "{} anomalous readings", headers.len());
    assert!(headers.iter().map(|(place, truth)| (*place, (*truth).clone())).eq(lines));
}

/// The event times of a topic's readings by sensor, ascending.
fn times_of_sensors(broker: &Broker) -> BTreeMap<String, Vec<DateTime<Utc>>> {
    let mut times: BTreeMap<String, Vec<DateTime<Utc>>> = BTreeMap::new();
    for (payload, _) in broker.records.values() {
        let json: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
        let text = |field: &str| json[field].as_str().expect("text").to_owned();
        times.entry(text("sensor_id")).or_default().push(text("timestamp").parse().expect("a time"));
    }
    times.values_mut().for_each(|times| times.sort_unstable());
    times
}

#[test]
fn a_history_that_is_there_is_not_sent_again_and_one_that_was_broken_off_is_continued() {
    let mut broker = Broker::new("city", 3);
    let words = "--rate 0 --sensors 20 --count 0 --anomalies 0";
    let history =
        |span: &str, until: &str| format!("{words} --history {span} --start 2026-11-01T{until}:00Z");
    // What a run leaves that is killed: one partition further than another, and nothing in the third.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.cluster.bootstrap_servers())
        .create()
        .expect("a producer");
    let whole = printed(&format!("{} --partitions 3", history("2h", "05:00")));
    assert_eq!(whole.len(), 120 * 20);
    for record in whole.iter().filter(|record| record.offset < [500, 200, 0][record.partition as usize]) {
        let of = BaseRecord::<(), [u8]>::to("city")
            .partition(record.partition as i32)
            .payload(&record.payload[..]);
        producer.send(of).map_err(|(error, _)| error).expect("queued");
    }
    producer.flush(Duration::from_secs(30)).expect("delivered");

    let mut sent = 2400;
    // Again; the same once more; and an hour later.
    for (span, until, more) in [("2h", "05:00", 0), ("2h", "05:00", 0), ("4h", "06:00", 60 * 20)] {
        let (code, _, said) = ended(broker.start("city", &format!("{} --quiet", history(span, until))));
        assert_eq!((code, said.as_str()), (Some(0), ""));
        sent += more;
        broker.read(sent);
        // Nothing follows the last one.
        assert!(broker.consumer.poll(POLL_INTERVAL).is_none());
        let found = broker.records.len();
        assert!(
            (sent..=sent + 6).contains(&found),
            "a turn of a partition may come twice: {found} of {sent}"
        );
        sent = found;
        let times = times_of_sensors(&broker);
        assert_eq!(times.len(), 20);
        for (sensor, times) in times {
            let widest = times.windows(2).map(|two| two[1] - two[0]).max().expect("several");
            assert!(widest < TimeDelta::seconds(75), "sensor {sensor} has a hole of {widest}");
        }
    }
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_nothing_and_doubles_nothing() {
    let mut broker = Broker::new("city", 2);
    let child = broker.start("city", "--rate 4 --start 2026-11-01T05:00:00Z --count 20 --show 0");
    broker.read(4);
    broker.cluster.broker_down(-1).expect("down");
    std::thread::sleep(Duration::from_secs(2));
    broker.cluster.broker_up(-1).expect("up");
    let (code, _, said) = ended(child);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("no broker answers") && said.contains("the broker is back"), "{said}");
    broker.read(20);
    let expected = printed("--rate 4 --start 2026-11-01T05:00:00Z --count 20 --partitions 2");
    assert_eq!(broker.records.len(), expected.len());
    for record in expected {
        let (payload, _) = &broker.records[&(record.partition as i32, record.offset as i64)];
        assert_eq!(*payload, record.payload);
    }
}

#[test]
fn a_broker_that_stays_away_ends_the_run_with_what_was_delivered() {
    let mut broker = Broker::new("city", 2);
    let child = broker.start("city", "--rate 4 --patience 1s --show 0");
    broker.read(3);
    broker.cluster.broker_down(-1).expect("down");
    let (code, _, said) = ended(child);
    assert_eq!(code, Some(69), "{said}");
    let failure = said.lines().last().expect("words");
    assert!(failure.contains("acknowledged nothing for 1 s"), "{said}");
    assert!(failure.contains("readings were delivered, in order and without a gap"), "{said}");
}

#[test]
fn readings_are_shown_to_people_and_thinned_out() {
    let broker = Broker::new("city", 2);
    let (code, shown, said) = ended(broker.start("city", "--rate 20 --count 40 --show 20 --anomalies 0.3"));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(shown.lines().count(), 40, "slow enough to show each: {shown}");
    for line in shown.lines() {
        assert!(line.starts_with("✓ sensor ") || line.starts_with("✗ sensor "), "{line}");
        assert!(line.chars().count() <= 80 && !line.contains('\u{1b}'), "{line}");
    }
    assert!(shown.lines().any(|line| line.contains(" °C · AQI ")), "{shown}");

    let (_, shown, said) = ended(broker.start("city", "--rate 0 --count 20000 --show 5"));
    assert!((1..2000).contains(&shown.lines().count()), "{}", shown.lines().count());
    assert!(said.contains("5 of them are shown each second"), "{said}");
}

#[test]
fn a_topic_that_is_not_there_or_too_narrow_is_told_with_what_to_do() {
    let broker = Broker::new("city", 2);
    let brokers = broker.cluster.bootstrap_servers();
    let (code, words) = code_and_words(&["--brokers", &brokers, "--topic", "citty"]);
    assert_eq!(code, Some(78));
    assert!(words.contains("there is no topic citty") && words.contains("create it"), "{words}");
    let (code, words) = code_and_words(&["--brokers", &brokers, "--topic", "city", "--partitions", "3"]);
    assert_eq!(code, Some(78));
    assert!(words.contains("has 2 partitions") && words.contains("give at most 2"), "{words}");
}
