//! Taking over, against a real server: who is refused, who is ended, and that no transaction of an old run slips
//! past the fence. Each test has a database of its own and drops it.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use citytide_store::clock::wall_ms;
use citytide_store::postgres::{Database, DatabaseError, DatabaseOptions};
use citytide_store::takeover::{Member, Patience, Run, Takeover, TakeoverError, finish, join_run, take};
use futures_util::future::{Either, select};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database with the schema, for one test.
struct Scratch {
    server: Client,
    base: String,
    name: String,
}

impl Scratch {
    /// Opens a session; `name` is its application name, which a takeover replaces.
    async fn open(&self, name: &str) -> Client {
        self.open_as("", name).await
    }

    /// The same as another role.
    async fn open_as(&self, role: &str, name: &str) -> Client {
        let Scratch { base, name: database, .. } = self;
        let user = if role.is_empty() { String::new() } else { format!("user={role}&") };
        let address = format!("{base}/{database}?{user}application_name=ignored");
        Database::parse(&address, &DatabaseOptions::default())
            .expect("an address")
            .connect(name)
            .await
            .expect("a session")
    }
}

/// Runs `test` with a database of its own.
fn with_database(test: impl AsyncFnOnce(&Scratch)) {
    let address = std::env::var("DATABASE_URL")
        .expect("DATABASE_URL names the PostgreSQL server to test with; `make setup` starts one");
    let bare = address.split('?').next().unwrap_or(&address);
    let (base, _) =
        bare.rsplit_once('/').expect("DATABASE_URL of the form postgres://user@host:port/database");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let server = Database::parse(&address, &DatabaseOptions::default())
            .expect("DATABASE_URL")
            .connect("test")
            .await
            .expect("the server");
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("takeover_{}_{number}", std::process::id());
        server.batch_execute(&format!("create database {name}")).await.expect("a scratch database");
        let scratch = Scratch { server, base: base.to_owned(), name };
        let schema = scratch.open("schema").await;
        schema.batch_execute(include_str!("../../sql/smart-city.sql")).await.expect("the schema");
        schema
            .batch_execute("create table sensor_readings_all partition of sensor_readings default")
            .await
            .expect("a partition");
        drop(schema);
        // A test that fails leaves its database behind, for whoever looks into it.
        test(&scratch).await;
        let drop_it = format!("drop database {} with (force)", scratch.name);
        scratch.server.batch_execute(&drop_it).await.expect("dropped");
    });
}

fn request() -> Takeover {
    let patience = Patience { lock: SHORT, transactions: LONG, run: SHORT, ..Patience::default() };
    Takeover {
        host: "here".to_owned(),
        process_id: 4711,
        processes: 1,
        workers: 2,
        take_over: false,
        patience,
    }
}

fn member(process: i32, processes: i32) -> Member {
    let patience = request().patience;
    Member { process, processes, host: "there".to_owned(), not_before: 0, patience }
}

/// What `upkeep` does, without its indexes.
async fn delete_uncommitted(client: &Client, committed_epoch: i64) -> Result<u64, DatabaseError> {
    client
        .execute("delete from sensor_readings where epoch > $1", &[&committed_epoch])
        .await
        .map_err(|error| DatabaseError::statement("deleting", &error))
}

/// A run on a session of its own.
async fn start(scratch: &Scratch, request: &Takeover) -> Result<(Client, Run), TakeoverError> {
    let mut client = scratch.open("citytide:starting").await;
    let run = take(&mut client, request, delete_uncommitted).await?;
    Ok((client, run))
}

/// A session of a worker of `run`.
async fn worker(scratch: &Scratch, run: &Run) -> Client {
    scratch.open(&format!("citytide:{}:copy-0", run.run_id)).await
}

async fn execute(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0)
}

/// The fence as every transaction takes it.
async fn fence(client: &Client, run_id: i64) -> Result<(), DatabaseError> {
    let taken = client.execute("select citytide_fence($1)", &[&run_id]).await;
    taken.map(|_| ()).map_err(|error| DatabaseError::statement("the fence", &error))
}

