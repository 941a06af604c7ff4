//! A broker of the test's own, with certificates, users and a life that the test decides about.
//!
//! It is the Kafka that `make test` fetches; certificates come from the system's openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::node::{Node, free_ports};
use crate::process::scratch;
use crate::services::{Services, services, unique};

/// How often a client of the listener with users has to say again who it is.
const REAUTHENTICATION_MS: u32 = 3_000;

/// A broker. It ends with the test.
pub struct Broker {
    /// Certificates, configuration and data.
    pub home: PathBuf,
    ports: [u16; 4],
    node: Node,
}

/// One of its listeners.
#[derive(Debug, Clone, Copy)]
pub enum Listener {
    /// No encryption, anybody.
    Plaintext,
    /// TLS; the client needs a certificate of the same authority.
    Ssl,
    /// TLS; user `reader` with password `opensesame` by PLAIN, and the users of [`Broker::add_user`] by SCRAM.
    SaslSsl,
}

impl Broker {
    /// Makes certificates and storage, and starts it.
    pub fn start(test: &str) -> Broker {
        let home = scratch().join(unique(test));
        fs::create_dir_all(&home).expect("a directory for the broker");
        certificates(&home);
        let ports = free_ports();
        let node = Node::format(&home, &properties(&home, ports));
        let mut broker = Broker { home, ports, node };
        broker.go_on();
        broker
    }

    /// The services with this broker's listener instead of the common broker.
    pub fn services(&self, listener: Listener) -> Services {
        Services { brokers: format!("127.0.0.1:{}", self.ports[listener as usize]), ..services() }
    }

    /// Starts it where it left off.
    pub fn go_on(&mut self) {
        self.node.go_on();
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) {
        self.node.stop();
    }

    /// Adds a user for a SCRAM mechanism, or changes the password.
    pub fn add_user(&self, user: &str, mechanism: &str, password: &str) {
        let credentials = format!("{mechanism}=[iterations=4096,password={password}]");
        self.configure(user, &["--add-config", &credentials]);
    }

    /// Removes a user of a SCRAM mechanism.
    pub fn remove_user(&self, user: &str, mechanism: &str) {
        self.configure(user, &["--delete-config", mechanism]);
    }

    /// One of Kafka's own tools; returns what it says.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        self.node.tool(class, arguments)
    }

    fn configure(&self, user: &str, change: &[&str]) {
        let brokers = self.services(Listener::Plaintext).brokers;
        let common =
            ["--bootstrap-server", &brokers, "--alter", "--entity-type", "users", "--entity-name", user];
        self.tool("kafka.admin.ConfigCommand", &[&common, change].concat());
    }

    /// A file of its directory, as a property's value.
    pub fn file(&self, name: &str) -> String {
        self.home.join(Path::new(name)).display().to_string()
    }
}

fn properties(home: &Path, ports: [u16; 4]) -> String {
    let [plain, ssl, sasl, controller] = ports;
    let home = home.display();
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SSL://127.0.0.1:{ssl},SASL_SSL://127.0.0.1:{sasl}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT\n\
         ssl.keystore.type=PEM\nssl.keystore.location={home}/server.pem\n\
         ssl.truststore.type=PEM\nssl.truststore.location={home}/ca.pem\n\
         listener.name.ssl.ssl.client.auth=required\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
         listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_reader=\"opensesame\";\n\
         listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config={scram}\n\
         listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram}\n\
         listener.name.sasl_ssl.connections.max.reauth.ms={REAUTHENTICATION_MS}\n\
         auto.create.topics.enable=false\noffsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
         share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n"
    )
}

/// An authority, a certificate of the broker and one of a client, and another authority that signed neither.
fn certificates(home: &Path) {
    let openssl = |arguments: &str| {
        let arguments = arguments.split_whitespace();
        let output = Command::new("openssl").args(arguments).current_dir(home).output();
        let output =
            output.unwrap_or_else(|error| panic!("openssl: {error}; it is among what `make install` gets"));
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
    let read = |name: &str| fs::read_to_string(home.join(name)).expect("a certificate");
    fs::write(home.join("server.pem"), read("server.key") + &read("server.crt")).expect("a key store");
}
