//! The mistakes that a newcomer makes, each on the real program: the code it ends with, and the words it says.

use std::path::PathBuf;

use citytide_tests::city::City;
use citytide_tests::load::Traffic;
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{services, unique, wait_until};

/// A database that nothing connects to before the mistake is found.
const NOWHERE: &str = "postgresql://nobody@127.0.0.1:1/nothing";

/// `citytide` with these arguments; it ends by itself.
fn citytide(arguments: &str) -> (Ended, String) {
    CommandLine::new(&services().citytide, "mistakes").args(arguments.split_whitespace()).finish(LIMIT)
}

/// `citytide run` on nothing, with these arguments.
fn run(arguments: &str) -> (Ended, String) {
    citytide(&format!("run --database-url {NOWHERE} {arguments}"))
}

/// A file with this text.
fn file(name: &str, text: &str) -> PathBuf {
    let path = scratch().join(format!("{}.{name}", unique("mistakes")));
    std::fs::write(&path, text).expect("a file");
    path
}

/// A port of loopback that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port()
}

#[track_caller]
fn says((ended, said): (Ended, String), code: i32, sentences: &[&str]) {
    assert_eq!(ended, Ended::Exit(code), "{said}");
    for sentence in sentences {
        assert!(said.contains(sentence), "{sentence}\nis not in\n{said}");
    }
}

#[test]
fn numbers_that_cannot_be_are_refused_with_those_that_can() {
    says(run("-w 0"), 2, &["error: --workers 0: 0 is not in 1..=64"]);
    says(
        run("-w four -n 65"),
        2,
        &["error: --workers four: invalid digit", "--processes 65: 65 is not in 1..=64"],
    );
    says(
        run("-p 2 -n 2"),
        2,
        &["error: -p 2 does not exist with -n 2: processes count from 0, the last is 1"],
    );
    says(run("-w 64 -n 64"), 2, &["4096 workers, at most 256 can work together"]);
}

#[test]
fn a_slip_in_a_word_is_answered_with_the_word_that_was_meant() {
    says(citytide("rnu"), 2, &["unrecognized subcommand 'rnu'", "a similar subcommand exists: 'run'"]);
    says(citytide("run --topik t"), 2, &["unexpected argument '--topik'", "'--topic'"]);
    says(run("--log-level inof"), 2, &["--log-level inof: `inof` is not a log level; did you mean info?"]);
    says(run("--log-format jsno"), 2, &["did you mean json? It is one of text, json"]);
}

#[test]
fn a_missing_database_is_told_with_every_way_to_name_one() {
    says(
        citytide("run"),
        2,
        &[
            "--database-url <URL> is missing",
            "postgresql://user@host:port/name",
            "DATABASE_URL",
            "under [database]",
        ],
    );
}

#[test]
fn every_mistake_in_a_hostfile_is_told_at_once_with_its_line() {
    let hosts = file("hosts", "one:2101\ntwo\none:2101\nfour:2104\n");
    says(
        run(&format!("-n 3 -p 0 --hostfile {}", hosts.display())),
        2,
        &[
            "`two` is no address of a process; write one host:port per line",
            ":2:1",
            "one:2101 already stands in line 1",
            "one address too many: -n asks for 3 processes",
            "^",
        ],
    );
    let hosts = file("hosts", "one:2101\n");
    says(run(&format!("-n 2 -p 0 --hostfile {}", hosts.display())), 2, &["1 of 2 addresses: -n asks for 2"]);
    says(run("-n 2 -p 0 --hostfile /nowhere"), 2, &["cannot read the hostfile /nowhere: No such file"]);
    says(run("-n 2 -p 0 --hostfile /"), 2, &["cannot read the hostfile /: Is a directory"]);
}

#[test]
fn every_mistake_in_the_configuration_file_is_told_at_once_with_line_and_caret() {
    let config = file("toml", "[run]\nworker = 2\nprocesses = \"two\"\n[kafca]\n[database]\nurl = 5\n");
    says(
        run(&format!("--config {}", config.display())),
        78,
        &[
            "unknown key `worker` in [run]; did you mean `workers`?",
            "`processes` in [run] must be a whole number, not text",
            "unknown section `kafca`; did you mean `kafka`?",
            "`url` in [database] must be text, not a whole number",
            "^^^",
            "has 4 mistakes",
        ],
    );
    says(
        run("--config /nowhere.toml"),
        78,
        &["cannot read the configuration file /nowhere.toml: No such file"],
    );
    says(run("--config /"), 78, &["cannot read the configuration file /: Is a directory"]);
    says(run("--domain /"), 78, &["cannot read the domain file /: Is a directory"]);
}

