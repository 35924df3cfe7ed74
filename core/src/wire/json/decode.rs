//! Text to messages. Whatever the text, the answer is a message or a sentence, never a panic.

use super::rows::RowJson;
use super::{ResumeJson, ScopeJson, WaypointJson};
use crate::change::{Change, Chunk, Column, Page, Relation, RelationId, Scope, Transaction};
use crate::fault::{FaultCode, Malformed, PeerFault, ResyncReason};
use crate::limits::SCOPE_TABLES_MAX;
use crate::position::{CommitTime, Era, Lsn, Position, SchemaVersion, Waypoint};
use crate::session::{BackfillId, ClientId};
use crate::wire::{ClientMessage, Hello, Resume, Secret, ServerMessage};
use crate::xid::Xid;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Reads a client's message.
///
/// # Errors
/// What is wrong with it, without repeating what the client sent.
pub fn decode_client(text: &str) -> Result<ClientMessage, Malformed> {
    match &*kind(text)? {
        "hello" => parse::<HelloJson>(text)?.message(),
        "ack" => Ok(ClientMessage::Ack { through: parse::<AckJson>(text)?.through.into() }),
        "staged" => {
            let StagedJson { backfill, n } = parse(text)?;
            Ok(ClientMessage::Staged { backfill: BackfillId(backfill), n })
        }
        "credential" => Ok(ClientMessage::Credential(Secret::new(&parse::<NewCredentialJson>(text)?.token))),
        "bye" => Ok(ClientMessage::Bye),
        _ => Err(malformed("a client's message is of type hello, ack, staged, credential or bye")),
    }
}

/// Reads the messages of one connection to a server: remembers its schemas, so that pages come out whole.
#[derive(Debug, Default, Clone)]
pub struct ServerDecoder {
    relations: BTreeMap<RelationId, Arc<Relation>>,
}

impl ServerDecoder {
    /// Reads a server's message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(&mut self, text: &str) -> Result<ServerMessage, Malformed> {
        match &*kind(text)? {
            "welcome" => {
                let WelcomeJson { client, era, schema, head, from, credential_expires_in_ms } = parse(text)?;
                let from = from.map(Waypoint::from);
                Ok(ServerMessage::Welcome { client, era, schema, head, from, credential_expires_in_ms })
            }
            "credential" => {
                Ok(ServerMessage::Credential { expires_in_ms: parse::<CredentialJson>(text)?.expires_in_ms })
            }
            "schema" => {
                let relation = Arc::new(parse::<SchemaJson>(text)?.relation()?);
                self.relations.insert(relation.id, Arc::clone(&relation));
                Ok(ServerMessage::Schema(relation))
            }
            "chunk" => {
                let ChunkJson { backfill, n, of, schema, rows } = parse(text)?;
                let relation = Arc::clone(self.relation(schema)?);
                let rows = rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
                if rows.iter().any(|row| row.values().count() != relation.columns.len()) {
                    return Err(malformed("a row has another number of values than its schema has columns"));
                }
                Ok(ServerMessage::Chunk {
                    backfill: BackfillId(backfill),
                    n,
                    of,
                    chunk: Arc::new(Chunk { relation, rows }),
                })
            }
            "seam" => {
                let SeamJson { backfill, n, transactions, complete } = parse(text)?;
                let page = transactions
                    .map(|transactions| self.page(Position::ZERO, Waypoint::default(), transactions))
                    .transpose()?;
                let complete = complete.map(Waypoint::from);
                Ok(ServerMessage::Seam { backfill: BackfillId(backfill), n, page: page.map(Arc::new), complete })
            }
            "page" => {
                let PageJson { after, through, transactions } = parse(text)?;
                Ok(ServerMessage::Page(Arc::new(self.page(after, through.into(), transactions)?)))
            }
            "live" => Ok(ServerMessage::Live),
            "resync" => Ok(ServerMessage::Resync { reason: parse::<ResyncJson>(text)?.reason }),
            "error" => {
                let FaultJson { code, message } = parse(text)?;
                Ok(ServerMessage::Fault(PeerFault { code, message }))
            }
            _ => Err(malformed("a message of an unknown type")),
        }
    }

    pub(in crate::wire) fn relation(&self, id: u64) -> Result<&Arc<Relation>, Malformed> {
        self.relations.get(&RelationId(id)).ok_or_else(|| malformed("a schema id that was not sent before"))
    }

    fn page(&self, after: Position, through: Waypoint, json: Vec<TransactionJson>) -> Result<Page, Malformed> {
        let mut relations: Vec<Arc<Relation>> = Vec::new();
        let mut transactions = Vec::with_capacity(json.len());
        for transaction in json {
            let TransactionJson { commit_lsn, xid, committed_at_us, first, complete, changes } = transaction;
            let changes: Arc<[Change]> = changes.into_iter().map(|change| change.0).collect();
            for change in &*changes {
                if relations.iter().all(|relation| relation.id != change.relation()) {
                    relations.push(Arc::clone(self.relation(change.relation().0)?));
                }
                let relation = relations.iter().find(|relation| relation.id == change.relation());
                check_widths(change, relation.expect("it was just added"))?;
            }
            transactions.push(Transaction {
                commit_lsn,
                end_lsn: Lsn::ZERO,
                xid: Xid(xid),
                committed_at: committed_at_us,
                first,
                complete,
                changes,
            });
        }
        Ok(Page { after, through, relations: relations.into(), transactions })
    }
}

