//! Loading hand-written rulesets, and reading counters back.

use std::collections::BTreeMap;

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
