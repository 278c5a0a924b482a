//! NOTRACK rules of iptables-legacy. Its tables can only be read by its own program, and only with CAP_NET_RAW.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;

use super::spot::BlindSpot;
use crate::netfilter::firewall::program::run;
use crate::netfilter::programs::{LEGACY, find as find_program};

/// What cannot be seen where the tables cannot be read.
const RULES: [&str; 2] = [
    "the rules of the iptables-legacy raw table",
    "the rules of the ip6tables-legacy raw table",
];

/// Whether only root may look: the kernel shows the names of the tables to nobody else.
pub fn is_for_root() -> bool {
    let refused = |names: &str| {
        fs::File::open(names).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
    };
    LEGACY.into_iter().any(|(_, names)| refused(names))
}

/// What is found of both families.
pub fn find() -> Vec<BlindSpot> {
    let families = LEGACY.into_iter().zip(RULES);
    let spots = families.flat_map(|((program, names), what)| {
        notrack(program, names).unwrap_or_else(|why| vec![BlindSpot::Unknown { what, why }])
    });
    spots.collect()
}

fn notrack(program: &'static str, names: &str) -> Result<Vec<BlindSpot>, String> {
    let tables = match fs::read_to_string(names) {
        Ok(tables) => tables,
        // The module is not loaded, so there are no legacy tables.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{names}: {error}")),
    };
    // Asking the program for a table that is not in use would create it.
    if !tables.lines().any(|table| table == "raw") {
        return Ok(Vec::new());
    }
    let spot = |(chain, rules)| BlindSpot::Notrack {
        program,
        table: "raw".to_owned(),
        chain,
        rules,
    };
    Ok(stateless_rules(&save(program)?)
        .into_iter()
        .map(spot)
        .collect())
}

/// What `iptables-legacy-save -t raw` prints.
fn save(program: &str) -> Result<String, String> {
    let name = format!("{program}-save");
    if find_program(&name).is_none() {
        return Err(format!("the program {name} is not installed"));
    }
    run(&name, &["-t", "raw"], "").map_err(|error| error.to_string())
}

/// How many rules of each chain take state away, in the words of iptables-save.
fn stateless_rules(saved: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in saved.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["-A", chain, rest @ ..] = words.as_slice() else {
            continue;
        };
        if rest.windows(2).any(|pair| pair == ["-j", "NOTRACK"]) || rest.contains(&"--notrack") {
            *counts.entry((*chain).to_owned()).or_default() += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::stateless_rules;

    #[test]
    fn both_spellings() {
        let saved = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -p udp -j NOTRACK\n\
                     -A PREROUTING -p tcp -j CT --notrack\n-A OUTPUT -j CT --zone 5\nCOMMIT\n";
        assert_eq!(
            stateless_rules(saved),
            [("PREROUTING".to_owned(), 2)].into()
        );
    }
}
