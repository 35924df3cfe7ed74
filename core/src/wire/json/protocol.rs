//! Runs every example of `docs/PROTOCOL.md`.

use super::{ServerDecoder, decode_client, encode_client, encode_server};

const PAGE: &str = include_str!("../../../../docs/PROTOCOL.md");

/// The examples of one side, in the page's order.
fn examples(side: &str) -> Vec<&'static str> {
    let fence = format!("```json {side}\n");
    PAGE.split(&fence).skip(1).map(|rest| rest.split("\n```").next().expect("a fence ends")).collect()
}

#[test]
fn every_example_of_a_client_is_understood_and_said_alike() {
    let examples = examples("client");
    assert_eq!(examples.len(), 5);
    for example in examples {
        let message = decode_client(example).unwrap_or_else(|wrong| panic!("{example}: {}", wrong.why));
        assert_eq!(decode_client(&encode_client(&message)), Ok(message));
    }
}

#[test]
fn every_example_of_a_server_is_understood_and_said_alike() {
    let mut decoder = ServerDecoder::default();
    let examples = examples("server");
    assert_eq!(examples.len(), 9);
    for example in examples {
        let message = decoder.decode(example).unwrap_or_else(|wrong| panic!("{example}: {}", wrong.why));
        assert_eq!(decoder.decode(&encode_server(&message)), Ok(message));
    }
}
