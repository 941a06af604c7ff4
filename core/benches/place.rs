//! Place: lateness, and the partial sums of a batch by zone and pane. The figure is per reading.

use std::hint::black_box;

use citytide_core::batch::Assembler;
use citytide_core::batch::example::chunk;
use citytide_core::window::{EpochPartials, Lateness};
use citytide_domain::Domain;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: i64 = 4096;

fn place(criterion: &mut Criterion) {
    let domain = Domain::smart_city();
    let mut batch = Assembler::new(&domain, []).assemble(&chunk(0, RECORDS));
    let (pane_us, mut lateness) = (domain.pane_us(), Lateness::new(&domain, []));
    let mut group = criterion.benchmark_group("place");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("a batch of readings", |bencher| {
        bencher.iter(|| {
            lateness.judge(black_box(&mut batch));
            let mut partials = EpochPartials::default();
            let anomalies = partials.place(&batch, pane_us);
            (anomalies, partials.finish())
        });
    });
}

criterion_group!(benches, place);
criterion_main!(benches);
