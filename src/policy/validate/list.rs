//! Whether the file of an address template is plainly a list of addresses.
//!
//! Messages quote lines of such a file only. Whoever writes a definition may name a file that only its reader may read:
//! `check` as root would print lines of `/etc/shadow`.

/// Succeeds where at most half of the lines, comments aside, look like nothing that could be meant as an address.
///
/// # Errors
/// What is wrong, in words that quote nothing.
pub fn plainly_a_list(text: &str) -> Result<(), String> {
    let (mut lines, mut strange, mut first) = (0, 0, 0);
    for (at, line) in text.lines().enumerate() {
        let content = line.split(['#', ';']).next().unwrap_or_default().trim();
        if content.is_empty() {
            continue;
        }
        lines += 1;
        if !looks_like_one(content) {
            strange += 1;
            first = if strange == 1 { at + 1 } else { first };
        }
    }
    match strange * 2 > lines {
        false => Ok(()),
        true => Err(format!(
            "{strange} of its {lines} lines look like none, the first is line {first}"
        )),
    }
}

/// Whether a line consists of what addresses, CIDRs and ranges do. A bare number or a key in hex is none.
fn looks_like_one(content: &str) -> bool {
    let of_one = |c: char| c.is_ascii_hexdigit() || ".:/- ".contains(c);
    content.contains(['.', ':']) && content.chars().all(of_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        for text in [
            "",
            "10.0.0.300",
            "10.0.0.1\n10.0.0.1-10.0.0.300\n2001:db8::/129\n",
            "# blocked\n10.0.0.1 ; SBL1\n\nwww.example.com # a name\n",
        ] {
            assert_eq!(plainly_a_list(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn secrets() {
        for text in [
            "root:$6$abc:19000:0:99999:7:::\n",
            "d41d8cd98f00b204e9800998ecf8427e\n",
            "10.0.0.5 ssh-ed25519 AAAAC3Nz\n",
            "10.0.0.1\n\nhunter2\nhunter3\n",
        ] {
            let why = plainly_a_list(text).unwrap_err();
            assert!(!why.contains("hunter") && !why.contains("root"), "{why}");
        }
        let why = plainly_a_list("10.0.0.1\n\nhunter2\nhunter3\n").unwrap_err();
        assert_eq!(why, "2 of its 3 lines look like none, the first is line 3");
    }
}
