//! The tables that are to be synced: their keys, their kind, their owners.

use super::report::{Finding, Report, Severity, counted};
use super::{Code, Patient};
use crate::db::{KEY, Selection, quoted};
use tokio_postgres::{Client, Error};

/// A table as it bears on being synced, seen with the eyes of one role.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub schema: String,
    name: String,
    /// Schema and name, for SQL.
    pub quoted: String,
    /// Whether something identifies its rows in the stream.
    pub keyed: bool,
    identity: String,
    unlogged: bool,
    /// An index that could be the replica identity.
    unique_index: Option<String>,
    primary_key: Option<PrimaryKey>,
    has_id: bool,
    pub owned: bool,
    pub may_use_schema: bool,
    pub may_select: bool,
    /// Rows could be hidden from this role.
    pub row_security: bool,
    /// Rows could be hidden from somebody.
    pub guarded: bool,
}

#[derive(Debug, Clone)]
struct PrimaryKey {
    constraint: String,
    columns: Vec<String>,
    deferrable: bool,
}

impl Table {
    /// Schema and name, for people.
    pub(crate) fn name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether an administrator can publish it for Dormouse.
    pub(crate) fn could_be_published(&self) -> bool {
        self.keyed && !self.unlogged
    }

    /// What gives it a key.
    fn key_remedy(&self) -> String {
        let table = &self.quoted;
        let by_default = format!("alter table {table} replica identity default;");
        match (&self.primary_key, &self.unique_index) {
            (Some(key), _) if !key.deferrable => by_default,
            (_, Some(index)) => format!("alter table {table} replica identity using index {};", quoted(index)),
            (Some(key), None) => {
                let columns: Vec<_> = key.columns.iter().map(|column| quoted(column)).collect();
                format!(
                    "-- The same key, no longer deferrable:\n\
                     alter table {table} drop constraint {}, add primary key ({});\n{by_default}",
                    quoted(&key.constraint),
                    columns.join(", ")
                )
            }
            (None, None) => {
                let column = if self.has_id { "dormouse_id" } else { "id" };
                format!(
                    "-- If columns identify a row, name them instead: alter table {table} add primary key (…);\n\
                     -- This adds a new one, and rewrites the table:\n\
                     alter table {table} add column {column} bigint generated always as identity primary key;{}",
                    if self.identity == "d" { String::new() } else { format!("\n{by_default}") }
                )
            }
        }
    }
}

/// The tables of a selection, by name, as `role` may use them; and those that were named and are not there.
pub(crate) async fn survey(
    client: &Client,
    selection: &Selection,
    role: &str,
) -> Result<(Vec<Table>, Vec<String>), Error> {
    let names: Vec<String> = match selection {
        Selection::Tables(names) => {
            names.iter().map(|name| if name.contains('.') { name.clone() } else { format!("public.{name}") }).collect()
        }
        Selection::Keyed | Selection::Publication(_) => Vec::new(),
    };
    let (publication, of): (&str, &str) = match selection {
        Selection::Keyed => ("", "c.relkind = 'r' and c.relpersistence <> 't' and $2::text = '' and $3::text[] = '{}'"),
        Selection::Tables(_) => {
            ("", "c.relkind = 'r' and $2::text = '' and n.nspname || '.' || c.relname = any($3::text[])")
        }
        Selection::Publication(name) => (
            name,
            "$3::text[] = '{}' and exists (select from pg_publication_tables p where p.pubname = $2::text \
               and p.schemaname = n.nspname and p.tablename = c.relname)",
        ),
    };
    let suitable = "i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null \
         and not exists (select from unnest(i.indkey) with ordinality k (attnum, n) \
           join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum where k.n <= i.indnkeyatts and not a.attnotnull)";
    let sql = format!(
        "select n.nspname::text, c.relname::text, format('%I.%I', n.nspname, c.relname), {KEY} is not null, \
           c.relreplident::text, c.relpersistence = 'u', \
           (select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid \
              where i.indrelid = c.oid and {suitable} order by i.indnkeyatts, x.relname limit 1), \
           k.conname::text, k.condeferrable, (select array_agg(a.attname::text order by u.n) \
              from unnest(k.conkey) with ordinality u (attnum, n) \
              join pg_attribute a on a.attrelid = c.oid and a.attnum = u.attnum), \
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'id' and not a.attisdropped), \
           pg_has_role(r.oid, c.relowner, 'usage'), has_schema_privilege(r.oid, n.oid, 'usage'), \
           has_table_privilege(r.oid, c.oid, 'select'), \
           c.relrowsecurity and not (r.rolsuper or r.rolbypassrls \
              or (pg_has_role(r.oid, c.relowner, 'usage') and not c.relforcerowsecurity)), c.relrowsecurity \
         from pg_class c join pg_namespace n on n.oid = c.relnamespace join pg_roles r on r.rolname = $1 \
         left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p' \
         where n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'dormouse') and {of} order by 1, 2"
    );
    let tables: Vec<Table> = client.query(&sql, &[&role, &publication, &names]).await?.iter().map(read).collect();
    let missing = names.into_iter().filter(|name| !tables.iter().any(|table| table.name() == *name)).collect();
    Ok((tables, missing))
}

