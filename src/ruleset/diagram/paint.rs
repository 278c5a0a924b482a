//! First match along one dimension: at each point the first layer that covers it shows.

use crate::policy::Interval;
use crate::policy::interval::Point;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A function from points to values, with gaps: sorted, apart, neighbours of one value merged.
pub type Function<T, V> = Vec<(Interval<T>, V)>;

/// Paints layers over the whole line. Costs O(m log m) for m intervals over all layers.
pub fn paint<'a, T: Point + 'a, V: Copy + PartialEq>(
    layers: impl IntoIterator<Item = (&'a [Interval<T>], V)>,
) -> Function<T, V> {
    let mut values: Vec<V> = Vec::new();
    let mut begins: Vec<(T, Reverse<usize>, T)> = Vec::new();
    for (layer, value) in layers {
        let at = Reverse(values.len());
        begins.extend(layer.iter().map(|each| (each.first, at, each.last)));
        values.push(value);
        // Nothing shows through a layer over everything.
        if layer == [T::WHOLE] {
            break;
        }
    }
    begins.sort_unstable();
    let mut begins = begins.into_iter().peekable();
    // What has begun, the topmost layer first. What has ended stays until it lies on top.
    let mut open: BinaryHeap<(Reverse<usize>, T)> = BinaryHeap::new();
    let mut painted: Function<T, V> = Vec::new();
    let mut from = begins.peek().map(|(first, ..)| *first);
    while let Some(first) = from {
        while let Some((_, at, last)) = begins.next_if(|(begin, ..)| *begin <= first) {
            // What lies under the topmost all along never shows.
            let hidden = |(top, end): &(Reverse<usize>, T)| *top > at && *end >= last;
            if !open.peek().is_some_and(hidden) {
                open.push((at, last));
            }
        }
        while open.peek().is_some_and(|(_, last)| *last < first) {
            open.pop();
        }
        let next = begins.peek().map(|(begin, ..)| *begin);
        let Some((Reverse(at), last)) = open.peek() else {
            from = next;
            continue;
        };
        let last = next.map_or(*last, |next| next.before().min(*last));
        painted.push((Interval { first, last }, values[*at]));
        from = last.successor();
    }
    merge_equal(painted)
}

/// Joins neighbours that touch and have one value.
pub fn merge_equal<T: Point, V: PartialEq>(mut pieces: Function<T, V>) -> Function<T, V> {
    pieces.dedup_by(|(next, value), (last, known)| {
        let joins = known == value && last.last.successor() == Some(next.first);
        if joins {
            last.last = next.last;
        }
        joins
    });
    pieces
}

/// Where `function` differs from `base`, and its value there: `None` where it has none and the base has one.
/// A packet that meets none of these pieces may be handed to the base. `None` if there are more than `at_most`.
pub fn difference<T: Point, V: Copy + PartialEq>(
    function: &Function<T, V>,
    base: &Function<T, V>,
    at_most: usize,
) -> Option<Function<T, Option<V>>> {
    let mut out: Function<T, Option<V>> = Vec::new();
    let (mut f, mut b) = (function.iter().peekable(), base.iter().peekable());
    // The next point that was not compared yet.
    let mut at = f
        .peek()
        .map(|(i, _)| i.first)
        .into_iter()
        .chain(b.peek().map(|(i, _)| i.first))
        .min();
    while let Some(point) = at {
        while f.next_if(|(i, _)| i.last < point).is_some() {}
        while b.next_if(|(i, _)| i.last < point).is_some() {}
        let value = f
            .peek()
            .filter(|(i, _)| i.first <= point)
            .map(|(_, value)| *value);
        let other = b
            .peek()
            .filter(|(i, _)| i.first <= point)
            .map(|(_, value)| *value);
        // Up to where neither changes: the end of what holds here, or just before what begins next.
        let ends = [f.peek(), b.peek()].into_iter().flatten().map(|(i, _)| {
            if i.first <= point {
                i.last
            } else {
                i.first.before()
            }
        });
        let Some(last) = ends.min() else { break };
        if value != other {
            out.push((Interval { first: point, last }, value));
        }
        at = last.successor();
        if out.len() > at_most.saturating_mul(2) + 2 {
            out = merge_equal(out);
            if out.len() > at_most {
                return None;
            }
        }
    }
    let out = merge_equal(out);
    (out.len() <= at_most).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(function: &Function<u16, u8>, point: u16) -> Option<u8> {
        function
            .iter()
            .find(|(interval, _)| interval.contains(point))
            .map(|(_, value)| *value)
    }

    fn layers(raw: &[(u16, u16, u8)], shift: u16) -> Vec<(Vec<Interval<u16>>, u8)> {
        raw.iter()
            .map(|(first, length, value)| {
                (
                    vec![Interval::between(first + shift, first + length + shift)],
                    *value,
                )
            })
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_brute_force(a in prop::collection::vec((0u16..50, 0u16..20, 0u8..3), 0..10), b in prop::collection::vec((0u16..50, 0u16..20, 0u8..3), 0..10), top in any::<bool>()) {
            let shift = if top { u16::MAX - 69 } else { 0 };
            let painted = |raw: &[(u16, u16, u8)]| {
                let layers = layers(raw, shift);
                paint(layers.iter().map(|(list, value)| (list.as_slice(), *value)))
            };
            let (fa, fb) = (painted(&a), painted(&b));
            let delta = difference(&fa, &fb, usize::MAX / 4).expect("no limit");
            for point in (0..=70).map(|p: u16| shift.saturating_add(p)) {
                let first = layers(&a, shift).iter().find(|(list, _)| list[0].contains(point)).map(|(_, value)| *value);
                prop_assert_eq!(at(&fa, point), first);
                let through = match delta.iter().find(|(interval, _)| interval.contains(point)) {
                    Some((_, value)) => *value,
                    None => at(&fb, point),
                };
                prop_assert_eq!(through, first);
            }
            prop_assert!(fa.windows(2).all(|pair| pair[0].0.last < pair[1].0.first));
        }
    }
}
