use std::sync::Arc;

use citytide_core::detect::TimeRules;
use citytide_core::position::{Activity, Reach};
use citytide_detector::{Layout, Sample, SampleRow, SufficientStats};
use citytide_domain::Domain;
use citytide_store::clock;
use crossbeam_channel::Sender;

use super::*;

fn model(version: i32) -> StoredModel {
    StoredModel { version, bytes: Arc::new(Vec::new()) }
}

fn lesson(before: i64) -> Lesson {
    Lesson {
        by: 0,
        after: before - 1,
        before,
        stats: Arc::default(),
        model: None,
        awaited: Vec::new(),
        snapshot: false,
    }
}

/// A director whose one partition has come to a minute, the jobs that it starts, and where the thread answers.
struct Scene {
    director: Director,
    baselines: Baselines,
    jobs: Receiver<TrainJob>,
    answers: Sender<TrainAnswer>,
    closed: i64,
}

impl Scene {
    fn new(until_caught_up: bool) -> Scene {
        let domain = Domain::smart_city();
        let layout = Arc::new(Layout::new(&domain));
        let schedule = Schedule::new(layout.clone(), domain.detector.train_every_us, Sample::of(&domain));
        let (started, jobs) = crossbeam_channel::unbounded();
        let (answers, answered) = crossbeam_channel::unbounded();
        let start = Box::new(move |job| started.send(job).expect("the test listens"));
        let stragglers = Stragglers::new(until_caught_up, TimeRules::new(&domain, &layout));
        let snapshots = SnapshotPolicy::default();
        let director = Director::new(schedule, Vec::new(), stragglers, snapshots, start, answered);
        Scene { director, baselines: Baselines::default(), jobs, answers, closed: 0 }
    }

    fn taught(&mut self, minute: i64, rows: u64) {
        let row = |number: u64| {
            let event_time_us = (minute - 1) * 60_000_000;
            let row = SampleRow { event_time_us, is_severe: false, features: vec![0.0; 7] };
            (Sample::hash(number, event_time_us), row)
        };
        let taught = Taught {
            partition: 0,
            minute,
            stats: SufficientStats::default(),
            rows: (0..rows).map(row).collect(),
            written: i64::MIN,
            written_bytes: 0,
        };
        self.baselines.take(&taught);
        self.director.take(taught);
    }

    fn close(&mut self, before: i64) -> Lesson {
        let mut lesson = lesson(before);
        lesson.after = self.closed;
        self.director.close(clock::instant(), &mut lesson);
        self.closed = before;
        lesson
    }

    fn decide(&mut self, now: Instant) -> Vec<Option<i32>> {
        let directives = self.director.decide(now, &self.baselines).into_iter();
        let version = |directive| match directive {
            Directive::Model { model, .. } => Some(model.map(|model| model.version)),
            _ => None,
        };
        directives.filter_map(version).collect()
    }

    fn at_end(&mut self, minute: i64) {
        let mut mark = Mark::at_start(0, 0);
        mark.position.watermark_us = minute * 60_000_000;
        mark.reach = Reach { activity: Activity::Active, at_end: true, ..Reach::default() };
        self.director.observe(&[mark]);
    }
}

#[test]
fn readings_wait_for_a_model_that_comes_and_it_holds_from_the_tick_it_was_trained_at() {
    let mut scene = Scene::new(false);
    scene.taught(10, 600);
    assert_eq!(scene.close(10).awaited, [10]);
    assert_eq!(scene.jobs.try_iter().map(|job| job.from).collect::<Vec<_>>(), [10]);
    scene.answers.send(TrainAnswer::Trained { from: 10, model: Some(model(1)) }).expect("it is listened to");
    assert_eq!(scene.decide(clock::instant()), [Some(1)]);
    assert!(scene.close(11).model.is_none());
}

#[test]
fn a_living_stream_does_not_wait_long_and_a_backlog_does() {
    for until_caught_up in [false, true] {
        let mut scene = Scene::new(until_caught_up);
        scene.taught(10, 600);
        scene.close(10);
        scene.taught(11, 0);
        scene.at_end(11);
        let start = clock::instant();
        assert_eq!(scene.decide(start), []);
        assert_eq!(scene.decide(start + 10 * TRAINING_PATIENCE), [], "nobody needs it yet");
        scene.taught(12, 0);
        assert_eq!(scene.decide(start), []);
        let told = scene.decide(start + TRAINING_PATIENCE);
        scene.answers.send(TrainAnswer::Trained { from: 10, model: Some(model(1)) }).expect("listened to");
        if until_caught_up {
            assert_eq!(told, []);
            assert_eq!(scene.decide(start + 2 * TRAINING_PATIENCE), [Some(1)]);
        } else {
            assert_eq!(told, [None], "the one before stays");
            assert_eq!(scene.decide(start + 2 * TRAINING_PATIENCE), []);
            let next = scene.close(12).model.expect("with the next tick");
            assert_eq!(next.version, 1);
        }
    }
}

#[test]
fn a_model_asked_for_by_hand_judges_at_once() {
    let mut scene = Scene::new(false);
    scene.answers.send(TrainAnswer::Asked(model(7))).expect("it is listened to");
    let directives = scene.director.decide(clock::instant(), &scene.baselines);
    assert!(matches!(&directives[..], [Directive::Promote(model)] if model.version == 7), "{directives:?}");
}

#[test]
fn what_is_known_is_written_down_by_readings_by_bytes_and_by_time() {
    let mark = |accepted: i64| {
        let mut mark = Mark::at_start(0, 0);
        mark.position.counts.accepted = accepted;
        mark
    };
    let SnapshotRate { readings, bytes_per_reading } = SnapshotRate::default();
    let mut policy = SnapshotPolicy::new(&[mark(1_000)], 0);
    let start = clock::instant();
    policy.written(start);
    assert!(!policy.is_due(start), "nothing new");
    policy.observe(&[mark(1_001)]);
    assert!(!policy.is_due(start), "too soon");
    let later = start + EVERY;
    assert!(policy.is_due(later));
    policy.written(later);
    policy.observe(&[mark(1_001 + readings)]);
    assert!(policy.is_due(later), "many readings");
    policy.bytes.insert(0, (bytes_per_reading * (readings + 1)) as usize);
    assert!(!policy.is_due(later), "it is large");
    policy.observe(&[mark(1_002 + readings)]);
    assert!(policy.is_due(later));
}
