//! What `citytide --version` cannot know by itself: the commit, and timely's version.
//!
//! The commit is what `CITYTIDE_COMMIT` says (a build without the repository, as of an image), else what git says, else
//! `unknown`. A debug build does not ask: it would be built anew after every commit.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    let lock = std::fs::read_to_string("../Cargo.lock").unwrap_or_default();
    for (variable, package) in
        [("CITYTIDE_TIMELY", "timely"), ("CITYTIDE_DIFFERENTIAL", "differential-dataflow")]
    {
        println!("cargo::rustc-env={variable}={}", locked(&lock, package).unwrap_or("unknown"));
    }
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = if is_release { commit() } else { Some("unknown, a debug build".to_owned()) };
    println!("cargo::rustc-env=CITYTIDE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The version of a package in the text of `Cargo.lock`.
fn locked<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let (_, rest) = lock.split_once(&format!("name = \"{package}\"\n"))?;
    rest.strip_prefix("version = \"")?.split('"').next()
}

/// The commit that is checked out; asked again once another one is.
fn commit() -> Option<String> {
    println!("cargo::rerun-if-env-changed=CITYTIDE_COMMIT");
    if let Some(given) = std::env::var("CITYTIDE_COMMIT").ok().filter(|given| !given.is_empty()) {
        return Some(given);
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let branch = git(&["symbolic-ref", "--quiet", "HEAD"]);
    for name in ["HEAD", "packed-refs"].into_iter().chain(branch.as_deref()) {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    Some(commit)
}

fn git(arguments: &[&str]) -> Option<String> {
    let output =
        Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}
