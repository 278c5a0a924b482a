//! The page of metrics, in the text format of Prometheus.

use crate::daemon::machine::counters::Counters;
use crate::host::Host;
use crate::host::report::Hits;
use crate::netfilter::tracked::{TrackedFlows, tracked_flows};
use crate::policy::Reason;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What the page says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// What the daemon has done.
    pub counters: Counters,
    /// Whether the newest definition is not enforced.
    pub failed: bool,
    /// The generation that is enforced.
    pub generation: Option<u64>,
    /// Flows that changes of the policy have ended.
    pub ended_flows: u64,
    /// Flows that changes of the policy had judged again.
    pub judged_again_flows: u64,
    /// The table of tracked flows.
    pub tracked_flows: Option<TrackedFlows>,
    /// What rules and layers have met.
    pub hits: Vec<Hits>,
    /// Whether the whole host only observes.
    pub observes: bool,
}

impl Page {
    /// Fills in what the host knows.
    pub fn look_at(&mut self, host: &mut Host) {
        self.generation = host.enforced().map(|summary| summary.generation);
        self.observes = host.enforced().is_some_and(|summary| summary.observe);
        self.ended_flows = host.ended.total();
        self.judged_again_flows = host.ended.reevaluated();
        self.tracked_flows = tracked_flows();
        self.hits = host.hits();
    }

