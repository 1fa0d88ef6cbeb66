//! A replay for a collector elsewhere.

use crate::cli::args::Replay;
use crate::cli::exit::{Exit, Failure};
use fusebox_collector::replay::Recording;

pub(super) async fn run(_: &Recording, _: &str, _: &Replay) -> Result<Exit, Failure> {
    Err(Failure::Usage("later".into()))
}
