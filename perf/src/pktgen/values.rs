//! Decides how rates, counts and times are written on the command line. It never knows which option they are for.

use std::str::FromStr;
use std::time::Duration;

/// A value of --rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Rate {
    Max,
    Pps(f64),
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("max") {
            return Ok(Self::Max);
        }
        pps(text).map(Self::Pps)
    }
}

/// A value of --ramp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ramp(pub(super) f64, pub(super) f64);

impl FromStr for Ramp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once("..")
            .ok_or_else(|| format!("`{text}` is no ramp; want FROM..TO, such as 10k..1M"))?;
        Ok(Self(pps(from)?, pps(to)?))
    }
}

/// A number with k, M or G behind it.
pub(super) fn pps(text: &str) -> Result<f64, String> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => match (text.strip_suffix('M'), text.strip_suffix('G')) {
            (Some(digits), _) => (digits, 1e6),
            (_, Some(digits)) => (digits, 1e9),
            _ => (text, 1.0),
        },
    };
    let value = digits.trim().parse::<f64>().ok().map(|n| n * factor);
    value
        .filter(|n| n.is_finite() && *n >= 0.0)
        .ok_or_else(|| format!("`{text}` is no number; want one like 340k, 1.2M or 5000"))
}

pub(super) fn number(text: &str) -> Result<u64, String> {
    let value = pps(text)?;
    if value < 1.0 || value.fract() != 0.0 || value > (1u64 << 48) as f64 {
        return Err(format!("`{text}` is no whole number from 1 on"));
    }
    Ok(value as u64)
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let value = text.parse::<f64>().ok().filter(|n| *n > 0.0 && *n <= 86_400.0);
    value
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("`{text}` is no time; want seconds, more than 0 and at most 86400"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_everything_else_is_refused() {
        let of = ["5000", "340k", "1.2M", "0.5G", "0", " 7 "].map(|text| pps(text).unwrap());
        assert_eq!(of, [5000.0, 340e3, 1.2e6, 5e8, 0.0, 7.0]);
        for text in ["", "k", "-1", "1e999", "nan", "1kk", "1.2.3", "fast"] {
            assert!(pps(text).unwrap_err().contains("want one like 340k"), "{text}");
        }
        assert_eq!(("MAX".parse(), "2k".parse()), (Ok(Rate::Max), Ok(Rate::Pps(2000.0))));
        assert_eq!("0..1M".parse(), Ok(Ramp(0.0, 1e6)));
        assert!("1M".parse::<Ramp>().unwrap_err().contains("FROM..TO"));
        assert_eq!((number("10k"), number("0.5k")), (Ok(10_000), Ok(500)));
        assert!(number("0").is_err() && number("1.5").is_err() && number("1000000G").is_err());
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        assert!(
            ["0", "-1", "1e9", "inf", "ten"]
                .iter()
                .all(|text| seconds(text).is_err())
        );
    }
}
