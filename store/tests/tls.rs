//! TLS with PostgreSQL, against servers of the tests' own: each `sslmode`, right and wrong certificates, and what is
//! said when it does not work.

#[path = "tls/server.rs"]
mod server;

use citytide_store::postgres::{Database, DatabaseError, DatabaseOptions};
use futures_util::future::join;

use server::Server;

/// The password of the roles that have one.
const SECRET: &str = "topsecret-9";

/// Everybody may come, however they like.
const OPEN: &str = "host all all 127.0.0.1/32 trust\n";

/// The answer to a connection: whether it is encrypted.
fn connect(address: &str) -> Result<bool, DatabaseError> {
    connect_with(address, &DatabaseOptions::default())
}

fn connect_with(address: &str, options: &DatabaseOptions) -> Result<bool, DatabaseError> {
    let database = Database::parse(address, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = database.connect("test").await?;
        let row = client.query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await;
        Ok(row.expect("an answer").get(0))
    })
}

fn execute(server: &Server, script: &str) {
    let address = format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port);
    let database = Database::parse(&address, &DatabaseOptions::default()).expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        database.connect("test").await.expect("a session").batch_execute(script).await.expect("executed");
    });
}

/// What is said when it does not work; never a password.
fn words(outcome: Result<bool, DatabaseError>) -> String {
    let error = outcome.expect_err("it does not work");
    let said = format!("{error}");
    assert!(!format!("{said} {error:?}").contains(SECRET), "{said}");
    eprintln!("{said}");
    said
}

#[test]
fn each_sslmode_is_satisfied_by_what_libpq_s_table_says() {
    let server = Server::start(true, OPEN);
    let (root, other) = (server.file("root.crt"), server.file("other.crt"));
    let at = |host: &str, parameters: &str| {
        connect(&format!(
            "postgresql://postgres@{host}:{}/postgres?hostaddr=127.0.0.1&{parameters}",
            server.port
        ))
    };
    for (parameters, encrypted) in [
        ("sslmode=disable".to_owned(), false),
        ("sslmode=allow".to_owned(), false),
        (String::new(), true),
        ("sslmode=prefer".to_owned(), true),
        ("sslmode=require".to_owned(), true),
        (format!("sslmode=require&sslrootcert={root}"), true),
        (format!("sslmode=verify-ca&sslrootcert={root}"), true),
        (format!("sslmode=verify-full&sslrootcert={root}"), true),
        // Prefer goes without rather than not at all.
        (format!("sslmode=prefer&sslrootcert={other}"), false),
        // The server's own certificate is its own authority.
        (format!("sslmode=verify-full&sslrootcert={}", server.file("localhost.crt")), true),
    ] {
        let outcome = at("localhost", &parameters);
        assert_eq!(
            outcome.unwrap_or_else(|error| panic!("{parameters}: {error}")),
            encrypted,
            "{parameters}"
        );
    }
    // Another authority than the server's.
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = words(at("localhost", &format!("sslmode={mode}&sslrootcert={other}")));
        assert!(
            said.contains("signed by none of the certificates in") && said.contains("other.crt"),
            "{said}"
        );
    }
    // A certificate for another name.
    assert!(
        at("elsewhere", &format!("sslmode=verify-ca&sslrootcert={root}"))
            .expect("verify-ca looks at no name")
    );
    let said = words(at("elsewhere", &format!("sslmode=verify-full&sslrootcert={root}")));
    assert!(said.contains("localhost") && said.contains("not for elsewhere"), "{said}");
    // The authorities of the machine do not know ours.
    let said = words(at("localhost", "sslrootcert=system"));
    assert!(said.contains("sslrootcert"), "{said}");
    // In words, and from the environment.
    let address =
        format!("host=localhost port={} user=postgres dbname=postgres sslmode = verify-full", server.port);
    let options = DatabaseOptions { sslrootcert: Some(root), ..DatabaseOptions::default() };
    assert!(connect_with(&address, &options).expect("verified"));
}

