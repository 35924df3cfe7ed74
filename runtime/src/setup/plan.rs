//! What is missing in a database, as steps of SQL: the same ones are run and printed.

use super::{role as quoted_role, said};
use crate::cli::CommandError;
use crate::db::{self, SCHEMA_VERSION, Selection, quoted};
use crate::doctor::report::literal;
use crate::doctor::tables::{Table, create_publication, survey};
use std::collections::BTreeSet;
use tokio_postgres::{Client, Error};

/// Where a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// First, and not to be undone.
    Before,
    /// In one transaction.
    Inside,
    /// Once all else is committed.
    After,
}

/// Something that has to be there.
#[derive(Debug)]
pub(super) struct Step {
    pub what: String,
    pub done: &'static str,
    pub place: Place,
    /// What makes it; none when it is there.
    pub sql: Option<String>,
}

/// What has to be there, in order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub database: String,
    pub role: Option<String>,
    pub steps: Vec<Step>,
    pub notes: Vec<String>,
}

impl Plan {
    pub(super) fn steps(&self, place: Place) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(move |step| step.place == place).filter_map(|step| step.sql.as_deref())
    }

    fn need(&mut self, place: Place, done: &'static str, what: impl Into<String>, sql: Option<String>) {
        self.steps.push(Step { what: what.into(), done, place, sql });
    }
}

/// What there is now.
struct Present {
    me: String,
    ours: String,
    has_schema: bool,
    has_tables: bool,
    /// Of the tables; none too where this role may not read it.
    version: Option<i32>,
    has_publication: bool,
    slot: Option<Slot>,
    leased: bool,
}

struct Slot {
    active: bool,
    usable: bool,
}

/// Compares what has to be there with what is there. With `for_others`, what this role may do itself does not matter.
pub(super) async fn make(
    client: &Client,
    selection: &Selection,
    role: Option<&str>,
    for_others: bool,
) -> Result<Plan, CommandError> {
    let failed = |why: Error| CommandError::Environment(format!("cannot look at the database: {}", said(&why)));
    let mut plan = Plan { role: role.map(Into::into), ..Plan::default() };
    let present = look(client, &mut plan).await.map_err(failed)?;
    if present.version.is_some_and(|version| version > SCHEMA_VERSION) {
        let message = "the schema dormouse was made by a newer Dormouse: run that one";
        return Err(CommandError::Environment(message.into()));
    }
    let seen_by = role.unwrap_or(&present.me);
    let (tables, missing) = survey_for(client, selection, seen_by, &present.me).await.map_err(failed)?;
    if let [name, ..] = &missing[..] {
        return Err(CommandError::Usage(format!("there is no ordinary table {name}: correct --tables")));
    }
    if let Some(role) = role {
        plan_role(client, role, &tables, &mut plan).await.map_err(failed)?;
    }
    plan_schema(client, &present, role, &mut plan).await.map_err(failed)?;
    let wanted = tables.iter().filter(|table| table.could_be_published() && (for_others || table.owned));
    let wanted: Vec<&Table> = wanted.collect();
    plan_publication(client, &present, selection, &wanted, &mut plan).await?;
    if let Some(role) = role {
        plan_grants(role, &wanted, &mut plan);
    }
    plan_slot(client, &present, &mut plan).await.map_err(failed)?;
    Ok(plan)
}

/// The tables with the rights of one role, and ownership of another. A role that is not there yet has no rights.
async fn survey_for(
    client: &Client,
    selection: &Selection,
    role: &str,
    me: &str,
) -> Result<(Vec<Table>, Vec<String>), Error> {
    let (mut tables, missing) = survey(client, selection, me).await?;
    if role != me {
        let (theirs, _) = survey(client, selection, role).await?;
        for table in &mut tables {
            let their = theirs.iter().find(|their| their.quoted == table.quoted);
            table.may_select = their.is_some_and(|their| their.may_select);
            table.may_use_schema = their.is_some_and(|their| their.may_use_schema);
            table.row_security = their.map_or(table.guarded, |their| their.row_security);
        }
    }
    Ok((tables, missing))
}

