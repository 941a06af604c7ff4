//! Partitions that get other leaders while they are read.

use citytide_tests::city::City;
use citytide_tests::cluster::Cluster;
use citytide_tests::database::Database;
use citytide_tests::kafka::{Stamp, Topic};
use citytide_tests::node::Node;
use citytide_tests::process::{Ended, Process};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;

const PARTITIONS: i32 = 4;

#[test]
fn leaders_that_stop_or_die_and_come_back_cost_nothing_and_restart_nothing() {
    let mut cluster = Cluster::start("leaders");
    let services = cluster.services();
    let topic = Topic::replicated(&services, "leaders", PARTITIONS, Stamp::CreateTime, 2);
    let database = Database::create(&services, "leaders");
    let scene = Scene { test: "leaders", services, city: City::smart(), file: None, topic, database };
    // Everything that was sent before is committed: the partitions of every leader are read.
    let follow = |run: &mut Process| {
        let offsets = scene.topic.offsets();
        wait_until("what was sent is committed", LIMIT, || {
            assert_eq!(run.ended(), None, "the run goes on");
            scene.database.session.has_tables() && scene.database.committed_offsets() >= offsets
        });
    };
    let mut run = scene.run("-w 2").spawn();
    scene.under_load(PARTITIONS, 61, || {
        follow(&mut run);
        for end in [Node::stop, Node::kill] {
            cluster.give_back(&scene.topic);
            follow(&mut run);
            end(&mut cluster.second);
            cluster.wait_moved(&scene.topic);
            follow(&mut run);
            cluster.second.go_on();
        }
        cluster.give_back(&scene.topic);
        follow(&mut run);
    });
    scene.wait_committed(&mut run);
    scene.assert_tables();
    assert_eq!(scene.database.session.value::<i64>("select count(*) from runs"), 1, "nothing was restarted");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}
