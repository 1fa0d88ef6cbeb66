//! The dashboard of Fusebox, as a library. The binary of the same package adds the command line,
//! the embedded collector and the demo.
//!
//! Model, update, view: [`model::update`] takes one message and the time and answers with effects;
//! [`view::draw`] reads the model and paints a buffer. Neither does any IO, so a whole session is a
//! list of messages in a test. Around them:
//!
//! | module | |
//! |---|---|
//! | [`dashboard`] | the way in: options, and `run` |
//! | [`keys`] | the one table of keys: dispatch, footer and help are made from it |
//! | [`arrange`] | the graph on integer cells, stable |
//! | [`address`] | how to reach a collector; the command line uses it too |
//! | [`recorder`] | what a collector records, as a file; the command line uses it too |
//! | [`theme`], [`format`] | colours by meaning, figures for people |
//! | [`export`] | a buffer as a picture |
//! | `run`, `terminal`, `link`, `plain` | the shells: loop, terminal, collector, lines of text |

pub mod address;
pub mod arrange;
pub mod dashboard;
pub mod export;
pub mod format;
pub mod keys;
pub mod model;
pub mod recorder;
pub mod theme;
pub mod view;

mod glyphs;
mod link;
mod plain;
mod run;
mod terminal;

#[cfg(test)]
mod fixture;
