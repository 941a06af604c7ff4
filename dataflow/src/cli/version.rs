//! What `citytide --version` prints: the version, the commit, and the versions of librdkafka and timely.

use std::sync::LazyLock;

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ncommit {}\nlibrdkafka {}\ntimely {}, differential-dataflow {}",
        env!("CARGO_PKG_VERSION"),
        env!("CITYTIDE_COMMIT"),
        rdkafka::util::get_rdkafka_version().1,
        env!("CITYTIDE_TIMELY"),
        env!("CITYTIDE_DIFFERENTIAL"),
    )
});

/// The version, a fact per line.
pub fn long() -> &'static str {
    &LONG
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_versions_are_those_that_are_linked() {
        let said = super::long();
        let line = |start: &str| said.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
        assert!(line("librdkafka ").contains('.'), "{said}");
        assert!(line("timely 0.31.0, differential-dataflow 0.25.1").len() > 20, "{said}");
        line("commit ");
    }
}
