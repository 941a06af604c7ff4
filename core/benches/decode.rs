//! Decode: JSON records → a batch. The figure is per record.

use std::hint::black_box;

use citytide_core::batch::Assembler;
use citytide_core::batch::example::chunk;
use citytide_domain::Domain;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const RECORDS: i64 = 4096;

fn decode(criterion: &mut Criterion) {
    let (domain, chunk) = (Domain::smart_city(), chunk(0, RECORDS));
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("a chunk of JSON records", |bencher| {
        bencher.iter(|| {
            // Records below the next offset are skipped, so each round needs an assembler of its own.
            let mut assembler = Assembler::new(&domain, []);
            let batch = assembler.assemble(black_box(&chunk));
            assert_eq!(batch.rows() as i64, RECORDS);
            batch
        });
    });
}

criterion_group!(benches, decode);
criterion_main!(benches);
