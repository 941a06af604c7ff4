//! Where the processes of a run are reached: one `host:port` per process, in the order of their indices.
//!
//! Three sources, in this order: a hostfile; addresses that the supervisor gives its children one by one
//! (`--address`, hidden: free ports on loopback, chosen anew for every generation, so that two runs on one machine
//! never meet and no file is left behind); and timely's own default, `localhost:2101 + index`, for processes that
//! are started by hand with `-p` and without a hostfile.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

/// The port of process 0 when nothing else is said, as in timely.
const FIRST_PORT: usize = 2101;

/// Why there is no list of addresses.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// The hostfile cannot be read.
    #[error("cannot read the hostfile {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: std::io::Error,
    },
    /// A line is no address.
    #[error("{}:{line}: `{text}` is no address of a process; write one host:port per line", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Two processes would have the same address.
    #[error("{}:{line}: {text} already stands in line {first}; every process needs an address of its own", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
        /// The later line, counted from 1.
        line: usize,
        /// The earlier line.
        first: usize,
        /// The address.
        text: String,
    },
    /// The file has fewer addresses than there are processes.
    #[error("{} has {found} addresses, but -n asks for {processes} processes; add a line host:port for each", path.display())]
    TooFew {
        /// The file.
        path: PathBuf,
        /// Addresses in it.
        found: usize,
        /// Processes asked for.
        processes: usize,
    },
    /// The number of `--address` flags is not the number of processes.
    #[error("--address is given {given} times, but -n asks for {processes} processes")]
    Given {
        /// How often.
        given: usize,
        /// Processes asked for.
        processes: usize,
    },
}

/// The addresses of `processes` processes: from the hostfile, else as `given`, else timely's default.
pub fn addresses(
    processes: usize,
    hostfile: Option<&Path>,
    given: &[String],
) -> Result<Vec<String>, HostsError> {
    match hostfile {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|reason| HostsError::Unreadable { path: path.to_owned(), reason })?;
            parse(&text, path, processes)
        }
        None if given.is_empty() => {
            Ok((0..processes).map(|p| format!("localhost:{}", FIRST_PORT + p)).collect())
        }
        None if given.len() == processes => Ok(given.to_vec()),
        None => Err(HostsError::Given { given: given.len(), processes }),
    }
}

/// The first `processes` addresses of a hostfile's text. Blank lines and what follows `#` are ignored.
fn parse(text: &str, path: &Path, processes: usize) -> Result<Vec<String>, HostsError> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let address = text.split('#').next().unwrap_or_default().trim();
        if address.is_empty() {
            continue;
        }
        let line = index + 1;
        if !is_address(address) {
            return Err(HostsError::Line { path: path.to_owned(), line, text: address.to_owned() });
        }
        if let Some((first, _)) = found.iter().find(|(_, earlier)| *earlier == address) {
            let (path, text) = (path.to_owned(), address.to_owned());
            return Err(HostsError::Twice { path, line, first: *first, text });
        }
        found.push((line, address));
    }
    if found.len() < processes {
        return Err(HostsError::TooFew { path: path.to_owned(), found: found.len(), processes });
    }
    Ok(found.into_iter().take(processes).map(|(_, address)| address.to_owned()).collect())
}

/// `host:port`, where an IPv6 address stands in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let bare = !host.contains([':', '[', ']', ' ', '\t', '/']);
    let bracketed = host.starts_with('[') && host.ends_with(']');
    !host.is_empty() && (bare || bracketed) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `processes` addresses on loopback whose ports are free now. Somebody else may take one before a process
/// listens there: then that generation ends and the next one gets other ports.
pub fn free_loopback(processes: usize) -> std::io::Result<Vec<String>> {
    // All are held at the same time, so that no port is given twice.
    let held = (0..processes)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<TcpListener>>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str, processes: usize) -> Result<Vec<String>, String> {
        parse(text, Path::new("hosts.txt"), processes).map_err(|error| error.to_string())
    }

    #[test]
    fn blank_lines_and_comments_are_no_processes() {
        let text = "# the cluster\n\n  one:2101  # left rack\n[::1]:2102\nthree:2103\n";
        assert_eq!(file(text, 2), Ok(vec!["one:2101".to_owned(), "[::1]:2102".to_owned()]));
    }

    #[test]
    fn a_mistake_is_named_with_file_and_line() {
        for wrong in ["two", "two:", "two:0", "two:99999", ":2101", "http://two:80", "::1:2101", "two 2:1"] {
            let said = file(&format!("one:2101\n\n{wrong}\n"), 2).expect_err(wrong);
            assert!(said.starts_with(&format!("hosts.txt:3: `{wrong}` is no address")), "{said}");
        }
        let said = file("one:2101\n#\none:2101\n", 2).expect_err("twice");
        assert!(said.starts_with("hosts.txt:3: one:2101 already stands in line 1"), "{said}");
    }

    #[test]
    fn too_few_lines_are_refused_with_both_numbers() {
        let said = file("one:2101\n", 2).expect_err("too few");
        assert!(said.starts_with("hosts.txt has 1 addresses, but -n asks for 2"), "{said}");
    }

    #[test]
    fn without_hostfile_the_supervisors_addresses_count_and_else_those_of_timely() {
        let given = ["127.0.0.1:4001".to_owned(), "127.0.0.1:4002".to_owned()];
        assert_eq!(addresses(2, None, &given).expect("given"), given);
        assert_eq!(addresses(2, None, &[]).expect("default"), ["localhost:2101", "localhost:2102"]);
        assert!(matches!(addresses(3, None, &given), Err(HostsError::Given { given: 2, processes: 3 })));
        assert!(matches!(addresses(2, Some(Path::new("/nowhere")), &[]), Err(HostsError::Unreadable { .. })));
    }

    #[test]
    fn free_addresses_differ_and_can_be_listened_on() {
        let addresses = free_loopback(4).expect("four ports");
        let listeners: Vec<TcpListener> =
            addresses.iter().map(|address| TcpListener::bind(address).expect("a free port")).collect();
        assert_eq!(listeners.len(), 4);
    }
}
