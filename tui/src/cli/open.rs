//! No command: the dashboard, or in a pipe the status.

use super::args::{COLLECTOR_DEFAULT, Global, Query};
use super::connect::Target;
use super::exit::{Exit, Failure};
use super::out::Out;
use super::{many_threads, one_thread, operator, query, target};
use crate::embedded;
use fusebox::dashboard::{self, Ingest, Options};
use fusebox_proto::page::Noun;

/// Opens the dashboard on the collector that was named, else on the one at the default address,
/// else on one of its own. Where nobody sees a screen, tells the status once.
pub(crate) fn run(global: &Global, out: Out) -> Result<Exit, Failure> {
    let target = target(global)?;
    if out.width.is_none() && !global.plain {
        let status = query::run(&target, Noun::Status, Query::default(), out);
        return one_thread()?.block_on(status);
    }
    many_threads()?.block_on(async {
        if global.collector.is_some() || target.answers().await {
            return show(global, &target, ingest(&target.url), None).await;
        }
        let collector = embedded::Collector::start(global.token_file.clone()).await?;
        let own = Target { url: collector.url(), token: target.token };
        let notice = format!(
            "no collector answers at {COLLECTOR_DEFAULT}: one runs in here, in memory, and what it \
             knows ends with it"
        );
        let exit = show(global, &own, collector.ingest(), Some(notice)).await?;
        collector.shutdown().await?;
        Ok(exit)
    })
}

/// Runs the dashboard on a collector until its operator leaves.
pub(crate) async fn show(
    global: &Global,
    target: &Target,
    ingest: Ingest,
    notice: Option<String>,
) -> Result<Exit, Failure> {
    let options = Options {
        collector: target.url.clone(),
        token: target.token.clone(),
        by: operator(),
        read_only: global.read_only,
        plain: global.plain,
        ascii: global.ascii,
        theme: global.theme.clone(),
        ingest,
        notice,
    };
    dashboard::run(options).await?;
    Ok(Exit::Done)
}

/// Where a collector elsewhere most probably takes telemetry: it tells only proxies.
pub(crate) fn ingest(url: &str) -> Ingest {
    let host = url.trim_start_matches("http://");
    let host = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let host = host.map_or("127.0.0.1", |(host, _)| host);
    Ingest { otlp_grpc: format!("{host}:4317"), otlp_http: format!("{host}:4318") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: control addresses with names and numbers.
    /// Guarantees: telemetry is pointed at the same host, on OpenTelemetry's ports.
    #[test]
    fn telemetry_goes_to_the_collectors_host() {
        let check = |url: &str, expected: [&str; 2]| {
            let Ingest { otlp_grpc, otlp_http } = ingest(url);
            assert_eq!([&*otlp_grpc, &*otlp_http], expected);
        };
        check("http://127.0.0.1:4319", ["127.0.0.1:4317", "127.0.0.1:4318"]);
        check("http://collector.mesh:1", ["collector.mesh:4317", "collector.mesh:4318"]);
        check("http://[::1]:4319", ["[::1]:4317", "[::1]:4318"]);
    }
}