/// A reading of `epoch`.
fn reading(epoch: i64) -> String {
    format!(
        "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, is_late,
                                      is_anomaly, anomaly_score, model_version)
         values ({epoch}, 0, 0, 'a', 'z', now(), false, false, 0, 0)"
    )
}

/// Waits until somebody waits for an advisory lock in this database.
async fn until_somebody_waits(client: &Client) {
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
                   where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
    until(client, waiting, 1).await;
}

/// Waits until a number is `wanted`.
async fn until(client: &Client, sql: &str, wanted: i64) {
    for _ in 0..6_000 {
        if number(client, sql).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{sql} did not become {wanted}");
}

#[test]
fn a_second_run_is_refused_and_names_the_first() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        assert_eq!((run.run_id, run.committed_epoch, run.epoch_offset_ms), (1, 0, 0));
        let beating = async {
            loop {
                execute(&first, "update runs set heartbeat_at = clock_timestamp()").await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let request = request();
        let second = start(scratch, &request);
        let Either::Left((second, _)) = select(pin!(second), pin!(beating)).await;
        let error: TakeoverError = second.expect_err("refused");
        let TakeoverError::Held(holder) = &error else { panic!("{error}") };
        assert_eq!((holder.run_id, holder.host.as_str(), holder.process_id), (1, "here", 4711));
        assert!(error.to_string().ends_with("stop it, or replace it with --take-over"), "{error}");
        fence(&first, 1).await.expect("the first run goes on");
        assert_eq!(number(&first, "select run_id from fence").await, 1);
        assert_eq!(number(&first, "select count(*) from runs").await, 1);
    });
}

#[test]
fn a_run_without_heartbeat_is_taken_over_and_its_sessions_end() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        let copying = worker(scratch, &run).await;
        execute(&first, "update runs set heartbeat_at = clock_timestamp() - interval '6 s'").await;
        let (second, run) = start(scratch, &request()).await.expect("the second run");
        assert_eq!(run.run_id, 2);
        assert!(first.batch_execute("select").await.is_err(), "the old committer lives");
        assert!(copying.batch_execute("select").await.is_err(), "an old worker lives");
        let why =
            second.query_one("select why from runs where run_id = 1 and ended_at is not null", &[]).await;
        assert_eq!(why.expect("the old run").get::<_, String>(0), "taken over by run 2");
        let name = second.query_one("select current_setting('application_name')", &[]).await.expect("a name");
        assert_eq!(name.get::<_, String>(0), "citytide:2:commit");
    });
}

#[test]
fn a_run_that_has_just_died_is_waited_for_until_it_counts_as_silent() {
    with_database(async |scratch| {
        // The server keeps the session of a dead process for a while: while it is busy, or when a machine is lost.
        let (first, _) = start(scratch, &request()).await.expect("the first run");
        let patience = Patience { silence: Duration::from_secs(1), ..request().patience };
        let (_second, run) =
            start(scratch, &Takeover { patience, ..request() }).await.expect("the second run");
        assert_eq!(run.run_id, 2);
        assert!(first.batch_execute("select").await.is_err(), "the old committer lives");
    });
}

#[test]
fn take_over_replaces_a_run_that_lives_and_also_a_starter_that_hangs() {
    with_database(async |scratch| {
        let by_force = Takeover { take_over: true, ..request() };
        // Somebody has the lock, and no run.
        let hanging = scratch.open("citytide:starting").await;
        execute(&hanging, "select pg_advisory_lock(1667855481, 2)").await;
        let stuck = start(scratch, &request()).await.expect_err("refused").to_string();
        assert!(stuck.contains("(citytide:starting)"), "{stuck}");
        let (first, _) = start(scratch, &by_force).await.expect("the first run");
        let (second, run) = start(scratch, &by_force).await.expect("the second run");
        assert_eq!(run.run_id, 2);
        assert!(first.batch_execute("select").await.is_err());
        fence(&second, 2).await.expect("its own fence");
    });
}

#[test]
fn a_transaction_that_begins_after_the_takeover_fails_at_the_fence() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        let old = worker(scratch, &run).await;
        fence(&old, 1).await.expect("its own run");
        drop(first);
        let _second = start(
            scratch,
            &Takeover { patience: Patience { lock: LONG, ..request().patience }, ..request() },
        )
        .await
        .expect("the second run");
        let error = fence(&old, 1).await.expect_err("fenced");
        assert!(matches!(error, DatabaseError::Fenced(_)), "{error}");
        assert_eq!(error.to_string(), "run 1 has been taken over by run 2");
    });
}

