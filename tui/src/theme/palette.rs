//! The four palettes. Each ink has its exact colour and its stand-in on a terminal of 16 colours,
//! where backgrounds stay the terminal's own.

use ratatui::style::Color;

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rgb(pub(super) u8, pub(super) u8, pub(super) u8);

/// One colour, exact and in 16 colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ink {
    pub(super) rgb: Rgb,
    pub(super) ansi: Color,
}

/// Colours of a theme by meaning.
#[derive(Clone, Debug)]
pub(super) struct Palette {
    pub(super) back: Ink,
    pub(super) text: Ink,
    pub(super) strong: Ink,
    pub(super) dim: Ink,
    pub(super) faint: Ink,
    pub(super) ok: Ink,
    pub(super) warn: Ink,
    pub(super) bad: Ink,
    pub(super) critical: Ink,
    pub(super) accent: Ink,
    pub(super) cause: Ink,
    pub(super) bar: Ink,
    pub(super) bar_replay: Ink,
    pub(super) selected: Ink,
    pub(super) banner: Ink,
    pub(super) node: Ink,
    pub(super) node_warn: Ink,
    pub(super) node_bad: Ink,
    pub(super) node_selected: Ink,
}

const fn ink(rgb: u32, ansi: Color) -> Ink {
    Ink { rgb: Rgb((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8), ansi }
}

pub(super) const DARK: Palette = Palette {
    back: ink(0x0010_1219, Color::Reset),
    text: ink(0x00d5_d9e3, Color::Reset),
    strong: ink(0x00ff_ffff, Color::White),
    dim: ink(0x008b_92a5, Color::Gray),
    faint: ink(0x0055_5b6e, Color::DarkGray),
    ok: ink(0x0074_c28e, Color::Green),
    warn: ink(0x00e6_b450, Color::Yellow),
    bad: ink(0x00f0_8050, Color::LightRed),
    critical: ink(0x00f2_5c5c, Color::Red),
    accent: ink(0x006e_a8fe, Color::LightBlue),
    cause: ink(0x00c5_8af9, Color::Magenta),
    bar: ink(0x001b_1e28, Color::Reset),
    bar_replay: ink(0x0031_2147, Color::Reset),
    selected: ink(0x0024_2e4a, Color::Blue),
    banner: ink(0x0042_181c, Color::Reset),
    node: ink(0x001e_2230, Color::Reset),
    node_warn: ink(0x0038_2e1a, Color::Reset),
    node_bad: ink(0x004a_1a20, Color::Reset),
    node_selected: ink(0x002f_4470, Color::Blue),
};

pub(super) const LIGHT: Palette = Palette {
    back: ink(0x00fb_fbf8, Color::Reset),
    text: ink(0x0022_2733, Color::Reset),
    strong: ink(0x0000_0000, Color::Black),
    dim: ink(0x0060_6775, Color::DarkGray),
    faint: ink(0x00a2_a8b4, Color::Gray),
    ok: ink(0x001f_7a45, Color::Green),
    warn: ink(0x008f_6200, Color::Yellow),
    bad: ink(0x00b8_4a10, Color::Red),
    critical: ink(0x00c0_1c28, Color::Red),
    accent: ink(0x001d_5fc4, Color::Blue),
    cause: ink(0x007a_35b8, Color::Magenta),
    bar: ink(0x00e8_eaee, Color::Reset),
    bar_replay: ink(0x00e9_dcf7, Color::Reset),
    selected: ink(0x00d3_e2fb, Color::Reset),
    banner: ink(0x00fb_dcdc, Color::Reset),
    node: ink(0x00ed_eff3, Color::Reset),
    node_warn: ink(0x00f8_ecc8, Color::Reset),
    node_bad: ink(0x00fa_d4d2, Color::Reset),
    node_selected: ink(0x00bf_d6fa, Color::Reset),
};

pub(super) const HIGH_CONTRAST: Palette = Palette {
    back: ink(0x0000_0000, Color::Black),
    text: ink(0x00ff_ffff, Color::White),
    strong: ink(0x00ff_ffff, Color::White),
    dim: ink(0x00d0_d0d0, Color::Gray),
    faint: ink(0x00a0_a0a0, Color::Gray),
    ok: ink(0x0000_ff66, Color::LightGreen),
    warn: ink(0x00ff_ee00, Color::LightYellow),
    bad: ink(0x00ff_9933, Color::LightRed),
    critical: ink(0x00ff_5555, Color::LightRed),
    accent: ink(0x0055_ccff, Color::LightCyan),
    cause: ink(0x00ff_88ff, Color::LightMagenta),
    bar: ink(0x0000_0000, Color::Black),
    bar_replay: ink(0x0044_0055, Color::Black),
    selected: ink(0x0000_44aa, Color::Blue),
    banner: ink(0x0060_0000, Color::Black),
    node: ink(0x001a_1a1a, Color::Black),
    node_warn: ink(0x0040_3800, Color::Black),
    node_bad: ink(0x0060_0000, Color::Black),
    node_selected: ink(0x0000_44aa, Color::Blue),
};

/// Blue for healthy, yellow to vermilion for trouble (after Okabe and Ito): apart for eyes that do
/// not tell red from green.
pub(super) const DEUTERANOPIA: Palette = Palette {
    ok: ink(0x0056_b4e9, Color::LightBlue),
    warn: ink(0x00f0_e442, Color::LightYellow),
    bad: ink(0x00e6_9f00, Color::Yellow),
    critical: ink(0x00ff_7a1a, Color::LightRed),
    accent: ink(0x009f_c5ff, Color::LightCyan),
    cause: ink(0x00cc_79a7, Color::Magenta),
    banner: ink(0x0045_2408, Color::Reset),
    node_bad: ink(0x004a_2a0a, Color::Reset),
    ..DARK
};
