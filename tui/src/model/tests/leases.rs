//! What the screen says of a lease, whatever becomes of requests about it.

use super::*;

/// Scenario: a lease that proxies took, and the answer is lost, or says that nobody took it; the
/// same for the end of a lease.
/// Guarantees: what the data shows is not hidden by a failure, which is told beside it; and what is
/// mine can be undone, whether or not the answer came.
#[test]
fn a_failure_hides_no_fact() {
    let check = |by: &str, keys: &str, result: Result<u64, &str>, undoable: bool| {
        let mut desk = storm();
        desk.press(keys);
        desk.data(|s| hold(s, BreakerState::RetriesMuted, 2, by));
        match result {
            Ok(applied) => answer(&mut desk, applied, 3),
            Err(reason) => {
                let Some(Effect::Send(request)) = desk.effects.last() else { panic!("sent") };
                let id = request.id().to_owned();
                desk.tell(Message::Answer { id, result: Err(reason.into()) });
            }
        }
        let Standing::Fact(fact) = desk.model.standing(&storm_edge()) else {
            panic!("{by} {keys} {result:?}: {:?}", desk.model.standing(&storm_edge()));
        };
        let told = result.err().unwrap_or("no proxy");
        let failed = fact.failed.as_ref().is_some_and(|reason| reason.contains(told));
        assert!(fact.applied == 2 && failed, "{fact:?}");
        assert_eq!((fact.undoable, desk.model.undoable().is_some()), (undoable, undoable));
    };
    check("ana@laptop", "m", Err("did not answer"), true);
    check("ana@laptop", "m", Ok(0), true);
    check("raj@bastion", "m", Err("did not answer"), false);
    check("raj@bastion", "m", Ok(0), false);
    check("ana@laptop", "mu", Err("gone"), true);
    check("ana@laptop", "mu", Ok(0), true);
}

/// Scenario: a lease whose end, as it was answered, has passed, and proxies that still hold it: they
/// took it late. It is mine, someone else's, or nobody says whose.
/// Guarantees: mine can be undone for as long as it is in force.
#[test]
fn a_late_lease_can_be_undone() {
    let check = |by: Option<&str>, undoable: bool| {
        let mut desk = storm();
        desk.press("m");
        let Some(Effect::Send(request)) = desk.effects.last() else { panic!("it fires") };
        let ended = Some(Stamp(desk.model.wall().0));
        let result =
            TripResult { applied: 3, proxies: 3, expires_at: ended, ..TripResult::default() };
        let id = request.id().to_owned();
        desk.tell(Message::Answer { id, result: Ok(result) });
        desk.wait(1_000);
        desk.data(|s| {
            hold(s, BreakerState::RetriesMuted, 3, "ana@laptop");
            s.breakers.iter_mut().for_each(|row| row.by = by.map(Into::into));
        });
        assert_eq!(desk.model.undoable().is_some(), undoable, "{by:?}");
    };
    check(Some("ana@laptop"), true);
    check(Some("raj@bastion"), false);
    check(None, false);
}

/// Scenario: the end of a lease, through the ramp and at once, acknowledged by some and by all.
/// Guarantees: a circuit is shown as closed once all proxies say so, not before.
#[test]
fn a_reset_is_done_when_all_have_done_it() {
    let check = |keys: &str, applied, is_closed: bool| {
        let mut desk = storm();
        desk.press("m");
        answer(&mut desk, 3, 3);
        desk.wait(100);
        desk.data(|s| hold(s, BreakerState::RetriesMuted, 3, "ana@laptop"));
        desk.press(keys);
        answer(&mut desk, applied, 3);
        let standing = desk.model.standing(&storm_edge());
        assert_eq!(standing == Standing::Nothing, is_closed, "{keys} {applied}: {standing:?}");
    };
    check("u", 3, true);
    check("u", 1, false);
    check("u", 0, false);
    check("r", 3, false);
    check("r", 2, false);
}
