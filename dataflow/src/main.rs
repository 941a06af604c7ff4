//! What was typed → what is used → run; nothing else.
fn main() {}
