//! `citytide-generator`: what was typed → a city and a place for its readings → run.

mod failure;
mod kafka;
mod options;
mod run;
mod sink;

use std::io::BufWriter;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use citytide_domain::Domain;
use citytide_generator::{City, CitySettings, Disorder, Schedule};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use failure::Failure;
use kafka::Topic;
use options::Options;
use run::{FASTEST_RATE, Run, UNPACED_RATE, grouped};
use sink::Sink;

/// Partitions of a topic that is only printed.
const PRINTED_PARTITIONS: u32 = 4;

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(failure.code())
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let domain = match &options.domain {
        None => Domain::smart_city(),
        Some(file) => {
            let text = std::fs::read_to_string(file)
                .map_err(|reason| Failure::DomainFile { file: file.clone(), reason })?;
            Domain::parse(&file.display().to_string(), &text).map_err(Failure::Domain)?
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // One more changes nothing: a terminal and a script may both send one, and the end is bounded as it is.
        signal_hook::flag::register(signal, stop.clone()).map_err(Failure::Signals)?;
    }

    let (sink, place, partitions, first_offsets) = open(options, &domain)?;
    let now_us = wall_us();
    let start_us = options.start.map_or(now_us, |start| start.timestamp_micros());
    if let Some(start) = options.start.filter(|_| start_us > now_us) {
        return Err(Failure::StartInTheFuture(start.to_rfc3339()));
    }
    let is_live = options.start.is_none();
    let rate = match options.rate {
        0 if is_live => FASTEST_RATE,
        0 => UNPACED_RATE,
        rate => f64::from(rate),
    };
    let schedule = Schedule { start_us, rate, speed: 1.0, first_offsets };
    let pace = (is_live || options.rate > 0).then(|| schedule.paced_from(now_us));
    let settings = CitySettings {
        seed: options.seed,
        sensors: options.sensors,
        partitions,
        anomalies: options.anomalies,
        disorder: Disorder::default(),
    };
    let city = City::new(&domain, &settings, schedule)?;

    if !options.quiet {
        let pace = match options.rate {
            0 => "as fast as possible".to_owned(),
            rate => format!("{} readings/s", grouped(rate.into())),
        };
        eprintln!(
            "{place}: {} sensors in {} zones, {partitions} partitions, {pace}, seed {}",
            grouped(options.sensors.into()),
            city.zones().len(),
            options.seed
        );
    }
    let run = Run { city, sink, pace, is_live, count: options.count, quiet: options.quiet };
    let sent = run.until_done(&domain, &stop, wall_us)?;
    if !options.quiet {
        let seconds = (wall_us() - now_us) as f64 / 1e6;
        eprintln!("{} readings in {seconds:.1} s", grouped(sent));
    }
    Ok(())
}

/// Where the readings go: the place, its name for people, how many partitions are filled and where each begins.
fn open(options: &Options, domain: &Domain) -> Result<(Sink, String, u32, Vec<i64>), Failure> {
    let Some(brokers) = options.brokers.as_ref().filter(|_| !options.stdout) else {
        let partitions = options.partitions.unwrap_or(PRINTED_PARTITIONS);
        let sink = Sink::Lines(BufWriter::with_capacity(1 << 16, std::io::stdout().lock()));
        return Ok((sink, "standard output".to_owned(), partitions, vec![0; partitions as usize]));
    };
    let name = options.topic.as_ref().unwrap_or(&domain.topic);
    let topic = Topic::open(brokers, name)?;
    let there = topic.partitions;
    let partitions = options.partitions.unwrap_or(there);
    if partitions > there {
        return Err(Failure::Partitions { topic: name.clone(), there, asked: partitions });
    }
    let first_offsets = topic.next_offsets(partitions)?;
    Ok((Sink::Topic(topic), format!("{name} at {brokers}"), partitions, first_offsets))
}

/// Microseconds since the Unix epoch: the one place here that asks the clock.
#[expect(
    clippy::disallowed_methods,
    reason = "readings are paced by the clock, and only this function asks it"
)]
fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as i64
}