    /// As Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = Text::default();
        let version = env!("CARGO_PKG_VERSION");
        text.family("info", "gauge", "The program.");
        text.sample("info", &[("version", version)], 1);
        for (name, kind, help, value) in [
            (
                "enforced",
                "gauge",
                "Whether a policy is enforced.",
                u64::from(self.generation.is_some()),
            ),
            (
                "generation",
                "gauge",
                "The generation that is enforced.",
                self.generation.unwrap_or(0),
            ),
            (
                "observes",
                "gauge",
                "Whether the whole host observes: nothing is refused.",
                u64::from(self.observes),
            ),
            (
                "degraded",
                "gauge",
                "Whether the newest definition is not enforced.",
                u64::from(self.failed),
            ),
            (
                "reloads_total",
                "counter",
                "Definitions that were enforced since the daemon started.",
                self.counters.reloads,
            ),
            (
                "failures_total",
                "counter",
                "Definitions refused and restorations failed since the daemon started.",
                self.counters.failures,
            ),
            (
                "restorations_total",
                "counter",
                "Changes of other programs that were put right since the daemon started.",
                self.counters.restorations,
            ),
            (
                "ended_flows_total",
                "counter",
                "Live flows that changes of the policy have ended since the daemon started.",
                self.ended_flows,
            ),
            (
                "judged_again_flows_total",
                "counter",
                "Live flows that changes of the policy had judged again since the daemon started; none of that is a hit.",
                self.judged_again_flows,
            ),
        ] {
            text.family(name, kind, help);
            text.sample(name, &[], value);
        }
        let took = "reload_duration_seconds";
        text.family(
            took,
            "summary",
            "From a definition that was read to its end: enforced, or refused.",
        );
        text.sample(
            "reload_duration_seconds_sum",
            &[],
            self.counters.durations.sum,
        );
        text.sample(
            "reload_duration_seconds_count",
            &[],
            self.counters.durations.count,
        );
        text.family(
            "last_reload_duration_seconds",
            "gauge",
            "The same of the last one.",
        );
        text.sample(
            "last_reload_duration_seconds",
            &[],
            self.counters.durations.last,
        );
        if let Some(tracked) = self.tracked_flows {
            text.family("tracked_flows", "gauge", "Flows in the kernel's table.");
            text.sample("tracked_flows", &[], tracked.count);
            text.family(
                "tracked_flows_limit",
                "gauge",
                "How many there may be; 0 is no limit.",
            );
            text.sample("tracked_flows_limit", &[], tracked.max);
        }
        self.hits(&mut text);
        text.0
    }

    fn hits(&self, text: &mut Text) {
        let mut layers: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        let mut refused: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        let mut observed: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
        for hit in &self.hits {
            let layer = layer(hit);
            let (refuses, observes) = match (layer, hit.action.as_deref()) {
                (_, Some("observe")) => (false, true),
                (_, Some(action)) => (action == "refuse", false),
                (layer, None) => (Reason::is_refusing_layer(layer), false),
            };
            for (sums, wanted) in [
                (&mut layers, true),
                (&mut refused, refuses),
                (&mut observed, observes),
            ] {
                if wanted {
                    let [packets, bytes] = sums.entry(layer).or_default();
                    *packets += hit.packets;
                    *bytes += hit.bytes;
                }
            }
        }
        for (at, unit) in ["packets", "bytes"].into_iter().enumerate() {
            let name = format!("rule_{unit}_total");
            text.family(
                &name,
                "counter",
                &format!("What each rule of the bound groups has decided about, in {unit}."),
            );
            for hit in self.hits.iter().filter(|hit| layer(hit) == "group") {
                let group = hit.reason.split('/').next().unwrap_or_default();
                let action = hit.action.as_deref().unwrap_or_default();
                let labels = [
                    ("rule", hit.reason.as_str()),
                    ("group", group),
                    ("action", action),
                ];
                text.sample(&name, &labels, [hit.packets, hit.bytes][at]);
            }
            let entries: Vec<&Hits> = self.hits.iter().filter(|hit| layer(hit) == "acl").collect();
            if !entries.is_empty() {
                let name = format!("acl_entry_{unit}_total");
                text.family(
                    &name,
                    "counter",
                    &format!("What each entry of the network ACLs has decided about, in {unit}."),
                );
                for hit in entries {
                    let acl = hit.reason.split('/').next().unwrap_or_default();
                    let action = hit.action.as_deref().unwrap_or_default();
                    let labels = [
                        ("entry", hit.reason.as_str()),
                        ("acl", acl),
                        ("action", action),
                    ];
                    text.sample(&name, &labels, [hit.packets, hit.bytes][at]);
                }
            }
            let name = format!("approved_service_{unit}_total");
            text.family(
                &name,
                "counter",
                &format!("What each approved service has let pass, in {unit}."),
            );
            for hit in &self.hits {
                if let Some(service) = hit.reason.strip_prefix("approved-service/") {
                    text.sample(&name, &[("service", service)], [hit.packets, hit.bytes][at]);
                }
            }
            for (kind, what, sums) in [
                ("layer", "What each layer has decided about", &layers),
                ("refused", "What each layer has refused", &refused),
                (
                    "observed",
                    "What each layer has let pass that it would refuse if it did not observe",
                    &observed,
                ),
            ] {
                let name = format!("{kind}_{unit}_total");
                text.family(
                    &name,
                    "counter",
                    &format!("{what}, in {unit}; of groups by the rules that there are now."),
                );
                for (layer, sum) in sums {
                    text.sample(&name, &[("layer", layer)], sum[at]);
                }
            }
        }
    }
}

/// The layer that a count is of.
fn layer(hit: &Hits) -> &str {
    match &hit.reason {
        rule if rule.starts_with("sg-") => "group",
        entry if entry.starts_with("acl-") => "acl",
        layer => layer.split('/').next().unwrap_or_default(),
    }
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP secgroupd_{name} {help}\n# TYPE secgroupd_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        let _ = writeln!(self.0, "secgroupd_{name}{labels} {value}");
    }
}

