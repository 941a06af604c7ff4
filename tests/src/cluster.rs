//! Two nodes of Kafka: the first is controller and broker and stays, the second is a broker that comes and goes.

use std::time::Duration;

use crate::kafka::Topic;
use crate::node::{Node, free_ports};
use crate::process::scratch;
use crate::services::{Services, services, unique, wait_until};

/// How long leaders and replicas may take to change, however busy the machine.
const LIMIT: Duration = Duration::from_secs(90);

/// A cluster. It ends with the test.
pub struct Cluster {
    ports: [u16; 3],
    /// The controller, a broker too. Kafka knows it as 1.
    pub first: Node,
    /// Kafka knows it as 2.
    pub second: Node,
}

impl Cluster {
    /// Starts both.
    pub fn start(test: &str) -> Cluster {
        let ports @ [one, two, controller] = free_ports();
        let common = format!(
            "controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             auto.create.topics.enable=false\nauto.leader.rebalance.enable=false\nmin.insync.replicas=1\n\
             offsets.topic.num.partitions=1\noffsets.topic.replication.factor=2\n\
             transaction.state.log.num.partitions=1\ntransaction.state.log.replication.factor=2\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             log.cleaner.dedupe.buffer.size=4194304\ngroup.initial.rebalance.delay.ms=0\n"
        );
        let node = |id: u32, roles: &str, listeners: &str| {
            let home = scratch().join(unique(&format!("{test}_{id}")));
            let own = format!("node.id={id}\nprocess.roles={roles}\nlisteners={listeners}\n");
            Node::format(&home, &(own + &common))
        };
        let listeners = format!("PLAINTEXT://127.0.0.1:{one},CONTROLLER://127.0.0.1:{controller}");
        let first = node(1, "broker,controller", &listeners);
        let second = node(2, "broker", &format!("PLAINTEXT://127.0.0.1:{two}"));
        let mut cluster = Cluster { ports, first, second };
        let (first, second) = (cluster.first.begin(), cluster.second.begin());
        first.wait();
        second.wait();
        cluster
    }

    /// The services with this cluster instead of the common broker.
    pub fn services(&self) -> Services {
        let [one, two, _] = self.ports;
        Services { brokers: format!("127.0.0.1:{one},127.0.0.1:{two}"), ..services() }
    }

    /// Waits until the first node leads every partition.
    pub fn wait_moved(&self, topic: &Topic) {
        wait_until("the first node leads every partition", LIMIT, || {
            topic.leaders().iter().all(|leader| leader.node == 1)
        });
    }

    /// Waits until every partition has both replicas in sync, and gives the lead back to the replica that is its first
    /// choice. Panics unless each node leads something then.
    pub fn give_back(&self, topic: &Topic) {
        wait_until("all replicas are in sync", LIMIT, || {
            topic.leaders().iter().all(|leader| leader.in_sync == 2)
        });
        let [port, ..] = self.ports;
        let brokers = format!("127.0.0.1:{port}");
        self.first.tool(
            "org.apache.kafka.tools.LeaderElectionCommand",
            &["--bootstrap-server", &brokers, "--election-type", "preferred", "--all-topic-partitions"],
        );
        wait_until("each node leads partitions", LIMIT, || {
            let leaders = topic.leaders();
            [1, 2].iter().all(|node| leaders.iter().any(|leader| leader.node == *node))
        });
    }
}
