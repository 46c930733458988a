//! How one account's waybills are used up through the day and bought again.
//!
//! Everything is a closed form of the simulated time, so that any moment can be looked at without living through
//! the ones before: what was used up since 1970 is a sum over whole weeks, the days of this week and this day's
//! hours; what was bought is chosen so that the balance is right at the end of each round.

use crate::demo::dice::Dice;

const DAY: i64 = 24 * 3600;

/// Share of a day's waybills that is used up before each full hour in China. Unit: thousandths.
///
/// Shops print labels from nine on, most before the couriers call at noon and in the evening.
const BEFORE_HOUR: [i64; 25] = [
    0, 6, 8, 9, 10, 11, 14, 20, 45, 110, 200, 300, 380, 420, 490, 575, 665, 760, 830, 870, 905,
    940, 968, 988, 1000,
];

/// Waybills used up in a week before each of its days, Monday first. Unit: thousandths of an ordinary day.
const BEFORE_WEEKDAY: [i64; 7] = [0, 1150, 2250, 3300, 4350, 5400, 6200];
const WEEK: i64 = 7000;

/// How much days differ from each other. Unit: thousandths of an ordinary day. Less than the emptiest day uses, so
/// that no day gives waybills back.
const NOISE: i64 = 400;

/// Waybills are sold by the fifty.
const LOT: i64 = 50;

/// When the shop buys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// When the waybills left last so long. Unit: seconds.
    InTime(i64),
    /// Hours after the last one was used up.
    TooLate,
    /// No more: the last one is gone.
    Never,
}

/// One account's waybills.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stock {
    pub(crate) dice: Dice,
    /// Unit: waybills of an ordinary day.
    pub(crate) per_day: i64,
    /// From one purchase to the next, at least an hour. Unit: seconds.
    pub(crate) round: i64,
    pub(crate) habit: Habit,
    /// How much hours and days differ from each other: 1000 as in a shop, 0 not at all. Unit: thousandths.
    pub(crate) rhythm: i64,
}

impl Stock {
    /// Waybills left. `time` is simulated, in seconds since 1970 UTC.
    pub(crate) fn balance(&self, time: i64) -> i64 {
        let time = time + 8 * 3600;
        let round = self.round.max(3600);
        let bought_at = if round % DAY == 0 {
            // Between nine and noon.
            9 * 3600 + self.dice.with(1).below(3 * 3600)
        } else {
            self.dice.with(1).below(round)
        };
        let begin = (time - bought_at).div_euclid(round) * round + bought_at;
        let end = begin + round;
        let left = match self.habit {
            Habit::InTime(lasts) => self.bought(end, self.per_day * lasts / DAY) - self.used(time),
            Habit::TooLate => {
                let need = self.used(end) - self.used(begin);
                let bought = (need * 4 / 5).max(1) / LOT * LOT + LOT / 5;
                bought - (self.used(time) - self.used(begin))
            }
            Habit::Never => 0,
        };
        left.max(0)
    }

    /// Bought in all before a round's end, so that at least the reserve is left then.
    fn bought(&self, end: i64, reserve: i64) -> i64 {
        let needed = self.used(end) + reserve;
        (needed + LOT - 1).div_euclid(LOT) * LOT
    }

    /// Used up in all by that second of China's calendar. Never falls.
    fn used(&self, time: i64) -> i64 {
        let (day, second) = (time.div_euclid(DAY), time.rem_euclid(DAY));
        let (before, after) = (self.used_before_day(day), self.used_before_day(day + 1));
        let hour = usize::try_from(second / 3600).unwrap_or(0);
        let (from, to) = (BEFORE_HOUR[hour], BEFORE_HOUR[hour + 1]);
        // Millionths of the day's waybills: in the shop's rhythm, and without any.
        let uneven = (from * 3600 + (to - from) * (second % 3600)) * 1000 / 3600;
        let even = second * 1_000_000 / DAY;
        let share = self.blend(uneven, even);
        // Thousandths of waybills times millionths of a day.
        (before + (after - before) * share / 1_000_000).div_euclid(1000)
    }

