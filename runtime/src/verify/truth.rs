//! What Postgres itself says: the published tables, and their rows in one snapshot.

use super::VerifyError;
use crate::db;
use dormouse_core::change::{Chunk, Column, Relation};
use dormouse_core::limits::VALUE_BYTES_MAX;
use dormouse_core::position::{Lsn, Waypoint};
use dormouse_core::row::{Row, RowBuilder, Value};
use dormouse_core::session::BackfillId;
use dormouse_core::store::{MemoryStore, StoreRequest};
use dormouse_core::xid::Snapshot;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::types::PgLsn;
use tokio_postgres::{Client, Error, Transaction};

/// Decides how values are written as text: what servers send, and what we compare it with.
const OUTPUT_SETTINGS: &str = "set timezone = 'UTC'; set datestyle = 'ISO, MDY'; set intervalstyle = 'postgres'; \
    set extra_float_digits = 1; set bytea_output = 'hex'; set lc_monetary = 'C'; set row_security = off; set client_encoding = 'UTF8'; \
    set synchronous_commit = local; set statement_timeout = 0; set lock_timeout = '30s'; \
    set search_path = pg_catalog; set application_name = 'dormouse verify'";

/// A connection that sees the tables as they are.
pub struct Truth {
    client: Client,
}

/// The rows of all tables in one snapshot.
pub struct Rows {
    /// What the snapshot sees.
    pub snapshot: Snapshot,
    /// The end of the WAL at a later moment.
    pub watermark: Lsn,
    /// The rows, as a replica would hold them.
    pub store: MemoryStore,
}

impl Truth {
    /// Connects to a database, as its URL says.
    ///
    /// # Errors
    /// When it cannot be reached, or refuses.
    pub async fn connect(url: &str) -> Result<Self, VerifyError> {
        let client = db::connect(url).await.map_err(VerifyError::Unreachable)?;
        client.batch_execute(OUTPUT_SETTINGS).await?;
        Ok(Self { client })
    }

    /// The tables of a publication (by default the one that the server makes) with the columns that are sent.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn published(&self, publication: Option<&str>) -> Result<Vec<Arc<Relation>>, Error> {
        let columns = self.client.query(PUBLISHED_COLUMNS, &[&publication]).await?;
        let mut tables: BTreeMap<(String, String), Vec<Column>> = BTreeMap::new();
        for row in columns {
            let column = Column {
                name: row.get("column_name"),
                type_oid: row.get("type_oid"),
                type_name: row.get("type_name"),
                key: row.get("key"),
            };
            tables.entry((row.get("schema_name"), row.get("table_name"))).or_default().push(column);
        }
        let with_key = tables.into_iter().filter(|(_, columns)| columns.iter().any(|column| column.key));
        Ok(with_key.map(|((schema, name), columns)| Arc::new(Relation::new(schema, name, columns))).collect())
    }

    /// Reads all rows of these tables: locks them, takes a snapshot, then the end of the WAL, then copies.
    ///
    /// # Errors
    /// As Postgres says.
    pub async fn read(&mut self, relations: &[Arc<Relation>]) -> Result<Rows, Error> {
        let transaction = self
            .client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        if !relations.is_empty() {
            let names: Vec<_> = relations.iter().map(|relation| table_name(relation)).collect();
            let lock = format!("lock table only {} in access share mode", names.join(", only "));
            transaction.batch_execute(&lock).await?;
        }
        let text: String = transaction.query_one("select pg_current_snapshot()::text", &[]).await?.get(0);
        let snapshot = Snapshot::parse(&text).unwrap_or_default();
        let lsn: PgLsn = transaction.query_one("select pg_current_wal_insert_lsn()", &[]).await?.get(0);
        let mut store = MemoryStore::default();
        let mut n = 0;
        for relation in relations {
            copy(&transaction, relation, &mut store, &mut n).await?;
        }
        let watermark = Lsn(lsn.into());
        let complete = Some(Waypoint::default());
        store.apply(&StoreRequest::StageSeam { backfill: BackfillId(0), n, page: None, complete });
        transaction.rollback().await?;
        Ok(Rows { snapshot, watermark, store })
    }
}

/// The key is the primary key, else the replica identity index.
const PUBLISHED_COLUMNS: &str = "
    with published as (
        select c.oid, p.schemaname, p.tablename, p.attnames
        from pg_publication_tables p
        join pg_namespace n on n.nspname = p.schemaname
        join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename
        where p.pubname = coalesce($1, 'dormouse_' || (select oid from pg_database where datname = current_database()))
          and p.schemaname <> 'dormouse'
    ), keyed as (
        select distinct on (i.indrelid) i.indrelid, i.indkey::int2[] as columns
        from pg_index i
        where (i.indisprimary or i.indisreplident) and i.indisvalid
        order by i.indrelid, i.indisprimary desc
    )
    select p.schemaname::text as schema_name, p.tablename::text as table_name, a.attname::text as column_name,
           a.atttypid as type_oid, format_type(a.atttypid, a.atttypmod) as type_name,
           coalesce(a.attnum = any (k.columns), false) as key
    from published p
    join pg_attribute a on a.attrelid = p.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
         and (p.attnames is null or a.attname = any (p.attnames))
    left join keyed k on k.indrelid = p.oid
    order by 1, 2, a.attnum";

