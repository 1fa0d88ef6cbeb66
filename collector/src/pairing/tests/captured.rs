//! Seven whole traces that real SDKs sent.

use super::*;
use crate::decode::samples::{body, samples};

fn captured(name: &str) -> Option<SpanBatch> {
    let body = body(&samples()?, &format!("traces/{name}.pb"));
    Some(crate::decode::protobuf(&body).unwrap())
}

#[test]
fn show() {
    for name in [
        "calm_checkout",
        "keepalive_race_error",
        "storm_shape_A_10_attempts_one_client_span",
        "storm_multilayer_27",
        "nplus1_not_a_storm",
        "slow_leaf",
        "envoy_retries_two_sidecars",
    ] {
        let s = sums(captured(name).unwrap());
        println!("{name} {:#?} {:?} {:?}", s.edges(), s.served, s.virtual_nodes);
    }
}
