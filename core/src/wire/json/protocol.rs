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
    assert_eq!(examples.len(), 6);
    for example in examples {
        let message = decode_client(example).unwrap_or_else(|wrong| panic!("{example}: {}", wrong.why));
        assert_eq!(decode_client(&encode_client(&message)), Ok(message));
    }
}

#[test]
fn every_example_of_a_server_is_understood_and_said_alike() {
    let mut decoder = ServerDecoder::default();
    let examples = examples("server");
    assert_eq!(examples.len(), 10);
    for example in examples {
        let message = decoder.decode(example).unwrap_or_else(|wrong| panic!("{example}: {}", wrong.why));
        assert_eq!(decoder.decode(&encode_server(&message)), Ok(message));
    }
}

#[test]
fn the_table_of_codes_says_who_comes_back() {
    let rows = PAGE.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut told = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [code, status, back, ..] = cells[..] else { continue };
        if status.len() != 4 || status.parse::<u16>().is_err() {
            continue; // A row of another table.
        }
        let code = code.trim_end_matches('`');
        let parsed: crate::fault::FaultCode =
            serde_json::from_str(&format!("\"{code}\"")).unwrap_or_else(|_| panic!("{code} is a code"));
        assert_eq!(back.starts_with("yes"), parsed.worth_retrying(), "{code}");
        told += 1;
    }
    assert_eq!(told, 15, "every code has its row");
}
