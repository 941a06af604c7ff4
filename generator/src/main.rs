//! `citytide-generator`: options → a city and a destination → run.

mod console;
mod failure;
mod kafka;
mod options;
mod patience;
mod plot;
mod progress;
mod run;
mod sink;
mod span;
mod truth;

use std::io::{BufWriter, IsTerminal};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use citytide_domain::Domain;
use citytide_generator::{City, CitySettings, Disorder, Schedule};
use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};

use console::{Console, Sampler};
use failure::Failure;
use kafka::Topic;
use options::{CityOptions, Command, Fill, Options};
use patience::Patience;
use progress::{Progress, complain, grouped};
use run::Run;
use sink::Sink;
use span::Span;
use truth::TruthFile;

/// Partitions with `--stdout`.
const PRINTED_PARTITIONS: u32 = 4;

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = match &options.command {
        None => fill(&options.fill),
        Some(Command::Plot(options)) => {
            domain(&options.city).and_then(|domain| plot::plot(options, &domain, wall_us()))
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn fill(options: &Fill) -> Result<(), Failure> {
    let domain = domain(&options.city)?;
    let mut wrong = options.wrong_shares();
    wrong.extend(options.wrong_history(domain.time.max_age_us));
    let span = match (wrong, Span::of(options, wall_us())) {
        (wrong, Ok(span)) if wrong.is_empty() => span,
        (mut wrong, span) => {
            wrong.extend(span.err().unwrap_or_default());
            return Err(Failure::Options(wrong));
        }
    };
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Further signals change nothing: the end is bounded anyway.
        signal_hook::flag::register(signal, stop.clone()).map_err(Failure::Signals)?;
    }
    let (sink, place, partitions, first_offsets) = open(options, &domain)?;
    // Read the clock again: the requests to the broker took time.
    let now_us = wall_us();
    let start_us = if span.is_live { now_us } else { span.start_us };
    // Readings depend on their rate in event time, not on how fast they are sent.
    let schedule = Schedule { start_us, rate: span.density, speed: 1.0, first_offsets };
    let pace = match span.rate {
        Some(rate) => Some(Schedule { start_us: now_us, rate, ..schedule.clone() }),
        None => span.is_live.then(|| schedule.clone()),
    };
    let disorder = Disorder {
        out_of_order: options.out_of_order,
        late: options.late,
        duplicate: options.duplicates,
        malformed: options.malformed,
    };
    let settings = settings(&options.city, partitions, disorder);
    let next_offsets = schedule.first_offsets.clone();
    let city = City::new(&domain, &settings, schedule)?;
    let history = match options.history {
        Some(span_us) => history(&domain, &settings, &city, &sink, start_us - span_us)?,
        None => None,
    };
    let truth = match &options.truth {
        Some(file) => Some(TruthFile::open(file, matches!(sink, Sink::Topic(_)))?),
        None => None,
    };

    let progress = match () {
        () if options.quiet => Progress::silent(),
        () if std::io::stderr().is_terminal() => {
            Progress::bar(now_us, span.count.filter(|_| history.is_none()))
        }
        () => Progress::lines(now_us),
    };
    progress.print(&banner(options, &span, &city, &place, partitions));
    if let Some(history) = &history {
        progress.print(&format!("first the history from {}", shown(history.schedule().start_us)));
    }
    let console = (!options.quiet && !options.stdout && options.show > 0).then(|| {
        let has_colors = std::io::stdout().is_terminal() && !options.no_color;
        (Console::new(&domain, city.zones(), has_colors), Sampler::new(options.show, now_us))
    });
    let mut run = Run {
        city,
        history,
        next_offsets,
        sink,
        pace,
        is_live: span.is_live,
        count: span.count,
        until_us: span.clock_us.map(|clock_us| now_us + clock_us),
        patience: Patience::new(options.patience, now_us),
        progress,
        console,
        truth,
    };
    let sent = run.until_done(&domain, &stop, wall_us)?;
    let seconds = (wall_us() - now_us) as f64 / 1e6;
    run.progress.print(&format!(
        "{} readings in {seconds:.1} s, {}/s",
        grouped(sent),
        grouped((sent as f64 / seconds.max(1e-6)) as u64)
    ));
    Ok(())
}

fn domain(options: &CityOptions) -> Result<Domain, Failure> {
    let Some(file) = &options.domain else { return Ok(Domain::smart_city()) };
    let text =
        std::fs::read_to_string(file).map_err(|reason| Failure::DomainFile { file: file.clone(), reason })?;
    Domain::parse(&file.display().to_string(), &text).map_err(Failure::Domain)
}

fn settings(options: &CityOptions, partitions: u32, disorder: Disorder) -> CitySettings {
    let CityOptions { seed, sensors, anomalies, .. } = *options;
    CitySettings { seed, sensors, partitions, anomalies, disorder }
}

fn banner(options: &Fill, span: &Span, city: &City, place: &str, partitions: u32) -> String {
    let pace = match options.rate {
        0 => "as fast as possible".to_owned(),
        rate => format!("{} readings/s", grouped(rate.into())),
    };
    let mut banner = format!(
        "{place}: {} sensors in {} zones, {partitions} partitions, {pace}, seed {}",
        grouped(options.city.sensors.into()),
        city.zones().len(),
        options.city.seed
    );
    if !span.is_live {
        banner += &format!(", event time from {}", shown(span.start_us));
    }
    if !options.stdout && options.show > 0 && (options.rate == 0 || options.rate > options.show) {
        banner += &format!("\n{} of them are shown each second (--show)", grouped(options.show.into()));
    }
    banner
}

/// The city before the stream starts, from `from_us` on; `None` if there is nothing to send of it.
///
/// Where a partition holds readings already, the history begins behind its last one: a run that was stopped in its
/// history continues it, and one that was stopped later sends what happened since.
fn history(
    domain: &Domain,
    settings: &CitySettings,
    city: &City,
    sink: &Sink,
    from_us: i64,
) -> Result<Option<City>, Failure> {
    let next_offsets = &city.schedule().first_offsets;
    let until_us = match sink {
        Sink::Topic(topic) => topic.known_until_us(next_offsets, &domain.fields.time)?,
        Sink::Lines(_) => vec![None; next_offsets.len()],
    };
    let producing = (0..i64::from(settings.partitions)).map(|number| city.place_of(number));
    let producing = producing.take_while(|(partition, offset)| *offset == next_offsets[*partition as usize]);
    let producing: Vec<u32> = producing.map(|(partition, _)| partition).collect();
    let from_us_of =
        |partition: u32| until_us[partition as usize].map_or(from_us, |until_us| from_us.max(until_us + 1));
    let Some(start_us) = producing.iter().map(|partition| from_us_of(*partition)).min() else {
        return Ok(None);
    };
    let mut schedule = Schedule::of_history(start_us, settings.sensors, next_offsets.clone());
    let turns = producing.len() as i64;
    for (rank, partition) in producing.iter().enumerate() {
        // The turns of this partition that have passed already stand before its next offset.
        let passed = schedule.turns_before(from_us_of(*partition));
        schedule.first_offsets[*partition as usize] -= (passed - rank as i64 + turns - 1).max(0) / turns;
    }
    let is_worth_it = schedule.turns_before(city.schedule().start_us) >= i64::from(settings.sensors);
    Ok(if is_worth_it { Some(city.at(domain, settings, schedule)?) } else { None })
}

/// The destination: sink, description, number of partitions and their first offsets.
fn open(options: &Fill, domain: &Domain) -> Result<(Sink, String, u32, Vec<i64>), Failure> {
    if options.stdout {
        let partitions = options.partitions.unwrap_or(PRINTED_PARTITIONS);
        let sink = Sink::Lines(BufWriter::with_capacity(1 << 16, std::io::stdout().lock()));
        return Ok((sink, "standard output".to_owned(), partitions, vec![0; partitions as usize]));
    }
    let connection = options.kafka.connection()?;
    let name = options.topic.as_ref().unwrap_or(&domain.topic);
    let topic = Topic::open(&connection, name)?;
    let there = topic.partitions;
    let partitions = options.partitions.unwrap_or(there);
    if partitions > there {
        return Err(Failure::Partitions { topic: name.clone(), there, asked: partitions });
    }
    let first_offsets = topic.next_offsets(partitions)?;
    Ok((Sink::Topic(topic), format!("{name} at {connection}"), partitions, first_offsets))
}

/// An event time for people.
fn shown(at_us: i64) -> String {
    let at = chrono::DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Microseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "readings are paced by the clock, and only this function reads it"
)]
fn wall_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_micros() as i64
}
