//! A broker of the test's own, with certificates, users and a life that the test decides about.
//!
//! It is the Kafka that `make test` fetches; certificates come from the system's openssl.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::process::{scratch, send_signal};
use crate::services::{Services, services, unique, wait_until};

/// How long a broker may take to start or to end, however busy the machine.
const LIMIT: Duration = Duration::from_secs(120);
/// How often a client of the listener with users has to say again who it is.
const REAUTHENTICATION_MS: u32 = 3_000;

/// A broker. It ends with the test.
pub struct Broker {
    /// Certificates, configuration and data.
    pub home: PathBuf,
    ports: [u16; 4],
    child: Option<Child>,
}

/// One of its listeners.
#[derive(Debug, Clone, Copy)]
pub enum Listener {
    /// No encryption, anybody.
    Plaintext,
    /// TLS; the client needs a certificate of the same authority.
    Ssl,
    /// TLS; user `reader` with password `opensesame` by PLAIN, and the users of [`Broker::add_user`] by SCRAM-SHA-512.
    SaslSsl,
}

impl Broker {
    /// Makes certificates and storage, and starts it.
    pub fn start(test: &str) -> Broker {
        let home = scratch().join(unique(test));
        fs::create_dir_all(home.join("data")).expect("a directory for the broker");
        let sockets = [0; 4].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = sockets.map(|socket| socket.local_addr().expect("a bound port").port());
        let mut broker = Broker { home, ports, child: None };
        broker.certificates();
        fs::write(broker.home.join("server.properties"), broker.properties()).expect("a configuration");
        let configuration = broker.home.join("server.properties");
        let id = "MkU3OEVBNTcwNTJENDM2Qg";
        broker.tool(
            "kafka.tools.StorageTool",
            &["format", "-t", id, "-c", configuration.to_str().expect("UTF-8")],
        );
        broker.go_on();
        broker
    }

    /// The services with this broker's listener instead of the common broker.
    pub fn services(&self, listener: Listener) -> Services {
        Services { brokers: format!("127.0.0.1:{}", self.ports[listener as usize]), ..services() }
    }

    /// Starts it where it left off.
    pub fn go_on(&mut self) {
        let log = self.home.join(format!("{}.log", unique("broker")));
        let output = File::create(&log).expect("a log file");
        let child = self
            .java("kafka.Kafka")
            .arg(self.home.join("server.properties"))
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output)
            .spawn()
            .expect("starting a broker");
        self.child = Some(child);
        wait_until("the broker has started", LIMIT, || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let ended = self.child.as_mut().expect("just started").try_wait().expect("waiting for it");
            assert_eq!(ended, None, "the broker ended: {said}");
            said.contains("Kafka Server started")
        });
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        let mut child = self.child.take().expect("a broker that runs");
        send_signal(child.id() as i32, libc::SIGTERM);
        wait_until("the broker has ended", LIMIT, || child.try_wait().expect("waiting for it").is_some());
    }

    /// Adds a user for SCRAM-SHA-512, or changes the password.
    pub fn add_user(&self, user: &str, password: &str) {
        let credentials = format!("SCRAM-SHA-512=[iterations=4096,password={password}]");
        self.configure(user, &["--add-config", &credentials]);
    }

    /// Removes a user.
    pub fn remove_user(&self, user: &str) {
        self.configure(user, &["--delete-config", "SCRAM-SHA-512"]);
    }

    /// One of Kafka's own tools; returns what it says.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let output = self.java(class).args(arguments).output().expect("one of Kafka's tools");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{class} {arguments:?}: {said}");
        said
    }

    fn configure(&self, user: &str, change: &[&str]) {
        let brokers = self.services(Listener::Plaintext).brokers;
        let common =
            ["--bootstrap-server", &brokers, "--alter", "--entity-type", "users", "--entity-name", user];
        self.tool("kafka.admin.ConfigCommand", &[&common, change].concat());
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
            .args(["-Xms64m", "-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
            .arg(format!("-Dlog4j2.configurationFile=file:{}", jars.join("log4j2.properties").display()))
            .arg("-cp")
            .arg(jars.join("lib/*"))
            .arg(class)
            .stdin(Stdio::null())
            .current_dir(&self.home);
        command
    }

    fn properties(&self) -> String {
        let [plain, ssl, sasl, controller] = self.ports;
        let home = self.home.display();
        let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
        format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
             ssl.keystore.type=PEM\nssl.keystore.location={home}/server.pem\n\
             ssl.truststore.type=PEM\nssl.truststore.location={home}/ca.pem\n\
             listener.name.ssl.ssl.client.auth=required\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
             listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
             user_reader=\"opensesame\";\n\
             listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}\n\
             listener.name.sasl_ssl.connections.max.reauth.ms={REAUTHENTICATION_MS}\n\
             log.dirs={home}/data\nauto.create.topics.enable=false\noffsets.topic.num.partitions=1\n\
             offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n"
        )
    }

    /// An authority, a certificate of the broker and one of a client, and another authority that signed neither.
    fn certificates(&self) {
        let openssl = |arguments: &str| {
            let arguments = arguments.split_whitespace();
            let output = Command::new("openssl").args(arguments).current_dir(&self.home).output();
            let output = output
                .unwrap_or_else(|error| panic!("openssl: {error}; it is among what `make install` gets"));
            assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
        };
        for authority in ["ca", "stranger"] {
            openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 2"
            ));
        }
        for name in ["server", "client"] {
            openssl(&format!(
                "req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name} \
                 -addext subjectAltName=IP:127.0.0.1"
            ));
            openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy \
                 -out {name}.crt"
            ));
        }
        openssl("rsa -aes256 -passout pass:keyword -in client.key -out locked.key");
        let read = |name: &str| fs::read_to_string(self.home.join(name)).expect("a certificate");
        fs::write(self.home.join("server.pem"), read("server.key") + &read("server.crt"))
            .expect("a key store");
    }

    /// A file of its directory, as a property's value.
    pub fn file(&self, name: &str) -> String {
        self.home.join(Path::new(name)).display().to_string()
    }
}

impl Drop for Broker {
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
