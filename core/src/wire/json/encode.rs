//! Messages to text.

use super::rows::push_row;
use super::{ResumeJson, ScopeJson, WaypointJson};
use crate::change::{Change, Chunk, Page, Relation, RelationId, Transaction};
use crate::session::BackfillId;
use crate::wire::{ClientMessage, Resume, ServerMessage};
use serde::Serialize;
use std::sync::Arc;

/// A server's message as JSON text. The driver calls this once per message, however many sessions receive it.
#[must_use]
pub fn encode_server(message: &ServerMessage) -> String {
    let mut out = Vec::with_capacity(weight(message));
    match message {
        ServerMessage::Welcome { client, era, schema, head, from, credential_expires_in_ms } => {
            let from = from.map(WaypointJson::from);
            let credential_expires_in_ms = *credential_expires_in_ms;
            push(&mut out, &Welcome { kind: "welcome", client, era, schema, head, from, credential_expires_in_ms });
        }
        ServerMessage::Credential { expires_in_ms } => {
            push(&mut out, &Credential { kind: "credential", expires_in_ms: *expires_in_ms });
        }
        ServerMessage::Schema(relation) => push(&mut out, &Schema::of(relation)),
        ServerMessage::Chunk { backfill, n, of, chunk } => {
            push_chunk_head(&mut out, *backfill, *n, *of);
            push_chunk_body(&mut out, chunk);
        }
        ServerMessage::Seam { backfill, n, page, complete } => {
            out.extend_from_slice(format!(r#"{{"type":"seam","backfill":"{}","n":{n}"#, backfill.0).as_bytes());
            if let Some(page) = page {
                push_transactions(&mut out, page);
            }
            if let Some(complete) = complete {
                out.extend_from_slice(br#","complete":"#);
                push(&mut out, &WaypointJson::from(*complete));
            }
            out.push(b'}');
        }
        ServerMessage::Page(page) => {
            out.extend_from_slice(format!(r#"{{"type":"page","after":"{}","through":"#, page.after).as_bytes());
            push(&mut out, &WaypointJson::from(page.through));
            push_transactions(&mut out, page);
            out.push(b'}');
        }
        ServerMessage::Live => out.extend_from_slice(br#"{"type":"live"}"#),
        ServerMessage::Resync { reason } => push(&mut out, &Resync { kind: "resync", reason: *reason }),
        ServerMessage::Fault(fault) => {
            push(&mut out, &Fault { kind: "error", code: fault.code, message: &fault.message })
        }
    }
    text(out)
}

/// What begins a chunk's text: the part that differs between the sessions that are sent the chunk.
#[must_use]
pub fn chunk_head(backfill: BackfillId, n: u32, of: u64) -> String {
    let mut out = Vec::new();
    push_chunk_head(&mut out, backfill, n, of);
    text(out)
}

/// The rest of a chunk's text, the same for all sessions.
#[must_use]
pub fn chunk_body(chunk: &Chunk) -> String {
    let mut out = Vec::with_capacity(chunk_weight(chunk));
    push_chunk_body(&mut out, chunk);
    text(out)
}

/// A client's message as JSON text.
#[must_use]
pub fn encode_client(message: &ClientMessage) -> String {
    let mut out = Vec::new();
    match message {
        ClientMessage::Hello(hello) => push(
            &mut out,
            &Hello {
                kind: "hello",
                client: hello.client.as_str(),
                instance: hello.instance.map(|instance| instance.to_string()),
                attempt: hello.attempt,
                token: hello.token.as_deref(),
                scope: (&hello.scope).into(),
                resume: match hello.resume {
                    Resume::Nothing => None,
                    Resume::Stored => Some(ResumeJson::Word("stored".into())),
                    Resume::At(waypoint) => Some(ResumeJson::At(waypoint.into())),
                },
            },
        ),
        ClientMessage::Ack { through } => push(&mut out, &Ack { kind: "ack", through: (*through).into() }),
        ClientMessage::Staged { backfill, n } => {
            out.extend_from_slice(format!(r#"{{"type":"staged","backfill":"{}","n":{n}}}"#, backfill.0).as_bytes());
        }
        ClientMessage::Credential(credential) => {
            push(&mut out, &NewCredential { kind: "credential", token: credential.reveal() });
        }
        ClientMessage::Bye => out.extend_from_slice(br#"{"type":"bye"}"#),
    }
    text(out)
}

fn push_chunk_head(out: &mut Vec<u8>, backfill: BackfillId, n: u32, of: u64) {
    out.extend_from_slice(format!(r#"{{"type":"chunk","backfill":"{}","n":{n},"of":{of},"#, backfill.0).as_bytes());
}

fn push_chunk_body(out: &mut Vec<u8>, chunk: &Chunk) {
    out.extend_from_slice(format!(r#""schema":{},"rows":["#, chunk.relation.id.0).as_bytes());
    separated(out, &chunk.rows, |out, row| push_row(out, row, chunk.relation.columns.iter()));
    out.extend_from_slice(b"]}");
}

fn text(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("all parts are UTF-8")
}

fn push(out: &mut Vec<u8>, part: &impl Serialize) {
    serde_json::to_writer(out, part).expect("plain data into memory always works");
}

fn separated<T>(out: &mut Vec<u8>, parts: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    for (n, part) in parts.into_iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        each(out, part);
    }
}

/// About how long the text gets, so that it is allocated once.
fn weight(message: &ServerMessage) -> usize {
    match message {
        ServerMessage::Page(page) | ServerMessage::Seam { page: Some(page), .. } => page.weight() + 512,
        ServerMessage::Chunk { chunk, .. } => chunk_weight(chunk),
        _ => 256,
    }
}

fn chunk_weight(chunk: &Chunk) -> usize {
    chunk.rows.iter().map(|row| row.bytes().len() + 16).sum::<usize>() + 256
}

fn push_transactions(out: &mut Vec<u8>, page: &Page) {
    out.extend_from_slice(br#","transactions":["#);
    separated(out, &page.transactions, |out, transaction| push_transaction(out, page, transaction));
    out.push(b']');
}

fn push_transaction(out: &mut Vec<u8>, page: &Page, transaction: &Transaction) {
    let Transaction { commit_lsn, xid, committed_at, first, complete, .. } = transaction;
    let head = format!(r#"{{"commit_lsn":"{commit_lsn}","xid":"{xid}","committed_at_us":{}"#, committed_at.0);
    out.extend_from_slice(head.as_bytes());
    if transaction.is_piece() {
        out.extend_from_slice(format!(r#","first":{first},"complete":{complete}"#).as_bytes());
    }
    out.extend_from_slice(br#","changes":["#);
    let mut last: Option<&Arc<Relation>> = None;
    separated(out, transaction.changes.iter(), |out, change| {
        let id = change.relation();
        if last.is_none_or(|relation| relation.id != id) {
            last = page.relation(id);
        }
        push_change(out, change, last.expect("a page carries the shapes that its changes refer to"));
    });
    out.extend_from_slice(b"]}");
}

fn push_change(out: &mut Vec<u8>, change: &Change, relation: &Relation) {
    let keys = || relation.columns.iter().filter(|column| column.key);
    let head = |out: &mut Vec<u8>, operation: char, RelationId(id): RelationId| {
        out.extend_from_slice(format!(r#"["{operation}",{id}"#).as_bytes());
    };
    match change {
        Change::Insert { row, .. } => {
            head(out, 'i', relation.id);
            out.push(b',');
            push_row(out, row, relation.columns.iter());
        }
        Change::Update { row, .. } => {
            head(out, 'u', relation.id);
            out.push(b',');
            push_row(out, row, relation.columns.iter());
        }
        Change::Move { old_key, row, .. } => {
            head(out, 'm', relation.id);
            out.push(b',');
            push_row(out, old_key, keys());
            out.push(b',');
            push_row(out, row, relation.columns.iter());
        }
        Change::Delete { key, .. } => {
            head(out, 'd', relation.id);
            out.push(b',');
            push_row(out, key, keys());
        }
        Change::Truncate { .. } => head(out, 't', relation.id),
    }
    out.push(b']');
}

#[derive(Serialize)]
struct Welcome<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    client: &'a crate::session::ClientId,
    era: &'a crate::position::Era,
    schema: &'a crate::position::SchemaVersion,
    head: &'a crate::position::Position,
    from: Option<WaypointJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct Credential {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in_ms: Option<u64>,
}

#[derive(Serialize)]
struct NewCredential<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    token: &'a str,
}

#[derive(Serialize)]
struct Schema<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: u64,
    relation: String,
    namespace: &'a str,
    columns: Vec<ColumnJson<'a>>,
}

#[derive(Serialize)]
struct ColumnJson<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    type_name: &'a str,
    oid: u32,
    key: bool,
}

impl<'a> Schema<'a> {
    fn of(relation: &'a Relation) -> Self {
        let columns = relation.columns.iter().map(|column| ColumnJson {
            name: &column.name,
            type_name: &column.type_name,
            oid: column.type_oid,
            key: column.key,
        });
        Self {
            kind: "schema",
            id: relation.id.0,
            relation: relation.full_name(),
            namespace: &relation.schema,
            columns: columns.collect(),
        }
    }
}

#[derive(Serialize)]
struct Resync {
    #[serde(rename = "type")]
    kind: &'static str,
    reason: crate::fault::ResyncReason,
}

#[derive(Serialize)]
struct Fault<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: crate::fault::FaultCode,
    message: &'a str,
}

#[derive(Serialize)]
struct Hello<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    attempt: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    scope: ScopeJson,
    resume: Option<ResumeJson>,
}

#[derive(Serialize)]
struct Ack {
    #[serde(rename = "type")]
    kind: &'static str,
    through: WaypointJson,
}
