//! Colours by meaning and glyphs by ability. A view asks for a [`Role`], never for a colour, and
//! colour never carries a meaning alone: weight, a sign or a number says the same.

mod palette;

use palette::{Palette, Rgb};
use ratatui::style::{Color, Modifier, Style};

/// What a piece of the screen means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Plain text.
    Text,
    /// The one sentence to read first.
    Strong,
    /// Labels and what is healthy.
    Dim,
    /// What may be overlooked: healthy edges, rulers.
    Faint,
    /// Healthy.
    Ok,
    /// Worth a look.
    Warn,
    /// Failing.
    Bad,
    /// On fire.
    Critical,
    /// Keys and the chosen tab.
    Accent,
    /// Deploys and other causes from outside.
    Cause,
    /// Header and footer.
    Bar,
    /// The chosen tab.
    Tab,
    /// The selected row.
    Selected,
    /// The line of an open incident.
    Banner,
    /// A key that fires, on its button.
    Key,
    /// A fact that an action brought about, on its badge.
    Done,
    /// The same while it is not complete.
    Partial,
    /// What says that this is a recording.
    Replay,
    /// Header and footer of a recording.
    BarReplay,
    /// A node of the graph.
    Node,
    /// A node of the graph that is worth a look.
    NodeWarn,
    /// A node of the graph that fails.
    NodeBad,
    /// The selected node.
    NodeSelected,
}

/// How many colours the terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// 24 bits.
    True,
    /// The 256 of xterm.
    Indexed,
    /// The 16 of the terminal's own scheme.
    Ansi,
    /// None: weight and reversal only.
    None,
}

impl Depth {
    /// From the environment: `NO_COLOR`, `COLORTERM`, `TERM`.
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> Self {
        let term = var("TERM").unwrap_or_default();
        if var("NO_COLOR").is_some_and(|v| !v.is_empty()) || term == "dumb" {
            return Self::None;
        }
        let colours = var("COLORTERM").unwrap_or_default();
        if colours == "truecolor" || colours == "24bit" || term.ends_with("-direct") {
            Self::True
        } else if term.contains("256") || term.contains("kitty") || term.contains("alacritty") {
            Self::Indexed
        } else if term.starts_with("vt1") || term.starts_with("vt2") {
            Self::None
        } else {
            Self::Ansi
        }
    }
}

/// Colours and glyphs of one terminal.
#[derive(Clone, Debug)]
pub struct Theme {
    palette: Palette,
    depth: Depth,
    /// Nothing but ASCII.
    pub ascii: bool,
}

/// Names that [`Theme::new`] takes.
pub const NAMES: [&str; 4] = ["dark", "light", "high-contrast", "deuteranopia"];

impl Theme {
    /// The theme of this name, or [`None`] for a name that is not in [`NAMES`].
    pub fn new(name: &str, depth: Depth, ascii: bool) -> Option<Self> {
        let palette = match name {
            "dark" => palette::DARK,
            "light" => palette::LIGHT,
            "high-contrast" => palette::HIGH_CONTRAST,
            "deuteranopia" => palette::DEUTERANOPIA,
            _ => return None,
        };
        Some(Self { palette, depth, ascii })
    }

    /// How to draw what means `role`.
    pub fn style(&self, role: Role) -> Style {
        if self.depth == Depth::None {
            return plain(role);
        }
        let p = &self.palette;
        let (fore, back) = match role {
            Role::Text => (p.text, p.back),
            Role::Strong => (p.strong, p.back),
            Role::Dim => (p.dim, p.back),
            Role::Faint => (p.faint, p.back),
            Role::Ok => (p.ok, p.back),
            Role::Warn => (p.warn, p.back),
            Role::Bad => (p.bad, p.back),
            Role::Critical => (p.critical, p.back),
            Role::Accent => (p.accent, p.back),
            Role::Cause => (p.cause, p.back),
            Role::Bar => (p.text, p.bar),
            Role::Tab => (p.back, p.accent),
            Role::Selected => (p.text, p.selected),
            Role::Banner => (p.text, p.banner),
            Role::Key => (p.back, p.critical),
            Role::Done => (p.back, p.ok),
            Role::Partial => (p.back, p.warn),
            Role::Replay => (p.back, p.cause),
            Role::BarReplay => (p.text, p.bar_replay),
            Role::Node => (p.text, p.node),
            Role::NodeWarn => (p.text, p.node_warn),
            Role::NodeBad => (p.strong, p.node_bad),
            Role::NodeSelected => (p.strong, p.node_selected),
        };
        let style = Style::new().fg(self.colour(fore)).bg(self.colour(back));
        if is_heavy(role) { style.add_modifier(Modifier::BOLD) } else { style }
    }

    /// Foreground of `role` alone, to put on another role's background.
    pub fn ink(&self, role: Role) -> Style {
        let style = self.style(role);
        Style { bg: None, ..style }
    }

    /// Background of a role alone, to put under text that is there.
    pub fn ground(&self, role: Role) -> Style {
        let style = self.style(role);
        Style { fg: None, ..style }
    }

    /// The glyph for this purpose, or its stand-in in ASCII.
    pub fn glyph<'a>(&self, glyph: &'a str, ascii: &'a str) -> &'a str {
        if self.ascii { ascii } else { glyph }
    }

