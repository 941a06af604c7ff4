//! Where the processes of a run are reached: one `host:port` per process, in the order of their indices.
//!
//! Three sources, in this order: a hostfile; addresses that the supervisor gives its children one by one (`--address`,
//! hidden: free ports on loopback, chosen for every generation, so that two runs on one machine never connect to each
//! other and no file is left behind); and timely's own default, `localhost:2101 + index`, for processes that are
//! started by hand with `-p` and without a hostfile.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};

use citytide_domain::Mistakes;

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
    /// It has mistakes.
    #[error("the hostfile cannot be used\n{0}")]
    Wrong(Mistakes),
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

/// The addresses in a hostfile's text, as many as there are processes. Blank lines and what follows `#` are ignored.
fn parse(text: &str, path: &Path, processes: usize) -> Result<Vec<String>, HostsError> {
    let mut found: Vec<(usize, &str)> = Vec::new();
    let mut wrong: Vec<(Range<usize>, String)> = Vec::new();
    let mut start = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let before = line.split('#').next().unwrap_or_default();
        let address = before.trim();
        let at = start + before.len() - before.trim_start().len();
        start += line.len();
        if address.is_empty() {
            continue;
        }
        let span = at..at + address.len();
        if !is_address(address) {
            wrong.push((
                span,
                format!("`{address}` is no address of a process; write one host:port per line"),
            ));
        } else if let Some((first, _)) = found.iter().find(|(_, earlier)| *earlier == address) {
            let why = format!(
                "{address} already stands in line {first}; every process needs an address of its own"
            );
            wrong.push((span, why));
        } else if found.len() == processes {
            wrong.push((span, format!("this is one address too many: -n asks for {processes} processes")));
        }
        found.push((index + 1, address));
    }
    if found.len() < processes {
        let has = found.len();
        let why = format!(
            "{has} of {processes} addresses: -n asks for {processes} processes; add a line host:port for each"
        );
        wrong.push((text.trim_end().len()..text.trim_end().len(), why));
    }
    match Mistakes::of(&path.display().to_string(), text, &[], wrong) {
        None => Ok(found.into_iter().map(|(_, address)| address.to_owned()).collect()),
        Some(mistakes) => Err(HostsError::Wrong(mistakes)),
    }
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
        let text = "# the cluster\n\n  one:2101  # left rack\n[::1]:2102";
        assert_eq!(file(text, 2), Ok(vec!["one:2101".to_owned(), "[::1]:2102".to_owned()]));
    }

    #[test]
    fn a_mistake_is_named_with_file_and_line() {
        for wrong in ["two", "two:", "two:0", "two:99999", ":2101", "http://two:80", "::1:2101", "two 2:1"] {
            let said = file(&format!("one:2101\n\n {wrong} # second\n"), 2).expect_err(wrong);
            let expected = format!(
                "the hostfile cannot be used\nerror: `{wrong}` is no address of a process; write one host:port per \
                 line\n --> hosts.txt:3:2\n"
            );
            assert!(said.starts_with(&expected), "{said}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_among_them_the_number_of_lines() {
        let said = file("one:2101\ntwo\none:2101\nfour:1\n", 3).expect_err("three mistakes");
        assert!(said.contains("one:2101 already stands in line 1; every process needs"), "{said}");
        assert!(
            said.contains("error: this is one address too many: -n asks for 3 processes\n --> hosts.txt:4:1")
        );
        assert!(said.ends_with("hosts.txt has 3 mistakes"), "{said}");
        let said = file("one:2101\n", 2).expect_err("too few");
        assert!(said.contains("error: 1 of 2 addresses: -n asks for 2 processes; add a line"), "{said}");
        assert!(file("", 1).expect_err("empty").contains("0 of 1 addresses"));
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