#[test]
fn a_statement_is_cancelled_over_the_kind_of_connection_that_it_came_by() {
    let server = Server::start(true, OPEN);
    let root = server.file("root.crt");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for parameters in ["sslmode=disable", "sslmode=prefer", "sslmode=require", "sslmode=verify-full"] {
        let address = format!(
            "postgresql://postgres@localhost:{}/postgres?sslrootcert={root}&{parameters}",
            server.port
        );
        let database = Database::parse(&address, &DatabaseOptions::default()).expect("an address");
        runtime.block_on(async {
            let client = database.connect("test").await.expect("a session");
            let looking = database.connect("test").await.expect("a session");
            let sleeping = client.batch_execute("select pg_sleep(600)");
            let cancelling = async {
                let asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
                while looking.query_one(asleep, &[]).await.expect("an answer").get::<_, i64>(0) == 0 {}
                database.cancel(&client).await.expect(parameters);
            };
            let (ended, ()) = join(sleeping, cancelling).await;
            let code = ended.expect_err("it was cancelled").code().map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some("57014"), "{parameters}");
        });
    }
}

#[test]
fn a_server_without_tls_satisfies_only_those_who_can_go_without() {
    let server = Server::start(false, OPEN);
    let at = |mode: &str| {
        let root = server.file("root.crt");
        connect(&format!(
            "postgresql://postgres@localhost:{}/postgres?sslmode={mode}&sslrootcert={root}",
            server.port
        ))
    };
    for mode in ["disable", "allow", "prefer"] {
        assert!(!at(mode).expect(mode));
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let said = words(at(mode));
        assert!(said.contains("does not support it") && said.contains("ssl = on"), "{said}");
    }
}

#[test]
fn a_server_that_insists_gets_tls_and_certificates_and_passwords() {
    let server = Server::start(
        true,
        "host all postgres 127.0.0.1/32 trust\n\
         hostssl all insists 127.0.0.1/32 scram-sha-256\n\
         hostssl all certified 127.0.0.1/32 cert\n\
         hostnossl all plain 127.0.0.1/32 trust\n",
    );
    execute(
        &server,
        &format!(
            "create role insists login password '{SECRET}'; create role certified login; create role plain login"
        ),
    );
    let at = |user: &str, parameters: &str| {
        connect(&format!("postgresql://{user}@localhost:{}/postgres?{parameters}", server.port))
    };
    // SCRAM bound to the channel, and to the password.
    let insists = format!("insists:{SECRET}");
    assert!(at(&insists, "sslmode=require&channel_binding=require").expect("bound to the channel"));
    assert!(at(&insists, "sslmode=allow").expect("allow uses TLS where nothing else is admitted"));
    let said = words(at(&insists, "sslmode=disable"));
    assert!(said.contains("sslmode=require"), "{said}");
    let said = words(at(&insists, "sslmode=disable&channel_binding=require"));
    assert!(said.contains("localhost"), "{said}");
    let said = words(at(&format!("insists:{SECRET}-not"), ""));
    assert!(said.contains("password authentication failed") && said.contains("PGPASSWORD"), "{said}");
    let said = words(at("insists", ""));
    assert!(said.contains("password missing") && said.contains("PGPASSWORD"), "{said}");
    assert!(!at("plain", "sslmode=prefer").expect("prefer goes without where TLS is not admitted"));

    // A certificate instead of a password.
    let own = |name: &str| {
        at(
            "certified",
            &format!(
                "sslmode=require&sslcert={}&sslkey={}",
                server.file(&format!("{name}.crt")),
                server.file(&format!("{name}.key"))
            ),
        )
    };
    assert!(own("certified").expect("known by its certificate"));
    let said = words(at("certified", "sslmode=require"));
    assert!(said.contains("sslcert and sslkey"), "{said}");
    let said = words(own("stranger"));
    assert!(said.contains("sslcert"), "{said}");
    let mixed = format!("sslcert={}&sslkey={}", server.file("certified.crt"), server.file("stranger.key"));
    let said = words(at("certified", &mixed));
    assert!(said.contains("do not match"), "{said}");
}
