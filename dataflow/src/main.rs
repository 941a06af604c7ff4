//! Parses the command line into a configuration and runs the command; nothing else.

use citytide::cli::{self, Typed, settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let file = |path: &std::path::Path| std::fs::read_to_string(path);
    let code = match settings::read::<Typed>(&arguments, &settings::environment, &file) {
        Ok((typed, configuration)) => cli::run(typed, &configuration),
        Err(stop) => stop.exit(),
    };
    // Threads that the run no longer waits for may still close their clients, and must not meet the exit handlers of the
    // libraries that they use. What is printed was flushed with each line.
    signal_hook::low_level::exit(code);
}
