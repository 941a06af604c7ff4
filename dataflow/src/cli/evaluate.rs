//! `citytide evaluate`: reads labelled readings, evaluates the detector on them (see [`citytide_evaluate`]), and prints
//! or writes its precision, recall and scores.

mod error;
mod inputs;
mod readings;
mod windows;

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use citytide_domain::Domain;
use citytide_evaluate::page::page;
use citytide_evaluate::text::text;
use citytide_evaluate::{Columns, Evaluation, Report, Summary, Table, read_csv, scores, time_us};

use super::exit_error::ExitError;
use super::tables::read_domain;
use crate::runtime::exit::Exit;
use crate::runtime::output;
use error::EvaluateError;
use inputs::inputs;
use readings::Readings;
use windows::Windows;

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The input is CSV (commas, semicolons or tabs, with a header line) with a column of labels, or what
`citytide-generator --stdout --truth FILE` writes. Every other numeric column besides time, label,
sensor and zone is a metric. Where lines name their partition, as the generator's do, each partition
is judged in the order of its lines: that is its log, and a run over the log gives the same verdicts.
All other rows are judged in the order of their times. The detector starts without any knowledge:
for the first half hour and 512 readings of a zone only rules flag readings, and learning what is
usual at an hour of the day takes days. All rows count, unless --from makes the first ones only
teach.

Times are written as 2026-11-21T05:26:00Z or as people write them (21/11/2026 5:26, AM and PM, UTC),
or in seconds, milliseconds, microseconds or nanoseconds of 1970, or as day numbers of a spreadsheet.
The column as a whole decides whether the day or the month comes first; the output says so.

Several files, or the CSV files of a directory, are evaluated one by one, with the mean of their figures
and, for labels that are windows, the score of the Numenta Anomaly Benchmark over all of them.

Rows of a single sensor that say nothing about the next row are not a stream, and some streams are too
short to learn from. These are judged as a table, by the isolation forest on raw values, and the
share that the domain expects to be anomalous (contamination, 5 %) is flagged. The output says so.

The last line of standard output is one JSON object. auroc and ap need no threshold; precision,
recall and f1 use the threshold that the detector set without labels; best_f1 and
recall_at_precision_90 use thresholds chosen by the labels. Nothing is point-adjusted. by_event has the
same by events and alarms (runs of flags), VUS-PR, and NAB's score by its three profiles.

Compared on the same rows: rules only; max|z| (zone's median and MAD); windowed PCA (eight readings
of a sensor); an isolation forest on raw values (500 trees of 256 rows); and the hybrid's forest
alone. The first four learn from the rows before --from, without it from all rows. The oracle
learns from the rows that are labelled normal, including later ones, and looks at one row at a time:
it does not see what only shows over several rows, so it is not an upper bound.

Examples:
  citytide evaluate --input city.csv --label kind --time at --sensor id --zone area
  citytide evaluate --input city.csv --label kind --time at --from 0.667 --report city.html
  citytide evaluate --input NAB/data --time timestamp --windows NAB/labels/combined_windows.json
  citytide-generator --stdout --rate 0 --count 500000 --duration 7d \\
    --start 2026-11-02T00:00:00Z --truth truth.csv |
    citytide evaluate --input - --truth truth.csv")]