    /// Unit: thousandths of waybills.
    fn used_before_day(&self, day: i64) -> i64 {
        // 1970-01-01 was a Thursday.
        let (week, weekday) = ((day + 3).div_euclid(7), (day + 3).rem_euclid(7));
        let before = BEFORE_WEEKDAY[usize::try_from(weekday).unwrap_or(0)];
        let noise = self.dice.with(2).with(day.cast_unsigned()).below(NOISE);
        let before = self.blend(before + noise, weekday * (WEEK / 7));
        self.per_day * (week * WEEK + before)
    }

    /// Between the two as the rhythm says.
    const fn blend(&self, uneven: i64, even: i64) -> i64 {
        (uneven * self.rhythm + even * (1000 - self.rhythm)) / 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-03-02 00:00 in China, a Monday.
    const MONDAY: i64 = 1_772_380_800;

    fn stock(habit: Habit) -> Stock {
        Stock {
            dice: Dice::new(5),
            per_day: 600,
            round: 3 * DAY,
            habit,
            rhythm: 1000,
        }
    }

    fn balances(habit: Habit, step: i64, days: i64) -> Vec<i64> {
        (0..days * DAY / step)
            .map(|n| stock(habit).balance(MONDAY + n * step))
            .collect()
    }

    #[test]
    fn balance_falls_through_the_day_and_jumps_when_waybills_are_bought() {
        let balances = balances(Habit::InTime(DAY * 3 / 2), 600, 30);
        let jumps: Vec<_> = balances.windows(2).filter(|w| w[1] > w[0]).collect();
        assert_eq!(jumps.len(), 10, "one purchase in three days");
        assert!(jumps.iter().all(|w| w[1] - w[0] > 600), "{jumps:?}");
        assert!(balances.iter().all(|balance| *balance > 600));
    }

    #[test]
    fn nothing_is_used_up_backwards_and_nights_are_quiet() {
        let stock = stock(Habit::InTime(DAY));
        let used = |hour: i64| stock.used(MONDAY + 8 * 3600 + hour * 3600);
        for hour in 0..24 * 60 {
            assert!(used(hour + 1) >= used(hour), "hour {hour}");
        }
        let (night, noon) = (used(5) - used(1), used(12) - used(8));
        assert!(night * 20 < noon, "{night} at night, {noon} before noon");
    }

    #[test]
    fn account_that_nobody_tops_up_stays_empty() {
        assert!(
            balances(Habit::Never, 3600, 30)
                .iter()
                .all(|balance| *balance == 0)
        );
    }

    #[test]
    fn without_rhythm_every_hour_uses_as_much_as_the_others() {
        let stock = Stock {
            rhythm: 0,
            ..stock(Habit::InTime(DAY))
        };
        for hour in 0..24 * 7 {
            let from = MONDAY + hour * 3600;
            let used = stock.used(from + 3600) - stock.used(from);
            assert!((24..=26).contains(&used), "hour {hour}: {used}");
        }
    }

    #[test]
    fn shop_that_buys_too_late_has_none_for_hours() {
        let balances = balances(Habit::TooLate, 3600, 30);
        let empty = balances.iter().filter(|balance| **balance == 0).count();
        assert!((30..300).contains(&empty), "{empty} hours of 720");
    }

    #[test]
    fn shop_that_buys_just_in_time_gets_low_but_never_out() {
        let balances = balances(Habit::InTime(DAY / 20), 3600, 30);
        let least = balances.iter().min().copied().unwrap();
        assert!((1..200).contains(&least), "{least}");
    }

    #[test]
    fn no_time_is_too_early_or_too_late() {
        for time in [-1_000_000_000_000, 0, 1_000_000_000_000] {
            assert!(stock(Habit::InTime(DAY)).balance(time) >= 0);
        }
    }
}
