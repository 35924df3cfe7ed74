//! The server's settings, and what else happens on it.

use super::report::{Finding, Report, counted, literal};
use super::{Code, Patient};
use tokio_postgres::Error;

/// Free places that a raised limit leaves.
const SPARE: i32 = 10;

/// Finds what ends the examination: on such a server, everything else would mislead. True when there is nothing of the kind.
pub(super) async fn examine_kind(patient: &Patient, report: &mut Report) -> Result<bool, Error> {
    let sql = "select current_setting('server_version_num')::int, current_setting('server_version'), \
         pg_is_in_recovery(), getdatabaseencoding()::text";
    let row = patient.client.query_one(sql, &[]).await?;
    let (number, version, standby, encoding): (i32, &str, bool, &str) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    if number < 140_000 {
        let message = format!("PostgreSQL {version} is too old: Dormouse needs 14 or newer");
        report.push(Finding::error(Code::ServerTooOld, version, message).advise("Upgrade Postgres."));
        return Ok(false);
    }
    if standby {
        let primary = primary(patient).await;
        let message = "this server is a standby, and only the primary can be replicated from";
        let advice = match &primary {
            Some(primary) => format!("Point --database-url at the primary: {primary}"),
            None => "Point --database-url at the primary.".into(),
        };
        report.push(Finding::error(Code::Standby, patient.address(), message).advise(advice));
        return Ok(false);
    }
    if encoding == "SQL_ASCII" {
        let message = "this database's encoding is SQL_ASCII: texts need a real one, such as UTF8";
        report.push(Finding::error(Code::EncodingUnfit, &patient.database, message).remedy(format!(
            "-- then restore a dump of the old database into it:\n\
             create database {} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C';",
            crate::db::quoted(&format!("{}_utf8", patient.database))
        )));
    }
    let message = format!("connected to database {} as {}, PostgreSQL {version}", patient.database, patient.role);
    report.push(Finding::ok(Code::Connected, patient.address(), message));
    Ok(true)
}

/// Where the primary is, as far as this role may know.
async fn primary(patient: &Patient) -> Option<String> {
    let receiver = "select sender_host || ':' || sender_port from pg_stat_wal_receiver";
    let row = patient.client.query_opt(receiver, &[]).await.ok().flatten();
    if let Some(address) = row.and_then(|row| row.get::<_, Option<String>>(0)) {
        return Some(address);
    }
    // The setting may hold a password: nothing but host and port is taken from it.
    let row = patient.client.query_one("select current_setting('primary_conninfo')", &[]).await.ok()?;
    let settings: tokio_postgres::Config = row.get::<_, &str>(0).parse().ok()?;
    (!settings.get_hosts().is_empty()).then(|| super::connection::address(&settings))
}

/// Settings that replication needs, and places that are free.
pub(super) async fn examine_settings(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    examine_wal_level(patient, report).await?;
    examine_slots(patient, report).await?;
    examine_senders(patient, report).await?;
    let sql = "select current_setting('max_slot_wal_keep_size'), current_setting('idle_replication_slot_timeout', true), \
         current_setting('synchronous_standby_names')";
    let row = patient.client.query_one(sql, &[]).await?;
    let (keep, idle, standbys): (&str, Option<&str>, &str) = (row.get(0), row.get(1), row.get(2));
    if keep == "-1" {
        let message =
            "there is no limit to the WAL that a slot holds back: while no server runs, it could fill the disk";
        report.push(Finding::warning(Code::WalUnbounded, "max_slot_wal_keep_size", message).remedy(
            "-- Size it to the disk. A slot that exceeds it is given up, and every client gets everything again.\n\
             alter system set max_slot_wal_keep_size = '20GB';\nselect pg_reload_conf();",
        ));
    }
    if let Some(idle) = idle.filter(|idle| *idle != "0") {
        let message =
            format!("Postgres gives up slots that nobody uses for {idle}: then every client gets everything again");
        report.push(
            Finding::warning(Code::IdleSlotTimeout, "idle_replication_slot_timeout", message)
                .remedy("alter system set idle_replication_slot_timeout = 0;\nselect pg_reload_conf();"),
        );
    }
    if !standbys.is_empty() {
        let message = format!(
            "commits wait for {standbys}: they can reach clients before they are visible here. Dormouse's own never wait"
        );
        report.push(Finding::ok(Code::SynchronousStandbys, "synchronous_standby_names", message));
    }
    Ok(())
}

async fn examine_wal_level(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select setting, pending_restart from pg_settings where name = 'wal_level'";
    let row = patient.client.query_one(sql, &[]).await?;
    let (level, pending): (&str, bool) = (row.get(0), row.get(1));
    report.push(if level == "logical" {
        Finding::ok(Code::WalLevel, "wal_level", "logical")
    } else if pending {
        let message = format!("wal_level is {level} and must be logical: it was changed, and needs a restart");
        Finding::error(Code::WalLevel, "wal_level", message).remedy("-- restart Postgres")
    } else {
        let message = format!("wal_level is {level}, and must be logical");
        Finding::error(Code::WalLevel, "wal_level", message)
            .remedy("alter system set wal_level = 'logical';\n-- then restart Postgres")
    });
    Ok(())
}

