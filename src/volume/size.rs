//! Amounts as people write them, and as Docker reads them: `10G` is 10 GiB.

/// Each unit is 1024 times the one before it.
const UNITS: [char; 6] = ['k', 'm', 'g', 't', 'p', 'e'];

/// Reads an amount: digits, perhaps with a fraction, and perhaps a unit in any
/// case, as `512m`, `1.5 GiB` or `10GB`. `None` where it is none, or more than
/// 2^63 - 1.
pub fn parse(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = factor(unit.strip_prefix(' ').unwrap_or(unit))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 15 {
        return None;
    }
    let fraction_of = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = fraction.parse::<u128>().ok()? * factor / fraction_of;
    let amount = whole.parse::<u128>().ok()?.checked_mul(factor)?.checked_add(part)?;
    i64::try_from(amount).ok().map(i64::cast_unsigned)
}

/// Writes an amount exactly, in the largest unit that it is a whole number of.
pub fn show(amount: u64) -> String {
    let mut shown = (amount, String::new());
    for unit in UNITS {
        if shown.0 == 0 || !shown.0.is_multiple_of(1024) {
            break;
        }
        shown = (shown.0 / 1024, unit.to_ascii_uppercase().to_string());
    }
    format!("{}{}", shown.0, shown.1)
}

/// Writes about how much an amount is, for people: three digits and a unit.
pub fn about(amount: u64) -> String {
    let mut shown = (amount, 0, String::new());
    for unit in UNITS {
        if shown.0 < 1024 {
            break;
        }
        shown = (shown.0 / 1024, shown.0 % 1024, unit.to_ascii_uppercase().to_string());
    }
    match shown {
        (whole, _, unit) if unit.is_empty() || whole >= 10 => format!("{whole}{unit}"),
        (whole, rest, unit) => format!("{whole}.{}{unit}", rest * 10 / 1024),
    }
}

fn factor(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_lowercase();
    let mut rest = unit.chars().peekable();
    let mut factor = 1;
    if let Some(power) = rest.peek().and_then(|c| UNITS.iter().position(|unit| unit == c)) {
        factor = 1u128 << (10 * (power + 1));
        rest.next();
        rest.next_if_eq(&'i');
    }
    rest.next_if_eq(&'b');
    rest.next().is_none().then_some(factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        let cases = [
            ("0", Some(0)),
            ("512", Some(512)),
            ("512b", Some(512)),
            ("32k", Some(32 << 10)),
            ("32KiB", Some(32 << 10)),
            ("10G", Some(10 << 30)),
            ("10GB", Some(10 << 30)),
            ("10 gib", Some(10 << 30)),
            ("1.5G", Some(3 << 29)),
            ("2T", Some(2 << 40)),
            ("7.999e", Some(9_222_219_115_350_168_961)),
            ("8E", None),
            ("99999999999999999999", None),
            ("", None),
            ("G", None),
            (".5G", None),
            ("5.G", None),
            ("1.2.3", None),
            ("-1", None),
            ("+1", None),
            ("10X", None),
            ("10iB", None),
            ("10GiBs", None),
            ("10  G", None),
            ("10 %", None),
        ];
        for (text, amount) in cases {
            assert_eq!(parse(text), amount, "{text:?}");
        }
    }

    #[test]
    fn an_amount_is_written_in_its_largest_unit() {
        let cases = [(0, "0"), (1023, "1023"), (1024, "1K"), (10 << 30, "10G"), (3 << 29, "1536M")];
        for (amount, text) in cases {
            assert_eq!(show(amount), text);
        }
    }

    #[test]
    fn people_are_told_about_how_much_it_is() {
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1535, "1.4K"),
            (10 << 10, "10K"),
            (3 << 29, "1.5G"),
            (u64::MAX, "15E"),
        ];
        for (amount, text) in cases {
            assert_eq!(about(amount), text);
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_read_back_as_it_was_written(amount in 0..=i64::MAX.cast_unsigned()) {
            prop_assert_eq!(parse(&show(amount)), Some(amount));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _any = parse(&text);
        }
    }
}
