//! Durations as Kubernetes writes them (GEP-2257): up to four of `h`, `m`, `s`, `ms`, each after one to five digits.

/// Milliseconds of a duration; none if it isn't one.
pub(crate) fn millis(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0u64;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let value: u64 = rest.get(..digits)?.parse().ok()?;
        rest = rest.get(digits..)?;
        // `ms` before `m`: the longer unit's name begins with the shorter's.
        let (unit, factor) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(u, _)| rest.starts_with(u))?;
        rest = rest.get(unit.len()..)?;
        total += value * factor;
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::millis;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("0s", Some(0)),
            ("1h", Some(3_600_000)),
            ("1h30m5s250ms", Some(5_405_250)),
            ("500ms", Some(500)),
            ("5m", Some(300_000)),
            ("5m10ms", Some(300_010)),
            ("99999h", Some(359_996_400_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1.5s", None),
            ("-1s", None),
            ("100000s", None),
            ("1s1s1s1s1s", None),
            ("1d", None),
            ("1s ", None),
        ] {
            assert_eq!(millis(text), expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn parts_add_up(h in 0..=99_999u64, m in 0..=99_999u64, s in 0..=99_999u64, ms in 0..=99_999u64) {
            let sum = ((h * 60 + m) * 60 + s) * 1_000 + ms;
            proptest::prop_assert_eq!(millis(&format!("{h}h{m}m{s}s{ms}ms")), Some(sum));
        }

        #[test]
        fn anything_may_be_said(text in ".*") {
            let _ = millis(&text);
        }
    }
}
