//! The page in a real browser: a scenario of `serve/web/browser` runs in Node, against a server of the test's.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where Debian and others put it.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// A browser, and what drives it.
pub struct Browser {
    program: PathBuf,
}

impl Browser {
    /// The browser of this machine. Without one, or without Node and the page's packages, the test is skipped and says so;
    /// in CI it fails: `scripts/install` brings both.
    pub fn find() -> Option<Browser> {
        match Self::look() {
            Ok(browser) => Some(browser),
            Err(lacks) if std::env::var_os("CI").is_some() => {
                panic!("the page was not tried in a browser: {lacks}")
            }
            Err(lacks) => {
                eprintln!("SKIPPED: the page was not tried in a browser: {lacks}");
                None
            }
        }
    }

    fn look() -> Result<Browser, String> {
        let packages = scenarios().join("../node_modules/playwright-core");
        if !packages.is_dir() {
            return Err("run scripts/page packages".to_owned());
        }
        in_path(&["node"]).ok_or("Node is missing; install nodejs and npm")?;
        let given = std::env::var_os("CITYTIDE_BROWSER").map(PathBuf::from);
        let program = given.or_else(|| in_path(&BROWSERS)).ok_or("install chromium")?;
        Ok(Browser { program })
    }

    /// Runs a scenario against a port; does what it asks for meanwhile. Panics with what it found wrong.
    pub fn run(&self, scenario: &str, port: u16, mut asked: impl FnMut(&str)) {
        let mut child = Command::new("node")
            .arg(scenarios().join(format!("{scenario}.mjs")))
            .arg(format!("http://127.0.0.1:{port}"))
            .env("CITYTIDE_BROWSER", &self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting Node");
        let mut input = child.stdin.take().expect("a pipe");
        let mut said = Vec::new();
        for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            match line.strip_prefix("> ") {
                Some(what) => {
                    asked(what);
                    input.write_all(b"done\n").expect("the scenario waits");
                }
                None => said.push(line),
            }
        }
        let ended = child.wait().expect("waiting for Node");
        assert!(ended.success(), "{scenario}:\n{}", said.join("\n"));
    }
}

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../serve/web/browser")
}

fn in_path(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file())
}