/// How many rows are staged at once.
const CHUNK_ROWS: usize = 10_000;

async fn copy(
    transaction: &Transaction<'_>,
    relation: &Arc<Relation>,
    store: &mut MemoryStore,
    n: &mut u32,
) -> Result<(), Error> {
    let columns: Vec<_> = relation.columns.iter().map(|column| quoted(&column.name)).collect();
    let statement = format!("copy (select {} from only {}) to stdout", columns.join(", "), table_name(relation));
    let stream = transaction.copy_out(&statement).await?;
    let mut stream = std::pin::pin!(stream);
    let mut rows = Vec::new();
    let mut stage = |rows: Vec<Row>| {
        let chunk = Arc::new(Chunk { relation: Arc::clone(relation), rows });
        store.apply(&StoreRequest::StageChunk { backfill: BackfillId(0), n: *n, chunk });
        *n += 1;
    };
    // Postgres sends one row per message.
    while let Some(line) = stream.try_next().await? {
        rows.push(parse_line(&line));
        if rows.len() == CHUNK_ROWS {
            stage(std::mem::take(&mut rows));
        }
    }
    if !rows.is_empty() {
        stage(rows);
    }
    Ok(())
}

/// One line of COPY's text format: values between tabs, `\N` for null, backslashes before what would be misread.
fn parse_line(line: &[u8]) -> Row {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut row = RowBuilder::default();
    for field in line.split(|byte| *byte == b'\t') {
        if field == b"\\N" {
            row.push(Value::Null);
            continue;
        }
        let bytes = unescape(field);
        let text = String::from_utf8_lossy(&bytes);
        let size = u32::try_from(text.len()).unwrap_or(u32::MAX);
        row.push(if text.len() > VALUE_BYTES_MAX { Value::Omitted(size) } else { Value::Text(&text) });
    }
    row.finish()
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 11,
            Some(other) => *other,
            None => b'\\',
        });
    }
    bytes
}

fn table_name(relation: &Relation) -> String {
    format!("{}.{}", quoted(&relation.schema), quoted(&relation.name))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_copy_are_read() {
        let row = parse_line(b"1\t\\N\t\\\\N\ta\\tb\\nc\t\n");
        let values: Vec<_> = row.values().collect();
        let text = Value::Text;
        assert_eq!(values, [text("1"), Value::Null, text("\\N"), text("a\tb\nc"), text("")]);
    }

    #[tokio::test]
    async fn published_tables_are_read_whole() {
        let cluster = crate::demo::cluster::Cluster::start().expect("starts");
        let (client, connection) =
            tokio_postgres::connect(&cluster.url(), tokio_postgres::NoTls).await.expect("connects");
        tokio::spawn(connection);
        let tables = "create table item (b text, id int, gone int, a boolean, primary key (id));
            alter table item drop column gone;
            insert into item values ('x\ty', 1, true), (null, 2, null);
            create table \"Odd \"\"name\" (id int not null unique);
            alter table \"Odd \"\"name\" replica identity using index \"Odd \"\"name_id_key\";
            create table log (line text);
            create publication p for table item, \"Odd \"\"name\", log";
        client.batch_execute(tables).await.expect("valid");
        let mut truth = Truth::connect(&cluster.url()).await.expect("connects");
        let relations = truth.published(Some("p")).await.expect("answers");
        let names: Vec<_> = relations.iter().map(|relation| relation.full_name()).collect();
        assert_eq!(names, ["public.Odd \"name", "public.item"]);
        let keys: Vec<_> = relations[1].columns.iter().map(|column| (column.name.as_str(), column.key)).collect();
        assert_eq!(keys, [("b", false), ("id", true), ("a", false)]);
        let rows = truth.read(&relations).await.expect("answers");
        let text = |row: &Row| format!("{row:?}");
        let item: Vec<_> =
            rows.store.table("public.item").expect("rows").rows().map(|(_, stored)| text(&stored.row)).collect();
        assert_eq!(item, ["(x\ty, 1, t)", "(null, 2, null)"]);
        assert!(rows.watermark > Lsn::ZERO && rows.snapshot.xmax.0 > 0);
        assert!(truth.published(None).await.expect("answers").is_empty(), "the server made no publication yet");
    }
}
