//! What goes between the proxies of the shop and the collector, and whoever acts.

use super::{Happening, SECOND, Shop};
use fusebox_collector::engine::{ConnectionId, Event, Output};
use fusebox_proto::command::{Command, TripRequest};
use fusebox_proto::report::FromProxy;
use fusebox_proto::view::{Remedy, SuggestedAction};
use std::time::{Duration, Instant};

/// Whether somebody does what is suggested, and how far that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acting {
    Never,
    Ready,
    Sent(Duration),
    /// From sending it until all proxies had it.
    Done(Duration),
}

impl Acting {
    pub(super) const fn took(self) -> Option<Duration> {
        match self {
            Self::Done(took) => Some(took),
            _ => None,
        }
    }
}

impl Shop {
    /// A message of a proxy is on its way.
    pub(super) fn send_up(&mut self, at: usize, message: FromProxy) {
        let delay = self.millis(0..200);
        let now = self.wall().instant;
        let arrival = self.instances[at].up.arrival(now, delay);
        self.agenda.put(arrival, Happening::AtCollector(at, Box::new(message)));
    }

    pub(super) fn window_ends(&mut self, at: usize) {
        self.put(self.now + SECOND, Happening::Window(at));
        let now = self.wall();
        self.instances[at].sidecar.close_window(now);
        for report in self.instances[at].sidecar.reports() {
            self.send_up(at, report);
        }
        if at == 0 {
            self.listen();
        }
    }

    pub(super) fn at_collector(&mut self, at: usize, message: FromProxy) {
        let connection = ConnectionId(at as u64);
        let event = match message {
            FromProxy::Hello(hello) => Event::Hello { connection, hello },
            FromProxy::Report(report) => Event::Report { connection, report },
            FromProxy::Ack(ack) => Event::Ack { connection, ack },
            FromProxy::PolicyAck(ack) => Event::PolicyAck { connection, ack },
        };
        self.engine.handle(self.wall(), event);
        if self.acting == Acting::Ready {
            self.listen();
            if let Some(action) = self.verdict.suggestion().cloned() {
                self.act(action);
            }
        }
    }

    /// Takes what the collector says now.
    pub(super) fn listen(&mut self) {
        self.verdict.take(self.snapshot().incidents);
    }

    fn act(&mut self, suggested: SuggestedAction) {
        let Remedy::Trip(action) = suggested.action else { return };
        self.truth.action(self.now);
        self.acting = Acting::Sent(self.now);
        let request = TripRequest {
            request_id: "on-call".to_owned(),
            source: suggested.source,
            destination: suggested.destination,
            action,
            percent: None,
            ttl: Duration::from_secs(suggested.ttl_s),
            reason: String::new(),
            by: "on-call".to_owned(),
        };
        self.engine.handle(self.wall(), Event::Trip(request));
    }

    pub(super) fn perform_outputs(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Taken { connection, boot, number } => {
                    self.instances[connection.0 as usize].sidecar.taken(boot, number);
                }
                Output::Push { connection, command } => {
                    let at = connection.0 as usize;
                    let delay = self.millis(0..20);
                    let now = self.wall().instant;
                    let arrival = self.instances[at].down.arrival(now, delay);
                    self.agenda.put(arrival, Happening::AtProxy(at, Box::new(command)));
                }
                Output::Done { .. } => {
                    if let Acting::Sent(sent) = self.acting {
                        self.acting = Acting::Done(self.now.saturating_sub(sent));
                    }
                }
                _ => (),
            }
        }
    }

    pub(super) fn at_proxy(&mut self, at: usize, command: &Command) {
        let now = self.wall();
        let ack = self.instances[at].sidecar.command(now, command).expect("a command for it");
        self.send_up(at, FromProxy::Ack(ack));
    }

    /// When the next lease or ramp ends; there are none before somebody acts.
    pub(super) fn leases_end_at(&self) -> Option<Instant> {
        if matches!(self.acting, Acting::Never | Acting::Ready) {
            return None;
        }
        self.instances.iter().filter_map(|instance| instance.sidecar.poll_timeout()).min()
    }

    pub(super) fn end_leases(&mut self) {
        let now = self.wall();
        if self.leases_end_at().is_some_and(|at| at <= now.instant) {
            for instance in &mut self.instances {
                instance.sidecar.handle_timeout(now);
            }
        }
    }
}
