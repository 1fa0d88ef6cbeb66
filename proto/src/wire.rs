//! The wire: generated messages and clients, and the way from them to the types of this crate and
//! back. `From` writes, `TryFrom` parses; what does not parse is refused whole, with the path of
//! the field ([`Invalid`]). Text is made visible here.

mod command;
mod delta;
mod policy;
mod report;
mod view;

use crate::{Invalid, ServiceId, text};

/// Messages, clients and servers of package `fusebox.v1`, generated from `proto/fusebox/v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    reason = "generated; documented where it is defined"
)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/fusebox.v1.rs");
}

/// A message up to gRPC's limit here; larger ones are refused by both ends.
pub const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;

/// A line of text from the wire is cut to this many bytes.
const LINE_LEN_MAX: usize = 1_024;

/// The last millisecond of the year 9999: no time is later, and RFC 3339 can write all of them.
const UNIX_MS_MAX: u64 = 253_402_300_799_999;

/// A field that proto3 cannot require.
fn required<T>(value: Option<T>, field: &str) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "is missing"))
}

/// Parses each entry, with its place in the path.
fn each<W, T>(list: Vec<W>, field: &str, len_max: usize) -> Result<Vec<T>, Invalid>
where
    T: TryFrom<W, Error = Invalid>,
{
    if len_max < list.len() {
        return Err(Invalid::new(field, format!("has {} entries; at most {len_max}", list.len())));
    }
    let parse = |(at, entry)| {
        T::try_from(entry).map_err(|invalid: Invalid| invalid.within(format_args!("{field}[{at}]")))
    };
    list.into_iter().enumerate().map(parse).collect()
}

fn all<T, W: From<T>>(list: Vec<T>) -> Vec<W> {
    list.into_iter().map(W::from).collect()
}

/// As [`each`], of texts.
fn lines(list: &[String], field: &str, len_max: usize) -> Result<Vec<String>, Invalid> {
    if len_max < list.len() {
        return Err(Invalid::new(field, format!("has {} entries; at most {len_max}", list.len())));
    }
    Ok(list.iter().map(|text| line(text)).collect())
}

fn unix_ms(value: u64, field: &str) -> Result<u64, Invalid> {
    if value <= UNIX_MS_MAX {
        Ok(value)
    } else {
        Err(Invalid::new(field, format!("is {value}; at most {UNIX_MS_MAX}, the year 9999")))
    }
}

/// Untrusted text: made visible, and cut.
fn line(value: &str) -> String {
    text::cut(&text::visible(value), LINE_LEN_MAX).into_owned()
}

fn finite(value: f64, field: &str) -> Result<f64, Invalid> {
    if value.is_finite() { Ok(value) } else { Err(Invalid::new(field, "is not a finite number")) }
}

fn maybe_finite(value: Option<f64>, field: &str) -> Result<Option<f64>, Invalid> {
    value.map(|value| finite(value, field)).transpose()
}

fn percent(value: u32, field: &str) -> Result<u8, Invalid> {
    match u8::try_from(value) {
        Ok(percent @ ..=100) => Ok(percent),
        _ => Err(Invalid::new(field, format!("is {value}; 0 … 100 is allowed"))),
    }
}

impl From<ServiceId> for v1::ServiceId {
    fn from(id: ServiceId) -> Self {
        Self {
            environment: id.environment().into(),
            namespace: id.namespace().into(),
            name: id.name().into(),
        }
    }
}

impl TryFrom<v1::ServiceId> for ServiceId {
    type Error = Invalid;

    fn try_from(wire: v1::ServiceId) -> Result<Self, Invalid> {
        Self::new(&wire.environment, &wire.namespace, &wire.name)
    }
}

fn service(wire: Option<v1::ServiceId>, field: &str) -> Result<ServiceId, Invalid> {
    required(wire, field)?.try_into().map_err(|invalid: Invalid| invalid.within(field))
}

#[cfg(test)]
mod tests;