pub struct Args {
    /// Read labelled readings from this file: CSV, or JSON lines with --truth; - reads standard input. Several files, and
    /// directories of CSV files, are evaluated one by one
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    input: Vec<PathBuf>,
    /// Column of the labels: empty, 0, false, no and normal are normal, anything else is a kind of anomaly
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Column of the event time: a date and a clock, or a number since 1970
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Column of the sensor; without it each zone is one sensor
    #[arg(long, value_name = "COLUMN")]
    sensor: Option<String>,
    /// Column of the zone; without it there is one zone
    #[arg(long, value_name = "COLUMN")]
    zone: Option<String>,
    /// Treat this label as normal, instead of those above; may be repeated
    #[arg(long, value_name = "LABEL", allow_hyphen_values = true)]
    normal: Vec<String>,
    /// Take no metric from this column; may be repeated
    #[arg(long, value_name = "COLUMN")]
    ignore: Vec<String>,
    /// Take this number for no value, as -9999; may be repeated
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    missing: Vec<f64>,
    /// Label the rows within these windows of time instead of a column: JSON, a list of [first, last] by file
    #[arg(long, value_name = "FILE", conflicts_with = "label")]
    windows: Option<PathBuf>,
    /// Read the generator's truth about JSON lines from this file, instead of labels
    #[arg(long, value_name = "FILE")]
    truth: Option<PathBuf>,
    /// Use the rules and scales of this domain file [default: smart-city, if the table has all of its metrics]
    #[arg(long, value_name = "FILE", help_heading = "Domain")]
    domain: Option<PathBuf>,
    /// Let the first rows only teach: a share of the time, such as 0.667, or the time from which rows count
    #[arg(long, value_name = "SHARE|TIME")]
    from: Option<String>,
    /// Seed of the forest on raw values, which also judges rows that are no stream
    #[arg(id = "asked.seed", long = "seed", value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Write each row's score as CSV, in the order of the input
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write a page with pictures: scores, precision and recall, kinds, zones
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Judge again without each member of the detector in turn, and print the difference
    #[arg(long)]
    ablation: bool,
}

/// Evaluates and prints; returns the exit code.
pub fn run(args: &Args) -> Result<i32, ExitError> {
    evaluate(args)?;
    Ok(Exit::Done.code())
}

fn evaluate(args: &Args) -> Result<(), EvaluateError> {
    let inputs = inputs(&args.input)?;
    let windows = args.windows.as_deref().map(Windows::read).transpose()?;
    if let [input] = &inputs[..] {
        return evaluate_one(args, input, windows.as_ref(), None);
    }
    if args.scores.is_some() || args.report.is_some() || args.truth.is_some() {
        return Err(EvaluateError::OneInput);
    }
    let mut summary = Summary::default();
    for input in &inputs {
        evaluate_one(args, input, windows.as_ref(), Some(&mut summary))
            .map_err(|error| error.in_file(input))?;
    }
    summary.finish();
    let json = serde_json::to_string(&summary).expect("names and numbers become JSON");
    output::print_line(format_args!("{}{json}", summary.text()));
    Ok(())
}

/// Evaluates one input: prints its figures, or adds them to a summary.
fn evaluate_one(
    args: &Args,
    input: &Path,
    windows: Option<&Windows>,
    summary: Option<&mut Summary>,
) -> Result<(), EvaluateError> {
    let (mut table, domain) = read(args, input, windows)?;
    table.domain = Arc::new(domain.clone().unwrap_or_else(Domain::smart_city));
    table.seed = args.seed;
    let from = first_row(&table, args.from.as_deref())?;
    // Created before minutes of work, so that a wrong path is reported at once.
    let scores_file = args.scores.as_deref().map(Output::create).transpose()?;
    let page_file = args.report.as_deref().map(Output::create).transpose()?;
    let layout = Arc::new(table.layout(domain.as_ref()));
    let evaluation = Evaluation::new(&table, &layout, from);
    let ablation = if args.ablation { evaluation.ablation(&layout) } else { Default::default() };
    let input = match input.to_str() {
        Some("-") => "standard input".to_owned(),
        _ => input.display().to_string(),
    };
    let domain = domain.as_ref().map(|domain| domain.name.as_str());
    let report = Report::new(&input, domain, &layout, &evaluation, ablation);
    if let Some(summary) = summary {
        summary.add(report, &evaluation);
        return Ok(());
    }
    if let Some(file) = scores_file {
        file.write(|to| scores::write(&evaluation, to))?;
    }
    if let Some(file) = page_file {
        file.write(|to| to.write_all(page(&report, &evaluation).as_bytes()))?;
    }
    let json = serde_json::to_string(&report).expect("names and numbers become JSON");
    output::print_line(format_args!("{}{json}", text(&report, &table)));
    Ok(())
}

