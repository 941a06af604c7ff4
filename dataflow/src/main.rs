//! What was typed → what is used → run; nothing else.

use citytide::cli::{self, Typed, config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let code = match config::read::<Typed>(&arguments, &config::environment) {
        Ok((typed, configuration)) => cli::run(typed, &configuration),
        Err(stop) => stop.exit(),
    };
    std::process::exit(code);
}