/// As the value of a label.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
#[path = "../../../tests/support/exposition.rs"]
mod exposition;

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(reason: &str, action: Option<&str>, packets: u64) -> Hits {
        Hits {
            reason: reason.into(),
            action: action.map(str::to_owned),
            place: None,
            packets,
            bytes: packets * 60,
            last: None,
        }
    }

    #[test]
    fn sums_by_layer_and_what_was_refused() {
        let mut page = Page {
            generation: Some(7),
            tracked_flows: Some(TrackedFlows { count: 3, max: 100 }),
            hits: vec![
                hit("sg-a/in/0", Some("allow"), 1),
                hit("sg-a/in/1", Some("refuse"), 2),
                hit("sg-b/out/0", Some("refuse"), 0),
                hit("default", None, 4),
                hit("unmanaged", None, 8),
                hit("approved-service/a\"b\\c\nd", None, 16),
                hit("approved-service/e", None, 32),
            ],
            ..Page::default()
        };
        page.counters.durations.add(0.5);
        page.counters.durations.add(0.25);
        let text = page.text();
        for line in [
            "secgroupd_generation 7",
            "secgroupd_rule_packets_total{rule=\"sg-a/in/1\",group=\"sg-a\",action=\"refuse\"} 2",
            "secgroupd_rule_packets_total{rule=\"sg-b/out/0\",group=\"sg-b\",action=\"refuse\"} 0",
            "secgroupd_rule_bytes_total{rule=\"sg-a/in/1\",group=\"sg-a\",action=\"refuse\"} 120",
            "secgroupd_layer_packets_total{layer=\"group\"} 3",
            "secgroupd_layer_packets_total{layer=\"approved-service\"} 48",
            "secgroupd_layer_packets_total{layer=\"unmanaged\"} 8",
            "secgroupd_refused_packets_total{layer=\"group\"} 2",
            "secgroupd_refused_bytes_total{layer=\"default\"} 240",
            "secgroupd_refused_packets_total{layer=\"unmanaged\"} 8",
            "secgroupd_approved_service_packets_total{service=\"a\\\"b\\\\c\\nd\"} 16",
            "secgroupd_reload_duration_seconds_sum 0.75",
            "secgroupd_reload_duration_seconds_count 2",
            "secgroupd_last_reload_duration_seconds 0.25",
            "secgroupd_tracked_flows 3",
        ] {
            assert!(
                text.lines().any(|each| each == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("refused_packets_total{layer=\"approved-service\"}"));
    }

    /// With names that have to be escaped, and layers that are counted twice: for what they refused, and for what they
    /// only observed.
    #[test]
    fn the_page_is_what_prometheus_reads() {
        let mut page = Page {
            generation: Some(3),
            tracked_flows: Some(TrackedFlows { count: 3, max: 100 }),
            hits: vec![
                hit("sg-a/in/0", Some("allow"), 1),
                hit("sg-a/in/1", Some("refuse"), 2),
                hit("sg-b/in/0", Some("observe"), 4),
                hit("default", None, 8),
                hit("default", Some("observe"), 16),
                hit("blocked-ports", Some("observe"), 32),
                hit("approved-service/\"\\\n}, =\"", None, 64),
                hit("approved-service/é", None, 128),
            ],
            ..Page::default()
        };
        page.counters.durations.add(0.1);
        let samples = exposition::samples(&page.text());
        let of = |series: &str| samples.get(&format!("secgroupd_{series}")).copied();
        for (series, value) in [
            ("layer_packets_total{layer=\"default\"}", 24.0),
            ("refused_packets_total{layer=\"default\"}", 8.0),
            ("observed_packets_total{layer=\"default\"}", 16.0),
            ("observed_bytes_total{layer=\"blocked-ports\"}", 1920.0),
            ("refused_packets_total{layer=\"group\"}", 2.0),
            ("observed_packets_total{layer=\"group\"}", 4.0),
            (
                "rule_packets_total{rule=\"sg-b/in/0\",group=\"sg-b\",action=\"observe\"}",
                4.0,
            ),
        ] {
            assert_eq!(of(series), Some(value), "{series}: {samples:#?}");
        }
        assert_eq!(of("refused_packets_total{layer=\"blocked-ports\"}"), None);
        assert!(exposition::samples(&Page::default().text()).len() > 10);
    }
}
