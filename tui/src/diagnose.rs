//! `fusebox diagnose`: files of traces in, a verdict out; without files the collector is asked about
//! its last minutes.

use crate::cli::args::{Diagnose, Lines};
use crate::cli::connect::Target;
use crate::cli::exit::{Exit, Failure};
use crate::cli::out::{self, Out};
use crate::cli::table::{Align, Table};
use anyhow::Context as _;
use fusebox_collector::capture;
use fusebox_collector::diagnose::{self, Diagnosis, Exhibit, Full, Period, Spans};
use fusebox_proto::text;
use fusebox_proto::wire::v1;
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

/// Reads the files, and prints what they say.
pub(crate) fn of_files(command: &Diagnose, out: Out) -> Result<Exit, Failure> {
    let mut spans = Spans::default();
    let mut told = capture::Told::default();
    let baselines = command.baseline.iter().map(|path| (path, Period::Baseline));
    for (path, period) in command.files.iter().map(|path| (path, Period::Capture)).chain(baselines)
    {
        let of_file = read(path, period, &mut spans)?;
        told.rejected += of_file.rejected;
        told.other += of_file.other;
        told.truncated += of_file.truncated;
    }
    let diagnosis = diagnose::diagnose(&spans, command.since);
    let mut diagnosis = diagnosis.map_err(|refusal| refused(command, &refusal))?;
    diagnosis.data_quality.rejected = told.rejected;
    diagnosis.data_quality.other = told.other;
    diagnosis.data_quality.truncated = told.truncated;
    print(&diagnosis, command.output, out)
}

/// Asks a collector, and prints what its last minutes say.
pub(crate) async fn of_collector(
    target: &Target,
    command: &Diagnose,
    out: Out,
) -> Result<Exit, Failure> {
    let ask = async {
        let mut client = target.connect().await?;
        let request = v1::DiagnoseRequest { since_unix_ms: command.since.map(|since| since.0) };
        target.answer(client.diagnose(request)).await
    };
    let reply = match ask.await {
        // Whoever meant a file has forgotten it.
        Err(Failure::Failed(error)) if !target.answers().await => {
            return Err(Failure::Usage(format!(
                "name a FILE of traces, or a collector: {error:#}"
            )));
        }
        asked => asked?,
    };
    let diagnosis = Diagnosis::from_whole_json(&reply.json)
        .with_context(|| format!("the collector at {} says what does not parse", target.url))?;
    print(&diagnosis, command.output, out)
}

fn print(diagnosis: &Diagnosis, output: Lines, out: Out) -> Result<Exit, Failure> {
    out::print(&match output {
        Lines::Text => text(diagnosis, out),
        Lines::Json => format!("{}\n", serde_json::to_string(diagnosis).expect("plain data")),
    })?;
    Ok(Exit::Done)
}

fn read(path: &Path, period: Period, spans: &mut Spans) -> Result<capture::Told, Failure> {
    let mut added = Ok(());
    let told = capture::read(path, &mut |batch| {
        added = spans.add(batch, period);
        if added.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let told = told.map_err(|error| Failure::Usage(visible(&error.to_string())))?;
    added.map_err(|full: Full| Failure::Usage(format!("{}: {full}", shown(path))))?;
    Ok(told)
}

fn refused(command: &Diagnose, refusal: &diagnose::Refusal) -> Failure {
    match refusal {
        diagnose::Refusal::Empty => {
            let files: Vec<String> = command.files.iter().map(|path| shown(path)).collect();
            Failure::Usage(format!("{}: {refusal}", files.join(", ")))
        }
        diagnose::Refusal::Outside { .. } => Failure::Usage(format!("--since: {refusal}")),
    }
}

fn shown(path: &Path) -> String {
    visible(&path.display().to_string())
}

fn visible(message: &str) -> String {
    text::visible(message).into_owned()
}

/// The verdict first; then what speaks for it, the other suspects, and how good the data is.
fn text(diagnosis: &Diagnosis, out: Out) -> String {
    let Diagnosis { window, suspects, data_quality: quality, evidence, verdict, .. } = diagnosis;
    let mut text = format!("{verdict}\n");
    if !evidence.is_empty() {
        let mut table = Table::new(&[
            ("EVIDENCE", Align::Left),
            ("BEFORE", Align::Right),
            ("SINCE", Align::Right),
            ("REQUESTS", Align::Right),
            ("BLAMES", Align::Left),
            ("AT", Align::Left),
        ]);
        for exhibit in evidence {
            table.row(row(exhibit, out.ascii));
        }
        let _ = write!(text, "\n{}", table.render(out.width));
    }
    if !suspects.is_empty() {
        let mut table = Table::new(&[
            ("SUSPECT", Align::Left),
            ("SCORE", Align::Right),
            ("CONFIDENCE", Align::Right),
            ("REASON", Align::Left),
        ]);
        for suspect in suspects {
            table.row([
                suspect.service.clone(),
                format!("{:.3}", suspect.score),
                format!("{:.0} %", suspect.confidence * 100.0),
                suspect.reason.clone(),
            ]);
        }
        let _ = write!(text, "\n{}", table.render(out.width));
    }
    let _ = writeln!(
        text,
        "\n{} spans of {} traces from {} services, {} to {}; {:.0} s before, {:.0} s after",
        window.spans,
        window.traces,
        quality.services,
        window.from,
        window.to,
        quality.before_s,
        quality.after_s
    );
    let _ = writeln!(
        text,
        "{} operations and calls compared, {} had too few traces",
        quality.compared, quality.too_few
    );
    let counts = [
        (quality.truncated, "files end in the middle"),
        (quality.rejected, "spans refused"),
        (quality.duplicates, "spans came twice"),
        (quality.other, "lines without spans"),
    ];
    for (count, what) in counts.into_iter().filter(|(count, _)| 0 < *count) {
        let _ = writeln!(text, "{count} {what}");
    }
    for note in &quality.notes {
        let _ = writeln!(text, "{note}");
    }
    if out.ascii { text.replace('→', "->").replace('×', "x") } else { text }
}

fn row(exhibit: &Exhibit, ascii: bool) -> [String; 6] {
    let figure = |value: f64| match &*exhibit.unit {
        "%" => format!("{:.1} %", value * 100.0),
        _ => fusebox::format::millis(value),
    };
    let arrow = |place: &str| if ascii { place.replace('→', "->") } else { place.to_owned() };
    [
        format!("{}: {}", exhibit.signal, arrow(&exhibit.place)),
        figure(exhibit.before),
        figure(exhibit.after),
        exhibit.requests.to_string(),
        exhibit.blames.clone(),
        exhibit.operation.clone(),
    ]
}

#[cfg(test)]
mod tests;
