//! Schemathesis, which holds the answers of an API against its OpenAPI document.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::scratch;
use crate::services::unique;

/// Where scripts/page puts it.
const PROGRAM: &str = "target/schemathesis/bin/st";
/// What must hold of each answer. Server errors are left out: 503 is the documented answer when the database takes too long.
const CHECKS: &str = "status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance";

/// Asks a server that listens on a port for what its document names, in many ways, and panics with what does not fit.
/// Without Schemathesis the test is skipped and says so; in CI it fails.
///
/// `known` are paths of the document with what their `id` is: what a generator would not come upon.
pub fn hold(port: u16, known: &[(&str, &str)]) {
    let program = program();
    if !program.is_file() {
        let lacks = format!("{} is missing: run scripts/page packages", program.display());
        assert!(std::env::var_os("CI").is_none(), "{lacks}");
        eprintln!("SKIPPED: the API was not held against its document: {lacks}");
        return;
    }
    let mut config = String::new();
    for (path, id) in known {
        config += &format!(
            "[[operations]]\ninclude-path = \"{path}\"\nparameters = {{ \"path.id\" = \"{id}\" }}\n\n"
        );
    }
    let file = scratch().join(format!("{}.toml", unique("schemathesis")));
    std::fs::write(&file, config).expect("writing a file");
    let base = format!("http://127.0.0.1:{port}");
    let held = Command::new(program)
        .arg("--config-file")
        .arg(file)
        .args(["run", &format!("{base}/api/v1/openapi.json"), "--url", &base])
        // The stream never ends by itself.
        .args(["--exclude-path", "/api/v1/stream", "--header", "X-Citytide:1", "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "6", "--max-time", "25"])
        .args(["--generation-deterministic", "--continue-on-failure"])
        // A filter that matches no row answers with none; text is taken as it comes.
        .args(["--checks", CHECKS])
        .current_dir(scratch())
        .output()
        .expect("starting Schemathesis");
    let said = String::from_utf8_lossy(&held.stdout);
    println!("{said}");
    assert!(held.status.success(), "{said}{}", String::from_utf8_lossy(&held.stderr));
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PROGRAM)
}
