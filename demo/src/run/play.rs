//! The loop of a run: the script's turns, what callers saw, what the collector said, what was done
//! about it, each told as it happens.

use crate::backstage::Order;
use crate::collector::{AskError, Done, Hand};
use crate::conditions::Turn;
use crate::event::{Event, Line, Summary};
use crate::shop::Shop;
use crate::stage::{Notices, Stage};
use crate::verdict::{self, Verdict};
use fusebox_proto::view::{Incident, SuggestedAction};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{interval, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often recovery is looked for.
const RECOVERY_POLL: Duration = Duration::from_millis(250);
/// A run without an end ends after this time: a year.
const FOREVER: Duration = Duration::from_hours(24 * 365);

/// A run under way.
pub(super) struct Play<F> {
    stage: Arc<Stage>,
    shop: Shop,
    /// What is still to come of the script.
    turns: VecDeque<Turn>,
    /// Whoever does what the script wants behind the stage.
    orders: mpsc::Sender<Order>,
    verdict: Verdict,
    /// When the load ends.
    end: Duration,
    /// Whether it has ended; then the last visitors are waited for.
    is_closed: bool,
    /// From sending the action to its answer from all proxies.
    acted: Option<Duration>,
    tell: F,
}

/// Where news comes from.
pub(super) struct Sources {
    /// Ends the run early.
    pub(super) stop: CancellationToken,
    /// What callers saw.
    pub(super) notices: Notices,
    /// What the collector says.
    pub(super) incidents: mpsc::Receiver<Vec<Incident>>,
    /// Who acts.
    pub(super) hand: Option<Hand>,
}

/// What came of an action.
struct Acted {
    sent: Duration,
    answered: Duration,
    result: Result<Done, AskError>,
}

impl<F: FnMut(&Line) + Send> Play<F> {
    pub(super) fn new(
        stage: Arc<Stage>,
        shop: Shop,
        (turns, orders): (VecDeque<Turn>, mpsc::Sender<Order>),
        duration: Option<Duration>,
        tell: F,
    ) -> Self {
        Self {
            stage,
            shop,
            turns,
            orders,
            verdict: Verdict::default(),
            end: duration.unwrap_or(FOREVER),
            is_closed: false,
            acted: None,
            tell,
        }
    }

    /// Plays until the load has ended and its last visitors have left, or `stop`.
    pub(super) async fn run(&mut self, sources: Sources) {
        let Sources { stop, mut notices, mut incidents, mut hand } = sources;
        let (acted_sender, mut acted) = mpsc::channel(1);
        let mut recovery = interval(RECOVERY_POLL);
        loop {
            let next = self.stage.clock.moment(self.next_at());
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(next) => {
                    if self.is_closed {
                        break;
                    }
                    self.step();
                }
                Some((at, event)) = notices.recv() => self.tell_at(at, event),
                Some(acted) = acted.recv() => self.acted(acted),
                Some(said) = incidents.recv() => {
                    self.verdict.take(said).into_iter().for_each(|event| self.tell(event));
                    if let Some(action) = self.verdict.suggestion().cloned()
                        && let Some(hand) = hand.take()
                    {
                        self.send(action, hand, acted_sender.clone());
                    }
                }
                _ = recovery.tick() => self.look_for_recovery(),
            }
        }
        self.end = self.end.min(self.stage.clock.elapsed());
        self.look_for_recovery();
    }

    /// The last line.
    pub(super) fn summarise(&mut self) -> Summary {
        let plan = Arc::clone(&self.stage.plan);
        let expect = plan.expect();
        let run = verdict::Run {
            scenario: &plan.scenario.name,
            seed: plan.seed,
            expect: expect.as_ref(),
            began_unix_ms: self.stage.clock.began_unix_ms(),
            end: self.end,
            act: self.acted,
        };
        let summary = verdict::summary(&run, &self.stage.truth(), &self.verdict);
        self.tell(Event::Summary(summary.clone()));
        summary
    }

    /// The shop, to be shut.
    pub(super) fn into_shop(self) -> Shop {
        self.shop
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.tell_at(self.stage.clock.elapsed(), event);
    }

    fn tell_at(&mut self, at: Duration, event: Event) {
        (self.tell)(&Line::new(at, event));
    }

    /// The longest that a visitor may still wait.
    fn patience(&self) -> Duration {
        let loads = self.stage.plan.scenario.load.iter();
        Duration::from_millis(loads.map(|load| load.patience_ms).max().unwrap_or_default())
    }

    fn next_at(&self) -> Duration {
        if self.is_closed {
            return self.end + self.patience();
        }
        self.turns.front().map_or(self.end, |turn| turn.at.min(self.end))
    }

    /// The next turn of the script, or the end of the load.
    fn step(&mut self) {
        let now = self.stage.clock.elapsed();
        let Some(turn) = self.turns.pop_front_if(|turn| turn.at < self.end) else {
            self.is_closed = true;
            return self.shop.close_doors();
        };
        self.shop.turn(turn);
        if let Some(order) = Order::of(&self.stage.plan, turn) {
            match order {
                Order::Kill => self.stage.truth().collector_gone(now),
                Order::Start => self.stage.truth().collector_back(now),
                Order::Shift { .. } | Order::Lease { .. } => (),
            }
            // There is room for all orders of a script.
            let _ = self.orders.try_send(order);
        }
        let fault = self.stage.describe(turn.fault);
        if turn.begins {
            self.stage.truth().fault(now);
            self.tell_at(now, Event::FaultInjected { fault });
        } else {
            self.stage.truth().fault_ended(now);
            self.tell_at(now, Event::FaultEnded { fault });
        }
    }

    fn send(&mut self, action: SuggestedAction, mut hand: Hand, done: mpsc::Sender<Acted>) {
        let sent = self.stage.clock.elapsed();
        self.stage.truth().action(sent);
        let stage = Arc::clone(&self.stage);
        let doing = action.clone();
        tokio::spawn(async move {
            let result = hand.act(&doing).await;
            let answered = stage.clock.elapsed();
            // Nobody listens after the end of the run.
            let _ = done.send(Acted { sent, answered, result }).await;
        });
        let SuggestedAction { action, source, destination, ttl_s, .. } = action;
        let action = action.to_string();
        self.tell_at(sent, Event::ActionSent { action, source, destination, ttl_s });
    }

    fn acted(&mut self, acted: Acted) {
        let (applied, proxies, note) = match acted.result {
            Ok(result) => (result.applied, result.proxies, result.note),
            Err(error) => (0, 0, error.to_string()),
        };
        if 0 < applied && applied == proxies {
            self.acted = Some(acted.answered.saturating_sub(acted.sent));
        }
        self.tell_at(acted.answered, Event::ActionApplied { applied, proxies, note });
    }

    fn look_for_recovery(&mut self) {
        let now = self.stage.clock.elapsed();
        let settled = now.min(self.end).min(now.saturating_sub(self.patience()));
        let found = self.stage.truth().recovery(settled);
        if let Some(since) = found {
            let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            self.tell_at(now, Event::Recovered { since_ms });
        }
    }
}