async fn examine_slots(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select current_setting('max_replication_slots')::int, count(*)::int, \
           coalesce(bool_or(slot_name = $1), false), \
           coalesce(array_agg(slot_name::text) filter (where not active and slot_name <> $1), '{}') from pg_replication_slots";
    let row = patient.client.query_one(sql, &[&patient.ours]).await?;
    let (max, used, ours, idle): (i32, i32, bool, Vec<String>) = (row.get(0), row.get(1), row.get(2), row.get(3));
    let subject = "max_replication_slots";
    if ours || used < max {
        report.push(Finding::ok(Code::ReplicationSlots, subject, format!("{used} of {max} used")));
        return Ok(());
    }
    let message = format!(
        "all {max} replication slots are taken, and Dormouse needs one{}",
        match &idle[..] {
            [] => String::new(),
            idle => format!(" (nobody uses {} now)", idle.join(", ")),
        }
    );
    let drops = idle.iter().map(|slot| {
        format!("\n-- or, if nobody needs it any more: select pg_drop_replication_slot({});", literal(slot))
    });
    let drops: String = drops.collect();
    report.push(Finding::error(Code::ReplicationSlots, subject, message).remedy(format!(
        "alter system set max_replication_slots = {};\n-- then restart Postgres{drops}",
        used.max(max) + SPARE
    )));
    Ok(())
}

async fn examine_senders(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select current_setting('max_wal_senders')::int, count(*)::int, \
         exists (select from pg_replication_slots where slot_name = $1 and active) from pg_stat_replication";
    let row = patient.client.query_one(sql, &[&patient.ours]).await?;
    let (max, used, ours): (i32, i32, bool) = (row.get(0), row.get(1), row.get(2));
    let subject = "max_wal_senders";
    if ours || used < max {
        report.push(Finding::ok(Code::WalSenders, subject, format!("{used} of {max} used")));
        return Ok(());
    }
    let message = format!("all {max} WAL senders are taken, and Dormouse needs one");
    report.push(
        Finding::error(Code::WalSenders, subject, message)
            .advise("Raise the limit, or run `dormouse serve --source poll`, which needs none.")
            .remedy(format!("alter system set max_wal_senders = {};\n-- then restart Postgres", max + SPARE)),
    );
    Ok(())
}

/// Transactions that a new slot would wait for, or that keep an old one from moving.
pub(super) async fn examine_transactions(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select exists (select from pg_replication_slots where slot_name = $1)";
    let has_slot: bool = patient.client.query_one(sql, &[&patient.ours]).await?.get(0);
    let (age_max_s, consequence) = if has_slot {
        (3600.0, "Postgres keeps all WAL since it began")
    } else {
        (5.0, "the slot cannot be created before it ends")
    };
    // Of others' sessions, a role without pg_read_all_stats sees NULL here, and so is told nothing.
    let sql = "select pid, coalesce(usename::text, '?'), coalesce(state, '?'), \
           extract(epoch from clock_timestamp() - xact_start)::float8 from pg_stat_activity \
         where backend_xid is not null and pid <> pg_backend_pid() and xact_start < clock_timestamp() - $1 * interval '1 second' \
         order by xact_start limit 5";
    for row in patient.client.query(sql, &[&age_max_s]).await? {
        let (pid, user, state, seconds): (i32, &str, &str, f64) = (row.get(0), row.get(1), row.get(2), row.get(3));
        let message = format!(
            "a transaction of {user} has been open for {} and is {state}: {consequence}",
            counted_seconds(seconds)
        );
        report.push(Finding::warning(Code::OldTransaction, format!("process {pid}"), message).remedy(format!(
            "-- It ends that session, and its transaction is rolled back:\nselect pg_terminate_backend({pid});"
        )));
    }
    let sql = "select gid, database::text, extract(epoch from clock_timestamp() - prepared)::float8 from pg_prepared_xacts \
         where prepared < clock_timestamp() - $1 * interval '1 second' order by prepared limit 5";
    for row in patient.client.query(sql, &[&age_max_s]).await? {
        let (gid, database, seconds): (&str, &str, f64) = (row.get(0), row.get(1), row.get(2));
        let message = format!(
            "a transaction was prepared {} ago in database {database} and never ended: {consequence}",
            counted_seconds(seconds)
        );
        report.push(Finding::warning(Code::PreparedTransaction, gid, message).remedy(format!(
            "-- In database {database}, and if its coordinator has forgotten it:\nrollback prepared {};",
            literal(gid)
        )));
    }
    Ok(())
}

fn counted_seconds(seconds: f64) -> String {
    let seconds = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default().as_secs();
    let seconds = usize::try_from(seconds).unwrap_or(usize::MAX);
    match seconds {
        0..120 => counted(seconds, "second"),
        120..7_200 => counted(seconds / 60, "minute"),
        _ => counted(seconds / 3_600, "hour"),
    }
}