#[test]
fn what_is_used_is_shown_with_its_origin_and_without_passwords() {
    let config = file("toml", "[run]\nworkers = 3\n[database]\nurl = \"postgresql://city:geheim@db/city\"\n");
    let (ended, said) = citytide(&format!("config show -n 2 --config {}", config.display()));
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let line = |start: &str| said.lines().find(|line| line.starts_with(start)).expect(start).to_owned();
    assert!(line("workers = 3").ends_with(&format!("# {}:2", config.display())), "{said}");
    assert!(line("processes = 2").ends_with("# flag"), "{said}");
    assert!(line("url = \"postgresql://city:***@db/city\"").ends_with(".toml:4"), "{said}");
    assert!(line("until_caught_up = false").ends_with("# default"), "{said}");
    let (ended, said) =
        citytide("config show --json --log-format json --database-url postgresql://u:geheim@h/d");
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(!said.contains("geheim"), "{said}");
    let warning = said.lines().next().expect("a warning of the password that was typed");
    let warning: serde_json::Value = serde_json::from_str(warning).expect("an object per line");
    assert_eq!(warning["level"], "warn");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains("process list")), "{warning}");
}

#[test]
fn completions_and_manual_are_what_they_claim_to_be() {
    let (ended, script) = citytide("completions bash");
    assert_eq!(ended, Ended::Exit(0), "{script}");
    let script = file("bash", &script);
    let checked = std::process::Command::new("bash").arg("-n").arg(&script).status().expect("bash");
    assert!(checked.success(), "{}", script.display());
    let (ended, page) = citytide("man");
    assert_eq!(ended, Ended::Exit(0), "{page}");
    let (_, version) = citytide("--version");
    let (_, help) = citytide("--help");
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on with the line above.
    let names = commands.filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    for command in names.filter_map(|line| line.split(' ').next()).filter(|word| *word != "help") {
        assert!(page.contains(&format!(".TH citytide-{command} 1")), "{command} is in the manual");
    }
    for word in ["citytide ", "commit ", "librdkafka ", "timely ", "differential-dataflow "] {
        assert!(version.contains(word), "{word} is not in {version}");
    }
}

#[test]
fn a_process_with_other_numbers_than_its_run_is_told_so_once_and_ends() {
    let scene = Scene::new("shape", City::smart(), 2);
    Traffic::new(71, 100_000).send(&scene.topic, &scene.city, 2, 100);
    scene.topic.flush();
    let addresses: Vec<String> = (0..2).map(|_| format!("127.0.0.1:{}\n", free_port())).collect();
    let hosts = file("hosts", &addresses.concat());
    let member =
        |arguments: &str| scene.run(arguments).args(["--hostfile".into(), hosts.clone().into_os_string()]);
    let mut first = member("-n 2 -p 0 -w 2").spawn();
    let refused = member("-n 2 -p 1 -w 1").finish(LIMIT);
    says(
        refused,
        78,
        &["process 0 was started with -n 2 -w 2, this process with -n 2 -w 1; give every process"],
    );
    let told = first.log().matches("process 1 was started with -n 2 -w 1").count();
    assert!((1..=2).contains(&told), "told once a generation, not at every attempt: {}", first.log());
    let mut second = member("-n 2 -p 1 -w 2").spawn();
    wait_until("the first commit", LIMIT, || scene.database.commits() > 0);
    assert_eq!((first.ended(), second.ended()), (None, None));
}

#[test]
fn a_port_in_use_and_a_peer_that_never_comes_are_named() {
    let scene = Scene::new("port", City::smart(), 1);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = (taken.local_addr().expect("bound").to_string(), taken);
    let other = format!("127.0.0.1:{}", free_port());
    let alone = |addresses: [&str; 2]| {
        let hosts = file("hosts", &addresses.join("\n"));
        let run = scene.run("-n 2 -p 0 --no-supervise --take-over");
        run.args(["--hostfile".into(), hosts.into_os_string()]).finish(LIMIT)
    };
    says(
        alone([&taken.0, &other]),
        74,
        &[&format!("cannot listen on {}", taken.0), "Address already in use"],
    );
    let free = format!("127.0.0.1:{}", free_port());
    says(
        alone([&free, &other]),
        74,
        &[&format!("process 1 ({other}) did not join run"), "it never connected"],
    );
}
