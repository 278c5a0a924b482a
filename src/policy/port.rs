//! Ports as a definition writes them, and sets of them.

use super::interval::{Interval, Point, contains, merged, without};
use super::number::{NumberError, decimal};
use crate::definition::port_of;
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
    /// The name of a service, which stands for a number in /etc/services and nowhere here.
    #[error("`{0}` is the name of a service: a port is a number")]
    Named(String, u16),
    /// A number that begins with 0: some programs read it as octal.
    #[error("`{0}` begins with a zero, which some programs read as octal")]
    LeadingZero(String, u16),
    /// Port 0, which no packet should carry.
    #[error("port 0 does not exist")]
    Zero,
    /// A range whose end lies before its start.
    #[error("the port range `{0}` is reversed")]
    Reversed(String),
}

impl PortError {
    /// The way out.
    pub fn help(&self) -> String {
        match self {
            PortError::NotAPort(_) => "write 22, 8000-8100, \"80,443\" or all".to_owned(),
            PortError::Named(_, meant) | PortError::LeadingZero(_, meant) => {
                format!("write {meant}")
            }
            PortError::Zero => "ports begin with 1; write `all` if every port is meant".to_owned(),
            PortError::Reversed(_) => "write the lower port first".to_owned(),
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

    /// Reads the one port of a flow.
    ///
    /// # Errors
    /// As [`Self::parse`], also for a list and a range.
    pub fn parse_single(text: &str) -> Result<u16, PortError> {
        match parse_interval(text)? {
            one if one.first == one.last && !text.contains('-') => Ok(one.first),
            _ => Err(PortError::NotAPort(text.into())),
        }
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
        match decimal(part) {
            Ok(0) | Err(NumberError::LeadingZero(0)) => Err(PortError::Zero),
            Ok(port) => Ok(port),
            Err(NumberError::LeadingZero(port)) => Err(PortError::LeadingZero(part.into(), port)),
            Err(NumberError::None) => Err(match port_of(part) {
                Some(port) => PortError::Named(part.into(), port),
                None => PortError::NotAPort(text.into()),
            }),
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
        assert_eq!(PortSet::parse("000"), Err(PortError::Zero));
        assert_eq!(
            PortSet::parse("9-5"),
            Err(PortError::Reversed("9-5".into()))
        );
        let meant = |text: &str| PortSet::parse(text).unwrap_err().help();
        assert_eq!(meant("080"), "write 80");
        assert_eq!(meant("443,08000-8100"), "write 8000");
        assert_eq!(meant("SSH"), "write 22");
        assert_eq!(PortSet::parse_single("443"), Ok(443));
        for wrong in ["443-443", "80,443", "all", "0", "ssh", "080"] {
            assert!(PortSet::parse_single(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "nothing", "65536", "-1", "80,", "1-2-3", "+80"] {
            assert!(
                matches!(PortSet::parse(wrong), Err(PortError::NotAPort(_))),
                "{wrong}"
            );
        }
    }
}
