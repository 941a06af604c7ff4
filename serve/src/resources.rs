//! The lists of the API: which tables are shown, and how they can be asked.

use citytide_domain::Domain;

use crate::listing::{Column, DAY_US, Filter, HOUR_US, Kind, Listing, Span, Switch, WINDOWS, columns};

const ZONE: Filter =
    Filter { parameter: "zone", column: "zone", kind: Kind::Text, about: "Only of this zone" };

/// All lists, in the order of the document.
pub const LISTINGS: &[Listing] = &[
    Listing {
        name: "zones",
        about: "Current state of each zone: its last final window, and its recent anomalies",
        from: "zone_status",
        columns: zones,
        filters: &[ZONE],
        switches: &[],
        span: None,
        order: &[("zone", Kind::Text)],
        is_descending: false,
    },
    Listing {
        name: "windows",
        about: "Accepted readings by zone and window: count, average, least and greatest of each metric",
        from: WINDOWS,
        columns: windows,
        filters: &[ZONE],
        switches: &[Switch {
            parameter: "final",
            condition: "is_final",
            about: "Only windows that are final",
        }],
        span: Some(Span {
            column: "window_start",
            default_us: HOUR_US,
            longest_us: 31 * DAY_US,
            longest_with: None,
        }),
        order: &[("window_start", Kind::Time), ("zone", Kind::Text)],
        is_descending: false,
    },
    Listing {
        name: "readings",
        about: "Committed readings with their verdicts, newest event time first",
        from: "sensor_data",
        columns: readings,
        filters: &[ZONE, SENSOR],
        switches: &[LATE],
        span: Some(Span {
            column: "recorded_at",
            default_us: HOUR_US / 12,
            longest_us: HOUR_US,
            longest_with: Some(("sensor", 7 * DAY_US)),
        }),
        order: READING_ORDER,
        is_descending: true,
    },
    Listing {
        name: "anomalies",
        about: "Committed readings that are anomalous, newest event time first",
        from: "(select * from sensor_data where is_anomaly) as anomalies",
        columns: readings,
        filters: &[ZONE, SENSOR, SEVERITY],
        switches: &[LATE],
        span: Some(Span {
            column: "recorded_at",
            default_us: HOUR_US,
            longest_us: DAY_US,
            longest_with: Some(("sensor", 7 * DAY_US)),
        }),
        order: READING_ORDER,
        is_descending: true,
    },
    Listing {
        name: "incidents",
        about: "What is wrong, since when, whether it is over, and what somebody has done about it; newest first",
        from: "incidents",
        columns: incidents,
        filters: &[
            ZONE,
            SEVERITY,
            Filter {
                parameter: "kind",
                column: "kind",
                kind: Kind::Text,
                about: "rule, model, stuck or quality",
            },
            Filter {
                parameter: "condition",
                column: "condition",
                kind: Kind::Text,
                about: "pending, open, cleared, withdrawn or superseded",
            },
            Filter { parameter: "metric", column: "metric", kind: Kind::Text, about: "Only of this metric" },
            Filter {
                parameter: "sensor",
                column: "sensor_id",
                kind: Kind::Text,
                about: "Only of this sensor",
            },
        ],
        switches: &[Switch {
            parameter: "attention",
            condition: "needs_attention",
            about: "Only those that need attention",
        }],
        span: Some(Span {
            column: "last_seen_at",
            default_us: 7 * DAY_US,
            longest_us: 366 * DAY_US,
            longest_with: None,
        }),
        order: &[("opened_at", Kind::Time), ("incident_id", Kind::Text)],
        is_descending: true,
    },
    Listing {
        name: "alarm-load",
        about: "How much the incidents ask of people, by ten minutes",
        from: "alarm_load",
        columns: |_| {
            columns(&[
                ("ten_minutes", Kind::Time),
                ("opened", Kind::Integer),
                ("is_flood", Kind::Bool),
                ("top_ten_share", Kind::Number),
                ("chattering", Kind::Integer),
                ("stale", Kind::Integer),
                ("low_share", Kind::Number),
                ("medium_share", Kind::Number),
                ("high_share", Kind::Number),
                ("minutes_to_acknowledge", Kind::Number),
            ])
        },
        filters: &[],
        switches: &[],
        span: Some(Span {
            column: "ten_minutes",
            default_us: DAY_US,
            longest_us: 31 * DAY_US,
            longest_with: None,
        }),
        order: &[("ten_minutes", Kind::Time)],
        is_descending: false,
    },
    Listing {
        name: "models",
        about: "Trained models, newest first",
        from: "models",
        columns: |_| {
            columns(&[
                ("version", Kind::Integer),
                ("status", Kind::Text),
                ("fitted_from", Kind::Time),
                ("fitted_until", Kind::Time),
                ("rows", Kind::Integer),
                ("parameters", Kind::Json),
                ("figures", Kind::Json),
                ("in_force_from_epoch", Kind::Integer),
                ("created_at", Kind::Time),
            ])
        },
        filters: &[Filter {
            parameter: "status",
            column: "status",
            kind: Kind::Text,
            about: "shadow, in_force or retired",
        }],
        switches: &[],
        span: None,
        order: &[("version", Kind::Integer)],
        is_descending: true,
    },
    Listing {
        name: "model-disagreements",
        about: "Where a shadow model and the detector in force agree, and where they do not",
        from: "model_disagreements",
        columns: |_| {
            columns(&[
                ("version", Kind::Integer),
                ("zone", Kind::Text),
                ("readings", Kind::Integer),
                ("flagged_by_both", Kind::Integer),
                ("only_in_force", Kind::Integer),
                ("only_shadow", Kind::Integer),
                ("since_epoch", Kind::Integer),
            ])
        },
        filters: &[ZONE],
        switches: &[],
        span: None,
        order: &[("version", Kind::Integer), ("zone", Kind::Text)],
        is_descending: false,
    },
    Listing {
        name: "quality",
        about: "Data quality by zone and minute: what was expected, what came, and what it lacks; zone '' for dead letters",
        from: "data_quality_1min",
        columns: quality,
        filters: &[ZONE],
        switches: &[],
        span: Some(Span {
            column: "minute",
            default_us: HOUR_US,
            longest_us: 7 * DAY_US,
            longest_with: None,
        }),
        order: &[("minute", Kind::Time), ("zone", Kind::Text)],
        is_descending: false,
    },
    Listing {
        name: "progress",
        about: "How far each partition has been read, and what became of each of its offsets",
        from: "(select p.*, c.holds from ingest_progress p join conservation c using (kafka_partition)) as progress",
        columns: |_| {
            columns(&[
                ("kafka_partition", Kind::Integer),
                ("source", Kind::Text),
                ("first_offset", Kind::Integer),
                ("next_offset", Kind::Integer),
                ("accepted", Kind::Integer),
                ("late", Kind::Integer),
                ("dead", Kind::Integer),
                ("lost", Kind::Integer),
                ("gaps", Kind::Integer),
                ("holds", Kind::Bool),
                ("watermark", Kind::Time),
                ("is_idle", Kind::Bool),
            ])
        },
        filters: &[PARTITION],
        switches: &[],
        span: None,
        order: &[("kafka_partition", Kind::Integer)],
        is_descending: false,
    },
    Listing {
        name: "commits",
        about: "The ledger: one row per commit, newest first",
        from: "commits",
        columns: |_| {
            columns(&[
                ("epoch", Kind::Integer),
                ("previous_epoch", Kind::Integer),
                ("run_id", Kind::Integer),
                ("committed_at", Kind::Time),
                ("watermark", Kind::Time),
                ("readings", Kind::Integer),
                ("windows_from", Kind::Time),
            ])
        },
        filters: &[Filter {
            parameter: "run",
            column: "run_id",
            kind: Kind::Integer,
            about: "Only of this run",
        }],
        switches: &[],
        span: None,
        order: &[("epoch", Kind::Integer)],
        is_descending: true,
    },
    Listing {
        name: "runs",
        about: "Every start of citytide on this database, newest first",
        from: "runs",
        columns: |_| {
            columns(&[
                ("run_id", Kind::Integer),
                ("host", Kind::Text),
                ("processes", Kind::Integer),
                ("workers", Kind::Integer),
                ("started_at", Kind::Time),
                ("heartbeat_at", Kind::Time),
                ("ended_at", Kind::Time),
                ("why", Kind::Text),
            ])
        },
        filters: &[],
        switches: &[],
        span: None,
        order: &[("run_id", Kind::Integer)],
        is_descending: true,
    },
    Listing {
        name: "followers",
        about: "Programs that follow the committed epochs, and how far each is",
        from: "followers",
        columns: |_| columns(&[("name", Kind::Text), ("epoch", Kind::Integer), ("updated_at", Kind::Time)]),
        filters: &[],
        switches: &[],
        span: None,
        order: &[("name", Kind::Text)],
        is_descending: false,
    },
    Listing {
        name: "dead-letters",
        about: "Committed records that are not readings, newest first, with the first 1,000 bytes of each",
        from: "dead_letters",
        columns: |_| {
            let mut all = columns(&[
                ("epoch", Kind::Integer),
                ("kafka_partition", Kind::Integer),
                ("kafka_offset", Kind::Integer),
                ("received_at", Kind::Time),
                ("reason", Kind::Text),
                ("field", Kind::Text),
                ("message", Kind::Text),
                ("payload", Kind::Text),
                ("payload_bytes", Kind::Integer),
                ("sensor_id", Kind::Text),
            ]);
            // What is no UTF-8 is shown as U+FFFD.
            all[7].select = Some("substring(payload from 1 for 1000)");
            all
        },
        filters: &[
            Filter {
                parameter: "reason",
                column: "reason",
                kind: Kind::Text,
                about: "Only with this reason",
            },
            PARTITION,
        ],
        switches: &[],
        span: None,
        order: &[
            ("epoch", Kind::Integer),
            ("kafka_partition", Kind::Integer),
            ("kafka_offset", Kind::Integer),
        ],
        is_descending: true,
    },
];

