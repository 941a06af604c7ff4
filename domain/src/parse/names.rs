//! Validates names that become columns, tables and topics: their form, and reserved names.

use std::collections::HashSet;

/// Longest metric or window name, bytes: PostgreSQL truncates identifiers to 63, and these get prefixes and suffixes.
const IDENTIFIER_BYTES_MAX: usize = 40;
/// Longest free name (zone, field, domain), in bytes: as in a reading.
const NAME_BYTES_MAX: usize = 200;
/// Longest topic name that Kafka accepts, bytes.
const TOPIC_BYTES_MAX: usize = 249;

/// The columns of `sensor_data` that are not metrics, and the system columns of every PostgreSQL table.
const COLUMNS: &str = "epoch kafka_partition kafka_offset sensor_id zone recorded_at is_late is_anomaly anomaly_score \
    severity reasons model_version confidence detector tableoid xmin cmin xmax cmax ctid";

/// Words that PostgreSQL does not accept as a column name without quotes.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization binary both case cast check \
    collate collation column concurrently constraint create cross current_catalog current_date \
    current_role current_schema current_time current_timestamp current_user default deferrable desc \
    distinct do else end except false fetch for foreign freeze from full grant group having ilike in \
    initially inner intersect into is isnull join lateral leading left like limit localtime \
    localtimestamp natural not notnull null offset on only or order outer overlaps placing primary \
    references returning right select session_user similar some symmetric system_user table tablesample \
    then to trailing true union unique user using variadic verbose when where window with";

/// Suffixes of window names that could collide with a table or an index of another window.
const WINDOW_ENDS: &[&str] = &["_detail", "_pkey", "_window_start"];

/// Why `name` cannot be one more of its `kind`: the names before it are in `names`.
pub(super) fn taken(names: &mut HashSet<String>, kind: &str, name: &str) -> Option<String> {
    let is_taken = !names.insert(name.to_owned());
    is_taken.then(|| format!("a second {kind} is called `{}`", name.escape_debug()))
}

/// Why `name` cannot be a metric.
pub(super) fn wrong_metric_name(name: &str) -> Option<String> {
    let is_identifier =
        name.starts_with(|first: char| first.is_ascii_lowercase()) && is_identifier_tail(name);
    if !is_identifier {
        return Some(format!(
            "a metric is a column, so its name is a lower-case letter followed by letters a-z, digits and _, \
             at most {IDENTIFIER_BYTES_MAX} of them"
        ));
    }
    if COLUMNS.split(' ').any(|column| column == name) {
        return Some(format!(
            "`{name}` is a column that every reading has; choose another name for the metric"
        ));
    }
    KEYWORDS
        .split(' ')
        .any(|word| word == name)
        .then(|| format!("`{name}` is a reserved word of SQL; choose another name for the metric"))
}

/// Why `name` cannot be a metric beside those before it: `zone_latest` has a column `x` and a column `x_at` for each.
pub(super) fn clashing_metric_name(names: &HashSet<String>, name: &str) -> Option<String> {
    let time = format!("{name}_at");
    let of = match name.strip_suffix("_at") {
        Some(of) if names.contains(of) => of,
        _ if names.contains(&time) => name,
        _ => return None,
    };
    Some(format!(
        "the metrics `{of}` and `{of}_at` cannot be together: the column `{of}_at` of zone_latest says when `{of}` was \
         recorded; choose another name for one of them"
    ))
}

/// Why `name` cannot be a window: its table is `metrics_<name>`, so that it may begin with a digit.
pub(super) fn wrong_window_name(name: &str) -> Option<String> {
    if !is_identifier_tail(name) {
        return Some(format!(
            "a window is a table, so its name consists of letters a-z, digits and _, at most \
             {IDENTIFIER_BYTES_MAX} of them"
        ));
    }
    let end = WINDOW_ENDS.iter().find(|end| name.ends_with(**end))?;
    Some(format!(
        "a window's name cannot end in `{end}`: a table or index of that name belongs to another window"
    ))
}

fn is_identifier_tail(name: &str) -> bool {
    (1..=IDENTIFIER_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Why `name` cannot be the name of a zone, of a JSON field or of the domain.
pub(super) fn wrong_free_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a name cannot be empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("a name has at most {NAME_BYTES_MAX} bytes, this one has {}", name.len()));
    }
    name.contains(char::is_control).then(|| "a name cannot hold control characters".to_owned())
}

/// Why Kafka would not take `topic`.
pub(super) fn wrong_topic(topic: &str) -> Option<String> {
    let fits = (1..=TOPIC_BYTES_MAX).contains(&topic.len())
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && topic != "."
        && topic != "..";
    (!fits).then(|| {
        format!("Kafka takes topic names of 1 to {TOPIC_BYTES_MAX} letters, digits, `.`, `_` and `-`, but not `.` or `..`")
    })
}