/// The table, and the domain that knows something of its metrics.
fn read(
    args: &Args,
    path: &Path,
    windows: Option<&Windows>,
) -> Result<(Table, Option<Domain>), EvaluateError> {
    let failed = |reason| EvaluateError::read(path, &reason);
    let mut input: Box<dyn BufRead> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin().lock()),
        _ => Box::new(BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?)),
    };
    if readings::are_lines(input.fill_buf().map_err(failed)?) {
        let Some(truth) = &args.truth else { return Err(EvaluateError::NoTruth) };
        if args.label.is_some() || args.time.is_some() || args.sensor.is_some() || args.zone.is_some() {
            return Err(EvaluateError::ColumnsOfLines);
        }
        let domain = read_domain(args.domain.as_deref())?;
        let readings = Readings::read(input, path, &domain)?;
        // Only now: in a pipe the truth is whole when the readings have ended.
        let told = std::fs::read(truth).map_err(|reason| EvaluateError::read(truth, &reason))?;
        return Ok((readings.with_truth(truth, &told)?, Some(domain)));
    }
    if args.truth.is_some() {
        return Err(EvaluateError::TruthOfTable);
    }
    let Some(time) = args.time.clone().filter(|_| args.label.is_some() || windows.is_some()) else {
        return Err(EvaluateError::NoColumns);
    };
    let columns = Columns {
        time,
        label: args.label.clone(),
        sensor: args.sensor.clone(),
        zone: args.zone.clone(),
        normal: args.normal.clone(),
        ignored: args.ignore.clone(),
        missing: args.missing.clone(),
    };
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes).map_err(failed)?;
    let mut table = read_csv(&bytes, &columns)?;
    drop(bytes);
    if let Some(windows) = windows {
        table.label_windows(windows.of(path)?);
    }
    let domain = read_domain(args.domain.as_deref())?;
    let known = domain.metrics.iter().filter(|metric| table.names.contains(&metric.name)).count();
    let domain = match (&args.domain, known) {
        (Some(path), 0) => return Err(EvaluateError::OtherDomain { path: path.display().to_string() }),
        (Some(_), _) => Some(domain),
        (None, known) => (known == domain.metrics.len()).then_some(domain),
    };
    Ok((table, domain))
}

/// A file that is written to.
struct Output<'a> {
    path: &'a Path,
    file: BufWriter<File>,
}

impl Output<'_> {
    fn create(path: &Path) -> Result<Output<'_>, EvaluateError> {
        let file = File::create(path).map_err(|reason| EvaluateError::write(path, &reason))?;
        Ok(Output { path, file: BufWriter::new(file) })
    }

    fn write(
        mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
    ) -> Result<(), EvaluateError> {
        let written = write(&mut self.file).and_then(|()| self.file.flush());
        written.map_err(|reason| EvaluateError::write(self.path, &reason))
    }
}

/// The first row that counts.
fn first_row(table: &Table, from: Option<&str>) -> Result<usize, EvaluateError> {
    let Some(text) = from else { return Ok(0) };
    let wrong = |why| EvaluateError::From { text: text.to_owned(), why };
    let at_us = match text.parse::<f64>() {
        Ok(share) if (0.0..1.0).contains(&share) => table.time_at_share_us(share),
        _ => time_us(text).ok_or_else(|| {
            wrong("give a share from 0 to less than 1, or a time as 2026-11-21T05:26:00Z".to_owned())
        })?,
    };
    match table.row_at(at_us) {
        row if row < table.rows() => Ok(row),
        _ => Err(wrong("the last row is before it, so that none would count".to_owned())),
    }
}

#[cfg(test)]
mod tests;
