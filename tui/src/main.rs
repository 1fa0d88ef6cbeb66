//! `fusebox`: the dashboard, and the command line twin of everything it does.

mod cli;
mod demo;
mod diagnose;
mod embedded;
mod record;
mod replay;

fn main() -> std::process::ExitCode {
    cli::main()
}
