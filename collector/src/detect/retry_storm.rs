//! The retry storm on one edge.
//!
//! ```text
//!            retries > 10 %           alarm, × ≥ 1.5, ≥ 20 % fail
//!   normal ─────────────▶ retrying ──────────────────────────────▶ storm
//!     ▲                                                          │   │ 10 s, load is usual,
//!     │ healthy for 10 s                × < 1.5, or our lease    │   ▼ goodput is not
//!     └──────────────────── draining ◀───────────────────────────┴─ sustained
//! ```
//!
//! The alarm is the sequential test on the share of retries ([`super::sequential`]); the gates
//! keep "more retries than usual" apart from a storm: a service that fails 15 % of all requests
//! has retries for ever and needs no one at night.

use super::OPEN_SECONDS;
use super::baseline::Envelope;
use super::course::{is_healthy, is_sustained, usual_before};
use super::factor::factor;
use super::fanout::{ByRatio, Fanout};
use super::kept::RetryBaseline;
use super::sequential::{Evidence, RETRIES, ln_alarm, sureness};
use super::words::{Grade, Phase, Sight, Usual};
use crate::store::{Served, Tally, Track};

/// The share of retries that is nobody's business: 0.15 retries per first attempt, between the
/// budgets of 10 % and 20 % that the field gives.
const SHARE_USUAL: f64 = 0.1304;
/// Retries per first attempt from which an edge is retrying.
const RETRYING_MIN: f64 = 0.1;
/// Attempts per first attempt from which it is a storm.
pub(super) const FACTOR_MIN: f64 = 1.5;
/// Share of failed attempts from which it is a storm.
const FAILED_MIN: f64 = 0.2;
/// A factor of the newest seconds that falls below this share of what it was ebbs.
const EBBING: f64 = 0.85;
/// Demand falls where the newest first attempts are below this share of those of ten seconds.
const WANING: f64 = 0.75;
/// What is remembered of the factor follows it by this share of the difference each second ...
const FOLLOWED: f64 = 0.2;
/// ... and takes one at once that is beyond it by so much: it climbs.
const CLIMBING: f64 = 1.1;
/// Fewer attempts in a short window prove nothing.
const ATTEMPTS_MIN: f64 = 20.0;
/// Fewer attempts in ten seconds prove nothing.
const ATTEMPTS_WIDE_MIN: f64 = 5.0;
/// A storm is over after so many healthy seconds.
const HEALTHY_SECONDS: u64 = 10;
/// Nothing rages any more where so many complete seconds saw no attempt.
const QUIET_SECONDS: u64 = 3;
/// A storm of which nothing is heard is given up after so many seconds.
const SILENT_SECONDS: u64 = 60;

/// A storm that is not over.
#[derive(Clone, Debug)]
struct Storm {
    onset: u64,
    opened: u64,
    usual: Option<Usual>,
    healthy: u64,
    judged_to: u64,
    last_heard: u64,
    is_raging: bool,
    is_ebbing: bool,
    /// The factor as it was before it ebbs.
    factor_held: f64,
    attempts: f64,
}

/// The detector of one edge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    closed: Option<u64>,
    evidence: Evidence,
    ln_evidence: f64,
    ln_alarm: f64,
    envelope: Envelope,
    fanout: Fanout,
    by_ratio: Option<ByRatio>,
    grade: Grade,
    phase: Phase,
    factor: f64,
    storm: Option<Storm>,
}

impl Watch {
    /// The watch on an edge of which this was usual.
    pub(super) fn resumed(kept: &RetryBaseline) -> Self {
        let envelope = Envelope::restored(&kept.retried);
        Self { envelope, fanout: Fanout::restored(&kept.fanout), ..Self::default() }
    }

    /// What is usual on the edge, to be kept.
    pub(super) fn keep(&self) -> RetryBaseline {
        RetryBaseline { retried: self.envelope.keep(), fanout: self.fanout.keep() }
    }

    /// Where the edge stands.
    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Attempts per request: now while it storms; as it was once it ebbs.
    pub(crate) fn factor(&self) -> f64 {
        match &self.storm {
            Some(storm) if !storm.is_raging || storm.is_ebbing => storm.factor_held,
            _ => self.factor.max(1.0),
        }
    }

