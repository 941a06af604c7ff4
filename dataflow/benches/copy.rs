//! COPY: a batch → rows in PostgreSQL's binary format. The figure is per row.

use std::hint::black_box;

use citytide::commit::copy::encode_readings;
use citytide_core::batch::Assembler;
use citytide_core::batch::example::chunk;
use citytide_core::detect::Rules;
use citytide_core::window::Lateness;
use citytide_domain::Domain;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: i64 = 4096;

fn copy(criterion: &mut Criterion) {
    let domain = Domain::smart_city();
    let mut batch = Assembler::new(&domain, []).assemble(&chunk(0, RECORDS));
    Lateness::new(&domain, []).judge(&mut batch);
    Rules::new(&domain).score(&mut batch);
    let mut rows = Vec::new();
    let mut group = criterion.benchmark_group("copy");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("a batch of readings", |bencher| {
        bencher.iter(|| {
            rows.clear();
            encode_readings(black_box(&batch), 50, &mut rows);
            rows.len()
        });
    });
}

criterion_group!(benches, copy);
criterion_main!(benches);
