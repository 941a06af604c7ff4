//! What each part of the detector is good for, on a labelled table: the hybrid, the hybrid without each of its members, and
//! the detectors that it is held against.
//!
//! `ablation TABLE.csv TIME LABEL SENSOR ZONE FROM_SHARE [domain]`: rows before that share of the time only teach. With
//! `domain` the metrics are those of smart-city with its rules, else they are taken from the table.

use std::sync::Arc;

use citytide_detector::evaluate::Watch;
use citytide_detector::evaluate::comparison::{Scales, forest_on_raw, largest, windowed_pca};
use citytide_detector::evaluate::metrics::{Flagged, Ranking, by_kind, events};
use citytide_detector::evaluate::table::{Columns, Table};
use citytide_detector::{Layout, Member, Sample};
use citytide_domain::Domain;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, time, label, sensor, zone, from_share, ..] = &arguments[..] else {
        panic!("ablation TABLE.csv TIME LABEL SENSOR ZONE FROM_SHARE [domain]");
    };
    let text = std::fs::read_to_string(file).expect("the table can be read");
    let named = |name: &String| Some(name.clone()).filter(|name| name != "-");
    let columns =
        Columns { time: time.clone(), label: label.clone(), sensor: named(sensor), zone: named(zone) };
    let mut table = Table::read(&text, &columns).unwrap_or_else(|error| panic!("{error}"));
    drop(text);
    let mut layout = table.layout();
    if arguments.iter().any(|argument| argument == "domain") {
        let domain = Domain::smart_city();
        let order = domain.metrics.iter().map(|metric| {
            table.names.iter().position(|name| *name == metric.name).expect("a column for each metric")
        });
        table.metrics = order.map(|at| table.metrics[at].clone()).collect();
        layout = Layout { tick_us: layout.tick_us, ..Layout::new(&domain) };
    }
    let layout = Arc::new(layout);
    let share: f64 = from_share.parse().expect("a share");
    let (first_us, last_us) =
        (table.event_times_us[0], *table.event_times_us.last().expect("a table has rows"));
    let from_us = first_us + ((last_us - first_us) as f64 * share) as i64;
    let from = table.event_times_us.partition_point(|at_us| *at_us < from_us);
    println!(
        "{} rows, {} scored, ticks of {} s, {:.2} % anomalous",
        table.rows(),
        table.rows() - from,
        layout.tick_us / 1_000_000,
        100.0 * table.kinds[from..].iter().flatten().count() as f64 / (table.rows() - from) as f64
    );
    let report = Report { table: &table, labels: table.labels(), from };

    let full = judged(&table, &layout, &[]);
    report.print("hybrid", &full.0, Some(&full.1));
    report.print_kinds(&full.1);
    for (at, member) in Member::ALL.iter().enumerate() {
        let mut found = [0, 0];
        for row in from..table.rows() {
            if full.1[row] && usize::from(full.2[row]) == at {
                found[usize::from(report.labels[row])] += 1;
            }
        }
        println!("  {:9} decides {} rightly, {} wrongly", member.as_str(), found[1], found[0]);
    }
    let rules = table.metrics.iter().zip(&layout.metrics);
    let mut broken = vec![0.0; table.rows()];
    for (column, metric) in rules {
        for (score, value) in broken.iter_mut().zip(column) {
            *score = f32::max(*score, f32::from(*value < metric.below || *value > metric.above));
        }
    }
    report.print("rules only", &broken, Some(&broken.iter().map(|score| *score > 0.0).collect::<Vec<_>>()));
    let scales = Scales::learn(&table, from);
    report.print("max|z|", &largest(&table, &scales), None);
    report.print("windowed PCA", &windowed_pca(&table, &scales, from), None);
    if let Some(scores) = forest_on_raw(&table, &scales, from, &layout.forest) {
        report.print("forest on raw values", &scores, None);
    }
    let others: Vec<Member> = Member::ALL.into_iter().filter(|member| *member != Member::Forest).collect();
    report.print("forest on residuals", &judged(&table, &layout, &others).0, None);
    if arguments.iter().any(|argument| argument == "fast") {
        return;
    }
    for member in Member::ALL {
        let without = judged(&table, &layout, &[member]);
        report.print(&format!("hybrid without {}", member.as_str()), &without.0, Some(&without.1));
    }
}

/// Surprises and flags of all rows, and who was most surprised.
fn judged(table: &Table, layout: &Arc<Layout>, muted: &[Member]) -> (Vec<f32>, Vec<bool>, Vec<u8>) {
    let sample = Sample::new(10_000, 7 * 86_400_000_000);
    let mut watch = Watch::new(layout.clone(), sample, 6 * 3_600_000_000);
    muted.iter().for_each(|member| watch.mute(*member));
    let (mut scores, mut flags, mut found_by) =
        (Vec::new(), vec![false; table.rows()], vec![0; table.rows()]);
    let mut metrics = Vec::new();
    let mut from = 0;
    while from < table.rows() {
        let tick = layout.tick(table.event_times_us[from]);
        let length = table.event_times_us[from..].partition_point(|at_us| layout.tick(*at_us) == tick);
        let verdicts = watch.judge(table.batch(from, from + length, &mut metrics));
        scores.extend_from_slice(&verdicts.surprises);
        for verdict in &verdicts.flagged {
            let row = from + verdict.row as usize;
            flags[row] = true;
            let most = (0..verdict.surprises.len())
                .max_by(|a, b| verdict.surprises[*a].total_cmp(&verdict.surprises[*b]));
            found_by[row] = most.unwrap_or(0) as u8;
        }
        from += length;
    }
    (scores, flags, found_by)
}

struct Report<'a> {
    table: &'a Table,
    labels: Vec<bool>,
    from: usize,
}

impl Report<'_> {
    fn print(&self, name: &str, scores: &[f32], flags: Option<&Vec<bool>>) {
        let ranking = Ranking::new(&scores[self.from..], &self.labels[self.from..]);
        print!(
            "{name:26} AUROC {:.3} AP {:.3} R at P .9 {:.3}",
            ranking.auroc().unwrap_or(f64::NAN),
            ranking.average_precision().unwrap_or(f64::NAN),
            ranking.recall_at_precision(0.9)
        );
        match flags {
            Some(flags) => {
                let mut counted = Flagged::default();
                for (label, flag) in self.labels[self.from..].iter().zip(&flags[self.from..]) {
                    counted.add(*label, *flag);
                }
                println!(" | P {:.3} R {:.3} F1 {:.3}", counted.precision(), counted.recall(), counted.f1());
            }
            None => println!(" | best F1 of any threshold {:.3}", ranking.best_f1().0),
        }
    }

    fn print_kinds(&self, flags: &[bool]) {
        let rows = || self.from..self.table.rows();
        for (kind, noticed) in by_kind(rows().map(|row| (self.table.kind(row), flags[row]))) {
            print!("  {kind} {:.3} of {}", noticed.recall(), noticed.of);
        }
        println!();
        let mut order: Vec<usize> = rows().collect();
        order.sort_by_key(|row| (self.table.series[*row], *row));
        let readings =
            order.iter().map(|row| (u64::from(self.table.series[*row]), self.table.kind(*row), flags[*row]));
        for (kind, noticed) in events(readings) {
            print!("  {kind} {:.3} of {} events", noticed.recall(), noticed.of);
        }
        println!();
    }
}