const SENSOR: Filter =
    Filter { parameter: "sensor", column: "sensor_id", kind: Kind::Text, about: "Only of this sensor" };
const SEVERITY: Filter =
    Filter { parameter: "severity", column: "severity", kind: Kind::Text, about: "low, medium or high" };
const PARTITION: Filter = Filter {
    parameter: "partition",
    column: "kafka_partition",
    kind: Kind::Integer,
    about: "Only of this partition",
};
const LATE: Switch = Switch { parameter: "late", condition: "is_late", about: "Only late readings" };
const READING_ORDER: &[(&str, Kind)] =
    &[("recorded_at", Kind::Time), ("kafka_partition", Kind::Integer), ("kafka_offset", Kind::Integer)];

/// A column for each metric.
fn by_metric(domain: &Domain, of: &[(&str, Kind)]) -> Vec<Column> {
    let of_metric = |metric: &str| {
        let named = of.iter().map(move |(prefix, kind)| (format!("{prefix}{metric}"), *kind));
        named.collect::<Vec<_>>()
    };
    let all = domain.metrics.iter().flat_map(|metric| of_metric(&metric.name));
    all.map(|(name, kind)| Column { name, kind, select: None }).collect()
}

fn zones(domain: &Domain) -> Vec<Column> {
    let mut all = columns(&[
        ("zone", Kind::Text),
        ("window_start", Kind::Time),
        ("reading_count", Kind::Integer),
        ("anomaly_count", Kind::Integer),
    ]);
    all.extend(by_metric(domain, &[("avg_", Kind::Number)]));
    all.extend(columns(&[
        ("anomalies_5min", Kind::Integer),
        ("last_recorded_at", Kind::Time),
        ("epoch", Kind::Integer),
    ]));
    all
}

