//! The publication: the operator's is judged, ours is kept by the server.

use super::report::{Finding, Report, literal};
use super::tables::{create_publication, survey};
use super::{Code, Patient};
use crate::db::{Selection, quoted};
use tokio_postgres::Error;

/// Looks at the publication. Returns what will be streamed: a publication of our name that another role made is taken as
/// it is, instead of the tables that were asked for.
pub(super) async fn examine(patient: &Patient, report: &mut Report) -> Result<Selection, Error> {
    let given = match &patient.selection {
        Selection::Publication(name) => Some(name.clone()),
        Selection::Keyed | Selection::Tables(_) => None,
    };
    let name = given.clone().unwrap_or_else(|| patient.ours.clone());
    let sql = "select p.puballtables, pg_has_role($2, p.pubowner, 'usage'), p.pubviaroot, \
           array_remove(array[case when not pubinsert then 'insert' end, case when not pubupdate then 'update' end, \
             case when not pubdelete then 'delete' end, case when not pubtruncate then 'truncate' end], null) \
         from pg_publication p where p.pubname = $1";
    let row = patient.client.query_opt(sql, &[&name, &patient.role]).await?;
    let Some(row) = row else {
        report.push(match given {
            None => Finding::ok(Code::Publication, &name, "not there yet: setup or serve creates it"),
            Some(_) => {
                let remedy = create_publication(&quoted(&name), &publishable(patient).await?);
                Finding::error(Code::PublicationMissing, &name, "there is no such publication in this database")
                    .remedy(remedy)
                    .advise("Correct --publication, or create it:")
            }
        });
        return Ok(given.map_or_else(|| patient.selection.clone(), |_| Selection::Keyed));
    };
    let (all, owned, via_root): (bool, bool, bool) = (row.get(0), row.get(1), row.get(2));
    if given.is_none() && owned {
        report.push(Finding::ok(Code::Publication, &name, "ours, kept up to date by the server"));
        return Ok(patient.selection.clone());
    }
    let before = report.findings.len();
    if all {
        report.push(for_all_tables(&name, &publishable(patient).await?));
    }
    let lacks: Vec<&str> = row.get(3);
    if !lacks.is_empty() {
        let message = format!("the publication leaves out {}: clients would miss that", lacks.join(", "));
        report.push(Finding::error(Code::PublicationLacksOperations, &name, message).remedy(format!(
            "alter publication {} set (publish = 'insert, update, delete, truncate');",
            quoted(&name)
        )));
    }
    if via_root {
        let message =
            "partitions are published under their root's name: truncating, attaching or detaching one goes unnoticed";
        report.push(
            Finding::warning(Code::PublicationViaRoot, &name, message)
                .remedy(format!("alter publication {} set (publish_via_partition_root = false);", quoted(&name))),
        );
    }
    if !all {
        examine_tables(patient, &name, report).await?;
    }
    if report.findings.len() == before {
        report.push(Finding::ok(Code::Publication, &name, "it publishes every operation of the tables it names"));
    }
    // What FOR ALL TABLES names is not what will be streamed once that is mended.
    Ok(if all { Selection::Keyed } else { Selection::Publication(name) })
}

async fn publishable(patient: &Patient) -> Result<Vec<String>, Error> {
    let (tables, _) = survey(&patient.client, &Selection::Keyed, &patient.role).await?;
    let fit = tables.iter().filter(|table| table.could_be_published());
    Ok(fit.map(|table| format!("only {}", table.quoted)).collect())
}

fn for_all_tables(name: &str, tables: &[String]) -> Finding {
    let message = "it is FOR ALL TABLES: Dormouse's own history would be streamed back into history, for ever";
    let quoted = quoted(name);
    Finding::error(Code::PublicationForAllTables, name, message)
        .remedy(format!("begin;\ndrop publication {quoted};\n{}\ncommit;", create_publication(&quoted, tables)))
}

