//! State as bytes: little-endian numbers, one after the other. One function walks over the parts to write or read them.

use thiserror::Error;

/// Why state could not be read.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum StateError {
    /// Not written by this program, or truncated.
    #[error("reading the detector's state: {0}; it is rebuilt from the readings once it is deleted")]
    Unreadable(String),
    /// The domain has other metrics now.
    #[error("reading the detector's state: it has {found} blocks of metrics, the domain {expected}")]
    OtherDomain {
        /// Blocks in the state.
        found: usize,
        /// Blocks of the domain.
        expected: usize,
    },
}

/// Writes or reads the parts of a state in order.
pub(crate) trait Walk {
    /// Eight bytes.
    fn eight(&mut self, bytes: &mut [u8; 8]) -> Result<(), StateError>;
    /// Four bytes.
    fn four(&mut self, bytes: &mut [u8; 4]) -> Result<(), StateError>;

    fn integer(&mut self, number: &mut u64) -> Result<(), StateError> {
        let mut bytes = number.to_le_bytes();
        self.eight(&mut bytes)?;
        *number = u64::from_le_bytes(bytes);
        Ok(())
    }

    fn count(&mut self, number: &mut u32) -> Result<(), StateError> {
        let mut bytes = number.to_le_bytes();
        self.four(&mut bytes)?;
        *number = u32::from_le_bytes(bytes);
        Ok(())
    }

    fn doubles(&mut self, numbers: &mut [f64]) -> Result<(), StateError> {
        for number in numbers {
            let mut bytes = number.to_le_bytes();
            self.eight(&mut bytes)?;
            *number = f64::from_le_bytes(bytes);
        }
        Ok(())
    }

    fn floats(&mut self, numbers: &mut [f32]) -> Result<(), StateError> {
        for number in numbers {
            let mut bytes = number.to_le_bytes();
            self.four(&mut bytes)?;
            *number = f32::from_le_bytes(bytes);
        }
        Ok(())
    }

    /// The length of a list, at most `most`; reading resizes the list with `empty`.
    fn length<T: Clone>(&mut self, list: &mut Vec<T>, most: usize, empty: T) -> Result<(), StateError> {
        let mut length = list.len() as u64;
        self.integer(&mut length)?;
        if length > most as u64 {
            return Err(StateError::Unreadable(format!("a list of {length}, at most {most}")));
        }
        list.resize(length as usize, empty);
        Ok(())
    }
}

/// Writes to memory.
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Walk for Writer {
    fn eight(&mut self, bytes: &mut [u8; 8]) -> Result<(), StateError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn four(&mut self, bytes: &mut [u8; 4]) -> Result<(), StateError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

impl Writer {
    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text);
    }
}

/// Reads from the bytes that are left.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Walk for Reader<'_> {
    fn eight(&mut self, bytes: &mut [u8; 8]) -> Result<(), StateError> {
        *bytes = self.array()?;
        Ok(())
    }

    fn four(&mut self, bytes: &mut [u8; 4]) -> Result<(), StateError> {
        *bytes = self.array()?;
        Ok(())
    }
}

impl<'a> Reader<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], StateError> {
        let Some((taken, rest)) = self.0.split_at_checked(bytes) else {
            return Err(StateError::Unreadable("it ends early".to_owned()));
        };
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    pub(crate) fn number(&mut self) -> Result<u64, StateError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], StateError> {
        let length = self.number()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// An error if bytes are left over.
    pub(crate) fn end(&self) -> Result<(), StateError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(StateError::Unreadable(format!("{left} bytes are left over"))),
        }
    }
}
