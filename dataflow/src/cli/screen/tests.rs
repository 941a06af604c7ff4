//! What a terminal shows of what is written.

use super::*;

/// A terminal that understands what is used here: new lines, cursor up, erase below, colours.
struct Terminal {
    size: Size,
    /// All lines, those that have scrolled away first.
    lines: Vec<String>,
    row: usize,
}

impl Terminal {
    fn new(columns: usize, rows: usize) -> Terminal {
        Terminal { size: Size { columns, rows }, lines: vec![String::new()], row: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\n' => self.down(),
                '\r' => {}
                '\x1b' => {
                    assert_eq!(characters.next(), Some('['));
                    let mut number = String::new();
                    let command = loop {
                        match characters.next().expect("a sequence ends") {
                            digit @ '0'..='9' => number.push(digit),
                            command => break command,
                        }
                    };
                    match command {
                        'A' => {
                            let top = self.lines.len().saturating_sub(self.size.rows);
                            self.row = (self.row - number.parse::<usize>().expect("a number")).max(top);
                        }
                        'J' => {
                            self.lines.truncate(self.row + 1);
                            self.lines[self.row].clear();
                        }
                        'm' => {}
                        other => panic!("the terminal does not know {other}"),
                    }
                }
                character => {
                    if self.lines[self.row].chars().count() == self.size.columns {
                        self.down();
                    }
                    self.lines[self.row].push(character);
                }
            }
        }
    }

    fn down(&mut self) {
        self.row += 1;
        if self.row == self.lines.len() {
            self.lines.push(String::new());
        }
    }

    /// As terminals do when they become narrower: lines that no longer fit go on below.
    fn narrow(&mut self, columns: usize) {
        let mut lines = Vec::new();
        for line in &self.lines {
            let characters: Vec<char> = line.chars().collect();
            match characters.is_empty() {
                true => lines.push(String::new()),
                false => lines.extend(characters.chunks(columns).map(|part| part.iter().collect())),
            }
        }
        self.row = lines.len() - 1;
        self.lines = lines;
        self.size.columns = columns;
    }

    fn shown(&self) -> Vec<&str> {
        assert_eq!(self.row, self.lines.len() - 1, "the cursor is below everything");
        assert_eq!(self.lines[self.row], "", "the cursor is in the first column");
        self.lines[..self.row].iter().map(String::as_str).collect()
    }
}

fn block(lines: &[&str]) -> Vec<Line> {
    lines.iter().map(|text| Line { text: (*text).to_owned(), label: 2, alarm: false }).collect()
}

#[test]
fn lines_go_by_above_a_block_that_is_drawn_in_place() {
    let (mut picture, mut terminal) = (Picture::default(), Terminal::new(40, 10));
    let size = Some(terminal.size);
    terminal.take(&picture.above(b"one\n", size, true));
    terminal.take(&picture.show(block(&["a 1", "b 1"]), size, true));
    assert_eq!(terminal.shown(), ["one", "a 1", "b 1"]);
    terminal.take(&picture.show(block(&["a 2", "b 2"]), size, true));
    terminal.take(&picture.above(b"two\nthree", size, true));
    terminal.take(&picture.show(block(&["a 3"]), size, true));
    assert_eq!(terminal.shown(), ["one", "two", "three", "a 3"]);
    terminal.take(&picture.above(b"four\n", size, true));
    terminal.take(&picture.show(Vec::new(), size, true));
    assert_eq!(terminal.shown(), ["one", "two", "three", "four"], "it leaves nothing behind");
}

#[test]
fn a_long_line_of_the_log_may_wrap_and_the_block_may_not() {
    let (mut picture, mut terminal) = (Picture::default(), Terminal::new(10, 10));
    let size = Some(terminal.size);
    for _ in 0..2 {
        terminal.take(&picture.show(block(&["a 34567890123"]), size, false));
    }
    terminal.take(&picture.above(b"123456789012\n", size, false));
    assert_eq!(terminal.shown(), ["1234567890", "12", "a 345678…"]);
}

#[test]
fn a_terminal_that_becomes_narrower_keeps_no_rests_of_the_block() {
    let (mut picture, mut terminal) = (Picture::default(), Terminal::new(40, 12));
    terminal.take(&picture.above(b"one\n", Some(terminal.size), true));
    terminal.take(&picture.show(block(&["a 34567890123456789012345", "b 1"]), Some(terminal.size), true));
    terminal.narrow(10);
    terminal.take(&picture.show(block(&["a 34567890123456789012345", "b 2"]), Some(terminal.size), true));
    assert_eq!(terminal.shown(), ["one", "a 345678…", "b 2"]);
}

#[test]
fn a_terminal_that_is_too_low_shows_the_first_lines_only() {
    let (mut picture, mut terminal) = (Picture::default(), Terminal::new(40, 3));
    let size = Some(terminal.size);
    for turn in ["1", "2", "3"] {
        terminal.take(&picture.show(block(&["a", "b", "c", "d"]), size, false));
        terminal.take(&picture.above(turn.as_bytes(), size, false));
    }
    assert_eq!(terminal.shown(), ["1", "2", "3", "a", "b"]);
}

#[test]
fn in_the_background_lines_go_by_without_a_block_and_nothing_is_erased() {
    let mut picture = Picture::default();
    let size = Some(Size { columns: 40, rows: 10 });
    assert!(!picture.show(block(&["a 1"]), size, false).is_empty());
    picture.forget();
    assert_eq!(picture.above(b"one\n", None, false), b"one\n");
    assert_eq!(picture.show(block(&["a 2"]), None, false), b"");
    assert_eq!(
        picture.show(block(&["a 3"]), size, false),
        b"a 3\n",
        "in front again it is drawn where it is"
    );
}
