//! Schedule expressions of EventBridge Scheduler: when a schedule is due.
//!
//! `at(…)` and `rate(…)` are read as the Scheduler user guide ("Schedule types") describes them. `cron(…)` and any zone but
//! UTC are refused by name.

use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

/// When a schedule is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScheduleExpression {
    /// Once, at this time.
    At(Timestamp),
    /// Again and again, with this time between; at least a minute.
    Rate(SignedDuration),
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// AWS would refuse it with a `ValidationException` too.
    #[error("Invalid Schedule Expression {0}.")]
    Invalid(String),
    /// AWS takes it, this simulation does not.
    #[error("the simulation does not know {0}")]
    Unsupported(String),
}

impl ScheduleExpression {
    /// Reads `ScheduleExpression` with its `ScheduleExpressionTimezone` (UTC when absent).
    ///
    /// # Errors
    /// [`ExpressionError::Invalid`] for what AWS refuses, [`ExpressionError::Unsupported`] for `cron(…)` and for zones other than UTC.
    pub fn parse(expression: &str, timezone: Option<&str>) -> Result<Self, ExpressionError> {
        if let Some(zone) = timezone.filter(|zone| *zone != "UTC") {
            return Err(ExpressionError::Unsupported(format!("the ScheduleExpressionTimezone {zone}")));
        }
        let invalid = || ExpressionError::Invalid(expression.to_owned());
        let (kind, argument) =
            expression.strip_suffix(')').and_then(|rest| rest.split_once('(')).ok_or_else(invalid)?;
        match kind {
            "at" => read_at(argument).map(Self::At).ok_or_else(invalid),
            "rate" => read_rate(argument).map(Self::Rate).ok_or_else(invalid),
            "cron" => Err(ExpressionError::Unsupported(format!("the expression {expression}"))),
            _ => Err(invalid()),
        }
    }
}

/// `yyyy-mm-ddThh:mm:ss`, every part in full and no offset.
fn read_at(argument: &str) -> Option<Timestamp> {
    if argument.len() != "yyyy-mm-ddThh:mm:ss".len() {
        return None;
    }
    let local = civil::DateTime::strptime("%Y-%m-%dT%H:%M:%S", argument).ok()?;
    TimeZone::UTC.to_timestamp(local).ok()
}

/// A positive number and a unit, which may be singular or plural whatever the number.
fn read_rate(argument: &str) -> Option<SignedDuration> {
    let (value, unit) = argument.split_once(' ')?;
    let minutes = match unit {
        "minute" | "minutes" => 1,
        "hour" | "hours" => 60,
        "day" | "days" => 24 * 60,
        _ => return None,
    };
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let value: i64 = value.parse().ok().filter(|value| digits && *value > 0)?;
    value.checked_mul(minutes * 60).map(SignedDuration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_and_rate_are_read() {
        let table = [
            ("at(2022-11-20T13:00:00)", ScheduleExpression::At("2022-11-20T13:00:00Z".parse().unwrap())),
            ("at(2028-02-29T23:59:59)", ScheduleExpression::At("2028-02-29T23:59:59Z".parse().unwrap())),
            ("rate(1 minutes)", ScheduleExpression::Rate(SignedDuration::from_mins(1))),
            ("rate(5 minutes)", ScheduleExpression::Rate(SignedDuration::from_mins(5))),
            ("rate(1 hour)", ScheduleExpression::Rate(SignedDuration::from_hours(1))),
            ("rate(1 day)", ScheduleExpression::Rate(SignedDuration::from_hours(24))),
            ("rate(7 days)", ScheduleExpression::Rate(SignedDuration::from_hours(168))),
        ];
        for (text, expected) in table {
            assert_eq!(ScheduleExpression::parse(text, None), Ok(expected), "{text}");
            assert_eq!(ScheduleExpression::parse(text, Some("UTC")), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_aws_refuses_is_invalid() {
        let table = [
            "",
            "2022-11-20T13:00:00",
            "at()",
            "at(2022-11-20T13:00:00Z)",
            "at(2022-11-20T13:00)",
            "at(2022-11-20 13:00:00)",
            "at(2022-02-30T13:00:00)",
            "at(2022-11-20T25:00:00)",
            "at(2022-11-20T13:00:00",
            "AT(2022-11-20T13:00:00)",
            "rate(0 minutes)",
            "rate(-1 minutes)",
            "rate(+1 minutes)",
            "rate(1.5 hours)",
            "rate(1 week)",
            "rate(30 seconds)",
            "rate(5)",
            "rate(99999999999999999 days)",
            "every(1 day)",
        ];
        for text in table {
            assert_eq!(ScheduleExpression::parse(text, None), Err(ExpressionError::Invalid(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_the_simulation_does_not_know_is_refused_by_name() {
        let error = |text, zone| ScheduleExpression::parse(text, zone).unwrap_err().to_string();
        assert!(error("cron(0 10 * * ? *)", None).contains("cron(0 10 * * ? *)"));
        assert!(error("at(2022-11-20T13:00:00)", Some("Europe/Madrid")).contains("Europe/Madrid"));
    }
}
