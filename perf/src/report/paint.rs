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
}
