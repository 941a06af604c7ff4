//! Asking a run over HTTP, and reading what Prometheus would read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A port of the loopback interface that nobody has right now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// Status and body of a GET; `None` when nobody answers.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The samples at `/metrics`: name with labels, and value. Panics when a line is neither sample nor comment.
pub fn samples(port: u16) -> Option<BTreeMap<String, f64>> {
    let (status, page) = get(port, "/metrics")?;
    assert_eq!(status, 200, "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a sample: {line}"));
        (name.to_owned(), value.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
    };
    Some(lines.map(sample).collect())
}
