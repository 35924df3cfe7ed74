//! The publication: checked when it is the operator's, kept up to date when it is ours.

use super::catalogue::{KEY, quoted};
use super::{Database, Selection, failure};
use dormouse_core::fault::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A table that could be published.
struct Candidate {
    name: String,
    quoted: String,
    /// Why it cannot be.
    flaw: Option<&'static str>,
}

impl Database {
    /// Creates or adopts the publication.
    pub(super) async fn ensure_publication(&self) -> Result<(), Failure> {
        match &self.inner.config.selection {
            Selection::Publication(name) => self.check_publication(name).await,
            Selection::Keyed | Selection::Tables(_) => self.keep_publication().await,
        }
    }

    /// Whether the publication is ours to create and alter.
    pub(super) fn owns_publication(&self) -> bool {
        !matches!(self.inner.config.selection, Selection::Publication(_))
    }

    /// Whether the publication that is to be streamed exists.
    pub(super) async fn publication_exists(&self) -> Result<bool, Failure> {
        let client = self.control().get().await?;
        let row = client.query_opt("select from pg_publication where pubname = $1", &[&self.publication()]).await;
        Ok(row.map_err(failure::of)?.is_some())
    }

    async fn check_publication(&self, name: &str) -> Result<(), Failure> {
        let client = self.control().get().await?;
        let sql = "select puballtables, pubinsert and pubupdate and pubdelete and pubtruncate from pg_publication where pubname = $1";
        let row = client.query_opt(sql, &[&name]).await.map_err(failure::of)?;
        let row = row.ok_or_else(|| {
            Failure::Refused(format!(
                "there is no publication {name}: create it with CREATE PUBLICATION {} FOR TABLE …",
                quoted(name)
            ))
        })?;
        if row.get(0) {
            return Err(Failure::Refused(format!(
                "publication {name} is FOR ALL TABLES, which would feed our own history back: name the tables instead"
            )));
        }
        if !row.get::<_, bool>(1) {
            return Err(Failure::Refused(format!(
                "publication {name} leaves some operations out: ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate')",
                quoted(name)
            )));
        }
        let sql = format!(
            "select p.schemaname || '.' || p.tablename from pg_publication_tables p \
             join pg_namespace n on n.nspname = p.schemaname join pg_class c on c.relnamespace = n.oid and c.relname = p.tablename \
             where p.pubname = $1 and n.nspname <> 'dormouse' and {KEY} is null"
        );
        for row in client.query(&sql, &[&name]).await.map_err(failure::of)? {
            warn_once(row.get(0), "it has no key that identifies its rows");
        }
        Ok(())
    }

    /// Ours names every table of the selection that can be published without disturbing the application, one by one.
    async fn keep_publication(&self) -> Result<(), Failure> {
        let name = self.publication();
        if self.is_publication_of_another_role(&name).await? {
            tracing::debug!(publication = name, "another role made the publication: it stays as it is");
            return self.check_publication(&name).await;
        }
        let wanted = self.selected_tables().await?;
        let client = self.control().get().await?;
        let sql = "select case when c.oid is not null then format('%I.%I', n.nspname, c.relname) end from pg_publication p \
             left join pg_publication_rel r on r.prpubid = p.oid left join pg_class c on c.oid = r.prrelid \
             left join pg_namespace n on n.oid = c.relnamespace where p.pubname = $1";
        let rows = client.query(sql, &[&name]).await.map_err(failure::of)?;
        let (exists, ours) = (!rows.is_empty(), quoted(&name));
        let published: BTreeSet<String> = rows.iter().filter_map(|row| row.get(0)).collect();
        if !exists {
            let tables: Vec<_> = wanted.iter().map(|table| format!("only {table}")).collect();
            let of = if tables.is_empty() { String::new() } else { format!("for table {}", tables.join(", ")) };
            let sql = format!("create publication {ours} {of} with (publish = 'insert, update, delete, truncate')");
            client.batch_execute(&sql).await.map_err(failure::of)?;
            tracing::info!(publication = name, tables = wanted.len(), "created the publication");
            return Ok(());
        }
        // First what cannot stay: updates of a published table that lost its key fail in the application.
        for (verb, tables) in [("drop", published.difference(&wanted)), ("add", wanted.difference(&published))] {
            let tables: Vec<_> = tables.map(|table| format!("only {table}")).collect();
            if !tables.is_empty() {
                let tables = tables.join(", ");
                tracing::info!(publication = name, tables, "{verb} tables of the publication");
                let sql = format!("alter publication {ours} {verb} table {tables}");
                client.batch_execute(&sql).await.map_err(failure::of)?;
            }
        }
        Ok(())
    }

    /// Whether an administrator made the publication of our name for us, who may neither own its tables nor alter it.
    async fn is_publication_of_another_role(&self, name: &str) -> Result<bool, Failure> {
        let client = self.control().get().await?;
        let sql = "select not pg_has_role(pubowner, 'USAGE') from pg_publication where pubname = $1";
        let row = client.query_opt(sql, &[&name]).await.map_err(failure::of)?;
        Ok(row.is_some_and(|row| row.get(0)))
    }

    /// The quoted names of the tables that the selection names and that can be published.
    async fn selected_tables(&self) -> Result<BTreeSet<String>, Failure> {
        let mut candidates = self.candidates().await?;
        let selected: Vec<Candidate> = match &self.inner.config.selection {
            Selection::Tables(names) => names
                .iter()
                .map(|name| if name.contains('.') { name.clone() } else { format!("public.{name}") })
                .filter_map(|name| {
                    let found = candidates.remove(&name);
                    if found.is_none() {
                        warn_once(name, "there is no such ordinary table");
                    }
                    found
                })
                .collect(),
            Selection::Keyed | Selection::Publication(_) => candidates.into_values().collect(),
        };
        let (fit, unfit): (Vec<_>, Vec<_>) = selected.into_iter().partition(|table| table.flaw.is_none());
        for table in unfit {
            warn_once(table.name, table.flaw.unwrap_or_default());
        }
        Ok(fit.into_iter().map(|table| table.quoted).collect())
    }

    async fn candidates(&self) -> Result<BTreeMap<String, Candidate>, Failure> {
        let client = self.control().get().await?;
        let sql = format!(
            "select n.nspname || '.' || c.relname, format('%I.%I', n.nspname, c.relname), c.relreplident = 'n', \
               {KEY} is not null, pg_has_role(c.relowner, 'USAGE') \
             from pg_class c join pg_namespace n on n.oid = c.relnamespace \
             where c.relkind = 'r' and c.relpersistence = 'p' and n.nspname !~ '^pg_' \
               and n.nspname not in ('information_schema', 'dormouse')"
        );
        let rows = client.query(&sql, &[]).await.map_err(failure::of)?;
        let candidates = rows.iter().map(|row| {
            let flaw = match (row.get(2), row.get(3), row.get(4)) {
                (true, _, _) => {
                    Some("its REPLICA IDENTITY is NOTHING, so that publishing it would make its updates fail")
                }
                (_, false, _) => Some("it has no key that identifies its rows: add a primary key"),
                (_, _, false) => Some("our role does not own it"),
                (false, true, true) => None,
            };
            let name: String = row.get(0);
            (name.clone(), Candidate { name, quoted: row.get(1), flaw })
        });
        Ok(candidates.collect())
    }
}

/// Names a table that is left out, once per process: tables are looked at every few seconds.
fn warn_once(table: String, why: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.insert(format!("{table}: {why}")) {
        tracing::warn!(table, "left out: {why}");
    }
}