fn read(row: &tokio_postgres::Row) -> Table {
    Table {
        schema: row.get(0),
        name: row.get(1),
        quoted: row.get(2),
        keyed: row.get(3),
        identity: row.get(4),
        unlogged: row.get(5),
        unique_index: row.get(6),
        primary_key: row.get::<_, Option<String>>(7).map(|constraint| PrimaryKey {
            constraint,
            deferrable: row.get(8),
            columns: row.get(9),
        }),
        has_id: row.get(10),
        owned: row.get(11),
        may_use_schema: row.get(12),
        may_select: row.get(13),
        row_security: row.get(14),
        guarded: row.get(15),
    }
}

/// Looks at every table of the selection. `streamed` is what will be: an adopted publication instead of the tables asked for.
pub(super) async fn examine(patient: &Patient, streamed: &Selection, report: &mut Report) -> Result<(), Error> {
    let (tables, missing) = survey(&patient.client, streamed, &patient.role).await?;
    // By default a table that cannot be synced is left out; one that was asked for is missed.
    let asked_for = !matches!(streamed, Selection::Keyed);
    for name in missing {
        let message = "there is no such ordinary table; of a partitioned table, name the partitions";
        report.push(
            Finding::error(Code::TableMissing, name, message)
                .advise("Correct --tables: schema.table, as Postgres has it."),
        );
    }
    for table in &tables {
        if let Some(finding) = flaw(table, asked_for, matches!(streamed, Selection::Publication(_))) {
            report.push(finding);
        }
    }
    let fit: Vec<&Table> = tables.iter().filter(|table| table.could_be_published()).collect();
    let foreign: Vec<&&Table> = fit.iter().filter(|table| !table.owned).collect();
    if !foreign.is_empty() && !matches!(streamed, Selection::Publication(_)) {
        report.push(not_owned(patient, &fit, &foreign, asked_for));
    }
    super::role::examine_tables(patient, &fit, report);
    if !fit.is_empty() {
        report.push(Finding::ok(
            Code::Tables,
            &patient.database,
            format!("{} with a key", counted(fit.len(), "table")),
        ));
    } else if tables.is_empty() && !report.has(Code::NoTables, Severity::Warning) {
        let finding =
            Finding::warning(Code::NoTables, &patient.database, "there is no table, so nothing would be synced");
        report.push(finding.advise("Create tables with primary keys: they are noticed within seconds."));
    }
    Ok(())
}

fn flaw(table: &Table, asked_for: bool, published: bool) -> Option<Finding> {
    let finding = |code, message: &str| {
        Some(if asked_for {
            Finding::error(code, table.name(), message)
        } else {
            Finding::warning(code, table.name(), message)
        })
    };
    let consequence = if published { "its updates and deletes fail in the application" } else { "it is left out" };
    if table.unlogged {
        let message = format!("the table is unlogged, so that its changes are in no stream: {consequence}");
        let sql = format!("alter table {} set logged;", table.quoted);
        return finding(Code::TableUnlogged, &message).map(|finding| finding.remedy(sql));
    }
    if table.identity == "n" {
        let message = format!("its REPLICA IDENTITY is NOTHING, so that nothing names its changed rows: {consequence}");
        return finding(Code::IdentityNothing, &message).map(|finding| finding.remedy(table.key_remedy()));
    }
    if !table.keyed {
        let message = format!("no key identifies its rows: {consequence}");
        return finding(Code::TableWithoutKey, &message).map(|finding| finding.remedy(table.key_remedy()));
    }
    None
}

fn not_owned(patient: &Patient, fit: &[&Table], foreign: &[&&Table], asked_for: bool) -> Finding {
    let names: Vec<_> = foreign.iter().map(|table| table.quoted.as_str()).collect();
    let message = format!(
        "the role does not own {}, and only owners publish tables: {} left out",
        names.join(", "),
        if names.len() == 1 { "it is" } else { "they are" }
    );
    let subject = if let [table] = foreign { table.name() } else { counted(foreign.len(), "table") };
    let nothing_left = foreign.len() == fit.len();
    let finding = if asked_for || nothing_left {
        Finding::error(Code::TablesNotOwned, subject, message)
    } else {
        Finding::warning(Code::TablesNotOwned, subject, message)
    };
    // A publication that another role made under our name is taken as it is.
    let all: Vec<_> = fit.iter().map(|table| format!("only {}", table.quoted)).collect();
    let publication = quoted(&patient.ours);
    finding
        .remedy(format!("drop publication if exists {publication};\n{}", create_publication(&publication, &all)))
        .advise("As the owner or a superuser, publish them for the role; new tables have to be added in the same way:")
}

/// Creates a publication of all operations. The names are quoted already.
pub(crate) fn create_publication(quoted: &str, tables: &[String]) -> String {
    let of = if tables.is_empty() { String::new() } else { format!(" for table {}", tables.join(", ")) };
    format!("create publication {quoted}{of} with (publish = 'insert, update, delete, truncate');")
}
