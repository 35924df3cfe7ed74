//! What the catalogue says of published tables: columns, types, keys.

use super::failure;
use super::{Database, types};
use dormouse_core::change::{Column, Relation};
use dormouse_core::fault::Failure;
use std::sync::Arc;
use tokio_postgres::Client;

/// A published table with a key, as a snapshot needs it.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub relation: Arc<Relation>,
    /// For SQL, with `only` where rows of children are published under the children's names.
    pub quoted: String,
    /// The publication's row filter.
    pub filter: Option<String>,
}

/// Whether `pg_index i` is what replicas tell the rows of `pg_class c` apart by.
macro_rules! is_key {
    () => {
        "i.indrelid = c.oid and i.indisvalid and i.indisunique and i.indimmediate and i.indpred is null \
         and case c.relreplident when 'i' then i.indisreplident when 'n' then false else i.indisprimary end"
    };
}

/// The columns by which replicas tell the rows of `pg_class c` apart, as the stream names a deleted row: the replica identity's
/// index if one is chosen, else the primary key. NULL when there is none, or when Postgres could not use it for updates.
pub(crate) const KEY: &str = concat!(
    "(select array_agg(a.attname::text order by k.n) from pg_index i \
     cross join lateral unnest(i.indkey) with ordinality k (attnum, n) \
     join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum \
     where k.n <= i.indnkeyatts and ",
    is_key!(),
    ")"
);

/// What makes these columns the key: the constraint's oid, which stays when its index is built anew, else the index's.
pub(super) const KEY_OBJECT: &str = concat!(
    "(select coalesce((select k.oid from pg_constraint k where k.conindid = i.indexrelid and k.conrelid = c.oid and k.contype in ('p', 'u')), \
       i.indexrelid)::bigint from pg_index i where ",
    is_key!(),
    ")"
);

/// The tables `c` (in namespace `n`) of publication `$1`, with what it says of each as `p.of`.
pub(super) const PUBLISHED: &str = "(select schemaname, tablename, to_jsonb(v) as of from pg_publication_tables v where v.pubname = $1) p \
     join pg_namespace n on n.nspname = p.schemaname and n.nspname <> 'dormouse' \
     join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename";

/// Whether the publication sends column `a` of table `p`. `pgoutput` leaves generated columns out.
pub(super) const SENT: &str = "(a.attgenerated = '' and (coalesce(jsonb_typeof(p.of->'attnames'), 'null') = 'null' \
     or p.of->'attnames' ? a.attname::text))";

/// All published tables with a key, by name.
pub(super) async fn tables(client: &Client, publication: &str) -> Result<Vec<Table>, Failure> {
    let sql = format!(
        "select n.nspname::text, c.relname::text, format('%s%I.%I', case c.relkind when 'p' then '' else 'only ' end, n.nspname, c.relname), \
           p.of->>'rowfilter', {KEY}, columns.names, columns.types, columns.type_names \
         from {PUBLISHED} \
         cross join lateral (select array_agg(a.attname::text order by a.attnum) as names, \
             array_agg(a.atttypid order by a.attnum) as types, array_agg(t.typname::text order by a.attnum) as type_names \
           from pg_attribute a join pg_type t on t.oid = a.atttypid \
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and {SENT}) columns \
         where {KEY} is not null order by 1, 2"
    );
    let rows = client.query(&sql, &[&publication]).await.map_err(failure::of)?;
    let tables = rows.iter().map(|row| {
        let (key, names): (Vec<String>, Vec<String>) = (row.get(4), row.get(5));
        let (types, type_names): (Vec<u32>, Vec<String>) = (row.get(6), row.get(7));
        let columns = names.into_iter().zip(types).zip(type_names).map(|((name, type_oid), type_name)| {
            let key = key.contains(&name);
            Column { name, type_oid, type_name, key }
        });
        let relation = Arc::new(Relation::new(row.get::<_, String>(0), row.get::<_, String>(1), columns.collect()));
        Table { relation, quoted: row.get(2), filter: row.get(3) }
    });
    Ok(tables.collect())
}

impl Database {
    /// The names of the columns by which replicas tell the rows of a table apart; none when it has no key, or is gone.
    ///
    /// # Errors
    /// As every question.
    pub async fn table_key(&self, oid: u32) -> Result<Vec<String>, Failure> {
        let client = self.control().get().await?;
        let sql = client.prepare_cached(&format!("select {KEY} from pg_class c where c.oid = $1")).await;
        let row = client.query_opt(&sql.map_err(failure::of)?, &[&oid]).await.map_err(failure::of)?;
        Ok(row.and_then(|row| row.get::<_, Option<Vec<String>>>(0)).unwrap_or_default())
    }

    /// The shapes of all published tables with a key, as they are now.
    ///
    /// # Errors
    /// As every question.
    pub async fn published_relations(&self) -> Result<Vec<Arc<Relation>>, Failure> {
        let client = self.control().get().await?;
        Ok(tables(&client, &self.publication()).await?.into_iter().map(|table| table.relation).collect())
    }
}

/// Quotes an identifier.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The system's identifier, the database and the timeline, as three columns for [`evidence`]. The control file still tells
/// the old timeline for seconds after a promotion; the name of the WAL's present file does not.
pub(super) const EVIDENCE: &str = "(select system_identifier from pg_control_system()), \
     (select oid from pg_database where datname = current_database()), \
     ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int8";

/// Reads [`EVIDENCE`]'s columns.
pub(super) fn evidence(row: &tokio_postgres::Row, from: usize) -> dormouse_core::source::Evidence {
    dormouse_core::source::Evidence {
        system_identifier: types::unsigned(row.get(from)),
        database_oid: row.get(from + 1),
        timeline: u32::try_from(row.get::<_, i64>(from + 2)).unwrap_or(0),
    }
}
