//! When something happens: a day and a time of day, counted from the day of the installation, which is day 0.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// A minute of the virtual days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Minutes since the beginning of day 0.
    minutes: i64,
}

/// The beginning of day 0: the Monday on which the simulated AWS begins, at 09:00.
fn day_zero() -> Timestamp {
    "2026-03-02T00:00:00Z".parse().expect("a constant")
}

impl Moment {
    /// A time of a day. `day` is at most 1,000, so that nothing overflows.
    pub fn new(day: u32, hour: u32, minute: u32) -> Self {
        Self { minutes: (i64::from(day.min(1000)) * 24 + i64::from(hour)) * 60 + i64::from(minute) }
    }

    /// The minute of a point in virtual time.
    pub fn of(at: Timestamp) -> Self {
        Self { minutes: at.duration_since(day_zero()).as_mins() }
    }

    /// The beginning of the minute in virtual time.
    pub fn timestamp(self) -> Timestamp {
        day_zero() + SignedDuration::from_mins(self.minutes)
    }

    /// Which day.
    pub fn day(self) -> i64 {
        self.minutes.div_euclid(24 * 60)
    }

    /// The time of the day, such as `09:00`.
    pub fn time(self) -> String {
        let minutes = self.minutes.rem_euclid(24 * 60);
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Reads `day 1 09:00`, or `+2h`, `+30m`, `+1h30m` after `before`.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn parse(text: &str, before: Option<Self>) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no time: write `day 1 09:00`, or `+2h30m` for so long after the action before");
        if let Some(span) = text.strip_prefix('+') {
            let before = before.ok_or_else(|| format!("`{text}`: there is no action before the first"))?;
            let (hours, minutes) = match span.split_once('h') {
                Some((hours, "")) => (hours, "0"),
                Some((hours, rest)) => (hours, rest.strip_suffix('m').ok_or_else(expected)?),
                None => ("0", span.strip_suffix('m').ok_or_else(expected)?),
            };
            let number = |text: &str| text.parse::<u16>().map_err(|_| expected());
            return Ok(Self { minutes: before.minutes + i64::from(number(hours)?) * 60 + i64::from(number(minutes)?) });
        }
        let (day, time) = text.strip_prefix("day ").and_then(|rest| rest.split_once(' ')).ok_or_else(expected)?;
        let (hour, minute) = time.split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2).ok_or_else(expected)?;
        let number = |text: &str, below: u32| text.parse().ok().filter(|number| *number < below).ok_or_else(expected);
        Ok(Self::new(number(day, 1000)?, number(hour, 24)?, number(minute, 60)?))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "day {} {}", self.day(), self.time())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_day_and_a_time_or_a_span_after_the_action_before() {
        let before = Some(Moment::new(1, 23, 30));
        for (text, expected) in [
            ("day 0 09:00", Ok("day 0 09:00")),
            ("day 12 23:59", Ok("day 12 23:59")),
            ("+30m", Ok("day 2 00:00")),
            ("+26h", Ok("day 3 01:30")),
            ("+1h05m", Ok("day 2 00:35")),
            ("day 1", Err(())),
            ("day 1 9:00", Err(())),
            ("day 1 24:00", Err(())),
            ("day 1 10:60", Err(())),
            ("tomorrow", Err(())),
            ("+2", Err(())),
            ("+2h5", Err(())),
            ("+-2h", Err(())),
            ("", Err(())),
        ] {
            let parsed = Moment::parse(text, before);
            assert_eq!(parsed.as_ref().map(ToString::to_string).map_err(|_| ()), expected.map(str::to_owned), "{text}");
        }
        assert_eq!(Moment::parse("+1h", None), Err("`+1h`: there is no action before the first".to_owned()));
    }

    #[test]
    fn a_moment_and_virtual_time_are_the_same() {
        let moment = Moment::new(2, 10, 5);
        assert_eq!(moment.timestamp().to_string(), "2026-03-04T10:05:00Z");
        assert_eq!(Moment::of(moment.timestamp() + SignedDuration::from_secs(59)), moment);
    }
}
