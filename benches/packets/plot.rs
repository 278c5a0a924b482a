//! The sweep as a picture: cost over the number of rules, both logarithmic, written as SVG.
//!
//! It stands on a light card of its own, so that it reads on a dark page too, and names each line where it ends.

use super::contestants::{ALL, Contestant};
use super::report::Sweep;
use std::fmt::Write;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 520.0;
/// The field of the lines: left, top, right, bottom.
const FIELD: [f64; 4] = [92.0, 76.0, 660.0, 452.0];
/// Names of lines stand at least so far apart.
const NAMES_APART: f64 = 19.0;
/// The lowest and the highest cost, in nanoseconds: what is less is drawn on the lower edge.
const COSTS: [f64; 2] = [10.0, 1e6];

/// A line's colour (told apart by the colour-blind: Okabe and Ito's), dashes and width.
fn style(contestant: Contestant) -> (&'static str, &'static str, f64) {
    match contestant {
        Contestant::Secgroupd => ("#0072b2", "", 4.0),
        Contestant::NftList => ("#d55e00", "", 2.2),
        Contestant::IptablesLegacy => ("#8f5f00", "", 2.2),
        Contestant::IptablesNft => ("#cc79a7", "7 5", 2.2),
        Contestant::NftByHand => ("#009e73", "", 2.2),
        Contestant::IpsetByHand => ("#5b5b5b", "3 4", 2.2),
        // It has no line of its own.
        Contestant::Before => ("#5b5b5b", "1 3", 1.0),
    }
}

/// The picture.
pub fn svg(sweep: &Sweep) -> String {
    let rules: Vec<f64> = sweep.iter().map(|(rules, _)| *rules as f64).collect();
    let (fewest, most) = (rules[0], rules[rules.len() - 1]);
    let [left, top, right, bottom] = FIELD;
    let x = |rules: f64| left + (right - left) * (rules / fewest).ln() / (most / fewest).ln();
    let y = |cost: f64| {
        let [low, high] = COSTS;
        bottom - (bottom - top) * (cost.clamp(low, high) / low).ln() / (high / low).ln()
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"14\" fill=\"#1f2328\" \
         role=\"img\" aria-label=\"Cost of a new flow over the number of rules\">\n\
         <rect x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"10\" fill=\"#ffffff\" stroke=\"#d0d7de\"/>\n\
         <text x=\"{left}\" y=\"34\" font-size=\"18\" font-weight=\"600\">What the first packet of a flow pays for the rules</text>\n\
         <text x=\"{left}\" y=\"56\" fill=\"#59636e\">above an empty hook; each rule has a network and a port of its own, \
         the last ones match</text>\n",
        WIDTH - 1.0,
        HEIGHT - 1.0,
    );
    grid(&mut out, (fewest, most), x, y);
    let mut names: Vec<(f64, Contestant)> = Vec::new();
    // Ours, the first column, last, so that it lies on top.
    let columns = ALL.into_iter().enumerate();
    for (column, contestant) in columns.clone().skip(1).chain(columns.take(1)) {
        let points: Vec<(f64, f64)> = sweep
            .iter()
            .filter_map(|(rules, figures)| Some((x(*rules as f64), y(figures[column]?))))
            .collect();
        let Some(&(_, end)) = points.last() else {
            continue;
        };
        names.push((end, contestant));
        line(&mut out, contestant, &points);
    }
    for (height, contestant) in spread(names) {
        let (colour, _, _) = style(contestant);
        let weight = match contestant {
            Contestant::Secgroupd => 700,
            _ => 500,
        };
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\" font-weight=\"{weight}\">{}</text>",
            right + 14.0,
            height + 5.0,
            contestant.name()
        );
    }
    out + "</svg>\n"
}

fn grid(
    out: &mut String,
    (fewest, most): (f64, f64),
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) {
    let [left, top, right, bottom] = FIELD;
    let costs = [
        (1e1, "10 ns"),
        (1e2, "100 ns"),
        (1e3, "1 µs"),
        (1e4, "10 µs"),
        (1e5, "100 µs"),
        (1e6, "1 ms"),
    ];
    for (cost, name) in costs {
        let height = y(cost);
        let _ = writeln!(
            out,
            "<path d=\"M{left} {height:.1}H{right}\" stroke=\"#d8dee4\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#59636e\">{name}</text>",
            left - 10.0,
            height + 5.0
        );
    }
    for (rules, name) in [(1e1, "10"), (1e2, "100"), (1e3, "1,000"), (1e4, "10,000")] {
        if !(fewest..=most).contains(&rules) {
            continue;
        }
        let across = x(rules);
        let _ = writeln!(
            out,
            "<path d=\"M{across:.1} {top}V{bottom}\" stroke=\"#eaeef2\"/>\
             <text x=\"{across:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#59636e\">{name}</text>",
            bottom + 22.0
        );
    }
    let _ = writeln!(
        out,
        "<path d=\"M{left} {bottom}H{right}\" stroke=\"#59636e\"/>\
         <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">number of rules</text>\
         <text transform=\"translate(24 {:.1}) rotate(-90)\" text-anchor=\"middle\">cost of a packet</text>",
        (left + right) / 2.0,
        bottom + 48.0,
        (top + bottom) / 2.0,
    );
}

fn line(out: &mut String, contestant: Contestant, points: &[(f64, f64)]) {
    let (colour, dashes, width) = style(contestant);
    let path: Vec<String> = points
        .iter()
        .map(|(x, y)| format!("{x:.1} {y:.1}"))
        .collect();
    let _ = writeln!(
        out,
        "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\"/>",
        path.join("L"),
        if dashes.is_empty() { "none" } else { dashes },
    );
    for (x, y) in points {
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\" fill=\"{colour}\" stroke=\"#ffffff\" stroke-width=\"1.5\"/>",
            width / 2.0 + 2.4
        );
    }
}

/// Heights of names, moved apart where lines end side by side.
fn spread(mut names: Vec<(f64, Contestant)>) -> Vec<(f64, Contestant)> {
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    for _ in 0..100 {
        for at in 1..names.len() {
            let missing = NAMES_APART - (names[at].0 - names[at - 1].0);
            if missing > 0.0 {
                names[at - 1].0 -= missing / 2.0;
                names[at].0 += missing / 2.0;
            }
        }
    }
    names
}
