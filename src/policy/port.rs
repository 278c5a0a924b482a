//! Ports as a definition writes them, and sets of them.

use super::interval::{Interval, Point, contains, merged, without};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Ports: sorted, merged, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<Interval<u16>>", into = "Vec<Interval<u16>>")]
pub struct PortSet(Arc<[Interval<u16>]>);

/// Why a text is no port, range or list of ports.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PortError {
    /// Not a number from 1 to 65535, and not a range of them.
    #[error("`{0}` is not a port: ports are 1 to 65535, ranges `a-b`")]
    NotAPort(String),
    /// Port 0, which no packet should carry.
    #[error("port 0 does not exist")]
    Zero,
    /// A range whose end lies before its start.
    #[error("the port range `{0}` is reversed")]
    Reversed(String),
}

impl PortError {
    /// The way out.
    pub fn help(&self) -> &'static str {
        match self {
            PortError::NotAPort(_) => "write 22, 8000-8100, \"80,443\" or all",
            PortError::Zero => "ports begin with 1; write `all` if every port is meant",
            PortError::Reversed(_) => "write the lower port first",
        }
    }
}

impl TryFrom<Vec<Interval<u16>>> for PortSet {
    type Error = &'static str;
    fn try_from(intervals: Vec<Interval<u16>>) -> Result<Self, Self::Error> {
        PortSet::new(intervals).ok_or("no ports")
    }
}

impl From<PortSet> for Vec<Interval<u16>> {
    fn from(ports: PortSet) -> Self {
        ports.0.to_vec()
    }
}

impl PortSet {
    /// The union of intervals; `None` if there are none.
    pub fn new(intervals: Vec<Interval<u16>>) -> Option<Self> {
        (!intervals.is_empty()).then(|| PortSet(merged(intervals).into()))
    }

    /// One port.
    pub fn single(port: u16) -> Self {
        PortSet([Interval::point(port)].into())
    }

    /// Every port: 0 too, which packets can carry though nobody can write it.
    pub fn all() -> Self {
        PortSet([u16::WHOLE].into())
    }

    /// Whether it holds every port.
    pub fn is_all(&self) -> bool {
        *self == PortSet::all()
    }

    /// Whether it holds the port.
    pub fn contains(&self, port: u16) -> bool {
        contains(&self.0, port)
    }

    /// The intervals, sorted and apart.
    pub fn intervals(&self) -> &[Interval<u16>] {
        &self.0
    }

    /// The ports that `hole` does not hold; `None` if none are left.
    pub fn without(&self, hole: &PortSet) -> Option<Self> {
        PortSet::new(without(&self.0, &hole.0))
    }

    /// Reads one entry into intervals: `22`, `8000-8100`, `80,443,8000-8100` or `all`.
    pub fn parse(text: &str) -> Result<Vec<Interval<u16>>, PortError> {
        if text == "all" {
            return Ok(PortSet::all().0.to_vec());
        }
        text.split(',')
            .map(|part| match part.trim() {
                "" => Err(PortError::NotAPort(text.into())),
                part => parse_interval(part),
            })
            .collect()
    }
}

fn parse_interval(text: &str) -> Result<Interval<u16>, PortError> {
    let number = |part: &str| -> Result<u16, PortError> {
        let part = part.trim();
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        match digits.then(|| part.parse::<u16>().ok()).flatten() {
            Some(0) => Err(PortError::Zero),
            Some(port) => Ok(port),
            None => Err(PortError::NotAPort(text.into())),
        }
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    Interval::new(first, last).ok_or_else(|| PortError::Reversed(text.into()))
}

/// As a definition writes it.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("all");
        }
        for (at, interval) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match interval.first == interval.last {
                true => write!(f, "{comma}{}", interval.first)?,
                false => write!(f, "{comma}{}-{}", interval.first, interval.last)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports() {
        let read = |text: &str| {
            PortSet::new(PortSet::parse(text).expect(text))
                .expect("not empty")
                .to_string()
        };
        assert_eq!(read("22"), "22");
        assert_eq!(read("8000-8100, 9000,443"), "443,8000-8100,9000");
        assert_eq!(read("1-10,5-20,21"), "1-21");
        assert_eq!(read("all"), "all");
        assert_eq!(PortSet::parse("0"), Err(PortError::Zero));
        assert_eq!(PortSet::parse("0-5"), Err(PortError::Zero));
        assert_eq!(
            PortSet::parse("9-5"),
            Err(PortError::Reversed("9-5".into()))
        );
        for wrong in ["", "http", "65536", "-1", "80,", "1-2-3", "+80"] {
            assert!(
                matches!(PortSet::parse(wrong), Err(PortError::NotAPort(_))),
                "{wrong}"
            );
        }
    }
}
