//! Commands and what proxies answer.

use super::{each, finite, line, percent, required, service, v1};
use crate::Invalid;
use crate::command::{
    Ack, AckResult, Action, ActionKind, BreakerState, Command, HeldLease, REASON_LEN_MAX,
    ResetRequest, ResetScope, TTL_MAX, TTL_MIN, ToProxy, TripRequest, Verb, Welcome,
};
use crate::report::{FromProxy, Hello};
use crate::{ProxyId, text};
use std::time::Duration;

/// More leases than edges make no sense.
const HELD_MAX: usize = crate::report::EDGES_MAX;

impl From<BreakerState> for v1::BreakerState {
    fn from(state: BreakerState) -> Self {
        match state {
            BreakerState::Closed => Self::Closed,
            BreakerState::RetriesMuted => Self::RetriesMuted,
            BreakerState::Capped => Self::Capped,
            BreakerState::Shedding => Self::Shedding,
            BreakerState::HalfOpen => Self::HalfOpen,
            BreakerState::Open => Self::Open,
            BreakerState::ForcedOpen => Self::ForcedOpen,
        }
    }
}

pub(super) fn breaker_state(wire: i32, field: &str) -> Result<BreakerState, Invalid> {
    match v1::BreakerState::try_from(wire) {
        Ok(v1::BreakerState::Closed) => Ok(BreakerState::Closed),
        Ok(v1::BreakerState::RetriesMuted) => Ok(BreakerState::RetriesMuted),
        Ok(v1::BreakerState::Capped) => Ok(BreakerState::Capped),
        Ok(v1::BreakerState::Shedding) => Ok(BreakerState::Shedding),
        Ok(v1::BreakerState::HalfOpen) => Ok(BreakerState::HalfOpen),
        Ok(v1::BreakerState::Open) => Ok(BreakerState::Open),
        Ok(v1::BreakerState::ForcedOpen) => Ok(BreakerState::ForcedOpen),
        Ok(v1::BreakerState::Unspecified) | Err(_) => {
            Err(Invalid::new(field, format!("is {wire}, which is no state of a breaker")))
        }
    }
}

impl From<ActionKind> for v1::ActionKind {
    fn from(kind: ActionKind) -> Self {
        match kind {
            ActionKind::MuteRetries => Self::MuteRetries,
            ActionKind::Cap => Self::Cap,
            ActionKind::Shed => Self::Shed,
            ActionKind::Open => Self::Open,
        }
    }
}

