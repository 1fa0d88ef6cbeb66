//! Streams between proxies and the collector: in order, late, and cut at times.

use super::console::Reply;
use super::{Happening, Stream, World};
use fusebox_collector::engine::{ConnectionId, Engine, Event, Output};
use fusebox_collector::record::{CommandRecord, Record};
use fusebox_proto::command::{AckResult, ToProxy};
use fusebox_proto::report::FromProxy;
use rand::RngExt as _;

impl World {
    pub(super) fn connect(&mut self, proxy: usize) {
        if self.streams.contains_key(&proxy) {
            return;
        }
        let refused = self.engine.is_none() || self.is_hostile && self.rng.random_bool(0.2);
        if refused {
            let later = self.millis(100..2_000);
            return self.after(later, Happening::Connect(proxy));
        }
        let connection = ConnectionId(self.connections.len() as u64);
        self.connections.push(proxy);
        self.streams.insert(proxy, connection);
        self.lanes.insert(connection, (proxy, Stream::default()));
        for message in self.sidecars[proxy].introduce(self.now) {
            self.send_up(proxy, message);
        }
    }

    pub(super) fn send_up(&mut self, proxy: usize, message: FromProxy) {
        let Some(&connection) = self.streams.get(&proxy) else { return };
        let delay = self.millis(0..300);
        // A proxy that has not noticed yet speaks into a stream that is cut.
        let Some((_, stream)) = self.lanes.get_mut(&connection) else { return };
        let at = stream.up.arrival(self.now.instant, delay);
        self.agenda.put(at, Happening::AtCollector(connection, Box::new(message)));
    }

    pub(super) fn send_down(&mut self, connection: ConnectionId, message: ToProxy) {
        let delay = self.millis(0..300);
        let Some((proxy, stream)) = self.lanes.get_mut(&connection) else { return };
        let at = stream.down.arrival(self.now.instant, delay);
        self.agenda.put(at, Happening::AtProxy(*proxy, connection, Box::new(message)));
    }

    /// The stream is cut: messages in flight are lost with it.
    pub(super) fn cut(&mut self, connection: ConnectionId) {
        let Some((proxy, _)) = self.lanes.remove(&connection) else { return };
        self.agenda.retain(|what| match what {
            Happening::AtCollector(at, _) | Happening::AtProxy(_, at, _) => *at != connection,
            _ => true,
        });
        let (up, down) = (self.millis(0..5_000), self.millis(0..5_000));
        self.after(up, Happening::CollectorSeesEnd(connection));
        self.after(down, Happening::ProxySeesEnd(proxy, connection));
    }

    pub(super) fn proxy_sees_end(&mut self, proxy: usize, connection: ConnectionId) {
        if self.streams.get(&proxy) == Some(&connection) {
            self.streams.remove(&proxy);
            let later = self.millis(0..1_000);
            self.after(later, Happening::Connect(proxy));
        }
    }

    pub(super) fn at_collector(&mut self, connection: ConnectionId, message: FromProxy) {
        // A proxy says that it has a command when it acknowledges it, and when it comes back.
        if let Some((proxy, _)) = self.lanes.get(&connection) {
            match &message {
                FromProxy::Ack(ack) => self.truth.told(*proxy, &ack.id),
                FromProxy::Hello(hello) => {
                    for held in &hello.held {
                        let edge = self.sidecars[*proxy].edge_to(&held.command.destination);
                        self.truth.told(*proxy, &held.command.id);
                        self.truth.brought(self.now, edge, &held.command);
                    }
                }
                FromProxy::Report(_) | FromProxy::PolicyAck(_) => (),
            }
        }
        self.tell(match message {
            FromProxy::Hello(hello) => Event::Hello { connection, hello },
            FromProxy::Report(report) => Event::Report { connection, report },
            FromProxy::Ack(ack) => Event::Ack { connection, ack },
            FromProxy::PolicyAck(ack) => Event::PolicyAck { connection, ack },
        });
    }

    pub(super) fn at_proxy(
        &mut self,
        proxy: usize,
        connection: ConnectionId,
        message: ToProxy,
    ) -> Result<(), String> {
        if self.streams.get(&proxy) != Some(&connection) {
            return Ok(());
        }
        match message {
            ToProxy::Command(command) => {
                let answer = self.sidecars[proxy].command(self.now, &command)?;
                let at = self.now.instant.duration_since(self.start);
                self.log.push(format!("{at:?} {proxy} {:?} {answer:?}", command.verb));
                if answer.result == AckResult::Applied {
                    let edge = self.sidecars[proxy].edge_to(&command.destination);
                    self.truth.applied(proxy, edge, &command);
                }
                self.send_up(proxy, FromProxy::Ack(answer));
            }
            ToProxy::ReportAck { boot, number } => self.sidecars[proxy].taken(boot, number),
            ToProxy::Welcome(_) | ToProxy::Policy(_) => (),
        }
        Ok(())
    }

    /// A disk refuses some records while the world is hostile.
    pub(super) fn synced(&mut self, number: u64, at_unix_ms: u64, record: Record) {
        let is_refused = self.is_hostile && self.rng.random_bool(0.02);
        if !is_refused {
            if let Record::Command(CommandRecord::Asked { command, .. }) = &record {
                self.kept.insert(command.id.clone());
            }
            self.disk.apply(at_unix_ms, record);
        }
        let result = if is_refused { Err("full".into()) } else { Ok(()) };
        self.tell(Event::Stored { numbers: number..=number, result });
    }

    pub(super) fn perform_outputs(&mut self) -> Result<(), String> {
        while let Some(output) = self.engine.as_mut().and_then(Engine::poll_output) {
            match output {
                Output::Push { connection, command } => {
                    let proxy = self.connections[connection.0 as usize];
                    let edge = self.sidecars[proxy].edge_to(&command.destination);
                    self.truth.sent(self.now, edge, &command);
                    self.send_down(connection, ToProxy::Command(command));
                }
                Output::Taken { connection, boot, number } => {
                    self.send_down(connection, ToProxy::ReportAck { boot, number });
                }
                Output::Store { number, at_unix_ms, record } => {
                    let delay = self.millis(0..40);
                    let at = self.to_disk.arrival(self.now.instant, delay);
                    let record = Box::new(record);
                    self.agenda.put(at, Happening::Synced { number, at_unix_ms, record });
                }
                Output::PushPolicy { connection, push } => {
                    self.send_down(connection, ToProxy::Policy((*push).clone()));
                }
                Output::Close { connection, .. } => self.cut(connection),
                Output::Done { request_id, results } => {
                    for result in &results {
                        if result.proxies < result.applied {
                            return Err(format!("more acknowledgements than proxies: {result:?}"));
                        }
                        if self.truth.count_told(&result.id) < result.applied {
                            return Err(format!("an acknowledgement that nobody gave: {result:?}"));
                        }
                        if !self.kept.contains(&result.id) && !result.note.contains("disk") {
                            return Err(format!("acknowledged, and not on disk: {result:?}"));
                        }
                    }
                    self.answer(request_id, Reply::Done(results));
                    self.publish_now();
                }
                Output::Refused { request_id, refusal } => {
                    self.answer(request_id, Reply::Refused(refusal.to_string()));
                }
                Output::Diagnose { look } => {
                    self.tell(Event::Diagnosed { answer: Box::new(look.run()) });
                }
                // Nobody applies a policy here.
                Output::PolicyDone { .. } => (),
            }
        }
        Ok(())
    }
}
