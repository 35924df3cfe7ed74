//! What the role may do.

use super::report::{Finding, Report, counted};
use super::tables::Table;
use super::{Code, Patient};
use crate::db::{SCHEMA_VERSION, Selection, quoted};
use std::collections::BTreeSet;
use tokio_postgres::{Client, Error};

/// Rights that do not depend on tables.
pub(super) async fn examine(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select rolreplication or rolsuper, has_database_privilege($1, current_database(), 'create'), \
           to_regnamespace('dormouse') is not null, exists (select from pg_publication where pubname = $2) \
         from pg_roles where rolname = $1";
    let row = patient.client.query_one(sql, &[&patient.role, &patient.ours]).await?;
    let (replicates, creates, has_schema, has_publication): (bool, bool, bool, bool) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    let (role, database) = (quoted(&patient.role), quoted(&patient.database));
    report.push(if replicates {
        Finding::ok(Code::RoleReplication, &patient.role, "the role may replicate")
    } else {
        Finding::error(Code::RoleReplication, &patient.role, "the role lacks REPLICATION")
            .remedy(format!("alter role {role} replication;"))
            .advise("On a hosted Postgres, the provider names another way, such as `grant rds_replication to …`.")
    });
    let owns_publication = !matches!(patient.selection, Selection::Publication(_));
    let missing: Vec<&str> = [
        (!has_schema).then_some("the schema dormouse"),
        (owns_publication && !has_publication).then_some("the publication"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !creates && !missing.is_empty() {
        let message = format!(
            "{} to be created in database {}, and the role may not",
            match &missing[..] {
                [one] => format!("{one} is"),
                more => format!("{} are", more.join(" and ")),
            },
            patient.database
        );
        report.push(
            Finding::error(Code::RoleCannotCreate, &patient.role, message)
                .remedy(format!("grant create on database {database} to {role};"))
                .advise(format!("Grant it, or let an administrator run: dormouse setup --role {}", patient.role)),
        );
    }
    if has_schema {
        examine_own_schema(patient, report).await?;
    }
    Ok(())
}

/// The schema `dormouse`, where it exists.
async fn examine_own_schema(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let usable = may_use_own_schema(&patient.client, &patient.role).await?;
    if !usable {
        let message = "the role may not use the schema dormouse, which another role made";
        let remedy = grant_own_schema(&patient.role);
        report.push(Finding::error(Code::RoleLacksOwnSchema, &patient.role, message).remedy(remedy));
        return Ok(());
    }
    let sql = "select to_regclass('dormouse.version') is not null";
    if !patient.client.query_one(sql, &[]).await?.get::<_, bool>(0) {
        return Ok(());
    }
    let row = patient.client.query_one("select max(version) from dormouse.version", &[]).await?;
    let found: i32 = row.get::<_, Option<i32>>(0).unwrap_or(0);
    if found > SCHEMA_VERSION {
        let message = format!(
            "the schema dormouse is of version {found}, made by a newer Dormouse; this one knows versions up to {SCHEMA_VERSION}"
        );
        report.push(Finding::error(Code::SchemaNewer, "dormouse", message).advise("Run the newer Dormouse."));
    }
    Ok(())
}

/// Whether a role may use the schema `dormouse`, which is there, as a server does.
pub(crate) async fn may_use_own_schema(client: &Client, role: &str) -> Result<bool, Error> {
    // The tables are made by the first who may create them; what is there must be usable.
    let sql = "select has_schema_privilege($1, n.oid, 'usage') \
           and (exists (select from pg_class c where c.relnamespace = n.oid and c.relname = 'version') \
             or has_schema_privilege($1, n.oid, 'create')) \
           and not exists (select from pg_class c where c.relnamespace = n.oid and case c.relkind \
             when 'r' then not (has_table_privilege($1, c.oid, 'select') and has_table_privilege($1, c.oid, 'insert') \
               and has_table_privilege($1, c.oid, 'update') and has_table_privilege($1, c.oid, 'delete')) \
             when 'S' then not has_sequence_privilege($1, c.oid, 'usage') else false end) \
         from pg_namespace n join pg_roles r on r.rolname = $1 where n.nspname = 'dormouse'";
    // A role that is not there may nothing.
    Ok(client.query_opt(sql, &[&role]).await?.is_some_and(|row| row.get(0)))
}

/// Lets a role use the schema `dormouse` as a server does.
pub(crate) fn grant_own_schema(role: &str) -> String {
    let role = quoted(role);
    format!(
        "grant usage, create on schema dormouse to {role};\n\
         grant select, insert, update, delete on all tables in schema dormouse to {role};\n\
         grant usage on all sequences in schema dormouse to {role};"
    )
}

/// Rights on the tables that are synced.
pub(super) fn examine_tables(patient: &Patient, tables: &[&Table], report: &mut Report) {
    let role = quoted(&patient.role);
    let closed: BTreeSet<&str> =
        tables.iter().filter(|table| !table.may_use_schema).map(|table| table.schema.as_str()).collect();
    for schema in closed {
        let message = "the role lacks USAGE on this schema, whose tables are to be synced";
        report.push(
            Finding::error(Code::RoleLacksUsage, schema, message)
                .remedy(format!("grant usage on schema {} to {role};", quoted(schema))),
        );
    }
    let unread: Vec<&&Table> = tables.iter().filter(|table| !table.may_select).collect();
    if !unread.is_empty() {
        let names: Vec<_> = unread.iter().map(|table| table.quoted.as_str()).collect();
        let message = format!("the role lacks SELECT on {}", names.join(", "));
        report.push(
            Finding::error(Code::RoleLacksSelect, subject(&unread), message)
                .remedy(format!("grant select on table {} to {role};", names.join(", "))),
        );
    }
    let hidden: Vec<&&Table> = tables.iter().filter(|table| table.row_security).collect();
    if !hidden.is_empty() {
        let names: Vec<_> = hidden.iter().map(|table| table.quoted.as_str()).collect();
        let message = format!("row level security could hide rows of {} from the role", names.join(", "));
        report.push(
            Finding::error(Code::RowSecurity, subject(&hidden), message)
                .remedy(format!("alter role {role} bypassrls;")),
        );
    }
}

fn subject(tables: &[&&Table]) -> String {
    match tables {
        [table] => table.name(),
        more => counted(more.len(), "table"),
    }
}