    /// Whether the newest seconds show a storm, not only the way out of one.
    pub(crate) fn is_raging(&self) -> bool {
        self.storm.as_ref().is_some_and(|storm| storm.is_raging)
    }

    /// The second in which the storm began.
    pub(crate) fn onset(&self) -> Option<u64> {
        self.storm.as_ref().map(|storm| storm.onset)
    }

    /// What was usual before it; `None` where nothing was seen before.
    pub(crate) fn usual(&self) -> Option<Usual> {
        self.storm.as_ref().and_then(|storm| storm.usual)
    }

    /// How retries are told.
    pub(crate) const fn grade(&self) -> Grade {
        self.grade
    }

    /// How sure the storm is, 0 … 1.
    pub(crate) fn confidence(&self) -> f64 {
        let Some(storm) = &self.storm else { return 0.0 };
        sureness(self.ln_evidence, self.ln_alarm)
            * self.grade.weight()
            * (storm.attempts / 50.0).min(1.0)
    }

    /// Share of the excess attempts in the ten seconds that end with `last` that a proxy recognises
    /// as retries; `None` where there is no excess.
    pub(crate) fn recognised(
        &self,
        track: &Track<Tally>,
        caller: Option<&Track<Served>>,
        last: u64,
    ) -> Option<f64> {
        let recent = track.sum(last, 10);
        let told = recent.retries_certain + recent.retries_probable;
        let requests = caller.map_or(0.0, |caller| caller.sum(last, 10).requests);
        let untold =
            self.by_ratio.map_or(0.0, |ratio| ratio.excess(recent.attempts() - told, requests));
        let excess = told + untold + recent.retries_structural;
        (0.0 < excess).then(|| told / excess)
    }

    /// Judges what is to be seen now.
    pub(crate) fn judge(&mut self, sight: &Sight<'_>) {
        self.close(sight);
        let newest = sight.track.newest().min(sight.now_second + 1);
        self.by_ratio = match self.storm {
            Some(_) => self.by_ratio,
            None => self.fanout.judge(sight.track, sight.caller, newest),
        };
        self.factor = self.factor_at(sight, newest).unwrap_or(1.0);
        self.weigh(sight, newest);
        if self.storm.is_some() {
            self.follow(sight, newest);
        } else {
            let recent = sight.track.sum(newest, 3);
            let is_retrying =
                ATTEMPTS_MIN <= recent.attempts() && RETRYING_MIN * recent.first < recent.retries();
            self.phase = if is_retrying { Phase::Retrying } else { Phase::Normal };
            let is_open = sight.now_second < newest + OPEN_SECONDS;
            if is_open && self.ln_alarm <= self.ln_evidence && self.passes_gates(sight, newest) {
                self.begin(sight, newest);
            }
        }
    }

    /// Nothing of the edge is left in the store: a storm is no longer seen.
    pub(crate) fn fell_silent(&mut self) {
        if self.phase != Phase::Normal {
            self.end();
        }
    }

    /// Attempts of one second, and the retries among them, as far as they can be told.
    fn trials(&self, sight: &Sight<'_>, second: u64) -> (f64, f64) {
        let Some(tally) = sight.track.at(second) else { return (0.0, 0.0) };
        let requests = || sight.caller.and_then(|c| c.at(second)).map_or(0.0, |s| s.requests);
        let excess = self.by_ratio.map_or(0.0, |r| r.excess(tally.seen, requests()).floor());
        (tally.seen, tally.seen_retries.max(excess).min(tally.seen))
    }

    /// Closes seconds: their evidence is final, and they count for what is usual.
    fn close(&mut self, sight: &Sight<'_>) {
        let to = sight.now_second.saturating_sub(OPEN_SECONDS);
        let from = self.closed.map_or(to, |closed| closed + 1).max(to.saturating_sub(OPEN_SECONDS));
        let share = self.share_usual();
        for second in from..=to {
            let (attempts, retries) = self.trials(sight, second);
            self.evidence.step(attempts, retries, share, &RETRIES);
            if self.storm.is_none() {
                self.envelope.add(retries, attempts);
                let served = sight.caller.and_then(|caller| caller.at(second));
                self.fanout.add(attempts, served.map_or(0.0, |served| served.requests));
            }
        }
        self.closed = Some(self.closed.map_or(to, |closed| closed.max(to)));
    }