#[test]
fn a_transaction_that_passed_the_fence_before_delays_the_takeover_and_its_rows_are_deleted_after() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        execute(
            &first,
            "insert into commits (epoch, previous_epoch, run_id, readings) values (100, 0, 1, 1)",
        )
        .await;
        execute(&first, &reading(100)).await;
        let old = worker(scratch, &run).await;
        execute(&old, "begin").await;
        fence(&old, 1).await.expect("its own run");
        execute(&old, &reading(150)).await;
        drop(first);
        let patient = Takeover { patience: Patience { lock: LONG, ..request().patience }, ..request() };
        let take_over = start(scratch, &patient);
        let meanwhile = async {
            until_somebody_waits(&old).await;
            assert_eq!(number(&old, "select run_id from fence").await, 1, "the takeover did not wait");
            execute(&old, "commit").await;
        };
        let (taken, ()) = futures_util::future::join(take_over, meanwhile).await;
        let (second, run) = taken.expect("the second run");
        assert_eq!((run.run_id, run.committed_epoch), (2, 100));
        assert_eq!(number(&second, "select count(*) from sensor_readings").await, 1, "of epoch 100");
        assert_eq!(number(&second, "select max(epoch) from sensor_readings").await, 100);
    });
}

#[test]
fn a_transaction_that_never_ends_is_ended() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        let old = worker(scratch, &run).await;
        execute(&old, "begin").await;
        fence(&old, 1).await.expect("its own run");
        execute(&old, &reading(150)).await;
        drop(first);
        let patience = Patience { lock: LONG, transactions: SHORT, ..request().patience };
        let (second, run) =
            start(scratch, &Takeover { patience, ..request() }).await.expect("the second run");
        assert_eq!(run.run_id, 2);
        assert!(old.batch_execute("commit").await.is_err());
        assert_eq!(number(&second, "select count(*) from sensor_readings").await, 0);
    });
}

#[test]
fn a_transaction_that_waits_at_the_fence_during_the_takeover_fails() {
    with_database(async |scratch| {
        // Whatever the database's default is: under this one the fence would not see the new run either.
        let level =
            format!("alter database {} set default_transaction_isolation = 'repeatable read'", scratch.name);
        execute(&scratch.server, &level).await;
        let (old, _) = start(scratch, &request()).await.expect("the first run");
        let asking = scratch.open("asking").await;
        // The race: the new run holds the lock, the old one already waits for it, then the new one commits.
        let in_one_statement =
            "select (select run_id from fence) from pg_advisory_xact_lock_shared(1667855481, 1)";
        for (run_id, statement) in [(2, "select citytide_fence(1), 0::bigint"), (3, in_one_statement)] {
            let new = scratch.open("new").await;
            execute(&new, "begin; select pg_advisory_xact_lock(1667855481, 1)").await;
            execute(&new, &format!("update fence set run_id = {run_id}")).await;
            let raise = async {
                until_somebody_waits(&asking).await;
                execute(&new, "commit").await;
            };
            let (passed, ()) = futures_util::future::join(old.query_one(statement, &[]), raise).await;
            match run_id {
                2 => {
                    let error = DatabaseError::statement("the fence", &passed.expect_err("it must not pass"));
                    assert!(matches!(error, DatabaseError::Fenced(_)), "{error}");
                }
                // Why the fence is a function of several statements: in one, the snapshot is older than the lock.
                _ => assert_eq!(
                    passed.expect("locked").get::<_, i64>(0),
                    2,
                    "the old run id, although 3 is in force"
                ),
            }
        }
    });
}

