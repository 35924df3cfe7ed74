//! The shape and the stored form of every published table, read from the catalogue, because the stream tells of many
//! changes late or never.

use super::catalogue::{KEY, KEY_OBJECT, PUBLISHED, SENT};
use super::failure;
use dormouse_core::fault::Failure;
use dormouse_core::source::{Fingerprints, TableFingerprint};
use tokio_postgres::Client;

/// The fingerprints of all published tables with a key.
pub(super) async fn read(client: &Client, publication: &str) -> Result<Fingerprints, Failure> {
    let rows = client.query(&sql(), &[&publication]).await.map_err(failure::of)?;
    let fingerprints = rows.iter().map(|row| {
        let mut columns: Vec<String> = row.get(3);
        // What the publication or the partitions contribute is compared with the columns.
        columns.extend(row.get::<_, Option<String>>(6).map(|filter| format!("where {filter}")));
        columns.extend(row.get::<_, Option<String>>(7).map(|partitions| format!("partitions {partitions}")));
        let table = TableFingerprint {
            oid: row.get(1),
            relfilenode: row.get(2),
            definitions: row.get(8),
            membership: row.get(9),
            shape: row.get(10),
            columns,
            key: row.get(4),
            defaults: row.get(5),
        };
        (row.get(0), table)
    });
    Ok(fingerprints.collect())
}

/// What makes `pg_class c` a table of publication `$1`: the publication itself, and its entries for the table and its schema, or for
/// those of which it is a partition. An entry that is made again is another. (Entries for schemas, which Postgres 14 does not have, are
/// found by what they depend on.)
const MEMBERSHIP: &str = "(select (b.oid::bigint + coalesce((select sum(m.oid::bigint) \
       from (select c.oid as relid union select a.relid from pg_partition_ancestors(c.oid) a) x join pg_class k on k.oid = x.relid \
       cross join lateral (select r.oid from pg_publication_rel r where r.prpubid = b.oid and r.prrelid = k.oid \
         union all select d.objid from pg_depend d join pg_depend e on (e.classid, e.objid) = (d.classid, d.objid) \
           where d.classid = to_regclass('pg_catalog.pg_publication_namespace') \
             and d.refclassid = 'pg_namespace'::regclass and d.refobjid = k.relnamespace \
             and e.refclassid = 'pg_publication'::regclass and e.refobjid = b.oid) m), 0))::bigint \
     from pg_publication b where b.pubname = $1)";

/// Of the types that the values of column type `t` hold within, beyond what is looked at directly: an enum's labels, a composite's
/// attributes, at any depth of domains, arrays, composites and ranges. No built-in type holds another's.
const WITHIN: &str = "case when t.oid >= 16384 then ( \
     with recursive held (oid) as (select t.oid union select d.oid from held join pg_type x on x.oid = held.oid \
       cross join lateral (select x.typelem union all select x.typbasetype \
         union all select r.rngsubtype from pg_range r where x.oid in (r.rngtypid, r.rngmultitypid) \
         union all select f.atttypid from pg_attribute f \
           where f.attrelid = x.typrelid and x.typrelid <> 0 and f.attnum > 0 and not f.attisdropped) d (oid) where d.oid >= 16384) \
     select string_agg(format(' within %s [%s] (%s)', h.oid, h.labels, h.attributes), '' order by h.oid) from ( \
       select x.oid, case when x.oid not in (t.oid, t.typelem, t.typbasetype) then \
           (select string_agg(e.enumlabel, ',' order by e.enumsortorder) from pg_enum e where e.enumtypid = x.oid) end as labels, \
         case when x.oid <> t.oid then (select string_agg(f.attname || ' ' || f.atttypid, ',' order by f.attnum) from pg_attribute f \
           where f.attrelid = x.typrelid and x.typrelid <> 0 and f.attnum > 0 and not f.attisdropped) end as attributes \
       from held join pg_type x using (oid)) h where h.labels is not null or h.attributes is not null) end";

/// Of a type: an enum's labels, a composite's attributes; of a column: the value that rows from before it was added have.
fn sql() -> String {
    format!(
        "select n.nspname || '.' || c.relname, c.oid, c.relfilenode, columns.texts, {KEY}, columns.defaults, p.of->>'rowfilter', \
           case c.relkind when 'p' then (select string_agg(l.oid || ':' || l.relfilenode, ',' order by l.oid) \
             from pg_partition_tree(c.oid) x join pg_class l on l.oid = x.relid where x.isleaf) end, columns.definitions, {MEMBERSHIP}, \
           c.relnatts + {KEY_OBJECT} \
         from {PUBLISHED} \
         cross join lateral (select \
             coalesce(array_agg(format('%s %s(%s)', a.attname, a.atttypid, a.atttypmod) \
               || coalesce((select format(' enum [%s]', string_agg(e.enumlabel, ',' order by e.enumsortorder)) from pg_enum e \
                  where e.enumtypid in (t.oid, t.typelem, t.typbasetype) having count(*) > 0), '') \
               || coalesce((select format(' of (%s)', string_agg(f.attname || ' ' || f.atttypid, ',' order by f.attnum)) \
                  from pg_attribute f where f.attrelid = t.typrelid and t.typrelid <> 0 and f.attnum > 0 and not f.attisdropped \
                  having count(*) > 0), '') \
               || coalesce({WITHIN}, '') \
               || case when a.atthasmissing then ' missing ' || a.attmissingval::text else '' end \
               || case when {SENT} then '' else ' unsent' end order by a.attnum), '{{}}') as texts, \
             coalesce(array_agg(a.attname || ' = ' || pg_get_expr(d.adbin, d.adrelid) order by a.attnum) \
               filter (where d.oid is not null and a.attgenerated = ''), '{{}}') as defaults, \
             coalesce(sum(a.xmin::text::bigint), 0)::bigint as definitions \
           from pg_attribute a join pg_type t on t.oid = a.atttypid \
           left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') columns \
         where {KEY} is not null"
    )
}