    fn share_usual(&self) -> f64 {
        self.envelope.upper().map_or(SHARE_USUAL, |upper| upper.clamp(SHARE_USUAL, 0.9))
    }

    /// The evidence with all that is open.
    fn weigh(&mut self, sight: &Sight<'_>, newest: u64) {
        let mut evidence = self.evidence;
        let share = self.share_usual();
        for second in self.closed.map_or(newest, |closed| closed + 1)..=newest {
            let (attempts, retries) = self.trials(sight, second);
            evidence.step(attempts, retries, share, &RETRIES);
        }
        self.ln_evidence = evidence.ln();
        self.ln_alarm = ln_alarm(sight.edges);
    }

    fn factor_at(&self, sight: &Sight<'_>, last: u64) -> Option<f64> {
        let Some(by_ratio) = self.by_ratio else {
            return factor(sight.track, last, self.onset());
        };
        let requests = sight.caller?.sum(last, 10).requests;
        let attempts = sight.track.sum(last, 10).attempts();
        (0.0 < requests).then(|| attempts / (by_ratio.usual * requests))
    }

    /// The factor of as few seconds as say something: what it is on the way out.
    fn factor_lately(&self, sight: &Sight<'_>, last: u64) -> f64 {
        let recent = sight.track.sum(last, 3);
        let factor = if self.by_ratio.is_some() {
            self.factor_at(sight, last)
        } else if recent.attempts() < ATTEMPTS_MIN {
            sight.track.sum(last, 10).factor()
        } else {
            recent.factor()
        };
        factor.unwrap_or(1.0)
    }

    /// The factor of the newest seconds at most, where chance is on its side: few attempts say little
    /// of what it is, but may say that it is no longer what it was.
    fn factor_at_most(&self, sight: &Sight<'_>, newest: u64) -> f64 {
        let recent = sight.track.sum(newest, 3);
        if self.by_ratio.is_some() || ATTEMPTS_MIN <= recent.attempts() {
            return self.factor_lately(sight, newest);
        }
        let retries = recent.retries() + 2.0 * recent.retries().max(1.0).sqrt();
        if 0.0 < recent.first { 1.0 + retries / recent.first } else { self.factor }
    }

    /// Whether what happens is a storm and not only retries: over three seconds, over ten where
    /// there is little traffic, and over one or two only where chance could not do it.
    fn passes_gates(&self, sight: &Sight<'_>, newest: u64) -> bool {
        if self.by_ratio.is_some() {
            let recent = sight.track.sum(newest, 3);
            let is_failing = recent.failure_ratio().is_some_and(|f| FAILED_MIN <= f);
            return FACTOR_MIN <= self.factor && is_failing && ATTEMPTS_MIN <= recent.attempts();
        }
        let is_quiet = sight.track.sum(newest, 3).attempts() < ATTEMPTS_MIN;
        let lengths: &[u64] = if is_quiet { &[10] } else { &[1, 2, 3] };
        lengths.iter().any(|&length| {
            let window = sight.track.sum(newest, length);
            let chance = if length < 3 { 2.0 * window.retries().sqrt() } else { 0.0 };
            let attempts_min = if length <= 3 { ATTEMPTS_MIN } else { ATTEMPTS_WIDE_MIN };
            attempts_min <= window.attempts()
                && (FACTOR_MIN - 1.0) * window.first <= window.retries() - chance
                && window.failure_ratio().is_some_and(|failed| FAILED_MIN <= failed)
        })
    }