async fn look(client: &Client, plan: &mut Plan) -> Result<Present, Error> {
    let sql = "select current_user::text, current_database()::text, 'dormouse_' || oid, to_regnamespace('dormouse') is not null, \
           exists (select from pg_class c where c.relnamespace = to_regnamespace('dormouse') and c.relname = 'version' \
             and has_schema_privilege(c.relnamespace, 'usage') and has_table_privilege(c.oid, 'select')), \
           exists (select from pg_publication where pubname = 'dormouse_' || d.oid), \
           exists (select from pg_class c where c.relnamespace = to_regnamespace('dormouse') and c.relname = 'version') \
         from pg_database d where datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    plan.database = row.get(1);
    let ours: String = row.get(2);
    let (version, leased) = if row.get(4) {
        let sql = "select version from dormouse.version";
        let version: i32 = client.query_one(sql, &[]).await?.get(0);
        (Some(version), version > 0 && db::lease_holder(client).await?.is_some())
    } else {
        (None, false)
    };
    let sql = "select active, slot_type = 'logical' and plugin = 'pgoutput' and database = current_database() \
         and wal_status is distinct from 'lost' from pg_replication_slots where slot_name = $1";
    let slot = client.query_opt(sql, &[&ours]).await?.map(|row| Slot { active: row.get(0), usable: row.get(1) });
    Ok(Present {
        me: row.get(0),
        ours,
        has_schema: row.get(3),
        has_tables: row.get(6),
        version,
        has_publication: row.get(5),
        slot,
        leased,
    })
}

async fn plan_role(client: &Client, role: &str, tables: &[Table], plan: &mut Plan) -> Result<(), Error> {
    let sql = "select rolcanlogin and (rolreplication or rolsuper) from pg_roles where rolname = $1";
    let found = client.query_opt(sql, &[&role]).await?;
    let what = format!("role {role}, which may log in and replicate");
    let name = quoted_role(role);
    match found.map(|row| row.get(0)) {
        Some(true) => plan.need(Place::Inside, "changed", what, None),
        Some(false) => {
            plan.need(Place::Inside, "changed", what, Some(format!("alter role {name} login replication;")));
        }
        None => {
            plan.need(Place::Inside, "created", what, Some(format!("create role {name} login replication;")));
            plan.notes.push(format!("the role {role} is new: give it a password with: \\password {role}"));
        }
    }
    if tables.iter().any(|table| table.row_security && table.could_be_published()) {
        let what = "the right to see rows that row level security hides";
        plan.need(Place::Inside, "granted", what, Some(format!("alter role {name} bypassrls;")));
    }
    Ok(())
}

async fn plan_schema(client: &Client, present: &Present, role: Option<&str>, plan: &mut Plan) -> Result<(), Error> {
    let authorization = role.map_or_else(String::new, |role| format!(" authorization {}", quoted_role(role)));
    let schema = (!present.has_schema).then(|| format!("create schema dormouse{authorization};"));
    plan.need(Place::Inside, "created", "schema dormouse", schema);
    let scripts = db::migration(present.version.unwrap_or(0));
    let what = format!("tables of version {SCHEMA_VERSION} in it");
    let unreadable = present.has_tables && present.version.is_none();
    if scripts.is_empty() || unreadable {
        plan.need(Place::Inside, "created", what, None);
    } else {
        let mut sql = String::new();
        if present.version.is_none() {
            sql.push_str(
                "create table dormouse.version (version integer not null);\ninsert into dormouse.version values (0);\n",
            );
        }
        sql.push_str(&scripts);
        sql.push_str(&format!("\nupdate dormouse.version set version = {SCHEMA_VERSION};"));
        // Its owner is whoever brings it up to date later.
        if let Some(role) = role.filter(|_| !present.has_schema) {
            sql = format!("set local role {};\n{sql}\nreset role;", quoted_role(role));
        }
        plan.need(Place::Inside, "created", what, Some(sql));
    }
    if let Some(role) = role.filter(|_| present.has_schema) {
        let usable = crate::doctor::may_use_own_schema(client, role).await?;
        let sql = (!usable).then(|| crate::doctor::grant_own_schema(role));
        plan.need(Place::Inside, "granted", format!("rights of {role} in it"), sql);
    }
    Ok(())
}

