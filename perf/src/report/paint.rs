//! Colour, which is never the only sign; bars and numbers.

/// Whether there is colour.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    fn wrap(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn strong(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Of a goal.
    pub(crate) fn verdict(self, met: bool) -> String {
        if met {
            self.wrap("32", "met")
        } else {
            self.bad("missed")
        }
    }
}

/// `#` for a share of 1 of `width` columns, at least one, and spaces for the rest.
pub(crate) fn bar(share: f64, width: usize) -> String {
    let long = if share.is_finite() {
        (share * width as f64).round() as usize
    } else {
        0
    };
    let long = long.clamp(1, width);
    format!("{}{}", "#".repeat(long), " ".repeat(width - long))
}

/// Every digit, in groups of three: `2,311`.
pub(crate) fn exact(value: u64) -> String {
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

/// Three digits and a unit: `1.20 M`, `340 k`.
pub(crate) fn human(value: f64) -> String {
    let (value, unit) = match value.abs() {
        n if n >= 999.5e6 => (value / 1e9, " G"),
        n if n >= 999.5e3 => (value / 1e6, " M"),
        n if n >= 999.5 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    format!("{}{unit}", three(value))
}

/// A time given in ns, as a person reads it: `1.20 ms`.
pub(crate) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        n if n >= 999.5e6 => (n / 1e9, "s"),
        n if n >= 999.5e3 => (n / 1e6, "ms"),
        n if n >= 999.5 => (n / 1e3, "us"),
        n => return format!("{n:.0} ns"),
    };
    format!("{} {unit}", three(value))
}

/// Three digits, or those before the point.
fn three(value: f64) -> String {
    let places = match value.abs() {
        n if n >= 99.95 || n == 0.0 => 0,
        n if n >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_wide_as_they_should_be_whatever_the_figure() {
        let drawn = [0.0, 0.02, 0.5, 1.0, 7.0, f64::NAN].map(|share| bar(share, 10));
        let lengths = drawn.clone().map(|bar| bar.trim_end().len());
        assert_eq!(lengths, [1, 1, 5, 10, 10, 1]);
        assert!(drawn.iter().all(|bar| bar.len() == 10));
        assert_eq!([0, 999, 1000, 1_234_567].map(exact), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        let written = [0.0, 12.34, 999.4, 999.6, 1_200_000.0, 99_960.0, 2e9].map(human);
        assert_eq!(written, ["0", "12.3", "999", "1.00 k", "1.20 M", "100 k", "2.00 G"]);
        assert_eq!(
            [17.0, 1234.0, 5e6, 2.5e9].map(time),
            ["17 ns", "1.23 us", "5.00 ms", "2.50 s"]
        );
    }
}
