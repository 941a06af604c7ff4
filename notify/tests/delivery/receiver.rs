//! Receivers on this machine: HTTP and SMTP as a test wants them to answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a request is answered.
pub enum Reply {
    /// With a status and further headers.
    Status(u16, String),
    /// Not at all, for as long as the other side waits.
    Hang,
    /// With 200 twice.
    Twice,
}

impl Reply {
    pub fn status(status: u16) -> Reply {
        Reply::Status(status, String::new())
    }
}

/// What was received.
#[derive(Debug, Clone)]
pub struct Request {
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(there, _)| there == name);
        found.map_or_else(|| panic!("no header {name} in {self:#?}"), |(_, value)| value)
    }
}

/// A receiver of HTTP requests.
pub struct Http {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Http {
    /// `reply` is told the number of the request, from 0.
    pub fn start(reply: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, reply) = (requests.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, reply) = (kept.clone(), reply.clone());
                std::thread::spawn(move || serve(stream, &kept, &*reply));
            }
        });
        Http { port, requests }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no holder panics").clone()
    }
}

fn serve(
    stream: TcpStream,
    kept: &Mutex<Vec<Request>>,
    reply: &(dyn Fn(usize, &Request) -> Reply + Send + Sync),
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    while let Some(request) = read(&mut reader) {
        let number = {
            let mut kept = kept.lock().expect("no holder panics");
            kept.push(request.clone());
            kept.len() - 1
        };
        let answer = |status: u16, headers: &str| {
            let reason = if status == 404 { "Not Found" } else { "Whatever" };
            let body = if status >= 400 { "no" } else { "" };
            format!("HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
        };
        let text = match reply(number, &request) {
            Reply::Status(status, headers) => answer(status, &headers),
            Reply::Twice => answer(200, "") + &answer(200, ""),
            Reply::Hang => {
                // The other side closes, or the test ends.
                stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a socket");
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        };
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let (mut headers, mut length) = (Vec::new(), 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.parse().expect("a length");
        }
        headers.push((name, value.to_owned()));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line: line.trim_end().to_owned(), headers, body: String::from_utf8(body).expect("UTF-8") })
}

/// A mail server.
pub struct Smtp {
    pub port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl Smtp {
    /// `verdict` says how a mail is answered, by its number from 0.
    pub fn start(verdict: impl Fn(usize) -> &'static str + Send + 'static) -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let kept = mails.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                converse(stream, &kept, &verdict);
            }
        });
        Smtp { port, mails }
    }

    /// Everything that was sent as data, taken or not.
    pub fn mails(&self) -> Vec<String> {
        self.mails.lock().expect("no holder panics").clone()
    }
}

fn converse(stream: TcpStream, kept: &Mutex<Vec<String>>, verdict: &dyn Fn(usize) -> &'static str) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).is_ok();
    if !say("220 here") {
        return;
    }
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
        let word = line
            .split(|letter: char| !letter.is_ascii_alphabetic())
            .next()
            .unwrap_or_default()
            .to_uppercase();
        let goes_on = match word.as_str() {
            "EHLO" | "HELO" => say("250 here"),
            "DATA" => {
                say("354 go on");
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") && reader.read_line(&mut mail).is_ok_and(|bytes| bytes > 0)
                {
                }
                let number = {
                    let mut kept = kept.lock().expect("no holder panics");
                    kept.push(mail);
                    kept.len() - 1
                };
                say(verdict(number))
            }
            "QUIT" => {
                say("221 bye");
                false
            }
            _ => say("250 fine"),
        };
        if !goes_on {
            return;
        }
        line.clear();
    }
}