#[test]
fn epochs_lie_above_the_committed_one_also_after_the_clock_was_set_back() {
    with_database(async |scratch| {
        let (first, run) = start(scratch, &request()).await.expect("the first run");
        assert_eq!(run.epoch_offset_ms, 0);
        let ahead = (wall_ms() as i64 + 3_600_000) / 50 * 50;
        let commit = format!(
            "insert into commits (epoch, previous_epoch, run_id, readings) values ({ahead}, 0, 1, 0)"
        );
        execute(&first, &commit).await;
        finish(&first, 1, "drained").await.expect("noted");
        drop(first);
        let patience = Patience { lock: LONG, ..request().patience };
        let (second, run) =
            start(scratch, &Takeover { processes: 2, patience, ..request() }).await.expect("the second run");
        assert_eq!(run.committed_epoch, ahead);
        assert!(run.now_ms() / 50 * 50 > ahead as u64, "{run:?}");
        // All processes of the run use the same offset, and the first run's end keeps its own reason.
        let peer = scratch.open("peer").await;
        let joined = join_run(&peer, &member(1, 2)).await.expect("joined");
        assert_eq!((joined.run_id, joined.committed_epoch), (run.run_id, run.committed_epoch));
        assert_eq!(joined.epoch_offset_ms, run.epoch_offset_ms);
        assert!(joined.now_ms() / 50 * 50 > ahead as u64, "{joined:?}");
        let why =
            second.query_one("select why from runs where run_id = 1", &[]).await.expect("the first run");
        assert_eq!(why.get::<_, String>(0), "drained");
    });
}

#[test]
fn a_process_joins_each_run_once_and_only_one_that_lives_and_has_its_shape() {
    with_database(async |scratch| {
        let peer = scratch.open("peer").await;
        let refused = async |member: &Member| join_run(&peer, member).await.expect_err("refused").to_string();
        assert!(refused(&member(1, 2)).await.ends_with("there is none; is process 0 running?"));
        let two = Takeover { processes: 2, ..request() };
        let (first, run) = start(scratch, &two).await.expect("the first run");
        assert!(
            refused(&member(1, 3)).await.starts_with("run 1 has 2 processes, this one was started with -n 3")
        );
        let later = Member { not_before: 2, ..member(1, 2) };
        assert!(refused(&later).await.ends_with("run 1 is older than run 2, which this process waits for"));
        execute(&first, "update runs set heartbeat_at = clock_timestamp() - interval '6 s'").await;
        assert!(refused(&member(1, 2)).await.contains("run 1 has been silent for 6."));
        execute(&first, "update runs set heartbeat_at = clock_timestamp()").await;
        assert_eq!(join_run(&peer, &member(1, 2)).await.expect("joined").run_id, run.run_id);
        // Whoever comes second as process 1 is its restarted successor: that run is lost, the next one is awaited.
        assert!(
            refused(&member(1, 2))
                .await
                .ends_with("run 1 already had a process 1; the next run has not started")
        );
        let patient = Member { patience: Patience { run: LONG, ..request().patience }, ..member(1, 2) };
        let next = async {
            finish(&first, 1, "a peer was lost").await.expect("noted");
            drop(first);
            start(
                scratch,
                &Takeover { patience: Patience { lock: LONG, ..two.patience.clone() }, ..two.clone() },
            )
            .await
        };
        let (joined, next) = futures_util::future::join(join_run(&peer, &patient), next).await;
        assert_eq!(joined.expect("joined").run_id, next.expect("the second run").1.run_id);
    });
}

#[test]
fn a_role_that_may_not_end_the_old_sessions_is_told_so() {
    with_database(async |scratch| {
        let (first, _) = start(scratch, &request()).await.expect("the first run");
        execute(&first, "update runs set heartbeat_at = clock_timestamp() - interval '6 s'").await;
        let role = format!("{}_role", scratch.name);
        execute(&first, &format!("create role {role} login")).await;
        execute(
            &first,
            &format!("grant select, insert, update, delete on all tables in schema public to {role}"),
        )
        .await;
        let mut client = scratch.open_as(&role, "citytide:starting").await;
        let error = take(&mut client, &request(), delete_uncommitted).await.expect_err("refused");
        assert!(matches!(error, TakeoverError::MayNotTerminate { .. }), "{error}");
        assert!(error.to_string().contains(&format!("grant pg_signal_backend to {role}")), "{error}");
        fence(&first, 1).await.expect("the first run goes on");
        drop(client);
        execute(&first, &format!("drop owned by {role}; drop role {role}")).await;
    });
}
