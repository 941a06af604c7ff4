//! The page itself, in the binary: what `serve/web` is built to. A test holds it equal to its sources.

use std::io::Write;
use std::sync::OnceLock;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::problem::Problem;

/// First parts of the paths that the page itself understands.
const PAGES: [&str; 6] = ["", "incidents", "charts", "models", "data", "sensors"];

/// A file of the page.
struct Asset {
    path: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
    /// Compressed, and its tag; made when it is first asked for.
    made: OnceLock<(Vec<u8>, String)>,
}

macro_rules! asset {
    ($path:literal, $kind:literal) => {
        Asset {
            path: $path,
            kind: $kind,
            bytes: include_bytes!(concat!("../web/dist/", $path)),
            made: OnceLock::new(),
        }
    };
}

static ASSETS: [Asset; 4] = [
    asset!("index.html", "text/html; charset=utf-8"),
    asset!("assets/page.js", "text/javascript; charset=utf-8"),
    asset!("assets/page.css", "text/css; charset=utf-8"),
    asset!("assets/icon.svg", "image/svg+xml"),
];

impl Asset {
    fn made(&self) -> &(Vec<u8>, String) {
        self.made.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(self.bytes).expect("memory takes bytes");
            let digest = ring::digest::digest(&ring::digest::SHA256, self.bytes);
            let tag: String = digest.as_ref()[..12].iter().map(|byte| format!("{byte:02x}")).collect();
            (encoder.finish().expect("memory takes bytes"), format!("\"{tag}\""))
        })
    }
}

/// Answers with a file of the page: any path that the page understands is its `index.html`.
pub fn answer(path: &str, headers: &HeaderMap) -> Response {
    let path = path.trim_start_matches('/');
    let first = path.split('/').next().unwrap_or_default();
    let path = if PAGES.contains(&first) { "index.html" } else { path };
    let Some(asset) = ASSETS.iter().find(|asset| asset.path == path) else {
        return Problem::missing(format!("there is nothing at /{path}")).into_response();
    };
    let (compressed, tag) = asset.made();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let common = [(header::ETAG, tag.as_str()), (header::VARY, "accept-encoding")];
    if text(header::IF_NONE_MATCH).is_some_and(|known| known.contains(tag.as_str())) {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    let kind = [(header::CONTENT_TYPE, asset.kind)];
    match text(header::ACCEPT_ENCODING).is_some_and(|accepted| accepted.contains("gzip")) {
        true => (common, kind, [(header::CONTENT_ENCODING, "gzip")], compressed.as_slice()).into_response(),
        false => (common, kind, asset.bytes).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(path: &Path, found: &mut Vec<PathBuf>) {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a directory");
            entries.for_each(|entry| files(&entry.expect("an entry").path(), found));
        } else {
            found.push(path.to_owned());
        }
    }

    #[test]
    fn the_page_was_built_from_these_sources() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut found = Vec::new();
        let sources = [
            "index.html",
            "package-lock.json",
            "package.json",
            "public",
            "src",
            "tsconfig.json",
            "vite.config.ts",
        ];
        sources.iter().for_each(|name| files(&web.join(name), &mut found));
        let mut named: Vec<(String, PathBuf)> = found
            .into_iter()
            .map(|path| (path.strip_prefix(&web).expect("below").to_str().expect("text").to_owned(), path))
            .collect();
        named.sort();
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        for (name, path) in named {
            digest.update(format!("{name}\0").as_bytes());
            digest.update(&std::fs::read(path).expect("a file"));
            digest.update(b"\0");
        }
        let hex: String = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let built = include_str!("../web/dist/sources.sha256");
        assert_eq!(built.trim(), hex, "build the page again: scripts/page build");
    }

    /// All scripts and styles, compressed.
    const BYTES_MAX: usize = 150_000;

    #[test]
    fn scripts_and_styles_are_small() {
        let sizes = ASSETS.iter().map(|asset| asset.made().0.len());
        let all: usize = sizes.sum();
        assert!(all < BYTES_MAX, "{all} bytes");
    }

    #[test]
    fn a_path_of_the_page_is_the_page_and_another_one_is_nothing() {
        let status = |path: &str| answer(path, &HeaderMap::new()).status().as_u16();
        for path in ["/", "/incidents/ab12", "/sensors/7", "/data", "/assets/page.js"] {
            assert_eq!(status(path), 200, "{path}");
        }
        for path in ["/index.php", "/assets/../Cargo.toml", "/.git/config"] {
            assert_eq!(status(path), 404, "{path}");
        }
    }

    #[test]
    fn the_page_names_no_other_host_and_has_no_inline_script() {
        let index = std::str::from_utf8(ASSETS[0].bytes).expect("text");
        assert!(
            !index.contains("http") && !index.contains("<script>") && !index.contains("style="),
            "{index}"
        );
    }
}
