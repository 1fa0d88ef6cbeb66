//! The corpus: malformed and doubtful requests by class, each class in one function.

mod chunks;
mod downgrade;
mod hops;
mod hosts;
mod lengths;
mod lines;

use super::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    let classes = [
        lengths::both(),
        lengths::transfer_encoding(),
        lengths::content_length(),
        hosts::host(),
        hosts::absolute_form(),
        lines::folds(),
        lines::bare_cr(),
        lines::bare_lf(),
        lines::before_colon(),
        lines::request_line(),
        lines::field_bytes(),
        chunks::size(),
        chunks::extension(),
        chunks::trailer(),
        hops::connection(),
        hops::upgrade(),
        hops::pipeline(),
        downgrade::lengths(),
        downgrade::fields(),
        downgrade::pseudo(),
    ];
    classes.concat()
}