async fn plan_publication(
    client: &Client,
    present: &Present,
    selection: &Selection,
    wanted: &[&Table],
    plan: &mut Plan,
) -> Result<(), CommandError> {
    let failed = |why: Error| CommandError::Environment(format!("cannot look at the publication: {}", said(&why)));
    if let Selection::Publication(name) = selection {
        let found = client.query_opt("select from pg_publication where pubname = $1", &[name]).await.map_err(failed)?;
        if found.is_none() {
            let message = format!("there is no publication {name}: create it, or leave --publication out");
            return Err(CommandError::Environment(message));
        }
        plan.need(Place::Inside, "created", format!("publication {name}, which is yours and stays as it is"), None);
        return Ok(());
    }
    let ours = quoted(&present.ours);
    let wanted: BTreeSet<String> = wanted.iter().map(|table| format!("only {}", table.quoted)).collect();
    let what = format!("publication {} of {}", present.ours, crate::doctor::report::counted(wanted.len(), "table"));
    if !present.has_publication {
        let tables: Vec<String> = wanted.into_iter().collect();
        plan.need(Place::Inside, "created", what, Some(create_publication(&ours, &tables)));
        return Ok(());
    }
    let sql = "select 'only ' || format('%I.%I', n.nspname, c.relname) from pg_publication p \
         join pg_publication_rel r on r.prpubid = p.oid join pg_class c on c.oid = r.prrelid \
         join pg_namespace n on n.oid = c.relnamespace where p.pubname = $1";
    let published = client.query(sql, &[&present.ours]).await.map_err(failed)?;
    let published: BTreeSet<String> = published.iter().map(|row| row.get(0)).collect();
    let alter = |verb: &str, tables: Vec<&String>| {
        let tables: Vec<&str> = tables.into_iter().map(String::as_str).collect();
        (!tables.is_empty()).then(|| format!("alter publication {ours} {verb} table {};", tables.join(", ")))
    };
    let drop = alter("drop", published.difference(&wanted).collect());
    let add = alter("add", wanted.difference(&published).collect());
    let sql: Vec<String> = [drop, add].into_iter().flatten().collect();
    plan.need(Place::Inside, "changed", what, (!sql.is_empty()).then(|| sql.join("\n")));
    Ok(())
}

fn plan_grants(role: &str, wanted: &[&Table], plan: &mut Plan) {
    let role = quoted_role(role);
    let schemas: BTreeSet<&str> =
        wanted.iter().filter(|table| !table.may_use_schema).map(|table| table.schema.as_str()).collect();
    let tables: Vec<&str> =
        wanted.iter().filter(|table| !table.may_select).map(|table| table.quoted.as_str()).collect();
    let mut sql: Vec<String> =
        schemas.into_iter().map(|schema| format!("grant usage on schema {} to {role};", quoted(schema))).collect();
    if !tables.is_empty() {
        sql.push(format!("grant select on table {} to {role};", tables.join(", ")));
    }
    plan.need(Place::Inside, "granted", "the right to read these tables", (!sql.is_empty()).then(|| sql.join("\n")));
    plan.notes.push("tables made later are published by running setup again".into());
}

/// The slot may be made before there is an era: the first server adopts it, and begins the era with its own look at the
/// transactions that run then. It must not be older than the publication.
async fn plan_slot(client: &Client, present: &Present, plan: &mut Plan) -> Result<(), Error> {
    let name = literal(&present.ours);
    let publication_is_new =
        plan.steps.iter().any(|step| step.sql.as_ref().is_some_and(|sql| sql.starts_with("create publication")));
    let stale = present.slot.as_ref().is_some_and(|slot| !slot.active && (publication_is_new || !slot.usable));
    if stale {
        let what = format!("no slot {} that is lost, foreign, or older than its publication", present.ours);
        let sql = format!("select pg_drop_replication_slot({name});");
        plan.steps.insert(0, Step { what, done: "dropped", place: Place::Before, sql: Some(sql) });
    }
    let what = format!("slot {}", present.ours);
    if present.leased {
        plan.need(Place::After, "created", format!("{what}: a server is at work, and sees to it"), None);
        return Ok(());
    }
    let level: String = client.query_one("select current_setting('wal_level')", &[]).await?.get(0);
    if level != "logical" {
        plan.notes.push(format!("no slot yet: wal_level is {level}. ALTER SYSTEM SET wal_level = 'logical'; restart Postgres, then start a server"));
        return Ok(());
    }
    let missing = present.slot.is_none() || stale;
    let sql = missing.then(|| format!("select pg_create_logical_replication_slot({name}, 'pgoutput');"));
    plan.need(Place::After, "created", what, sql);
    Ok(())
}
