//! JSON written straight into its text: at full rate, one reading in twenty is flagged and explained.

/// Decimals and whole numbers up to which digits are written without the standard library's formatting.
const DECIMALS_FAST: u8 = 9;
const WHOLE_FAST: f64 = 9e15;

/// JSON that is being written.
pub(super) struct Json {
    pub(super) text: String,
    /// How many of the sensor's last eight readings were flagged.
    pub(super) flagged: Option<u32>,
}

impl Json {
    /// Separates an element of the array from the one before.
    pub(super) fn next(&mut self) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
    }

    pub(super) fn quoted(&mut self, text: &str) {
        self.text.push('"');
        self.escaped(text);
        self.text.push('"');
    }

    pub(super) fn escaped(&mut self, text: &str) {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.text.push_str(text);
        } else {
            let quoted = serde_json::to_string(text).expect("text is JSON");
            self.text.push_str(&quoted[1..quoted.len() - 1]);
        }
    }

    /// The shortest digits that read back as the same number, `null` where there is none. Most values have no more
    /// decimals than their metric shows.
    pub(super) fn shortest(&mut self, value: f64, decimals: u8) {
        if !value.is_finite() {
            return self.text.push_str("null");
        }
        let ten = 10f64.powi(i32::from(decimals.min(DECIMALS_FAST)));
        let whole = (value * ten).round();
        if whole.abs() < WHOLE_FAST && whole / ten == value {
            let (mut digits, mut decimals) = (whole as i64, decimals.min(DECIMALS_FAST));
            while decimals > 0 && digits % 10 == 0 {
                (digits, decimals) = (digits / 10, decimals - 1);
            }
            self.digits(digits, decimals);
        } else {
            // Rust prints the shortest digits without an exponent, which is JSON.
            self.text.push_str(&value.to_string());
        }
    }

    /// A finite number with so many decimals.
    pub(super) fn fixed(&mut self, value: f64, decimals: u8) {
        let whole = (value * 10f64.powi(i32::from(decimals))).round();
        if decimals <= DECIMALS_FAST && whole.abs() < WHOLE_FAST {
            self.digits(whole as i64, decimals);
        } else {
            let decimals = usize::from(decimals);
            self.text.push_str(&format!("{value:.decimals$}"));
        }
    }

    /// Digits with a point before the last `decimals` of them.
    fn digits(&mut self, digits: i64, decimals: u8) {
        if digits < 0 {
            self.text.push('-');
        }
        let mut text = [b'0'; 24];
        let (mut at, mut left, mut place) = (text.len(), digits.unsigned_abs(), 0);
        while left > 0 || place <= decimals {
            if place == decimals && place > 0 {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            text[at] = b'0' + (left % 10) as u8;
            (left, place) = (left / 10, place + 1);
        }
        self.text.push_str(std::str::from_utf8(&text[at..]).expect("digits"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        let of = |write: &dyn Fn(&mut Json)| {
            let mut json = Json { text: String::new(), flagged: None };
            write(&mut json);
            json.text
        };
        let values = [0.0, 0.05, -0.3, 1.0, -12.34, 71.3, 100.0, 1e15, 1e300, 0.1 + 0.2, -7.0, 1234.5678];
        for value in values {
            for decimals in 0..12 {
                assert_eq!(of(&|json| json.shortest(value, decimals)), value.to_string(), "{decimals}");
            }
            for decimals in [0usize, 1, 2, 3, 12] {
                let is_tie = (value * 10f64.powi(decimals as i32)).fract().abs() == 0.5;
                let fixed = of(&|json| json.fixed(value, decimals as u8));
                let expected = format!("{value:.decimals$}");
                let is_zero = expected.trim_start_matches('-').bytes().all(|byte| b"0.".contains(&byte));
                assert!(is_tie || is_zero || fixed == expected, "{fixed} {expected}");
            }
        }
        assert_eq!(of(&|json| json.shortest(f64::NAN, 1)), "null");
        assert_eq!(of(&|json| json.quoted("a \"b\"\n")), r#""a \"b\"\n""#);
    }
}
