//! What was typed → what is used → run; nothing else.

use citytide::cli;
use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// From a Kafka topic of sensor readings to exactly-once tables in PostgreSQL
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Typed {
    #[command(subcommand)]
    command: Command,
    /// What is logged: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, global = true, default_value = "info", value_name = "LEVEL")]
    log: tracing_subscriber::EnvFilter,
}

#[derive(Subcommand)]
enum Command {
    /// Read the topic, score, aggregate and commit, until told to end
    Run(cli::run::Args),
    /// Recompute every window from sensor_data and list each difference
    Verify(cli::verify::Args),
    /// List and show records that are no readings, and replay them once the domain file is mended
    DeadLetters(cli::dead_letters::Args),
}

fn main() {
    let typed = Typed::parse();
    cli::log::start(typed.log);
    let code = match typed.command {
        Command::Run(args) => cli::run::run(args),
        Command::Verify(args) => cli::verify::run(&args),
        Command::DeadLetters(args) => cli::dead_letters::run(&args),
    };
    std::process::exit(code);
}