pub(super) fn action_kind(wire: i32, field: &str) -> Result<ActionKind, Invalid> {
    match v1::ActionKind::try_from(wire) {
        Ok(v1::ActionKind::MuteRetries) => Ok(ActionKind::MuteRetries),
        Ok(v1::ActionKind::Cap) => Ok(ActionKind::Cap),
        Ok(v1::ActionKind::Shed) => Ok(ActionKind::Shed),
        Ok(v1::ActionKind::Open) => Ok(ActionKind::Open),
        Ok(v1::ActionKind::Unspecified) | Err(_) => {
            Err(Invalid::new(field, format!("is {wire}, which is no action")))
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn ttl(ttl_ms: u64) -> Result<Duration, Invalid> {
    let ttl = Duration::from_millis(ttl_ms);
    if (TTL_MIN..=TTL_MAX).contains(&ttl) {
        Ok(ttl)
    } else {
        let reason = format!("is {ttl_ms}; {} … {} is allowed", ms(TTL_MIN), ms(TTL_MAX));
        Err(Invalid::new("ttl_ms", reason))
    }
}

pub(super) fn reason(value: &str) -> String {
    text::cut(&text::visible(value), REASON_LEN_MAX).into_owned()
}

// === Command ===

impl From<Command> for v1::Command {
    fn from(command: Command) -> Self {
        Self {
            id: command.id,
            revision: command.revision,
            destination: Some(command.destination.into()),
            verb: Some(match command.verb {
                Verb::Trip { action, ttl, proxies } => {
                    v1::command::Verb::Trip(trip(action, ttl, proxies))
                }
                Verb::Reset { at_once } => v1::command::Verb::Reset(v1::Reset { at_once }),
            }),
            by: command.by,
            reason: command.reason,
        }
    }
}

fn trip(action: Action, ttl: Duration, proxies: u32) -> v1::Trip {
    let (percent, attempts_per_s) = match action {
        Action::MuteRetries { percent } | Action::Shed { percent } => (percent.into(), 0.0),
        Action::Cap { attempts_per_s } => (0, attempts_per_s),
        Action::Open => (0, 0.0),
    };
    let action = v1::ActionKind::from(action.kind()).into();
    v1::Trip { action, percent, attempts_per_s, ttl_ms: ms(ttl), proxies }
}

impl TryFrom<v1::Command> for Command {
    type Error = Invalid;

    /// The TTL may be the rest of one: a lease that is told again has less than it began with.
    fn try_from(wire: v1::Command) -> Result<Self, Invalid> {
        let verb = match required(wire.verb, "verb")? {
            v1::command::Verb::Trip(trip) => {
                parse_trip(&trip).map_err(|invalid| invalid.within("trip"))?
            }
            v1::command::Verb::Reset(v1::Reset { at_once }) => Verb::Reset { at_once },
        };
        Ok(Self {
            id: line(&wire.id),
            revision: wire.revision,
            destination: service(wire.destination, "destination")?,
            verb,
            by: line(&wire.by),
            reason: reason(&wire.reason),
        })
    }
}

fn parse_trip(wire: &v1::Trip) -> Result<Verb, Invalid> {
    let percent = percent(wire.percent, "percent")?;
    let action = match action_kind(wire.action, "action")? {
        ActionKind::MuteRetries => Action::MuteRetries { percent },
        ActionKind::Shed => Action::Shed { percent },
        ActionKind::Open => Action::Open,
        ActionKind::Cap => {
            let attempts_per_s = finite(wire.attempts_per_s, "attempts_per_s")?;
            if attempts_per_s < 0.0 {
                return Err(Invalid::new("attempts_per_s", "is negative"));
            }
            Action::Cap { attempts_per_s }
        }
    };
    let ttl = Duration::from_millis(wire.ttl_ms);
    if TTL_MAX < ttl {
        return Err(Invalid::new("ttl_ms", format!("is {}; at most {}", wire.ttl_ms, ms(TTL_MAX))));
    }
    if wire.proxies == 0 {
        return Err(Invalid::new("proxies", "is 0; at least 1"));
    }
    Ok(Verb::Trip { action, ttl, proxies: wire.proxies })
}

impl From<HeldLease> for v1::HeldLease {
    fn from(held: HeldLease) -> Self {
        let state = v1::BreakerState::from(held.state).into();
        Self { command: Some(held.command.into()), state }
    }
}

impl TryFrom<v1::HeldLease> for HeldLease {
    type Error = Invalid;

    fn try_from(wire: v1::HeldLease) -> Result<Self, Invalid> {
        let command = Command::try_from(required(wire.command, "command")?);
        Ok(Self {
            command: command.map_err(|invalid| invalid.within("command"))?,
            state: breaker_state(wire.state, "state")?,
        })
    }
}

// === Ack ===

impl From<Ack> for v1::Ack {
    fn from(ack: Ack) -> Self {
        let result = match ack.result {
            AckResult::Applied => v1::ack::Result::Applied(v1::Applied {}),
            AckResult::Superseded { revision } => {
                v1::ack::Result::Superseded(v1::Superseded { revision })
            }
            AckResult::Rejected { reason } => v1::ack::Result::Rejected(v1::Rejected { reason }),
        };
        Self {
            id: ack.id,
            revision: ack.revision,
            destination: Some(ack.destination.into()),
            result: Some(result),
        }
    }
}

impl TryFrom<v1::Ack> for Ack {
    type Error = Invalid;

    fn try_from(wire: v1::Ack) -> Result<Self, Invalid> {
        let result = match required(wire.result, "result")? {
            v1::ack::Result::Applied(v1::Applied {}) => AckResult::Applied,
            v1::ack::Result::Superseded(v1::Superseded { revision }) => {
                AckResult::Superseded { revision }
            }
            v1::ack::Result::Rejected(v1::Rejected { reason }) => {
                AckResult::Rejected { reason: line(&reason) }
            }
        };
        let destination = service(wire.destination, "destination")?;
        Ok(Self { id: line(&wire.id), revision: wire.revision, destination, result })
    }
}

// === Streams ===

impl From<Hello> for v1::Hello {
    fn from(hello: Hello) -> Self {
        Self {
            proxy_id: hello.proxy.to_string(),
            service: Some(hello.service.into()),
            instance: hello.instance,
            build: hello.build,
            boot: hello.boot,
            held: super::all(hello.held),
            policy_version: hello.policy_version,
            endpoints: Some(hello.endpoints.into()),
        }
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Invalid;

    fn try_from(wire: v1::Hello) -> Result<Self, Invalid> {
        Ok(Self {
            proxy: ProxyId::new(&wire.proxy_id)?,
            service: service(wire.service, "service")?,
            instance: line(&wire.instance),
            build: line(&wire.build),
            boot: wire.boot,
            held: each(wire.held, "held", HELD_MAX)?,
            policy_version: wire.policy_version,
            endpoints: super::report::endpoints(wire.endpoints.unwrap_or_default())?,
        })
    }
}

impl From<FromProxy> for v1::ProxyMessage {
    fn from(message: FromProxy) -> Self {
        use v1::proxy_message::Kind;
        let kind = match message {
            FromProxy::Hello(hello) => Kind::Hello(hello.into()),
            FromProxy::Report(report) => Kind::Report(report.into()),
            FromProxy::Ack(ack) => Kind::Ack(ack.into()),
            FromProxy::PolicyAck(ack) => Kind::PolicyAck(ack.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::ProxyMessage> for FromProxy {
    type Error = Invalid;

    fn try_from(wire: v1::ProxyMessage) -> Result<Self, Invalid> {
        use v1::proxy_message::Kind;
        let within = |field| move |invalid: Invalid| invalid.within(field);
        Ok(match required(wire.kind, "kind")? {
            Kind::Hello(hello) => Self::Hello(hello.try_into().map_err(within("hello"))?),
            Kind::Report(report) => Self::Report(report.try_into().map_err(within("report"))?),
            Kind::Ack(ack) => Self::Ack(ack.try_into().map_err(within("ack"))?),
            Kind::PolicyAck(ack) => Self::PolicyAck(ack.try_into().map_err(within("policy_ack"))?),
        })
    }
}

impl From<ToProxy> for v1::CollectorMessage {
    fn from(message: ToProxy) -> Self {
        use v1::collector_message::Kind;
        let kind = match message {
            ToProxy::Welcome(Welcome { build, otlp_grpc_url }) => {
                Kind::Welcome(v1::Welcome { build, otlp_grpc_url })
            }
            ToProxy::Command(command) => Kind::Command(command.into()),
            ToProxy::ReportAck { boot, number } => Kind::ReportAck(v1::ReportAck { boot, number }),
            ToProxy::Policy(policy) => Kind::Policy(policy.into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::CollectorMessage> for ToProxy {
    type Error = Invalid;

    fn try_from(wire: v1::CollectorMessage) -> Result<Self, Invalid> {
        use v1::collector_message::Kind;
        Ok(match required(wire.kind, "kind")? {
            Kind::Welcome(welcome) => Self::Welcome(Welcome {
                build: line(&welcome.build),
                otlp_grpc_url: line(&welcome.otlp_grpc_url),
            }),
            Kind::Command(command) => {
                let command = Command::try_from(command);
                Self::Command(command.map_err(|invalid| invalid.within("command"))?)
            }
            Kind::ReportAck(v1::ReportAck { boot, number }) => Self::ReportAck { boot, number },
            Kind::Policy(policy) => {
                let policy = policy.try_into();
                Self::Policy(policy.map_err(|invalid: Invalid| invalid.within("policy"))?)
            }
        })
    }
}

// === Requests of operators ===

impl From<TripRequest> for v1::TripRequest {
    fn from(request: TripRequest) -> Self {
        Self {
            request_id: request.request_id,
            source: request.source,
            destination: request.destination,
            action: v1::ActionKind::from(request.action).into(),
            percent: request.percent.map(Into::into),
            ttl_ms: ms(request.ttl),
            reason: request.reason,
            by: request.by,
        }
    }
}

impl TryFrom<v1::TripRequest> for TripRequest {
    type Error = Invalid;

    fn try_from(wire: v1::TripRequest) -> Result<Self, Invalid> {
        Ok(Self {
            request_id: request_id(&wire.request_id)?,
            source: line(&wire.source),
            destination: line(&wire.destination),
            action: action_kind(wire.action, "action")?,
            percent: wire.percent.map(|value| percent(value, "percent")).transpose()?,
            ttl: ttl(wire.ttl_ms)?,
            reason: reason(&wire.reason),
            by: line(&wire.by),
        })
    }
}

pub(super) fn request_id(value: &str) -> Result<String, Invalid> {
    if value.is_empty() {
        return Err(Invalid::new("request_id", "is empty"));
    }
    Ok(line(value))
}

impl From<ResetRequest> for v1::ResetRequest {
    fn from(request: ResetRequest) -> Self {
        use v1::reset_request::Scope;
        let scope = match request.scope {
            ResetScope::Edge { source, destination } => {
                Scope::Edge(v1::EdgeName { source, destination })
            }
            ResetScope::All => Scope::All(v1::All {}),
        };
        Self {
            request_id: request.request_id,
            scope: Some(scope),
            at_once: request.at_once,
            reason: request.reason,
            by: request.by,
        }
    }
}

impl TryFrom<v1::ResetRequest> for ResetRequest {
    type Error = Invalid;

    fn try_from(wire: v1::ResetRequest) -> Result<Self, Invalid> {
        use v1::reset_request::Scope;
        let scope = match required(wire.scope, "scope")? {
            Scope::Edge(v1::EdgeName { source, destination }) => {
                ResetScope::Edge { source: line(&source), destination: line(&destination) }
            }
            Scope::All(v1::All {}) => ResetScope::All,
        };
        Ok(Self {
            request_id: request_id(&wire.request_id)?,
            scope,
            at_once: wire.at_once,
            reason: reason(&wire.reason),
            by: line(&wire.by),
        })
    }
}
