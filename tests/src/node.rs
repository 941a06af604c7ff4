//! A process of Kafka: a directory with its configuration and its data, and a life that the test decides about.
//!
//! It is the Kafka that `make test` fetches.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::send_signal;
use crate::services::{unique, wait_until};

/// How long a node may take to start or to end, however busy the machine.
const LIMIT: Duration = Duration::from_secs(120);
/// The id of every cluster: nobody else's clients come to a cluster of a test.
const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A node. It and its directory end with the test; the directory of a test that failed stays.
pub struct Node {
    home: PathBuf,
    child: Option<Child>,
}

impl Node {
    /// Writes the configuration, without `log.dirs`, and makes the storage in `home`; starts nothing.
    pub fn format(home: &Path, properties: &str) -> Node {
        let node = Node { home: home.to_owned(), child: None };
        fs::create_dir_all(home.join("data")).expect("a directory for the node");
        let properties = format!("{properties}log.dirs={}\n", home.join("data").display());
        fs::write(node.configuration(), properties).expect("a configuration");
        let configuration = node.configuration();
        let configuration = configuration.to_str().expect("UTF-8");
        node.tool("kafka.tools.StorageTool", &["format", "-t", CLUSTER, "-c", configuration]);
        node
    }

    /// Starts it and returns at once.
    pub fn begin(&mut self) -> Starting<'_> {
        let log = self.home.join(format!("{}.log", unique("broker")));
        let output = File::create(&log).expect("a log file");
        let child = self
            .java("kafka.Kafka")
            .arg(self.configuration())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .expect("starting a node");
        Starting { child: self.child.insert(child), log }
    }

    /// Starts it where it left off.
    pub fn go_on(&mut self) {
        self.begin().wait();
    }

    /// Ends it as an operator does: its partitions get other leaders first.
    pub fn stop(&mut self) {
        self.end(libc::SIGTERM);
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        self.end(libc::SIGKILL);
    }

    /// One of Kafka's own tools; returns what it says.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = self.java(class).args(arguments).output().expect("one of Kafka's tools");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{class} {arguments:?}: {said}");
        said
    }

    fn end(&mut self, signal: i32) {
        let mut child = self.child.take().expect("a node that runs");
        send_signal(child.id() as i32, signal);
        wait_until("the node has ended", LIMIT, || child.try_wait().expect("waiting for it").is_some());
    }

    fn configuration(&self) -> PathBuf {
        self.home.join("server.properties")
    }

    fn java(&self, class: &str) -> Command {
        let jars = std::env::var_os("CITYTIDE_KAFKA_JARS")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.services/kafka-4.2.0"));
        assert!(
            jars.join("lib").is_dir(),
            "{} is not there: run `make test`, which fetches it",
            jars.display()
        );
        let mut command = Command::new("java");
        command
            .args(["-Xms64m", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile=file:{}", jars.join("log4j2.properties").display()))
            .arg("-cp")
            .arg(jars.join("lib/*"))
            .arg(class)
            .stdin(Stdio::null())
            .current_dir(&self.home);
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.home);
        }
    }
}

/// A node that is on its way.
pub struct Starting<'a> {
    child: &'a mut Child,
    log: PathBuf,
}

impl Starting<'_> {
    /// Waits until it serves.
    pub fn wait(self) {
        wait_until("the node has started", LIMIT, || {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            let ended = self.child.try_wait().expect("waiting for it");
            assert_eq!(ended, None, "the node ended: {said}");
            said.contains("Kafka Server started")
        });
    }
}

/// Ports that nobody listens at.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [0; N].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    sockets.map(|socket| socket.local_addr().expect("a bound port").port())
}
