//! Numbers that look random and are the same for the same seed and keys.

/// One throw, and the root of further ones: `dice.with(app).with(account)` is always the same number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Another throw, which depends on this one and on the key.
    pub(super) const fn with(self, key: u64) -> Self {
        Self(mix(self.0 ^ mix(key)))
    }

    /// All 64 bits.
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// A number from 0 to `end - 1`, or 0 where `end` is not positive.
    pub(super) fn below(self, end: i64) -> i64 {
        let wide = u128::from(self.0) * u128::from(u64::try_from(end).unwrap_or(0));
        i64::try_from(wide >> 64).unwrap_or(0)
    }

    /// One of the things; there must be one.
    pub(super) fn pick<T>(self, things: &[T]) -> &T {
        let index = usize::try_from(self.below(things.len() as i64)).unwrap_or(0);
        &things[index]
    }

    /// So many characters of the alphabet that tokens are written in.
    pub(super) fn text(self, length: usize) -> String {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
        (0..length as u64)
            .map(|place| char::from(ALPHABET[(self.with(place).0 >> 58) as usize]))
            .collect()
    }
}

/// The `SplitMix64` finaliser (Steele, Lea and Flood, 2014): every bit of the input moves half of the output.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_the_published_splitmix64_sequence() {
        // First outputs for seed 1234567: https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317);
        assert_eq!(
            mix(1_234_567_u64.wrapping_add(0x9e37_79b9_7f4a_7c15)),
            3_203_168_211_198_807_973
        );
    }

    #[test]
    fn below_stays_below_and_reaches_every_number() {
        let dice = Dice::new(7);
        let mut seen = [false; 10];
        for key in 0..1000 {
            seen[usize::try_from(dice.with(key).below(10)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 10]);
        assert_eq!(dice.below(0), 0);
        assert_eq!(dice.below(-5), 0);
    }
}
