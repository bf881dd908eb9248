//! Decides how numbers are written for a person: a few digits and a unit. It never loses what matters: nothing but zero is shown as 0, and
//! nothing but all as 100 %.

const SCALES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// A quantity with SI prefix and unit: `340 k`, `2.1 Mpps`.
fn scaled(value: f64, unit: &str) -> String {
    if !value.is_finite() || value < 0.0 {
        return "-".into();
    }
    let mut value = value;
    let mut scale = 0;
    while value >= 999.5 && scale + 1 < SCALES.len() {
        value /= 1000.0;
        scale += 1;
    }
    let number = match value {
        0.0 => "0".into(),
        _ if scale == 0 && value < 0.05 => "<0.1".into(),
        _ if value < 9.95 && (scale > 0 || value.fract() != 0.0) => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    let unit = format!("{}{unit}", SCALES[scale]);
    if unit.is_empty() {
        number
    } else {
        format!("{number} {unit}")
    }
}

/// A count: `12`, `2,311`, `340 k`.
pub(super) fn count(value: u64) -> String {
    if value < 10_000 {
        exact(value)
    } else {
        scaled(value as f64, "")
    }
}

/// A count or rate that is no whole number: `0.3`, `340 k`.
pub(super) fn number(value: f64) -> String {
    scaled(value, "")
}

/// Packets per second: `2.1 Mpps`.
pub(super) fn packet_rate(value: f64) -> String {
    scaled(value, "pps")
}

/// Bytes: `1.2 MB`.
pub(super) fn bytes(value: u64) -> String {
    scaled(value as f64, "B")
}

/// Every digit, in groups of three: `2,311`.
pub(super) fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share of 1 in percent with `digits` behind the point, without the sign.
pub(super) fn percent(share: f64, digits: usize) -> String {
    if !share.is_finite() {
        return "-".into();
    }
    let (share, step) = (share.clamp(0.0, 1.0), 10f64.powi(digits as i32));
    let smallest = 1.0 / step;
    let percent = share * 100.0;
    if percent > 0.0 && percent < smallest {
        return format!("<{smallest:.digits$}");
    }
    let rounded = (percent * step).round() / step;
    let shown = if rounded >= 100.0 && share < 1.0 {
        100.0 - smallest
    } else {
        rounded
    };
    format!("{shown:.digits$}")
}

/// What there may be none of.
pub(super) fn or_dash(value: Option<f64>, text: impl FnOnce(f64) -> String) -> String {
    value.map_or_else(|| "-".into(), text)
}

/// A time: `5 ms`, `1.3 s`, `2 h 14 min`.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 => format!("{ms} ms"),
        1..10 => format!("{seconds}.{} s", ms % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => pair(minutes, "min", seconds % 60, "s"),
        3600..86_400 => pair(hours, "h", minutes % 60, "min"),
        _ => pair(days, "d", hours % 24, "h"),
    }
}

fn pair(large: u64, unit: &str, small: u64, subunit: &str) -> String {
    if small == 0 {
        format!("{large} {unit}")
    } else {
        format!("{large} {unit} {small} {subunit}")
    }
}

/// `1 pod`, `2 pods`.
pub(super) fn many(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// `10.0.0.1:80` or `[fd00::1]:80`.
pub(super) fn socket(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_have_few_digits() {
        let counts = [
            0,
            7,
            999,
            1000,
            1049,
            9_949,
            9_999,
            10_000,
            340_400,
            999_499,
            999_500,
            1_200_000,
            u64::MAX,
        ]
        .map(count);
        assert_eq!(
            counts,
            [
                "0", "7", "999", "1,000", "1,049", "9,949", "9,999", "10 k", "340 k", "999 k", "1.0 M", "1.2 M", "18 E"
            ]
        );
        assert_eq!(
            [0.0, 0.01, 0.3, 3.0, 3.5, 12.4].map(number),
            ["0", "<0.1", "0.3", "3", "3.5", "12"]
        );
        assert_eq!([f64::NAN, f64::INFINITY, -1.0].map(number), ["-", "-", "-"]);
        assert_eq!(
            [packet_rate(2.1e6), bytes(1_234_000), bytes(60)],
            ["2.1 Mpps", "1.2 MB", "60 B"]
        );
        assert_eq!([0, 999, 1000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn neither_all_nor_nothing_is_claimed_falsely() {
        assert_eq!(
            [0.0, 0.001, 0.314, 0.999, 1.0, 7.0].map(|share| percent(share, 0)),
            ["0", "<1", "31", "99", "100", "100"]
        );
        assert_eq!(
            [0.9998, 0.999_99, 0.000_01].map(|share| percent(share, 2)),
            ["99.98", "99.99", "<0.01"]
        );
        assert_eq!(percent(f64::NAN, 0), "-");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        let times = [
            0,
            5,
            999,
            1_300,
            9_999,
            10_000,
            61_000,
            8_040_000,
            10_800_000,
            273_600_000,
        ]
        .map(duration);
        assert_eq!(
            times,
            [
                "0 ms",
                "5 ms",
                "999 ms",
                "1.3 s",
                "9.9 s",
                "10 s",
                "1 min 1 s",
                "2 h 14 min",
                "3 h",
                "3 d 4 h"
            ]
        );
    }

    proptest! {
        #[test]
        fn counts_stay_narrow_and_exact_ones_keep_their_digits(value: u64) {
            prop_assert!(count(value).len() <= 5, "{}", count(value));
            prop_assert_eq!(exact(value).replace(',', "").parse::<u64>(), Ok(value));
        }

        #[test]
        fn any_share_is_three_digits_at_most(share in any::<f64>()) {
            prop_assert!(percent(share, 0).len() <= 3, "{}", percent(share, 0));
        }
    }
}
