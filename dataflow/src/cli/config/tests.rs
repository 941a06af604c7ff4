//! The real command line with files and environments of the tests' own.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::CommandFactory;

use super::*;
use crate::cli::Typed;
use crate::cli::settings::{Origin, Stop, read};

/// A database, so that it is not missing.
const DATABASE: (&str, &str) = ("DATABASE_URL", "postgresql://city:geheim@db/city");

/// What `citytide` makes of a line, an environment and a file.
fn told(line: &str, environment: &[(&str, &str)], file: &str) -> Result<Configuration, (String, Exit)> {
    let arguments = ["citytide"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    let variable = |name: &str| environment.get(name).map(OsString::from);
    match read::<Typed>(&arguments.collect::<Vec<OsString>>(), &variable, &|_| Ok(file.to_owned())) {
        Ok((_, configuration)) => Ok(configuration),
        Err(Stop::Wrong(text, exit)) => Err((text, exit)),
        Err(Stop::Clap(said)) => Err((said.to_string(), Exit::Usage)),
    }
}

/// `value (origin)` of a setting.
fn of(configuration: &Configuration, name: &str) -> String {
    let used = configuration.used.iter().find(|used| used.setting.name == name).expect(name);
    let values: Vec<String> = used.values.iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let origin = match &used.origin {
        Origin::File(_, line) => format!("line {line}"),
        other => other.to_string(),
    };
    format!("{} ({origin})", values.join("|"))
}

fn wrong(line: &str, environment: &[(&str, &str)], file: &str) -> (String, Exit) {
    told(line, environment, file).expect_err("a mistake")
}

#[test]
fn a_flag_counts_before_the_environment_before_the_file_before_the_default() {
    let file = "[kafka]\ntopic = \"of-file\"\n\n[run]\nworkers = 3\nshow = true\n";
    let environment = [DATABASE, ("CITYTIDE_TOPIC", "of-environment"), ("CITYTIDE_WORKERS", "")];
    let all = told("run --topic typed", &environment, file).expect("right");
    assert_eq!(of(&all, "topic"), "typed (flag)");
    assert_eq!(of(&all, "workers"), "3 (line 5)");
    assert_eq!(of(&all, "show"), "true (line 6)");
    assert_eq!(of(&all, "processes"), "1 (default)");
    assert_eq!(of(&all, "hostfile"), " (default)");
    assert_eq!(
        of(&told("run", &environment, file).expect("right"), "topic"),
        "of-environment (environment CITYTIDE_TOPIC)"
    );
    assert_eq!(of(&told("run", &[DATABASE], file).expect("right"), "topic"), "of-file (line 2)");
    assert_eq!(of(&told("run --show=false", &[DATABASE], file).expect("right"), "show"), "false (flag)");
}

#[test]
fn our_own_variable_counts_before_the_one_that_others_know_too() {
    let environment = [DATABASE, ("KAFKA_BROKERS", "theirs:1"), ("CITYTIDE_BROKERS", "ours:1")];
    let all = told("run", &environment, "").expect("right");
    assert_eq!(of(&all, "brokers"), "ours:1 (environment CITYTIDE_BROKERS)");
    assert_eq!(of(&all, "database-url"), format!("{} (environment DATABASE_URL)", DATABASE.1));
}

#[test]
fn a_path_in_the_file_is_relative_to_the_file() {
    let file = "[domain]\nfile = \"greenhouse.toml\"";
    let domain = |line| of(&told(line, &[DATABASE], file).expect("right"), "domain");
    assert_eq!(domain("run --config /etc/city.toml"), "/etc/greenhouse.toml (line 2)");
    assert_eq!(domain("run"), "greenhouse.toml (line 2)");
}

#[test]
fn a_time_stands_in_the_file_as_it_would_be_typed() {
    let file = "[simulation]\nstart = \"2026-11-21T05:26:00Z\"\nrate = 50\n";
    let all = told("run --source simulation", &[DATABASE], file).expect("right");
    assert_eq!(of(&all, "start"), "2026-11-21T05:26:00Z (line 2)");
    assert_eq!(of(&all, "rate"), "50 (line 3)");
    let (said, _) = wrong("run --source simulation", &[DATABASE], "[simulation]\nstart = \"soon\"\n");
    assert!(said.contains("`start` in [simulation]: ") && said.contains("write it as 2026-"), "{said}");
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place() {
    let file = "[kafka]\ntopics = \"a\"\nworkers = 2\n[run]\nworkers = \"four\"\nprocesses = 65\n[loog]\nlevel = 1\n[log]\n\
                level = \"inof\"\n";
    let (said, exit) = wrong("run -w 0", &[DATABASE, ("CITYTIDE_LOG_FORMAT", "jsno")], file);
    assert_eq!(exit, Exit::Usage);
    for sentence in [
        "error: --workers 0: 0 is not in 1..=64\n",
        "error: CITYTIDE_LOG_FORMAT=jsno: did you mean json? It is one of text, json",
        "error: unknown key `topics` in [kafka]; did you mean `topic`?\n --> citytide.toml:2:1\n",
        "error: unknown key `workers` in [kafka]; it belongs in [run]\n",
        "error: `workers` in [run] must be a whole number, not text\n --> citytide.toml:5:11\n",
        "error: `processes` in [run]: 65 is not in 1..=64\n",
        "error: unknown section `loog`; did you mean `log`?\n",
        "error: `level` in [log]: `inof` is not a log level; did you mean info?\n",
        "\nerror: citytide.toml has 6 mistakes",
    ] {
        assert!(said.contains(sentence), "{sentence}\nis not in\n{said}");
    }
}

#[test]
fn a_mistake_outside_of_the_command_line_has_the_code_of_the_configuration() {
    assert_eq!(wrong("run", &[DATABASE], "[run]\nworkers = 0\n").1, Exit::Config);
    assert_eq!(wrong("run", &[DATABASE], "[run\nworkers = 0\n").1, Exit::Config);
    assert_eq!(wrong("run", &[DATABASE, ("CITYTIDE_WORKERS", "0")], "").1, Exit::Config);
}

#[test]
fn what_is_missing_is_told_with_every_way_to_give_it() {
    let (said, exit) = wrong("run", &[], "");
    assert_eq!(exit, Exit::Usage);
    assert_eq!(
        said,
        "error: --database-url <URL> is missing (Connect to this database, postgresql://user@host:port/name); \
         give the flag, set \
         DATABASE_URL, or write url under [database] in citytide.toml"
    );
    assert!(told("config show", &[], "").is_ok(), "what is not there can be shown");
    assert!(told("schema print", &[], "").is_ok(), "it asks no database");
}

#[test]
fn settings_that_do_not_fit_together_are_refused_wherever_they_come_from() {
    let (said, exit) = wrong("run -p 2", &[DATABASE], "[run]\nprocesses = 2\n");
    assert_eq!(exit, Exit::Usage);
    assert!(
        said.starts_with("error: -p 2 does not exist with -n 2: processes count from 0, the last is 1\n"),
        "{said}"
    );
    let (said, _) = wrong("config show -w 64 -n 8 --database-url postgresql://u@h/d", &[], "");
    assert!(said.contains("512 workers, at most 256"), "{said}");
}

#[test]
fn a_password_is_shown_nowhere() {
    let secret = |said: &str| assert!(!said.contains("geheim"), "{said}");
    for file in [
        "[database]\nurl = \"postgresql://city:geheim@db/city\" x\n",
        "[database]\nurll = \"postgresql://city:geheim@db/city\"\n",
        "[database]\nurl = [\"geheim\"]\n",
        "[database]\npasword = \"geheim\"\n",
    ] {
        let (said, _) = wrong("run", &[DATABASE], file);
        secret(&said);
        assert!(said.contains('^'), "{said}");
    }
    let all = told("run --database-url postgresql://city:geheim@db/city", &[], "").expect("right");
    let [warning] = all.warnings.as_slice() else { panic!("{:?}", all.warnings) };
    secret(warning);
    assert!(warning.contains("set DATABASE_URL") && warning.contains("process list"), "{warning}");
    assert!(told("run", &[DATABASE], "").expect("right").warnings.is_empty());
    let shown = as_file(&told("config show", &[DATABASE], "").expect("right"));
    secret(&shown);
    let line = shown.lines().find(|line| line.starts_with("url")).expect("a line");
    assert!(line.starts_with("url = \"postgresql://city:***@db/city\" "), "{line}");
    assert!(line.ends_with(" # environment DATABASE_URL"), "{line}");
}

#[test]
fn what_is_shown_is_a_configuration_that_says_the_same() {
    let file = "[kafka]\ntopic = \"a \\\"b\\\"\"\n[run]\nworkers = 3\nshow = true\n";
    let first = as_file(&told("config show", &[], file).expect("right"));
    assert!(first.contains("workers = 3") && first.contains("# citytide.toml:4\n"), "{first}");
    let values = |shown: &str| -> Vec<String> {
        shown.lines().map(|line| line.split("  #").next().unwrap_or_default().trim_end().to_owned()).collect()
    };
    let second = as_file(&told("config show", &[], &first).expect("right"));
    assert_eq!(values(&first), values(&second));
}

#[test]
fn a_member_uses_what_its_supervisor_uses_whatever_became_of_the_file() {
    let file = "[run]\nworkers = 3\nprocesses = 2\nshow = true\n\
                [kafka]\nconsumer_group = \"\"\nproperties = [\"a=b;c\"]\n";
    let supervisor =
        told("run --take-over --log-level warn,citytide=debug", &[DATABASE], file).expect("right");
    let variables: Vec<(String, String)> = supervisor
        .member_environment(&["take-over"])
        .into_iter()
        .map(|(name, value)| (name.into_string().expect("text"), value.into_string().expect("text")))
        .collect();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    assert!(variables.contains(&("CITYTIDE_CONFIG", "/dev/null")));
    let member = told("run --no-supervise -p 1", &variables, "").expect("right");
    for used in &supervisor.used {
        let name = used.setting.name.as_str();
        let value = |all: &Configuration| of(all, name).split(" (").next().unwrap_or_default().to_owned();
        match name {
            "config" => {}
            "take-over" => assert_eq!(value(&member), "false"),
            "no-supervise" => assert_eq!(value(&member), "true"),
            "process" => assert_eq!(value(&member), "1"),
            _ => assert_eq!(value(&member), value(&supervisor), "{name}"),
        }
    }
}

#[test]
fn a_file_that_is_named_must_be_there_and_be_one() {
    let read_at = |path: &str| {
        let arguments = ["citytide", "config", "show", "--config", path].map(OsString::from);
        match read::<Typed>(&arguments, &|_| None, &|path| std::fs::read_to_string(path)) {
            Err(Stop::Wrong(text, exit)) => (text, exit),
            other => panic!("{path} cannot be read: {other:?}"),
        }
    };
    let (said, exit) = read_at("/nowhere/citytide.toml");
    assert!(
        said.starts_with("error: cannot read the configuration file /nowhere/citytide.toml: No such file"),
        "{said}"
    );
    assert_eq!(exit, Exit::Config);
    assert!(read_at("/").0.contains("Is a directory"));
}

#[test]
fn no_two_settings_share_a_key_or_a_variable_and_one_name_is_one_setting() {
    let command = Typed::command();
    let settings = Setting::all(&command);
    for (index, one) in settings.iter().enumerate() {
        for other in &settings[..index] {
            assert!(one.key.is_none() || one.key != other.key, "{} and {}", one.name, other.name);
            assert!(one.variables.iter().all(|name| !other.variables.contains(name)), "{}", one.name);
        }
    }
    let declared = |setting: &Setting| {
        let Setting { key, variables, kind, is_list, is_secret, .. } = setting.clone();
        (key, variables, kind, is_list, is_secret)
    };
    let mut commands = vec![&command];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands());
        for here in command.get_arguments().filter_map(Setting::of) {
            let known = settings.iter().find(|setting| setting.name == here.name).expect("collected above");
            assert_eq!(declared(&here), declared(known), "--{} of {}", here.name, command.get_name());
        }
    }
    command.debug_assert();
}
