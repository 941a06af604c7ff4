//! The picture of the crates in `docs/architecture.md` is what the manifests say, and no crate links what its room must
//! not know.

use std::collections::BTreeMap;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The names under `[dependencies]` of each member of the workspace.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let workspace = read("Cargo.toml");
    let (_, list) = workspace.split_once("members = [").expect("the list of members");
    let (list, _) = list.split_once(']').expect("its end");
    let members = list.split(',').map(|member| member.trim().trim_matches('"'));
    let of = |member: &str| {
        let manifest = read(&format!("{member}/Cargo.toml"));
        let behind = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
        let linked = behind.take_while(|line| !line.starts_with('['));
        let name = |line: &str| line.split(['.', ' ', '=']).next().map(str::to_owned);
        let names = linked.filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(name);
        (member.to_owned(), names.collect())
    };
    members.filter(|member| !member.is_empty()).map(of).collect()
}

#[test]
fn the_picture_of_the_crates_is_what_the_manifests_say() {
    let line = |(member, linked): (String, Vec<String>)| {
        let mut crates: Vec<&str> = linked.iter().filter_map(|name| name.strip_prefix("citytide-")).collect();
        crates.sort_unstable();
        format!("{member} → {}", crates.join(" ")).trim_end().to_owned()
    };
    let expected: Vec<String> = dependencies().into_iter().map(line).collect();
    let page = read("docs/architecture.md");
    let (_, rest) = page.split_once("<!-- crates: begin -->").expect("where the picture begins");
    let (picture, _) = rest.split_once("<!-- crates: end -->").expect("where it ends");
    let shown: Vec<&str> = picture
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && !line.starts_with("```"))
        .collect();
    assert_eq!(shown, expected, "docs/architecture.md");
}

/// What a crate links, directly or through others of the workspace.
fn reached(member: &str, all: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut reached = Vec::new();
    let mut open = vec![member.to_owned()];
    while let Some(next) = open.pop() {
        for name in &all[&next] {
            match name.strip_prefix("citytide-") {
                Some(own) => open.push(own.to_owned()),
                None => reached.push(name.clone()),
            }
        }
    }
    reached
}

#[test]
fn the_core_knows_no_engine_and_the_store_knows_none_either() {
    let all = dependencies();
    for (member, kept_out) in [
        ("core", &["timely", "differential-dataflow", "rdkafka", "tokio", "tokio-postgres"][..]),
        ("detector", &["timely", "differential-dataflow", "rdkafka", "tokio", "tokio-postgres"]),
        ("store", &["timely", "differential-dataflow", "rdkafka"]),
        ("notify", &["timely", "differential-dataflow", "rdkafka"]),
        ("serve", &["timely", "differential-dataflow", "rdkafka"]),
    ] {
        let reached = reached(member, &all);
        assert!(!reached.is_empty(), "{member} links something");
        for name in kept_out {
            assert!(!reached.iter().any(|one| one == name), "{member} reaches {name}");
        }
    }
}