fn check_widths(change: &Change, relation: &Relation) -> Result<(), Malformed> {
    let columns = relation.columns.len();
    let keys = relation.columns.iter().filter(|column| column.key).count();
    let fits = match change {
        Change::Insert { row, .. } | Change::Update { row, .. } => row.values().count() == columns,
        Change::Move { old_key, row, .. } => row.values().count() == columns && old_key.values().count() == keys,
        Change::Delete { key, .. } => key.values().count() == keys,
        Change::Truncate { .. } => true,
    };
    if fits { Ok(()) } else { Err(malformed("a row has another number of values than its schema has columns")) }
}

fn malformed(why: impl Into<String>) -> Malformed {
    Malformed { why: why.into() }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Malformed> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = match error.classify() {
            serde_json::error::Category::Data => "a field is missing or has a wrong value",
            _ => "this is not JSON",
        };
        malformed(format!("{why} (line {line}, column {column})"))
    })
}

fn kind(text: &str) -> Result<Cow<'_, str>, Malformed> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
    }
    parse::<Kind<'_>>(text).map(|kind| kind.kind)
}

#[derive(Deserialize)]
struct HelloJson {
    client: ClientId,
    instance: Option<String>,
    attempt: u64,
    token: Option<String>,
    scope: ScopeJson,
    resume: Option<ResumeJson>,
}

impl HelloJson {
    fn message(self) -> Result<ClientMessage, Malformed> {
        let instance = self.instance.map(|text| text.parse()).transpose();
        let instance = instance.map_err(|_| malformed("instance is an unsigned number as a decimal string"))?;
        let scope = match self.scope {
            ScopeJson::Word(word) if word == "all" => Scope::All,
            ScopeJson::Tables(names) if (1..=SCOPE_TABLES_MAX).contains(&names.len()) => Scope::tables(names),
            _ => return Err(malformed("scope is \"all\" or a list of 1 to 256 tables, each \"schema.table\"")),
        };
        let resume = match self.resume {
            None => Resume::Nothing,
            Some(ResumeJson::Word(word)) if word == "stored" => Resume::Stored,
            Some(ResumeJson::Word(_)) => {
                return Err(malformed("resume is null, \"stored\" or a position with its era"));
            }
            Some(ResumeJson::At(waypoint)) => Resume::At(waypoint.into()),
        };
        let Self { client, attempt, token, .. } = self;
        Ok(ClientMessage::Hello(Hello { client, instance, attempt, token, scope, resume }))
    }
}

