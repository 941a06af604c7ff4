//! The handshake of two processes before timely takes over: its wire format, and what is refused.
//!
//! 44 bytes, big-endian: magic, protocol, run, index, number of processes, workers per process, zerocopy, clock.

/// Bytes of a hello.
pub(super) const LENGTH: usize = 8 + 4 + 8 + 4 + 4 + 4 + 4 + 8;
/// What the connecting side sends last,
pub(super) const GO: u8 = b'!';
/// or this, when the clocks of the two are too far apart.
pub(super) const APART: u8 = b'~';
/// How every hello begins. The first byte is no text, so that no text protocol begins like it.
const MAGIC: [u8; 8] = *b"\x93citytid";
/// Raised whenever this wire form, or what the processes exchange through timely, changes.
const PROTOCOL: u32 = 2;

/// Who a process says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub run_id: i64,
    pub process: u32,
    pub processes: u32,
    pub workers: u32,
    /// Whether workers of one process exchange bytes: all processes must build the same channels.
    pub zerocopy: bool,
    /// What its clock of epochs showed, milliseconds of the Unix epoch.
    pub clock_ms: u64,
}

impl Hello {
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&PROTOCOL.to_be_bytes());
        bytes[12..20].copy_from_slice(&self.run_id.to_be_bytes());
        let rest = [self.process, self.processes, self.workers, self.zerocopy.into()];
        for (slot, value) in bytes[20..36].chunks_exact_mut(4).zip(rest) {
            slot.copy_from_slice(&value.to_be_bytes());
        }
        bytes[36..].copy_from_slice(&self.clock_ms.to_be_bytes());
        bytes
    }

    /// Whether what has come so far can still become a hello.
    pub fn can_begin_with(bytes: &[u8]) -> bool {
        bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic)
    }

    /// Reads a whole hello; the error says why it is none.
    pub fn from_bytes(bytes: &[u8; LENGTH]) -> Result<Hello, String> {
        if !Hello::can_begin_with(bytes) {
            return Err(format!("it is no citytide process: it began with `{}`", bytes[..16].escape_ascii()));
        }
        let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if word(8) != PROTOCOL {
            return Err(format!(
                "it speaks protocol {}, this process {PROTOCOL}: start the same version everywhere",
                word(8)
            ));
        }
        let run_id = i64::from_be_bytes(bytes[12..20].try_into().expect("eight bytes"));
        let (process, processes, workers) = (word(20), word(24), word(28));
        let clock_ms = u64::from_be_bytes(bytes[36..].try_into().expect("eight bytes"));
        Ok(Hello { run_id, process, processes, workers, zerocopy: word(32) != 0, clock_ms })
    }

    /// Whether `other` is of the same run, but was started otherwise: waiting does not help.
    pub fn is_permanent_mismatch(&self, other: &Hello) -> bool {
        self.run_id == other.run_id && self.refuse(other).is_some()
    }

    /// Why `other` does not belong to the same mesh, whatever its index.
    pub fn refuse(&self, other: &Hello) -> Option<String> {
        let Hello { run_id, processes, workers, .. } = *self;
        if other.run_id != run_id {
            Some(format!("process {} belongs to run {}, not to run {run_id}", other.process, other.run_id))
        } else if (other.processes, other.workers) != (processes, workers) {
            Some(format!(
                "process {} was started with -n {} -w {}, this process with -n {processes} -w {workers}",
                other.process, other.processes, other.workers
            ))
        } else if other.zerocopy != self.zerocopy {
            Some(format!("process {} and this process differ in -z", other.process))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: Hello = Hello {
        run_id: 7,
        process: 1,
        processes: 3,
        workers: 2,
        zerocopy: true,
        clock_ms: 1_800_000_000_000,
    };

    #[test]
    fn a_hello_survives_the_wire() {
        assert_eq!(Hello::from_bytes(&HELLO.to_bytes()), Ok(HELLO));
    }

    #[test]
    fn another_protocol_and_another_program_are_named() {
        let mut bytes = HELLO.to_bytes();
        bytes[11] = 9;
        assert!(Hello::from_bytes(&bytes).expect_err("protocol").contains("protocol 9"));
        let http: [u8; LENGTH] = *b"GET /healthz HTTP/1.1\r\nHost: a.b.c.d:12345\r\n";
        assert!(!Hello::can_begin_with(&http[..1]));
        assert!(Hello::from_bytes(&http).expect_err("http").contains("GET /healthz HTT"));
    }

    #[test]
    fn only_the_same_run_and_the_same_shape_belong_together() {
        assert_eq!(HELLO.refuse(&Hello { process: 2, ..HELLO }), None);
        assert!(!HELLO.is_permanent_mismatch(&Hello { process: 2, ..HELLO }));
        assert!(
            !HELLO.is_permanent_mismatch(&Hello { run_id: 6, workers: 1, ..HELLO }),
            "it may come back in this run"
        );
        assert!(HELLO.is_permanent_mismatch(&Hello { workers: 1, ..HELLO }));
        for other in [
            Hello { run_id: 6, ..HELLO },
            Hello { processes: 2, ..HELLO },
            Hello { workers: 1, ..HELLO },
            Hello { zerocopy: false, ..HELLO },
        ] {
            assert!(HELLO.refuse(&other).is_some(), "{other:?}");
        }
    }
}
