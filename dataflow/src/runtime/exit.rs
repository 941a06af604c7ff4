//! Exit codes: why a process ended, and whether starting it again can help.
//!
//! The numbers follow `sysexits.h` where it has one for the case.

use super::mesh::MeshError;

/// Why a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Exit {
    /// Done: drained and committed, caught up, or verified without a difference.
    Done = 0,
    /// `verify` found a difference, or could compare none of the verdicts.
    Differs = 1,
    /// The command line is wrong (clap's own code).
    Usage = 2,
    /// Kafka or PostgreSQL is away or was lost; starting again helps once it is back.
    Away = 69,
    /// A broken invariant, or a statement that PostgreSQL refuses however often it is tried; starting again may help,
    /// a few times.
    Bug = 70,
    /// Another run holds the database, or has taken it over; starting again does not help.
    Held = 73,
    /// A member of the run was lost or never came; starting again helps.
    PeerLost = 74,
    /// The watchdog saw a frontier stand still; starting again helps.
    Stalled = 75,
    /// Credentials or rights are missing; starting again does not help.
    Denied = 77,
    /// The configuration, the domain file or the database's schema does not fit, or the clocks of two processes;
    /// starting again does not help.
    Config = 78,
}

impl Exit {
    /// The process exit status.
    pub fn code(self) -> i32 {
        self as i32
    }

    /// Whether a supervisor should start a new generation after a child ended with `code`; death by a signal
    /// (`None`) counts as a crash.
    pub fn restart_helps(code: Option<i32>) -> bool {
        match code {
            None => true,
            Some(code) => {
                ![0, 1, 2, Exit::Held.code(), Exit::Denied.code(), Exit::Config.code()].contains(&code)
            }
        }
    }
}

impl From<&MeshError> for Exit {
    fn from(error: &MeshError) -> Exit {
        use std::io::ErrorKind::{AddrNotAvailable, InvalidInput, PermissionDenied};
        match error {
            MeshError::Impossible { .. } | MeshError::Mismatch { .. } | MeshError::ClocksApart { .. } => {
                Exit::Config
            }
            MeshError::Listen { reason, .. }
                if matches!(reason.kind(), AddrNotAvailable | InvalidInput | PermissionDenied) =>
            {
                Exit::Config
            }
            // A port that is taken is free again some time, or another one is chosen.
            MeshError::Listen { .. } | MeshError::PeerMissing { .. } | MeshError::HandOver(_) => {
                Exit::PeerLost
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    const ALL: [Exit; 10] = [
        Exit::Done,
        Exit::Differs,
        Exit::Usage,
        Exit::Away,
        Exit::Bug,
        Exit::Held,
        Exit::PeerLost,
        Exit::Stalled,
        Exit::Denied,
        Exit::Config,
    ];

    #[test]
    fn the_exit_codes_in_the_docs_are_these_and_a_restart_helps_where_they_say_so() {
        let page = include_str!("../../../docs/operations.md");
        let (_, section) = page.split_once("\n## Exit codes\n").expect("the section");
        let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
        let rows = rows.take_while(|line| line.starts_with('|')).map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells[1].parse::<i32>().expect("a code"), !matches!(cells[3], "" | "no"))
        });
        let expected = ALL.map(|exit| (exit.code(), Exit::restart_helps(Some(exit.code()))));
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
