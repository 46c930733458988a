//! Random changes of inputs, the same in every run.

use std::hash::{DefaultHasher, Hasher};

/// What parsers trip over.
const WORDS: [&[u8]; 20] = [
    b"0",
    b"-1",
    b"1e999",
    b"9223372036854775807",
    b"18446744073709551615",
    b"NaN",
    b"null",
    b"\"",
    b"\\",
    b"\\ud83d",
    b"\n",
    b"\r\n",
    b"\t",
    b": ",
    b",",
    b";q=0",
    b"[[",
    b"{}",
    b"\xff",
    "圆".as_bytes(),
];
/// Longest input that is made. Unit: bytes.
const LENGTH_MAX: usize = 8192;

/// The generator `SplitMix64`.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: &str) -> Self {
        // The hasher of a fixed key: the same number in every run.
        let mut hasher = DefaultHasher::new();
        hasher.write(seed.as_bytes());
        Self(hasher.finish())
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `sides`; 0 where there is none.
    fn below(&mut self, sides: usize) -> usize {
        (self.roll() % (sides.max(1) as u64)) as usize
    }

    /// One of the inputs with one to eight changes.
    pub fn changed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len() + 1);
            let end = (at + self.below(12)).min(input.len());
            match self.below(6) {
                0 => {
                    input.drain(at..end);
                }
                1 => {
                    let word = WORDS[self.below(WORDS.len())];
                    input.splice(at..end, word.iter().copied());
                }
                2 => input.splice(at..at, [self.roll() as u8]).for_each(drop),
                3 => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                4 => {
                    let again = input[at..end].to_vec();
                    input.splice(at..at, again);
                }
                _ => {
                    // A piece of another input.
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len());
                    let to = (from + self.below(40)).min(other.len());
                    input.splice(at..end, other[from..to].iter().copied());
                }
            }
        }
        input.truncate(LENGTH_MAX);
        input
    }
}