fn windows(domain: &Domain) -> Vec<Column> {
    let mut all = columns(&[
        ("window_start", Kind::Time),
        ("window_end", Kind::Time),
        ("zone", Kind::Text),
        ("reading_count", Kind::Integer),
        ("anomaly_count", Kind::Integer),
    ]);
    all.extend(by_metric(domain, &[("avg_", Kind::Number), ("min_", Kind::Number), ("max_", Kind::Number)]));
    all.extend(columns(&[
        ("is_final", Kind::Bool),
        ("revision", Kind::Integer),
        ("updated_at", Kind::Time),
        ("epoch", Kind::Integer),
    ]));
    all
}

fn readings(domain: &Domain) -> Vec<Column> {
    let mut all = columns(&[
        ("epoch", Kind::Integer),
        ("kafka_partition", Kind::Integer),
        ("kafka_offset", Kind::Integer),
        ("sensor_id", Kind::Text),
        ("zone", Kind::Text),
        ("recorded_at", Kind::Time),
    ]);
    all.extend(by_metric(domain, &[("", Kind::Number)]));
    all.extend(columns(&[
        ("is_late", Kind::Bool),
        ("is_anomaly", Kind::Bool),
        ("anomaly_score", Kind::Number),
        ("severity", Kind::Text),
        ("reasons", Kind::Json),
        ("model_version", Kind::Integer),
        ("confidence", Kind::Number),
        ("detector", Kind::Text),
    ]));
    all
}

