//! Loading hand-written rulesets, and reading counters back.

use std::collections::BTreeMap;

use secgroupd::ruleset::table::BASE_CHAINS;
use secgroupd::ruleset::{Generation, TABLE};
use serde_json::Value;

use super::{Host, namespace::feed};

impl Host {
    /// Loads a ruleset in nft's text as one transaction. Inside a user namespace the kernel refuses one
    /// of more than about 200 KB (`Message too long`): load a long one in parts.
    ///
    /// # Panics
    /// When nft refuses it.
    pub fn nft(&self, ruleset: &str) {
        self.try_nft(ruleset)
            .unwrap_or_else(|error| panic!("on {}: {error}\n{ruleset}", self.name()));
    }

    /// Loads a ruleset in nft's text; nft's message if it is refused.
    pub fn try_nft(&self, ruleset: &str) -> Result<String, String> {
        feed(self.command("nft").args(["-f", "-"]), ruleset)
    }

    /// Loads a batch in nft's JSON as one transaction.
    ///
    /// # Panics
    /// When nft refuses it.
    pub fn nft_json(&self, batch: &str) {
        let fed = feed(self.command("nft").args(["-j", "-f", "-"]), batch);
        fed.unwrap_or_else(|error| panic!("on {}: {error}\n{batch}", self.name()));
    }

    /// What `nft list …` prints, for example `host.nft_list("table inet bench")`.
    pub fn nft_list(&self, what: &str) -> String {
        self.output("nft", &["list", what])
    }

    /// The packets seen by each named counter of a table (`inet bench`).
    pub fn counters(&self, table: &str) -> BTreeMap<String, u64> {
        let listing = self.output("nft", &["-j", "list", "counters", "table", table]);
        let listing: Value = serde_json::from_str(&listing).expect("nft prints JSON");
        let objects = listing["nftables"].as_array().expect("a list of objects");
        let counters = objects.iter().filter_map(|object| object.get("counter"));
        counters
            .map(|counter| {
                (
                    counter["name"].as_str().unwrap().to_owned(),
                    counter["packets"].as_u64().unwrap(),
                )
            })
            .collect()
    }

    /// Sets every counter of the machine to zero.
    pub fn reset_counters(&self) {
        self.output("nft", &["reset", "counters"]);
    }
}

impl Host {
    /// Objects of our table that no base chain leads to.
    pub fn left_over(&self) -> Vec<String> {
        let out = self
            .command("nft")
            .args(["-s", "list", "table", "inet", TABLE])
            .output();
        let text = String::from_utf8_lossy(&out.expect("nft").stdout).into_owned();
        // Each object's own lines, by its name.
        let mut objects: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut name = "";
        for line in text.lines() {
            if let Some(("chain" | "map" | "set", rest)) = line.trim().split_once(' ')
                && let Some(found) = rest.strip_suffix(" {")
            {
                name = found;
            }
            objects.entry(name).or_default().push(line);
        }
        let bases = BASE_CHAINS.iter().map(|base| base.name);
        let mut waiting: Vec<&str> = bases.collect();
        while let Some(name) = waiting.pop() {
            let lines = objects.remove(name).unwrap_or_default();
            // The first line is the object's own name.
            let words = lines
                .iter()
                .skip(1)
                .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')));
            let led_to: Vec<&str> = words.filter(|word| objects.contains_key(word)).collect();
            waiting.extend(led_to);
        }
        objects
            .into_keys()
            .filter(|name| Generation::of(name).is_some())
            .map(str::to_owned)
            .collect()
    }
}

/// A listing without the labels that flows are known by: each enforcement has others. `ct label 64,66`, `ct label set 64 | 66`
pub fn whatever_labels(listing: &str) -> String {
    let mut words = listing.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let is_label = |word: &str| {
        word.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b',')
    };
    let mut of_label = false;
    for word in &mut words {
        match word.as_str() {
            "label" => of_label = true,
            "set" | "|" if of_label => {}
            text if of_label && is_label(text) => *word = "of-ours".to_owned(),
            _ => of_label = false,
        }
    }
    words.join(" ")
}
