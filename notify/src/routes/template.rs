//! Templates: texts with placeholders such as `{text}`, whose values are escaped for the place of the template. Other
//! braces are plain text, so that a template can be JSON.

use citytide_domain::nearest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The placeholders.
pub const NAMES: [&str; 7] = ["text", "event", "severity", "zone", "count", "id", "secret"];

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The place of a template, which decides how values are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Url,
    Header,
    Json,
    Form,
    Xml,
    Text,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Plain(String),
    Value(&'static str),
}

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    place: Place,
}

impl Place {
    /// The place for a body of a content type.
    pub fn of_content_type(value: &str) -> Place {
        let value = value.to_ascii_lowercase();
        let is = |word: &str| value.contains(word);
        match () {
            () if is("json") => Place::Json,
            () if is("x-www-form-urlencoded") => Place::Form,
            () if is("xml") || is("html") => Place::Xml,
            () => Place::Text,
        }
    }

    fn escaped(self, value: &str) -> String {
        match self {
            Place::Url | Place::Form => utf8_percent_encode(value, UNRESERVED).to_string(),
            // A line break would begin another header.
            Place::Header => value.chars().map(|one| if one.is_control() { ' ' } else { one }).collect(),
            Place::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                quoted[1..quoted.len() - 1].to_owned()
            }
            Place::Xml => value.chars().fold(String::new(), |mut text, one| {
                match one {
                    '&' => text.push_str("&amp;"),
                    '<' => text.push_str("&lt;"),
                    '>' => text.push_str("&gt;"),
                    '"' => text.push_str("&quot;"),
                    '\'' => text.push_str("&apos;"),
                    one if one.is_control() && !matches!(one, '\t' | '\n' | '\r') => text.push(' '),
                    one => text.push(one),
                }
                text
            }),
            Place::Text => value.to_owned(),
        }
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// The first unknown placeholder, as a sentence.
    pub fn parse(text: &str, place: Place) -> Result<Template, String> {
        let (mut parts, mut rest, mut plain) = (Vec::new(), text, String::new());
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            let word = after.split_once('}').map_or("", |(word, _)| word);
            if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                plain.push('{');
                rest = after;
                continue;
            }
            let Some(name) = NAMES.into_iter().find(|name| *name == word) else {
                let advice = match nearest(word, NAMES) {
                    Some(name) => format!("did you mean {{{name}}}?"),
                    None => format!("there are {}", NAMES.map(|name| format!("{{{name}}}")).join(", ")),
                };
                return Err(format!("there is no placeholder {{{word}}}; {advice}"));
            };
            parts.push(Part::Plain(std::mem::take(&mut plain)));
            parts.push(Part::Value(name));
            rest = &after[word.len() + 1..];
        }
        plain.push_str(rest);
        parts.push(Part::Plain(plain));
        Ok(Template { parts, place })
    }

    /// Whether the template has the placeholder `name`.
    pub fn names(&self, name: &str) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(there) if *there == name))
    }

    /// Replaces the placeholders by escaped values.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> &'v str) -> String {
        let part = |part: &Part| match part {
            Part::Plain(text) => text.clone(),
            Part::Value(name) => self.place.escaped(value(name)),
        };
        self.parts.iter().map(part).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NASTY: &str = "a\"b\\c & <d>\r\nX-Evil: 1 ü";

    fn filled(text: &str, place: Place) -> String {
        Template::parse(text, place).expect("a template").fill(|_| NASTY)
    }

    #[test]
    fn values_are_escaped_by_where_they_stand() {
        let json = filled(r#"{"to": {"n": 1}, "text": "{text}"}"#, Place::Json);
        let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(read["text"], NASTY);
        assert_eq!(
            filled("https://sms.example/?m={text}", Place::Url),
            "https://sms.example/?m=a%22b%5Cc%20%26%20%3Cd%3E%0D%0AX-Evil%3A%201%20%C3%BC"
        );
        assert_eq!(filled("{text}", Place::Header), "a\"b\\c & <d>  X-Evil: 1 ü");
        assert_eq!(filled("<m>{text}</m>", Place::Xml), "<m>a&quot;b\\c &amp; &lt;d&gt;\r\nX-Evil: 1 ü</m>");
        assert!(!filled("a={text}&b=1", Place::Form).contains(" & "));
    }

    #[test]
    fn a_placeholder_that_there_is_not_is_refused() {
        let wrong = Template::parse("{txet}", Place::Text).expect_err("a slip");
        assert_eq!(wrong, "there is no placeholder {txet}; did you mean {text}?");
        assert!(Template::parse("{ not one } {}", Place::Text).is_ok());
    }
}
