//! `fusebox record`: what comes in, or what came in around an incident, as a file.

use crate::cli::args::Record;
use crate::cli::connect::Target;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out;
use fusebox::recorder::{self, RecordError, Recorded};
use fusebox_proto::text;
use fusebox_proto::wire::v1::record_request::Period;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Without a word about it, so long.
const LENGTH_DEFAULT: Duration = Duration::from_mins(1);

/// Records into a file, until the time is over or Ctrl-C.
pub(crate) async fn run(target: &Target, record: Record) -> Result<Exit, Failure> {
    let mut client = target.connect().await?;
    let length = record.length.unwrap_or(LENGTH_DEFAULT);
    let length_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    let period = record.incident.map_or(Period::ForMs(length_ms), Period::Incident);
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let told_to_end = async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    let path = &record.out;
    let recorded = recorder::record(&mut client, period, path, told_to_end).await;
    let recorded = recorded.map_err(|error| match error {
        RecordError::Refused(status) => Failure::refused(&target.url, &status),
        RecordError::File { .. } => Failure::Usage(visible(&format!("--out {error}"))),
        RecordError::Cut { .. } | RecordError::Full { .. } => {
            Failure::Failed(anyhow::anyhow!("{}", visible(&error.to_string())))
        }
    })?;
    out::print(&said(&recorded, &visible(&path.display().to_string())))?;
    Ok(Exit::Done)
}

fn said(recorded: &Recorded, path: &str) -> String {
    let Recorded { requests, proxy_messages, lost, from, to } = recorded;
    let (Some(from), Some(to)) = (from, to) else {
        return format!("{path}: nothing came in\n");
    };
    let lost = match lost {
        0 => String::new(),
        n => format!("; {n} more had left the collector's memory"),
    };
    format!(
        "{path}: {from} to {to}, {requests} requests of spans and {proxy_messages} messages of \
         proxies{lost}\n"
    )
}

fn visible(message: &str) -> String {
    text::visible(message).into_owned()
}
