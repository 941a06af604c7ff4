//! What most tests begin with: a city, a topic, a database, and runs between them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::city::City;
use crate::compare::assert_tables;
use crate::database::Database;
use crate::folder::{Folder, Form};
use crate::kafka::{Stamp, Topic};
use crate::load::Traffic;
use crate::oracle::{Watermark, expect};
use crate::process::{CommandLine, Ended, Process};
use crate::services::{Services, services, wait_until};

/// A run that has something to do ends within this, however busy the machine.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A city, a topic and a database of one test.
pub struct Scene {
    /// Name of the test.
    pub test: &'static str,
    /// Addresses.
    pub services: Services,
    /// The domain.
    pub city: City,
    /// Its file, if it is not built in.
    pub file: Option<PathBuf>,
    /// The topic.
    pub topic: Topic,
    /// The database.
    pub database: Database,
}

impl Scene {
    /// Sets the scene. Kafka's timestamps are the test's.
    pub fn new(test: &'static str, city: City, partitions: i32) -> Scene {
        Scene::stamped(test, city, partitions, Stamp::CreateTime)
    }

    /// Sets the scene.
    pub fn stamped(test: &'static str, city: City, partitions: i32, stamp: Stamp) -> Scene {
        let services = services();
        let file = city.file(test);
        let topic = Topic::create(&services, test, partitions, stamp);
        let database = Database::create(&services, test);
        Scene { test, services, city, file, topic, database }
    }

    /// Sets the scene with files in the topic's place. All that is sent has the files' modification time.
    pub fn of_files(test: &'static str, city: City, partitions: i32, form: Form) -> Scene {
        let services = services();
        let file = city.file(test);
        let folder = Folder::create(test, &city, partitions, form);
        let topic = Topic::of_files(&services, folder, partitions);
        let database = Database::create(&services, test);
        Scene { test, services, city, file, topic, database }
    }

    /// `citytide run` with this scene's topic, database and domain, and further arguments.
    pub fn run(&self, arguments: &str) -> CommandLine {
        self.run_on(&self.database, arguments)
    }

    /// The same on another database.
    pub fn run_on(&self, database: &Database, arguments: &str) -> CommandLine {
        let Some(folder) = &self.topic.folder else {
            return CommandLine::run(&self.services, &self.topic.name, &database.url, self.test)
                .domain(self.file.as_deref())
                .args(arguments.split_whitespace());
        };
        // Files are read by one process.
        let words: Vec<&str> = arguments.split_whitespace().collect();
        let processes = words.iter().position(|word| *word == "-n");
        let (before, after) = words.split_at(processes.unwrap_or(words.len()));
        let follow = (!words.contains(&"--until-caught-up")).then_some("--follow");
        CommandLine::new(&self.services.citytide, self.test)
            .args(["run", "--source", "files", "--database-url", &database.url])
            .args([folder.path.as_path()])
            .domain(self.file.as_deref())
            .args(follow)
            .args(before.iter().chain(after.iter().skip(2)).copied())
    }

    /// `citytide verify`: its exit code and what it says.
    pub fn verify(&self) -> (Ended, String) {
        CommandLine::new(&self.services.citytide, self.test)
            .args(["verify", "--database-url", &self.database.url])
            .domain(self.file.as_deref())
            .finish(LIMIT)
    }

    /// Runs until caught up. Panics unless it exits with 0.
    pub fn catch_up(&self, arguments: &str) {
        self.topic.flush();
        let mut run = self.run(&format!("--until-caught-up {arguments}")).spawn();
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "citytide run --until-caught-up {arguments}");
    }

    /// What W is after a run until caught up: files have ended, a topic may go on.
    pub fn last_watermark(&self) -> Watermark {
        match self.topic.folder {
            Some(_) => Watermark::OfTheFurthest,
            None => Watermark::OfAllPartitions,
        }
    }

    /// Panics unless every table is what the oracle expects after a run until caught up.
    pub fn assert_caught_up(&self) {
        let expected = expect(&self.city, &self.topic.sent(), self.last_watermark());
        assert_tables(&self.database.session, &self.city, &expected);
    }

    /// Panics unless every table is what the oracle expects, given the W that the database has.
    pub fn assert_tables(&self) {
        let given = Watermark::Given(self.database.watermark_us());
        assert_tables(&self.database.session, &self.city, &expect(&self.city, &self.topic.sent(), given));
    }

    /// Waits until everything sent so far is committed, and sees to it that `run` is still there.
    pub fn wait_committed(&self, run: &mut Process) {
        self.topic.flush();
        let offsets = self.topic.offsets();
        wait_until("everything sent is committed", LIMIT, || {
            assert_eq!(run.ended(), None, "the run goes on");
            self.database.committed_offsets() == offsets
        });
    }

    /// Sends traffic at about 2,000 records a second while `meanwhile` runs, also when that panics.
    pub fn under_load(&self, partitions: i32, seed: u64, meanwhile: impl FnOnce()) {
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let mut traffic = Traffic::new(seed, 20_000);
                while !stop.load(Ordering::Relaxed) {
                    traffic.send(&self.topic, &self.city, partitions, 20);
                    std::thread::sleep(Duration::from_millis(10));
                }
            });
            let _stop = Stop(&stop);
            meanwhile();
        });
    }

    /// The newest run that has committed; 0 before the first one.
    pub fn newest_run(&self) -> i64 {
        if !self.database.session.has_tables() {
            return 0;
        }
        self.database.session.value("select coalesce(max(run_id), 0) from commits")
    }

    /// Whether something is committed within the next half second.
    pub fn is_advancing(&self) -> bool {
        let before = self.database.commits();
        std::thread::sleep(Duration::from_millis(500));
        self.database.commits() > before
    }
}
