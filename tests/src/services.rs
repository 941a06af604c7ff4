//! Where the broker, the server and the binaries are: the environment that `make test` gives.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Addresses and binaries.
#[derive(Debug, Clone)]
pub struct Services {
    /// Kafka's bootstrap servers.
    pub brokers: String,
    /// A database of a role that may create databases and roles.
    pub database_url: String,
    /// The binary `citytide`.
    pub citytide: PathBuf,
    /// The binary `citytide-generator`.
    pub generator: PathBuf,
}

/// The services of this test run. Panics with a sentence when there are none: a test that did not run did not pass.
pub fn services() -> Services {
    let address = |name: &str| {
        std::env::var(name).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| {
            panic!("{name} is not set: run `make test`, which starts the services and sets it")
        })
    };
    let binary = |variable: &str, name: &str| {
        let path = std::env::var_os(variable).map(PathBuf::from).unwrap_or_else(|| {
            let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
            workspace.join("target/release").join(name)
        });
        assert!(path.is_file(), "{} is not there: run `make test`, which builds it", path.display());
        path
    };
    Services {
        brokers: address("KAFKA_BROKERS"),
        database_url: address("DATABASE_URL"),
        citytide: binary("CITYTIDE_BIN", "citytide"),
        generator: binary("CITYTIDE_GENERATOR_BIN", "citytide-generator"),
    }
}

/// A name that no other test, process or earlier run uses.
pub fn unique(test: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("t_{test}_{:x}_{:x}_{count}", (now_us() / 1000) & 0xff_ffff_ffff, std::process::id())
}

/// The clock of this machine in microseconds of the Unix epoch, for records that the broker stamps.
pub fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_micros()).expect("before the year 294246")
}

/// Polls `holds` until it is true. Panics with `what` after `limit`.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(25));
    }
}