    fn begin(&mut self, sight: &Sight<'_>, newest: u64) {
        let is_on = |second| {
            let (attempts, retries) = self.trials(sight, second);
            RETRYING_MIN * (attempts - retries) < retries
        };
        let mut onset = newest;
        while is_on(onset - 1) || is_on(onset.saturating_sub(2)) {
            onset -= 1;
        }
        let onset = if is_on(onset) { onset } else { onset + 1 };
        let recent = sight.track.sum(newest, newest + 1 - onset);
        self.grade = match self.by_ratio {
            Some(_) => Grade::ByRatio,
            None if recent.retries_certain + recent.retries_probable
                < recent.retries_structural =>
            {
                Grade::Structural
            }
            None => Grade::Recognised,
        };
        self.storm = Some(Storm {
            onset,
            opened: newest,
            usual: usual_before(sight.track, onset),
            healthy: 0,
            judged_to: sight.front,
            last_heard: sight.now_second,
            is_raging: !sight.is_refused,
            is_ebbing: false,
            factor_held: self.factor,
            attempts: recent.attempts(),
        });
        self.phase = if sight.is_refused { Phase::Draining } else { Phase::Storm };
    }

    fn end(&mut self) {
        self.storm = None;
        self.evidence = Evidence::default();
        self.envelope.discard();
        self.fanout.discard();
        self.by_ratio = None;
        self.phase = Phase::Normal;
    }

    /// Follows a storm to its end.
    fn follow(&mut self, sight: &Sight<'_>, newest: u64) {
        let is_raging = !sight.is_refused
            && sight.front < newest + QUIET_SECONDS
            && self.passes_gates(sight, newest)
            && !is_past(sight, newest);
        let recent = self.factor_lately(sight, sight.front);
        let now = self.factor_at_most(sight, newest);
        let Some(storm) = &mut self.storm else { return };
        storm.is_raging = is_raging;
        storm.attempts = sight.track.sum(newest, newest + 1 - storm.onset.min(newest)).attempts();
        if sight.is_heard || sight.now_second <= newest + 3 {
            storm.last_heard = sight.now_second;
        }
        let mean = sight.track.sum(newest, 10).factor().unwrap_or(now);
        storm.is_ebbing = now < EBBING * mean && now < EBBING * storm.factor_held;
        storm.is_ebbing |= is_waning(sight, newest.max(sight.front));
        for second in storm.judged_to + 1..=sight.front {
            let is_healthy = is_healthy(sight, storm.usual, second, recent);
            storm.healthy = if is_healthy { storm.healthy + 1 } else { 0 };
            if is_raging && !storm.is_ebbing {
                storm.factor_held += FOLLOWED * (self.factor - storm.factor_held);
            }
        }
        storm.judged_to = storm.judged_to.max(sight.front);
        if is_raging && !storm.is_ebbing && CLIMBING * storm.factor_held < self.factor {
            storm.factor_held = self.factor;
        }
        if HEALTHY_SECONDS <= storm.healthy || storm.last_heard + SILENT_SECONDS < sight.now_second
        {
            self.end();
            return;
        }
        // The newest seconds open a storm; complete ones, a little later, may show its end.
        let is_over = !is_raging && recent < FACTOR_MIN && storm.opened + 1 < sight.front;
        self.phase = match self.phase {
            Phase::Draining if !is_raging => Phase::Draining,
            _ if sight.is_refused || is_over => Phase::Draining,
            _ if is_sustained(sight, storm.usual, storm.onset, recent) => Phase::Sustained,
            Phase::Sustained => Phase::Sustained,
            _ => Phase::Storm,
        };
    }
}

/// Whether demand falls: the repetitions of what was asked before are then held against fewer first
/// attempts than made them, and the factor would seem to climb.
fn is_waning(sight: &Sight<'_>, last: u64) -> bool {
    let per_second = |length: u64| sight.track.sum(last, length).first / length as f64;
    per_second(3) < WANING * per_second(10)
}

/// Whether the newest seconds show that what made attempts fail is over, while ten seconds are still
/// full of it.
fn is_past(sight: &Sight<'_>, newest: u64) -> bool {
    let recent = sight.track.sum(newest, 3);
    ATTEMPTS_WIDE_MIN <= recent.ended()
        && recent.failure_ratio().is_some_and(|failed| failed < FAILED_MIN)
}
