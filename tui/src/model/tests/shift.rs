//! A shift between subsets as what is suggested.

use super::{sent, storm, storm_edge, suggest};
use crate::model::Message;
use crate::model::commands::Verb;
use crate::model::standing::Standing;
use fusebox_proto::view::{Remedy, Shift};
use std::collections::BTreeMap;

/// Scenario: the collector suggests to move everything to v1, sure of it or not; the key is pressed
/// once, twice, and with consent.
/// Guarantees: `o` does it at once where it may, and else asks; it is asked once; what was refused is
/// told where it was suggested.
#[test]
fn a_suggested_shift_has_a_key() {
    let check = |tier: u8, keys: &str, expected: &[&str]| {
        let mut desk = storm();
        suggest(&mut desk, |action| {
            let weights = BTreeMap::from([("v1".to_owned(), 100), ("v2".to_owned(), 0)]);
            action.action = Remedy::Shift(Shift { host: "inventory".into(), weights });
            action.tier = tier;
        });
        desk.press(keys);
        assert_eq!(sent(&desk), expected, "{tier}: {keys}");
        desk
    };
    let shift = "shift inventory v1=100 v2=0";
    check(1, "o", &[]);
    check(1, "oy", &[shift]);
    check(0, "oo", &[shift]);
    let mut desk = check(0, "o", &[shift]);
    assert_eq!(desk.model.standing(&storm_edge()), Standing::Asked(Verb::Shift));
    let id = format!("console-{:016x}-1", desk.model.session.seed);
    desk.tell(Message::Answer { id, result: Err("is refused".into()) });
    let failed = Standing::Failed { verb: Verb::Shift, reason: "is refused".into() };
    assert_eq!(desk.model.standing(&storm_edge()), failed);
}
