//! When a rule ends.

use jiff::Timestamp;
use std::fmt;
use thiserror::Error;

/// The moment from which a rule matches nothing: whole seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Until(Timestamp);

/// Why a text says no moment.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum UntilError {
    /// It has another form.
    #[error("`{0}` is not a time")]
    Form(String),
    /// It may be any of a day's moments.
    #[error("`{0}` has no time zone: it is another moment at each place")]
    NoZone(String),
    /// It names a part of a second.
    #[error("`{0}` has a part of a second: rules end at whole seconds")]
    Fraction(String),
    /// There is no such day, time or zone.
    #[error("`{0}` is no moment of any calendar")]
    NoSuch(String),
}

impl UntilError {
    /// The way out.
    pub fn help(&self) -> &'static str {
        match self {
            UntilError::Form(_) => {
                "write date, time and zone, such as `2026-12-31T18:00Z` or `2026-12-31T18:00:00+08:00`"
            }
            UntilError::NoZone(_) => "write `Z` behind it for UTC, or the offset, such as `+08:00`",
            UntilError::Fraction(_) => "leave out the part behind the point",
            UntilError::NoSuch(_) => {
                "write a day that exists, hours to 23, minutes to 59, and an offset to 23:59"
            }
        }
    }
}

/// What stands for what in `2026-12-31T18:00`: a digit, or one of these.
const DATE_AND_TIME: &[u8; 16] = b"0000-00-00T00:00";

impl Until {
    /// Reads RFC 3339, whose seconds may be left out here.
    ///
    /// # Errors
    ///
    /// [`UntilError`].
    pub fn parse(text: &str) -> Result<Self, UntilError> {
        let form = || UntilError::Form(text.to_owned());
        let (whole, rest) = text.as_bytes().split_first_chunk::<16>().ok_or_else(form)?;
        let fits = |(is, form): (&u8, &u8)| match form {
            b'0' => is.is_ascii_digit(),
            b'T' => matches!(is, b'T' | b't' | b' '),
            other => is == other,
        };
        if !whole.iter().zip(DATE_AND_TIME).all(fits) {
            return Err(form());
        }
        let rest = match rest {
            [b':', a, b, rest @ ..] if a.is_ascii_digit() && b.is_ascii_digit() => rest,
            rest => rest,
        };
        match rest {
            [] => return Err(UntilError::NoZone(text.to_owned())),
            [b'Z' | b'z'] => {}
            [b'+' | b'-', zone @ ..] if is_offset(zone) => {}
            [b'.' | b',', b'0'..=b'9', ..] => return Err(UntilError::Fraction(text.to_owned())),
            _ => return Err(form()),
        }
        let moment = text.parse::<Timestamp>();
        moment
            .map(Until)
            .map_err(|_| UntilError::NoSuch(text.to_owned()))
    }

    /// This moment, in seconds since 1970; `None` beyond the calendar.
    pub fn at(seconds: u64) -> Option<Self> {
        let seconds = i64::try_from(seconds).ok()?;
        Timestamp::from_second(seconds).ok().map(Until)
    }

    /// Whether it has come, in seconds since 1970.
    pub fn has_come(self, now: u64) -> bool {
        self.seconds() <= now
    }

    /// In seconds since 1970; 0 where it is before.
    pub fn seconds(self) -> u64 {
        u64::try_from(self.0.as_second()).unwrap_or(0)
    }
}

fn is_offset(zone: &[u8]) -> bool {
    matches!(zone, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()))
}

/// RFC 3339 in UTC.
impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{Until, UntilError};

    #[test]
    fn moments_and_their_zones() {
        let seconds = |text: &str| Until::parse(text).map(Until::seconds);
        let noon = 1_798_740_000;
        for text in [
            "2026-12-31T18:00Z",
            "2026-12-31T18:00:00Z",
            "2026-12-31t18:00z",
            "2026-12-31 18:00:00Z",
            "2027-01-01T02:00+08:00",
            "2026-12-31T12:30:00-05:30",
            "2026-12-31T18:00:00+00:00",
        ] {
            assert_eq!(seconds(text), Ok(noon), "{text}");
        }
        assert_eq!(seconds("2026-12-31T18:00:07Z"), Ok(noon + 7));
        assert_eq!(seconds("2028-02-29T00:00Z"), Ok(1_835_395_200));
        assert_eq!(seconds("1969-12-31T23:59:59Z"), Ok(0), "long ago is ended");
        let until = Until::parse("2027-01-01T02:00+08:00").unwrap();
        assert_eq!(until.to_string(), "2026-12-31T18:00:00Z");
        assert!(!until.has_come(noon - 1) && until.has_come(noon) && until.has_come(noon + 1));
    }

    #[test]
    fn what_is_no_moment() {
        let error = |text: &str| Until::parse(text).unwrap_err();
        let whole = |text: &str| text.to_owned();
        for text in ["2026-12-31T18:00", "2026-12-31T18:00:00"] {
            assert_eq!(error(text), UntilError::NoZone(whole(text)));
        }
        for text in [
            "",
            "tomorrow",
            "2026-12-31",
            "18:00Z",
            "1798740000",
            "20261231T1800Z",
            "2026-12-31T18Z",
            "2026-12-31T18:00+08",
            "2026-12-31T18:00+0800",
            "2026-12-31T18:00Z[Asia/Shanghai]",
            "2026-12-31T18:00 CET",
            "+2026-12-31T18:00Z",
            "２０26-12-31T18:00Z",
        ] {
            assert_eq!(error(text), UntilError::Form(whole(text)));
        }
        for text in [
            "2026-02-29T18:00Z",
            "2026-13-01T18:00Z",
            "2026-12-31T24:00Z",
            "2026-12-31T18:60Z",
            "2026-12-31T18:00+99:00",
        ] {
            assert_eq!(error(text), UntilError::NoSuch(whole(text)));
        }
        let text = "2026-12-31T18:00:00.5Z";
        assert_eq!(error(text), UntilError::Fraction(whole(text)));
    }
}
