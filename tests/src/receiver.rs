//! A receiver of webhooks on this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// What was received: the identity of the message, and its body.
pub type Received = (String, Value);

/// Takes requests until the test ends.
pub struct Receiver {
    pub port: u16,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers each request after `delay`.
    pub fn start(delay: Duration) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (received, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(200)));
        let (kept, answers) = (received.clone(), status.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answers) = (kept.clone(), answers.clone());
                std::thread::spawn(move || serve(stream, delay, &answers, &kept));
            }
        });
        Receiver { port, status, received }
    }

    /// Answers with this from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Everything so far, whatever was answered.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("no holder panics").clone()
    }

    /// The keys of all notifications so far, as often as they came.
    pub fn keys(&self) -> Vec<String> {
        let all = self.received();
        let of = |body: &Value| body["data"]["notifications"].as_array().cloned().unwrap_or_default();
        let keys = all.iter().flat_map(|(_, body)| of(body));
        keys.map(|one| one["key"].as_str().expect("a key").to_owned()).collect()
    }
}

fn serve(mut stream: TcpStream, delay: Duration, status: &AtomicU16, kept: &Mutex<Vec<Received>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let (mut id, mut length) = (String::new(), 0);
        loop {
            line.clear();
            if reader.read_line(&mut line).is_err() {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "webhook-id" => id = value.to_owned(),
                "content-length" => length = value.parse().expect("a length"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = serde_json::from_slice(&body).expect("JSON");
        kept.lock().expect("no holder panics").push((id, body));
        std::thread::sleep(delay);
        let status = status.load(Ordering::Relaxed);
        if write!(stream, "HTTP/1.1 {status} Said\r\nContent-Length: 4\r\n\r\nword").is_err() {
            return;
        }
        line.clear();
    }
}