#[derive(Deserialize)]
struct AckJson {
    through: WaypointJson,
}

#[derive(Deserialize)]
struct StagedJson {
    #[serde(with = "super::decimal")]
    backfill: u64,
    n: u32,
}

#[derive(Deserialize)]
struct WelcomeJson {
    client: ClientId,
    era: Era,
    schema: SchemaVersion,
    head: Position,
    from: Option<WaypointJson>,
    #[serde(default)]
    credential_expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
struct CredentialJson {
    #[serde(default)]
    expires_in_ms: Option<u64>,
}

#[derive(Deserialize)]
struct NewCredentialJson {
    token: String,
}

#[derive(Deserialize)]
struct SchemaJson {
    id: u64,
    relation: String,
    namespace: String,
    columns: Vec<ColumnJson>,
}

#[derive(Deserialize)]
struct ColumnJson {
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    oid: u32,
    key: bool,
}

impl SchemaJson {
    fn relation(self) -> Result<Relation, Malformed> {
        let name = self.relation.strip_prefix(&self.namespace).and_then(|rest| rest.strip_prefix('.'));
        let name = name.ok_or_else(|| malformed("a relation is its namespace, a dot and its name"))?.to_owned();
        let columns = self.columns.into_iter().map(|ColumnJson { name, type_name, oid, key }| Column {
            name,
            type_oid: oid,
            type_name,
            key,
        });
        Ok(Relation { id: RelationId(self.id), name, columns: columns.collect(), schema: self.namespace })
    }
}

#[derive(Deserialize)]
struct ChunkJson {
    #[serde(with = "super::decimal")]
    backfill: u64,
    n: u32,
    #[serde(default)]
    of: u64,
    schema: u64,
    rows: Vec<RowJson>,
}

#[derive(Deserialize)]
struct SeamJson {
    #[serde(with = "super::decimal")]
    backfill: u64,
    n: u32,
    transactions: Option<Vec<TransactionJson>>,
    complete: Option<WaypointJson>,
}

#[derive(Deserialize)]
struct PageJson {
    after: Position,
    through: WaypointJson,
    transactions: Vec<TransactionJson>,
}

#[derive(Deserialize)]
struct TransactionJson {
    commit_lsn: Lsn,
    #[serde(with = "super::decimal")]
    xid: u64,
    committed_at_us: CommitTime,
    #[serde(default)]
    first: u32,
    #[serde(default = "yes")]
    complete: bool,
    changes: Vec<ChangeJson>,
}

const fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct ResyncJson {
    reason: ResyncReason,
}

#[derive(Deserialize)]
struct FaultJson {
    code: FaultCode,
    message: String,
}

struct ChangeJson(Change);

impl<'de> Deserialize<'de> for ChangeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;
        impl<'de> Visitor<'de> for Parts {
            type Value = ChangeJson;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a change: an operation, a schema id, and its rows")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ChangeJson, A::Error> {
                let short = || A::Error::custom("a change ends too early");
                let operation: Cow<'de, str> = seq.next_element()?.ok_or_else(short)?;
                let relation = RelationId(seq.next_element()?.ok_or_else(short)?);
                let mut row = || seq.next_element::<RowJson>()?.map(|row| row.0).ok_or_else(short);
                let change = match &*operation {
                    "i" => Change::Insert { relation, row: row()? },
                    "u" => Change::Update { relation, row: row()? },
                    "m" => Change::Move { relation, old_key: row()?, row: row()? },
                    "d" => Change::Delete { relation, key: row()? },
                    "t" => Change::Truncate { relation },
                    _ => return Err(A::Error::custom("an operation is i, u, m, d or t")),
                };
                Ok(ChangeJson(change))
            }
        }
        deserializer.deserialize_seq(Parts)
    }
}
