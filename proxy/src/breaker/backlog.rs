//! A callee that works off what waits for it, and the way back to it.

use super::tests::Life;
use super::*;
use fusebox_proto::command::Action;
use std::time::Duration;

/// One attempt of work.
const TICK: Duration = Duration::from_millis(10);
const TICKS_PER_S: u64 = 100;
/// Requests a second: 70 % of what the callee can do; with all repetitions nearly three times that.
const FIRST_PER_S: u64 = 70;
const RETRIES: u32 = 3;
/// A caller gives up, and tries again. What it gave up is worked off all the same.
const PATIENCE_TICKS: u64 = TICKS_PER_S;
/// From here on the callee does a tenth of its work …
const TRIGGER_S: u64 = 10;
/// … for so long.
const TRIGGER_LEN_S: u64 = 10;
const TRIPPED_S: u64 = 30;

/// Which of those that wait comes next.
#[derive(Clone, Copy, Debug)]
enum Order {
    OldestFirst,
    NewestFirst,
    Any,
}

/// An attempt at the callee, whose caller may be gone.
struct Waiting {
    /// `None`: its caller gave up.
    permit: Option<Permit>,
    since: u64,
    retries: u32,
}

struct World {
    life: Life,
    order: Order,
    tick: u64,
    waiting: Vec<Waiting>,
    again: Vec<u32>,
    succeeded: u64,
    dice: u64,
}

impl World {
    fn new(order: Order) -> Self {
        let (waiting, again) = (Vec::new(), Vec::new());
        Self { life: Life::new(), order, tick: 0, waiting, again, succeeded: 0, dice: 7 }
    }

    fn second(&self) -> u64 {
        self.tick / TICKS_PER_S
    }

    fn ask(&mut self, retries: u32) {
        let kind = if retries == 0 { Kind::First } else { Kind::Retry { of_refused: false } };
        let crossing = Crossing { kind, trace: None };
        if let Ok(permit) = self.life.breaker.admit(self.life.now, crossing) {
            self.waiting.push(Waiting { permit: Some(permit), since: self.tick, retries });
        }
    }

    /// Who waited too long gives up, and comes again.
    fn give_up(&mut self) {
        let (now, tick) = (self.life.now, self.tick);
        // They wait in the order in which they came.
        let until = |at: u64| move |waiting: &Waiting| waiting.since + PATIENCE_TICKS < at;
        let from = self.waiting.partition_point(until(tick));
        let to = self.waiting.partition_point(until(tick + 1));
        for waiting in &mut self.waiting[from..to] {
            if let Some(permit) = waiting.permit.take() {
                self.life.breaker.on_outcome(now, permit, Outcome::Cancelled);
                if waiting.retries < RETRIES {
                    self.again.push(waiting.retries + 1);
                }
            }
        }
        for retries in std::mem::take(&mut self.again) {
            self.ask(retries);
        }
    }

    fn work(&mut self) {
        let is_slow = (TRIGGER_S..TRIGGER_S + TRIGGER_LEN_S).contains(&self.second());
        if self.waiting.is_empty() || (is_slow && !self.tick.is_multiple_of(10)) {
            return;
        }
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        let at = match self.order {
            Order::OldestFirst => 0,
            Order::NewestFirst => self.waiting.len() - 1,
            Order::Any => (self.dice % self.waiting.len() as u64) as usize,
        };
        if let Some(permit) = self.waiting.remove(at).permit {
            self.succeeded += 1;
            self.life.breaker.on_outcome(self.life.now, permit, Outcome::Success);
        }
    }

    /// Lives on until then, and says how many succeeded in its last ten seconds, each.
    fn until(&mut self, second: u64) -> u64 {
        let mut before = self.succeeded;
        while self.second() < second {
            if self.tick == second.saturating_sub(10) * TICKS_PER_S {
                before = self.succeeded;
            }
            self.life.now = self.life.now.plus(TICK);
            self.tick += 1;
            if self.tick * FIRST_PER_S % TICKS_PER_S < FIRST_PER_S {
                self.ask(0);
            }
            self.give_up();
            self.work();
        }
        (self.succeeded - before) / 10
    }
}

/// Scenario: a callee slows down for ten seconds; its callers' repetitions keep it down after that,
/// whichever of those that wait it takes first. An operator opens the circuit for far shorter than its
/// backlog takes, or resets it at once after that time.
/// Guarantees: after a lease the ramp waits with its first step until the backlog is gone, also where
/// a few get through early, and then all succeed. (A callee that takes the newest first never gets to
/// its backlog, nor has it to.) Reset at once, the callee goes down again and stays down.
#[test]
fn the_ramp_waits_for_the_backlog() {
    for order in [Order::OldestFirst, Order::NewestFirst, Order::Any] {
        for ttl_s in [2, 5, 10, 20] {
            let trip = |ttl_s| {
                let mut world = World::new(order);
                world.until(TRIPPED_S);
                assert!(2_000 < world.waiting.len(), "{order:?}: it keeps itself down");
                let ttl = Duration::from_secs(ttl_s);
                world.life.order(Verb::Trip { action: Action::Open, ttl, proxies: 1 });
                world
            };
            let mut world = trip(ttl_s);
            for second in TRIPPED_S + 1..150 {
                world.until(second);
                let given_back = world.life.breaker.standing(world.life.now.instant).percent;
                let waits = 2 * PATIENCE_TICKS < world.waiting.len() as u64;
                let may_wait = !matches!(order, Order::NewestFirst);
                assert!(!(waits && may_wait && Some(25) < given_back), "{order:?} {second}");
            }
            assert_eq!(world.until(160), FIRST_PER_S, "{order:?} {ttl_s}");
            assert!(world.waiting.len() <= 1 && world.life.breaker.state() == BreakerState::Closed);

            let mut world = trip(3_600);
            world.until(TRIPPED_S + ttl_s);
            world.life.order(Verb::Reset { at_once: true });
            let may_wait = !matches!(order, Order::NewestFirst);
            assert_eq!(world.until(160) < FIRST_PER_S / 4, may_wait, "{order:?} {ttl_s}");
        }
    }
}