    /// `text` as this terminal can show it: in ASCII mode what is not ASCII becomes its nearest.
    pub fn text<'a>(&self, text: &'a str) -> std::borrow::Cow<'a, str> {
        if !self.ascii || text.is_ascii() {
            return text.into();
        }
        text.chars().map(ascii_of).collect::<String>().into()
    }

    fn colour(&self, ink: palette::Ink) -> Color {
        match self.depth {
            Depth::True => Color::Rgb(ink.rgb.0, ink.rgb.1, ink.rgb.2),
            Depth::Indexed => Color::Indexed(indexed(ink.rgb)),
            Depth::Ansi => ink.ansi,
            Depth::None => Color::Reset,
        }
    }
}

/// Without colours: bold for what matters, dim for what does not, reversed for what is chosen.
fn plain(role: Role) -> Style {
    let style = Style::new();
    match role {
        Role::Faint | Role::Dim => style.add_modifier(Modifier::DIM),
        Role::Tab | Role::Selected | Role::NodeSelected | Role::Key | Role::Done | Role::Replay => {
            style.add_modifier(Modifier::REVERSED)
        }
        Role::Partial => style.add_modifier(Modifier::REVERSED | Modifier::UNDERLINED),
        role if is_heavy(role) => style.add_modifier(Modifier::BOLD),
        _ => style,
    }
}

fn is_heavy(role: Role) -> bool {
    matches!(
        role,
        Role::Strong
            | Role::Bad
            | Role::Critical
            | Role::Tab
            | Role::Key
            | Role::Done
            | Role::Partial
            | Role::Replay
            | Role::NodeBad
            | Role::Accent
    )
}

/// Nearest of the 6×6×6 cube and the 24 greys of xterm.
fn indexed(Rgb(r, g, b): Rgb) -> u8 {
    const STEPS: [i32; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |v: u8| {
        let v = i32::from(v);
        (0..6_u8).min_by_key(|&at| (STEPS[usize::from(at)] - v).abs()).unwrap_or(0)
    };
    let distance = |x: i32, y: i32, z: i32| {
        (x - i32::from(r)).pow(2) + (y - i32::from(g)).pow(2) + (z - i32::from(b)).pow(2)
    };
    let cube = (nearest(r), nearest(g), nearest(b));
    let step = |at: u8| STEPS[usize::from(at)];
    let in_cube = distance(step(cube.0), step(cube.1), step(cube.2));
    let grey = (0..24_u8)
        .min_by_key(|&at| {
            distance(8 + 10 * i32::from(at), 8 + 10 * i32::from(at), 8 + 10 * i32::from(at))
        })
        .unwrap_or(0);
    let level = 8 + 10 * i32::from(grey);
    if distance(level, level, level) < in_cube {
        232 + grey
    } else {
        16 + 36 * cube.0 + 6 * cube.1 + cube.2
    }
}

fn ascii_of(c: char) -> char {
    match c {
        c if c.is_ascii() => c,
        '→' | '▶' | '≥' | '›' => '>',
        '←' | '◀' | '≤' => '<',
        '↑' | '▲' => '^',
        '↓' | '▼' => 'v',
        '×' => 'x',
        '·' | '░' => '.',
        '●' => '*',
        '▌' => '|',
        '█' => '#',
        '…' => '~',
        '“' | '”' => '"',
        '—' | '–' | '─' | '━' | '┈' => '-',
        _ => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: environments of common terminals.
    /// Guarantees: `NO_COLOR` wins, true colour is taken only where it is promised.
    #[test]
    fn depth_follows_the_environment() {
        let check = |vars: &[(&str, &str)], expected| {
            let var = |name: &str| {
                vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
            };
            assert_eq!(Depth::detect(var), expected, "{vars:?}");
        };
        check(&[("TERM", "xterm-256color")], Depth::Indexed);
        check(&[("TERM", "xterm-256color"), ("COLORTERM", "truecolor")], Depth::True);
        check(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")], Depth::None);
        check(&[("TERM", "xterm-256color"), ("NO_COLOR", "")], Depth::Indexed);
        check(&[("TERM", "xterm")], Depth::Ansi);
        check(&[("TERM", "linux")], Depth::Ansi);
        check(&[("TERM", "vt100")], Depth::None);
        check(&[("TERM", "dumb")], Depth::None);
        check(&[], Depth::Ansi);
    }

    /// Scenario: every role in every theme, without colours.
    /// Guarantees: what fires, what is chosen and what is on fire stay apart from plain text.
    #[test]
    fn meaning_survives_without_colour() {
        for name in NAMES {
            let theme = Theme::new(name, Depth::None, true).expect("a listed name");
            let text = theme.style(Role::Text);
            for role in
                [Role::Critical, Role::Bad, Role::Selected, Role::Key, Role::Tab, Role::Done]
            {
                assert_ne!(theme.style(role), text, "{name} {role:?}");
            }
        }
        assert!(Theme::new("solarized", Depth::True, false).is_none());
    }

    /// Scenario: colours of the palettes on a terminal of 256.
    /// Guarantees: greys go to the grey ramp, colours to the cube.
    #[test]
    fn rgb_maps_to_the_nearest_of_256() {
        let check = |rgb, expected| assert_eq!(indexed(rgb), expected);
        check(Rgb(0, 0, 0), 16);
        check(Rgb(255, 255, 255), 231);
        check(Rgb(18, 18, 18), 233);
        check(Rgb(255, 0, 0), 196);
    }
}
