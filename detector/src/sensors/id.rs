//! Sensor ids as keys: short ones as two numbers, and the hash of both kinds.

use std::hash::Hasher;

/// An id of at most fifteen bytes as two numbers, so that a look-up follows no pointer and compares no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ShortId(u64, u64);

impl ShortId {
    #[inline]
    pub(super) fn new(id: &[u8]) -> Option<ShortId> {
        let eight = |from: usize| Some(u64::from_le_bytes(*id.get(from..)?.first_chunk()?));
        let four = |from: usize| Some(u64::from(u32::from_le_bytes(*id.get(from..)?.first_chunk()?)));
        let length = id.len();
        // The last bytes are read with those before them, which are then shifted out.
        let (first, rest) = match length {
            0..4 => (id.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 0),
            4..8 => (four(0)? | (four(length - 4)? >> (8 * (8 - length))) << 32, 0),
            8 => (eight(0)?, 0),
            9..16 => (eight(0)?, eight(length - 8)? >> (8 * (16 - length))),
            _ => return None,
        };
        Some(ShortId(first, rest | (length as u64) << 56))
    }

    /// The bytes, and how many of them are the id's.
    pub(super) fn bytes(self) -> ([u8; 16], usize) {
        let ShortId(first, rest) = self;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..].copy_from_slice(&rest.to_le_bytes());
        (bytes, (rest >> 56) as usize)
    }
}

/// Hashes eight bytes at a time by multiplication. Not resistant to chosen ids: whoever writes to the topic can slow a
/// map of at most `sensors_max` entries.
#[derive(Debug, Clone, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.write_u64(u64::from_le_bytes(chunk.try_into().expect("eight bytes")));
        }
        let mut last = [0u8; 8];
        last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
        self.write_u64(u64::from_le_bytes(last));
    }

    #[inline]
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(23) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    #[inline]
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_told_apart_and_read_back_whatever_their_length() {
        let mut seen = std::collections::HashSet::new();
        for length in 0..16usize {
            for odd in 0..=length {
                let mut id = vec![0u8; length];
                if let Some(byte) = id.get_mut(odd) {
                    *byte = 200;
                }
                let short = ShortId::new(&id).expect("short enough");
                let (bytes, found) = short.bytes();
                assert_eq!(&bytes[..found], &id);
                seen.insert(short);
            }
        }
        assert_eq!(seen.len(), (1..=16).sum::<usize>());
        assert_eq!(ShortId::new(&[0; 16]), None);
    }
}
