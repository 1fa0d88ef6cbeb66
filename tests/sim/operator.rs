//! Who sits before the console: hands that press anything, and a person who tidies up.

use fusebox::keys::{Chord, Key};
use fusebox::model::standing::Standing;
use fusebox::model::{Message, Model, Screen};
use fusebox_proto::command::BreakerState;
use rand::RngExt as _;
use rand::rngs::StdRng;

/// What hands press in a storm, by weight: mostly keys that act, and those that lead to them.
const KEYS: &[(u32, Key)] = &[
    (8, Key::Char('t')),
    (6, Key::Char('m')),
    (3, Key::Char('o')),
    (14, Key::Char('y')),
    (8, Key::Char('u')),
    (6, Key::Char('r')),
    (6, Key::Char('4')),
    (3, Key::Char('6')),
    (2, Key::Char('2')),
    (3, Key::Char('1')),
    (1, Key::Char(']')),
    (1, Key::Char('[')),
    (4, Key::Down),
    (4, Key::Char('j')),
    (3, Key::Up),
    (3, Key::Char('k')),
    (1, Key::Left),
    (1, Key::Right),
    (1, Key::Tab),
    (1, Key::BackTab),
    (1, Key::Char('g')),
    (1, Key::Char('G')),
    (1, Key::PageDown),
    (1, Key::Enter),
    (1, Key::Char('i')),
    (1, Key::Char('s')),
    (1, Key::Char('S')),
    (1, Key::Char('x')),
    (1, Key::Char('R')),
    (1, Key::Char('?')),
    (1, Key::Char('/')),
    (1, Key::Backspace),
    (1, Key::Char('q')),
    (5, Key::Esc),
];

/// Anything: a key, and at times the focus, a paste, another size.
pub(crate) fn fidgets(rng: &mut StdRng) -> Message {
    match rng.random_range(0..40) {
        0 => Message::Focus,
        1 => Message::Paste("t\ny".into()),
        2 => {
            let (width, height) = [(80, 24), (120, 40), (38, 7)][rng.random_range(0..3)];
            Message::Resize { width, height }
        }
        _ => press(key(rng)),
    }
}

fn key(rng: &mut StdRng) -> Key {
    let all: u32 = KEYS.iter().map(|(weight, _)| weight).sum();
    let mut at = rng.random_range(0..all);
    for (weight, key) in KEYS {
        if at < *weight {
            return *key;
        }
        at -= weight;
    }
    Key::Esc
}

fn press(key: Key) -> Message {
    Message::Key(Chord { key, ctrl: false })
}

/// The next key of someone who looks at the screen and ends every lease that it shows.
pub(crate) fn tidies(model: &Model) -> Message {
    press(if model.overlay.is_some() || !model.filter.is_empty() {
        Key::Esc
    } else if model.screen != Screen::Breakers {
        Key::Char('6')
    } else if model.undoable().is_some() {
        Key::Char('u')
    } else if model.target().is_some_and(|edge| is_leased(&model.standing(&edge))) {
        Key::Char('r')
    } else if model.breaker_rows().last().is_some_and(|row| model.is_selected(row)) {
        Key::Home
    } else {
        Key::Down
    })
}

fn is_leased(standing: &Standing) -> bool {
    matches!(standing, Standing::Fact(fact) if fact.state != BreakerState::HalfOpen)
}
