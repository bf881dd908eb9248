//! Decides what an unquoted YAML word is: nothing, a boolean, a number or a text. It never rounds: a number that does not fit stays a text.

use serde_json::{Number, Value};

/// A plain scalar, by the rules that kubectl follows (YAML 1.1 without sexagesimal numbers).
pub(super) fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return Value::Bool(false),
        _ => {}
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// A scalar with a core tag (`str` of `!!str`), or why that cannot be.
pub(super) fn tagged_scalar(tag: Option<&str>, text: &str) -> Result<Value, String> {
    let value = plain_scalar(text);
    let fits = match tag {
        Some("str") => return Ok(Value::String(text.to_owned())),
        Some("int") => value.is_i64() || value.is_u64(),
        Some("float") => value.is_number(),
        Some("bool") => value.is_boolean(),
        Some("null") => value.is_null(),
        _ => return Err("tags are not supported; leave it out".to_owned()),
    };
    if fits {
        Ok(value)
    } else {
        Err(format!("the text does not fit its tag !!{}", tag.unwrap_or_default()))
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let radix = |radix: u32, digits: &str| {
        let magnitude = i64::from_str_radix(digits, radix)
            .ok()
            .filter(|_| !digits.starts_with(['+', '-']))?;
        Some(Number::from(if negative { -magnitude } else { magnitude }))
    };
    if let Some(hex) = digits.strip_prefix("0x") {
        return radix(16, hex);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return radix(8, octal);
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()) {
        return radix(8, &digits[1..]);
    }
    if let Some(whole) = radix(10, digits) {
        return Some(whole);
    }
    let decimal = digits
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value = if decimal {
        digits.parse::<f64>().ok()?
    } else {
        return None;
    };
    Number::from_f64(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_are_what_kubectl_takes_them_for() {
        for (text, want) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("yes", json!(true)),
            ("Off", json!(false)),
            ("y", json!("y")),
            ("80", json!(80)),
            ("-1", json!(-1)),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("017", json!(15)),
            ("089", json!("089")),
            ("1.5", json!(1.5)),
            ("1e3", json!(1000.0)),
            ("10.244.1.5", json!("10.244.1.5")),
            ("fd00::1", json!("fd00::1")),
            ("1-2", json!("1-2")),
            ("2026-11-20T10:00:00Z", json!("2026-11-20T10:00:00Z")),
            ("inf", json!("inf")),
            ("nan", json!("nan")),
            ("0x-1", json!("0x-1")),
        ] {
            assert_eq!(plain_scalar(text), want, "{text}");
        }
    }

    #[test]
    fn tags_must_fit() {
        assert_eq!(tagged_scalar(Some("str"), "80"), Ok(json!("80")));
        assert_eq!(tagged_scalar(Some("int"), "80"), Ok(json!(80)));
        assert!(tagged_scalar(Some("int"), "eighty").unwrap_err().contains("!!int"));
        assert!(tagged_scalar(None, "x").is_err());
    }
}
