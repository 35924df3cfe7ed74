//! Our replication slot, if there is one.

use super::report::{Finding, Report, literal};
use super::{Code, Patient};
use tokio_postgres::Error;

/// More WAL than this is worth a word, where there is no limit to compare it with.
const RETAINED_MAX: i64 = 10 << 30;

/// Looks at the slot of our name.
pub(super) async fn examine(patient: &Patient, report: &mut Report) -> Result<(), Error> {
    let sql = "select s.slot_type = 'logical' and s.plugin = 'pgoutput' and s.database = current_database(), \
           coalesce(s.plugin::text, 'none'), coalesce(s.database::text, 'none'), \
           s.wal_status is not distinct from 'lost' or to_jsonb(s)->>'invalidation_reason' is not null, \
           coalesce(s.wal_status, ''), s.active_pid, coalesce(a.application_name, ''), coalesce(a.usename::text, '?'), \
           coalesce(pg_current_wal_lsn() - s.restart_lsn, 0)::int8, s.safe_wal_size \
         from pg_replication_slots s left join pg_stat_activity a on a.pid = s.active_pid where s.slot_name = $1";
    let Some(row) = patient.client.query_opt(sql, &[&patient.ours]).await? else {
        report.push(Finding::ok(Code::Slot, &patient.ours, "not there yet: setup or serve creates it"));
        return Ok(());
    };
    let subject = &patient.ours;
    let drop = format!("select pg_drop_replication_slot({});", literal(subject));
    let pid: Option<i32> = row.get(5);
    let (application, user): (&str, &str) = (row.get(6), row.get(7));
    if !row.get::<_, bool>(0) {
        let message = format!(
            "a slot of this name was made for plugin {} and database {}: it is of no use here, and in the way",
            row.get::<_, &str>(1),
            row.get::<_, &str>(2)
        );
        let end = pid.map_or_else(String::new, |pid| format!("select pg_terminate_backend({pid}, 5000);\n"));
        report.push(Finding::error(Code::SlotForeign, subject, message).remedy(format!("{end}{drop}")));
        return Ok(());
    }
    if row.get(3) {
        let message = "Postgres has given the slot up, and its WAL is gone: a server begins a new era, and every client gets everything again";
        report.push(Finding::warning(Code::SlotLost, subject, message).remedy(drop).advise(
            "Raise max_slot_wal_keep_size if a server was away for too short a time to deserve it. To begin anew now:",
        ));
        return Ok(());
    }
    if let Some(pid) = pid.filter(|_| application != crate::db::APPLICATION_NAME) {
        let message = format!("process {pid} of {user}, which is no Dormouse server, holds the slot");
        report.push(
            Finding::error(Code::SlotHeld, subject, message).remedy(format!("select pg_terminate_backend({pid});")),
        );
    }
    examine_retained(&row, subject, pid.is_some(), report);
    Ok(())
}

fn examine_retained(row: &tokio_postgres::Row, subject: &str, active: bool, report: &mut Report) {
    let (status, retained, safe): (&str, i64, Option<i64>) = (row.get(4), row.get(8), row.get(9));
    let size = crate::status::bytes(u64::try_from(retained).unwrap_or(0));
    let in_use = if active { "in use" } else { "nobody uses it now" };
    // Half of the limit is gone when what may still be written is less than what is held back.
    let much = safe.map_or(retained > RETAINED_MAX, |safe| safe < retained);
    if !much && matches!(status, "reserved" | "extended" | "") {
        report.push(Finding::ok(Code::Slot, subject, format!("{in_use}, holds back {size} of WAL")));
        return;
    }
    let limit = safe.map_or_else(String::new, |safe| {
        format!(", and Postgres gives it up after {} more", crate::status::bytes(u64::try_from(safe).unwrap_or(0)))
    });
    report.push(
        Finding::warning(Code::SlotRetainsWal, subject, format!("{in_use}, and it holds back {size} of WAL{limit}"))
            .advise("Start a server, or look why it does not keep up. If none is to come back, end the slot:")
            .remedy(format!(
                "select pg_terminate_backend(active_pid, 5000) from pg_replication_slots where slot_name = {0} and active;\n\
                 select pg_drop_replication_slot({0});",
                literal(subject)
            )),
    );
}
