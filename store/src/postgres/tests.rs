use super::*;

fn parse(address: &str, options: &DatabaseOptions) -> Database {
    Database::parse(address, options).unwrap_or_else(|error| panic!("{error}"))
}

fn password(database: &Database) -> Option<&str> {
    database.config.get_password().map(|bytes| std::str::from_utf8(bytes).expect("text"))
}

#[test]
fn the_address_counts_for_more_than_the_environment() {
    let options = DatabaseOptions {
        password: Some("of-environment".to_owned()),
        sslmode: Some("require".to_owned()),
        ..DatabaseOptions::default()
    };
    let database = parse("postgresql://u:of-address@db/x?sslmode=disable", &options);
    assert_eq!((password(&database), database.tls.mode), (Some("of-address"), SslMode::Disable));
    let database = parse("host=db user=u", &options);
    assert_eq!((password(&database), database.tls.mode), (Some("of-environment"), SslMode::Require));
    assert_eq!(parse("host=/run/postgresql user=u", &options).tls.mode, SslMode::Disable);
}

#[test]
fn a_password_comes_from_its_file_or_from_pgpass() {
    use std::os::unix::fs::PermissionsExt;
    let home = std::env::temp_dir().join(format!("citytide-pgpass-{}", std::process::id()));
    std::fs::create_dir_all(&home).expect("a directory");
    let pgpass = home.join(".pgpass");
    std::fs::write(&pgpass, "other:*:*:*:wrong\ndb:5432:x:u:of-pgpass\n").expect("a file");
    let allow = |mode| {
        std::fs::set_permissions(&pgpass, std::fs::Permissions::from_mode(mode)).expect("permissions");
    };
    allow(0o600);
    let mut options = DatabaseOptions { home: Some(home.clone()), ..DatabaseOptions::default() };
    assert_eq!(password(&parse("postgresql://u@db/x", &options)), Some("of-pgpass"));
    assert_eq!(password(&parse("postgresql://u@elsewhere/x", &options)), None);
    allow(0o644);
    let error = Database::parse("postgresql://u@db/x", &options).unwrap_err().to_string();
    assert!(error.contains("chmod 600") && !error.contains("of-pgpass"), "{error}");
    let file = home.join("password");
    std::fs::write(&file, "of-file\n").expect("a file");
    options.password_file = Some(file);
    assert_eq!(password(&parse("postgresql://u:of-address@db/x", &options)), Some("of-file"));
    std::fs::remove_dir_all(&home).expect("removed");
}

#[test]
fn a_server_below_14_is_refused() {
    let database = parse("postgresql://u@db/x", &DatabaseOptions::default());
    for (version, refused) in [
        ("13.9", true),
        ("9.6.24 (Debian)", true),
        ("14beta1", false),
        ("15.6 (Debian 15.6-0)", false),
        ("18.1", false),
    ] {
        assert_eq!(database.refuse_old(Some(version)).is_err(), refused, "{version}");
    }
}

#[test]
fn nothing_shows_a_password() {
    let options = DatabaseOptions { password: Some("topsecret".to_owned()), ..DatabaseOptions::default() };
    let database = parse("postgresql://u:topsecret@db/x", &options);
    assert!(!format!("{database} {database:?} {options:?}").contains("topsecret"));
    for address in [
        "postgresql://u:topsecret@db:notaport/x",
        "postgresql://u:topsecret@db/x?sslmode=topsecre",
        "host=db password='topsecret",
        "postgresql://u:topsecret@/x",
        "host=db password=topsecret port=many",
    ] {
        let error = Database::parse(address, &options).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("topsecret"), "{error}");
    }
}
