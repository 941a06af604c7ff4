//! A PostgreSQL server of the test's own, in a directory of its own, with certificates made here.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// A server that has not begun within this does not.
const PATIENCE: Duration = Duration::from_secs(60);

static SERVERS: AtomicU32 = AtomicU32::new(0);

/// A server that listens on the loopback.
pub struct Server {
    process: Child,
    /// Where data, certificates and keys are.
    pub directory: PathBuf,
    /// The port.
    pub port: u16,
}

/// A certificate's authority.
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Makes one, and writes its certificate into `directory` as `NAME.crt`.
    pub fn new(directory: &Path, name: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(Vec::new()).expect("parameters");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.self_signed(&key).expect("a certificate");
        std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).expect("written");
        Authority(Issuer::new(parameters, key))
    }

    /// Signs a certificate for a host or a user, and writes it and its key as `NAME.crt` and `NAME.key`.
    pub fn sign(&self, directory: &Path, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        parameters.distinguished_name.push(DnType::CommonName, name);
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        std::fs::write(directory.join(format!("{name}.crt")), certificate.pem()).expect("written");
        let file = directory.join(format!("{name}.key"));
        std::fs::write(&file, key.serialize_pem()).expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("permissions");
    }
}

impl Server {
    /// Starts a server with the lines of `pg_hba.conf`; with the certificate of localhost that the authority `root`
    /// signed when `tls`. There is another authority, `other`; the user `certified` has a certificate of the first.
    pub fn start(tls: bool, admitted: &str) -> Server {
        let count = SERVERS.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("citytide-tls-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let data = directory.join("data");
        let owner = owner();
        let own = |path: &Path| {
            if let Some((user, group)) = owner {
                chown(path, Some(user), Some(group)).expect("the server's own");
            }
        };
        own(&directory);
        let made = command("initdb", owner)
            .args(["--no-sync", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

        let root = Authority::new(&directory, "root");
        Authority::new(&directory, "other").sign(&directory, "stranger");
        root.sign(&directory, "localhost");
        root.sign(&directory, "certified");
        for name in ["localhost.crt", "localhost.key", "root.crt"] {
            let copy = data.join(name);
            std::fs::copy(directory.join(name), &copy).expect("copied");
            own(&copy);
        }
        std::fs::write(data.join("pg_hba.conf"), admitted).expect("written");
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let tls = if tls { "on" } else { "off" };
        let mut settings = vec![
            format!("port={port}"),
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "fsync=off".to_owned(),
            format!("ssl={tls}"),
        ];
        settings.extend(
            ["ssl_cert_file=localhost.crt", "ssl_key_file=localhost.key", "ssl_ca_file=root.crt"]
                .map(str::to_owned),
        );
        let process = command("postgres", owner)
            .arg("-D")
            .arg(&data)
            .args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]))
            .stderr(std::fs::File::create(directory.join("log")).expect("a log"))
            .spawn()
            .expect("postgres runs");
        let mut server = Server { process, directory, port };
        server.wait();
        server
    }

    #[expect(clippy::disallowed_methods, reason = "a test's patience")]
    fn wait(&mut self) {
        let until = Instant::now() + PATIENCE;
        let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        while !log().contains("ready to accept connections") {
            assert!(Instant::now() < until, "no server: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A file of this server's directory.
    pub fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn command(name: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(binaries().join(name));
    if let Some((user, group)) = owner {
        command.uid(user).gid(group).current_dir("/");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Where `initdb` and `postgres` are: as `scripts/services` finds them.
fn binaries() -> PathBuf {
    if let Some(directory) = std::env::var_os("CITYTIDE_POSTGRES_BIN") {
        return directory.into();
    }
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/../.services/postgres.bin");
    if let Ok(directory) = std::fs::read_to_string(kept) {
        return directory.trim_end().into();
    }
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        installed.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists()).max();
    newest.expect("initdb is found; CITYTIDE_POSTGRES_BIN names its directory")
}

/// Whom the server runs as: it refuses to run as root.
fn owner() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let number = |option: &str| {
        let said = Command::new("id").args([option, "postgres"]).output().expect("id runs");
        String::from_utf8_lossy(&said.stdout).trim().parse().ok()
    };
    Some(number("-u").zip(number("-g")).unwrap_or((65534, 65534)))
}