async fn examine_tables(patient: &Patient, name: &str, report: &mut Report) -> Result<(), Error> {
    let sql = "select count(*) filter (where schemaname <> 'dormouse'), \
           coalesce(array_agg(format('%I.%I', schemaname, tablename)) filter (where schemaname = 'dormouse'), '{}') \
         from pg_publication_tables where pubname = $1";
    let row = patient.client.query_one(sql, &[&name]).await?;
    let (others, own): (i64, Vec<String>) = (row.get(0), row.get(1));
    if !own.is_empty() {
        report.push(feeds_itself(patient, name, &own).await?);
    }
    if others == 0 {
        let tables = publishable(patient).await?;
        let finding =
            Finding::warning(Code::NoTables, name, "the publication names no table, so nothing would be synced");
        report.push(if tables.is_empty() {
            finding.advise("Create tables with primary keys, and add them to the publication.")
        } else {
            finding.remedy(format!("alter publication {} add table {};", quoted(name), tables.join(", ")))
        });
    }
    if patient.version >= 150_000 {
        examine_lists(patient, name, report).await?;
    }
    Ok(())
}

async fn feeds_itself(patient: &Patient, name: &str, own: &[String]) -> Result<Finding, Error> {
    let by_schema = patient.version >= 150_000 && {
        let sql = "select exists (select from pg_publication_namespace x join pg_publication p on p.oid = x.pnpubid \
             where p.pubname = $1 and x.pnnspid = to_regnamespace('dormouse'))";
        patient.client.query_one(sql, &[&name]).await?.get(0)
    };
    let message = "it names the schema dormouse: whatever Dormouse writes would be streamed back to it, for ever";
    let quoted = quoted(name);
    let remedy = if by_schema {
        format!("alter publication {quoted} drop tables in schema dormouse;")
    } else {
        format!("alter publication {quoted} drop table {};", own.join(", "))
    };
    Ok(Finding::error(Code::PublicationFeedsItself, name, message).remedy(remedy))
}

/// Column lists without a key column, and row filters on others: Postgres then refuses the application's own updates.
async fn examine_lists(patient: &Patient, name: &str, report: &mut Report) -> Result<(), Error> {
    // The columns of a filter are known by what it depends on; those of a list are counted out.
    let key = crate::db::KEY;
    let sql = format!(
        "select format('%I.%I', n.nspname, c.relname), n.nspname || '.' || c.relname, list.names, filter.names, \
           pg_get_expr(r.prqual, r.prrelid), {key} \
         from pg_publication_rel r join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid \
         join pg_namespace n on n.oid = c.relnamespace \
         left join lateral (select array_agg(a.attname::text order by a.attnum) as names from pg_attribute a \
           where a.attrelid = c.oid and a.attnum = any(r.prattrs::int2[])) list on true \
         left join lateral (select array_agg(distinct a.attname::text) as names from pg_depend d \
           join pg_attribute a on a.attrelid = c.oid and a.attnum = d.refobjsubid \
           where r.prqual is not null and d.classid = 'pg_publication_rel'::regclass and d.objid = r.oid \
             and d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.refobjsubid > 0 \
             and not coalesce(a.attnum = any(r.prattrs::int2[]), false)) filter on true \
         where p.pubname = $1 and (r.prattrs is not null or r.prqual is not null) and c.relreplident <> 'f' \
           and {key} is not null order by 2"
    );
    for row in patient.client.query(&sql, &[&name]).await? {
        let (table, subject, filter): (&str, &str, Option<&str>) = (row.get(0), row.get(1), row.get(4));
        let (list, filtered): (Option<Vec<String>>, Option<Vec<String>>) = (row.get(2), row.get(3));
        let key: Vec<String> = row.get(5);
        let missing: Vec<_> = list.iter().flat_map(|list| key.iter().filter(|column| !list.contains(column))).collect();
        let foreign: Vec<_> = filtered.iter().flatten().filter(|column| !key.contains(column)).collect();
        if missing.is_empty() && foreign.is_empty() {
            continue;
        }
        let publication = quoted(name);
        let columns = list.map_or_else(String::new, |list| {
            let all: Vec<_> = missing.iter().copied().chain(&list).map(|column| quoted(column)).collect();
            format!(" ({})", all.join(", "))
        });
        let filter =
            filter.filter(|_| foreign.is_empty()).map_or_else(String::new, |filter| format!(" where ({filter})"));
        let message = if missing.is_empty() {
            format!(
                "the publication's row filter looks at {}, which is not of the key: updates and deletes fail in the application",
                literal(foreign[0])
            )
        } else {
            format!(
                "the publication's column list leaves out {} of the key: updates and deletes fail in the application",
                literal(missing[0])
            )
        };
        report.push(Finding::error(Code::PublicationHidesKey, subject, message).remedy(format!(
            "begin;\nalter publication {publication} drop table only {table};\n\
             alter publication {publication} add table only {table}{columns}{filter};\ncommit;"
        )));
    }
    Ok(())
}
