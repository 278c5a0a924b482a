//! Numbers as a definition writes them: decimal digits, without a sign and without a zero before them.

use std::str::FromStr;

/// Why a text is no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError<N> {
    /// It begins with 0, and this is the number without: C, YAML 1.1 and `inet_aton` read octal there.
    LeadingZero(N),
    /// It is no number, or too large.
    None,
}

/// Reads a number that is written in the one way.
///
/// # Errors
/// [`NumberError`]; `+8`, which `from_str` takes, is none.
pub fn decimal<N: FromStr>(text: &str) -> Result<N, NumberError<N>> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberError::None);
    }
    match text.parse() {
        Err(_) => Err(NumberError::None),
        Ok(number) if text.len() > 1 && text.starts_with('0') => {
            Err(NumberError::LeadingZero(number))
        }
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_to_write_a_number() {
        assert_eq!(decimal::<u16>("80"), Ok(80));
        assert_eq!(decimal::<u16>("0"), Ok(0));
        assert_eq!(decimal::<u16>("080"), Err(NumberError::LeadingZero(80)));
        assert_eq!(decimal::<u8>("00"), Err(NumberError::LeadingZero(0)));
        for wrong in ["", "+8", "-8", "8 ", "65536", "0x10"] {
            assert_eq!(decimal::<u16>(wrong), Err(NumberError::None), "{wrong}");
        }
    }
}