fn quality(domain: &Domain) -> Vec<Column> {
    let mut all = columns(&[
        ("zone", Kind::Text),
        ("minute", Kind::Time),
        ("expected", Kind::Integer),
        ("readings", Kind::Integer),
        ("late", Kind::Integer),
        ("dead", Kind::Integer),
    ]);
    all.extend(by_metric(domain, &[("nulls_", Kind::Integer), ("out_of_range_", Kind::Integer)]));
    all.extend(columns(&[("epoch", Kind::Integer)]));
    all
}

pub fn incidents(_: &Domain) -> Vec<Column> {
    columns(&[
        ("incident_id", Kind::Text),
        ("kind", Kind::Text),
        ("zone", Kind::Text),
        ("metric", Kind::Text),
        ("sensor_id", Kind::Text),
        ("pattern", Kind::Text),
        ("condition", Kind::Text),
        ("superseded_by", Kind::Text),
        ("severity", Kind::Text),
        ("severity_peak", Kind::Text),
        ("opened_at", Kind::Time),
        ("last_seen_at", Kind::Time),
        ("cleared_at", Kind::Time),
        ("first_epoch", Kind::Integer),
        ("epoch", Kind::Integer),
        ("revision", Kind::Integer),
        ("readings", Kind::Integer),
        ("sensors", Kind::Integer),
        ("occurrences", Kind::Integer),
        ("flaps", Kind::Integer),
        ("peak_value", Kind::Number),
        ("typical", Kind::Number),
        ("spread", Kind::Number),
        ("unit", Kind::Text),
        ("model_version", Kind::Integer),
        ("text", Kind::Text),
        ("acknowledged_at", Kind::Time),
        ("acknowledged_by", Kind::Text),
        ("acknowledged_comment", Kind::Text),
        ("assignee", Kind::Text),
        ("shelved_until", Kind::Time),
        ("shelved_by", Kind::Text),
        ("shelved_reason", Kind::Text),
        ("is_out_of_service", Kind::Bool),
        ("suppressed_by", Kind::Text),
        ("needs_attention", Kind::Bool),
    ])
}
