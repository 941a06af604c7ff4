//! A typed value with its place, and the collection of mistakes.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;

use toml::Spanned;

use super::nearest::nearest;

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Findings {
    pub list: RefCell<Vec<(Range<usize>, String)>>,
    /// Whether the file has syntax errors: keys that seem missing may be in lines that could not be parsed.
    pub is_broken: bool,
}

impl Findings {
    pub fn add(&self, span: Range<usize>, sentence: impl Into<String>) {
        self.list.borrow_mut().push((span, sentence.into()));
    }

    pub fn add_missing(&self, span: Range<usize>, sentence: impl Into<String>) {
        if !self.is_broken {
            self.add(span, sentence);
        }
    }

    /// Returns the index of `name` in `known`. If it is unknown, records a mistake that begins with `complaint` and
    /// ends with the nearest known name or `otherwise`; without either it records none.
    pub fn index_of<'k>(
        &self,
        name: &Spanned<impl AsRef<str>>,
        known: impl Iterator<Item = &'k str> + Clone,
        complaint: &str,
        quote: char,
        otherwise: Option<&str>,
    ) -> Option<usize> {
        let typed = name.get_ref().as_ref();
        let index = known.clone().position(|known| known == typed);
        let advice = || match nearest(typed, known) {
            Some(known) => Some(format!("did you mean {quote}{known}{quote}?")),
            None => otherwise.map(str::to_owned),
        };
        if index.is_none()
            && let Some(advice) = advice()
        {
            let sentence = format!("{complaint} {quote}{}{quote}; {advice}", typed.escape_debug());
            self.add(name.span(), sentence);
        }
        index
    }
}

/// The value of a key with its place. It is empty when the file does not have the key, or when the value has the wrong
/// type, which has been recorded as a mistake.
pub struct Typed<'a, T> {
    pub at: Option<Spanned<T>>,
    /// The key and its section, as the beginning of a sentence.
    pub name: String,
    pub findings: &'a Findings,
}

impl<T> Typed<'_, T> {
    pub fn or(self, default: T) -> T {
        self.option().unwrap_or(default)
    }

    pub fn or_default(self) -> T
    where
        T: Default,
    {
        self.option().unwrap_or_default()
    }

    pub fn option(self) -> Option<T> {
        self.at.map(Spanned::into_inner)
    }

    pub fn as_ref(&self) -> Option<&T> {
        self.at.as_ref().map(Spanned::get_ref)
    }

    /// Records the mistake that `wrong` returns for the value, if any; keeps the value.
    pub fn refuse_if(self, wrong: impl FnOnce(&T) -> Option<String>) -> Self {
        if let Some(at) = &self.at
            && let Some(sentence) = wrong(at.get_ref())
        {
            self.findings.add(at.span(), sentence);
        }
        self
    }

    /// Records a mistake, the key followed by `complaint`, if `is_right` is false for the value.
    pub fn check(self, is_right: impl FnOnce(&T) -> bool, complaint: impl Display) -> Self {
        let name = self.name.clone();
        self.refuse_if(|value| (!is_right(value)).then(|| format!("{name} {complaint}")))
    }
}

impl<T: Copy> Typed<'_, Vec<Spanned<T>>> {
    /// Records `sentence` for each item for which `is_right` is false.
    pub fn each(self, is_right: impl Fn(T) -> bool, sentence: impl Display) -> Self {
        for item in self.as_ref().into_iter().flatten().filter(|item| !is_right(*item.get_ref())) {
            self.findings.add(item.span(), sentence.to_string());
        }
        self
    }

    pub fn values(self) -> Option<Vec<T>> {
        Some(self.option()?.into_iter().map(Spanned::into_inner).collect())
    }
}
