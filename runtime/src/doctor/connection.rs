//! Whether the database can be reached, and what it means when it cannot.

use super::Code;
use super::report::Finding;
use crate::db::{Config, Target, quoted};
use crate::tls::{Peer, explain};
use dormouse_core::fault::Failure;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{DbError, SqlState};

/// The longest that connecting may take.
const CONNECT_MAX: Duration = Duration::from_secs(8);

/// Added to the session's own settings: nothing is written, and nothing is waited for.
const READ_ONLY: &str = "set default_transaction_read_only = on; set statement_timeout = '5s'; set lock_timeout = '1s'";

/// A session that can write nothing.
///
/// # Errors
/// Says why there is none.
pub(super) async fn connect(target: &Target) -> Result<Client, Finding> {
    let config = target.config();
    let connected = tokio::time::timeout(CONNECT_MAX, target.connect()).await;
    let unreachable = |why: &str| {
        Finding::error(Code::Unreachable, address(config), format!("nobody answers: {why}")).advise(
            "Start Postgres, or correct host and port in --database-url; also look at listen_addresses and firewalls.",
        )
    };
    let (client, connection) = match connected {
        Err(_) => return Err(unreachable("no answer within 8 seconds")),
        Ok(Err(why)) => {
            return Err(match (why.as_db_error(), explain(&why, Peer::Database)) {
                (Some(db), _) => refused(config, db),
                (None, Some(why)) => distrusted(config, &why),
                (None, None) => unreachable(&cause(&why)),
            });
        }
        Ok(Ok(connected)) => connected,
    };
    tokio::spawn(connection);
    match client.batch_execute(READ_ONLY).await {
        Ok(()) => Ok(client),
        Err(why) => Err(Finding::error(Code::ConnectionRefused, address(config), cause(&why))),
    }
}

/// What is the matter when TLS was begun and came to no good end.
fn distrusted(config: &tokio_postgres::Config, why: &str) -> Finding {
    let (what, advice) = why.split_once(": ").unwrap_or((why, "look at the server's log"));
    Finding::error(Code::TlsFailed, address(config), what).advise(advice)
}

/// The eight bytes by which a client asks for TLS.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// What is the matter when the URL demands TLS and the server has none. Nothing is sent before that is known.
pub(super) async fn examine_tls(config: &Config) -> Option<Finding> {
    let target = Target::parse(&config.url).ok()?;
    let settings = target.config();
    if settings.get_ssl_mode() != SslMode::Require {
        return None;
    }
    let answer = tokio::time::timeout(CONNECT_MAX, offered(settings)).await.ok()?.ok()?;
    // Anything but N is the beginning of TLS, or an error that connecting will name.
    (answer == b'N').then(|| {
        let message = "the database URL demands TLS, and the server refuses it: its setting ssl is off";
        Finding::error(Code::TlsRefused, address(settings), message)
            .advise("Turn TLS on, or, only on a network that you trust, write sslmode=disable in --database-url.")
            .remedy(
                "-- With server.crt and server.key in the data directory, or where ssl_cert_file and ssl_key_file say:\n\
                 alter system set ssl = on;\nselect pg_reload_conf();",
            )
    })
}

async fn offered(settings: &tokio_postgres::Config) -> std::io::Result<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address(settings)).await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await
}

/// The settings of a connection.
///
/// # Errors
/// When the URL cannot be read.
pub(super) fn settings(config: &Config) -> Result<Target, Failure> {
    let mut settings = config.parsed()?;
    settings.config_mut().application_name("dormouse doctor");
    Ok(settings)
}

/// What a server's refusal means.
fn refused(config: &tokio_postgres::Config, why: &DbError) -> Finding {
    let role = config.get_user().unwrap_or("(the default)");
    let database = config.get_dbname().unwrap_or(role);
    let (quoted_role, quoted_database) = (quoted(role), quoted(database));
    let said = why.message();
    let code = why.code();
    let routine = why.routine().unwrap_or_default();
    let is_code = |wanted: &SqlState| code == wanted;
    if is_code(&SqlState::INVALID_PASSWORD) {
        let message = "the password of the database URL is wrong, or the role has none or does not exist";
        return Finding::error(Code::WrongPassword, role, message).advise(format!(
            "Correct the password in --database-url, or set that one in psql with: \\password {role}"
        ));
    }
    if is_code(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) && routine == "InitializeSessionUserId" {
        // Both have the same code; a server that speaks another language is taken to mean the commoner.
        if said.contains("does not exist") {
            return Finding::error(Code::RoleMissing, role, "there is no such role on this server")
                .remedy(format!("create role {quoted_role} login replication;"));
        }
        return Finding::error(Code::RoleCannotLogin, role, "the role is not permitted to log in")
            .remedy(format!("alter role {quoted_role} login;"));
    }
    if is_code(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) {
        let message = format!("pg_hba.conf does not let this role in from here: {said}");
        return Finding::error(Code::RefusedByHba, role, message).remedy(format!(
            "-- First add to the file that SHOW hba_file names:  host {database} {role} THIS-HOST/32 scram-sha-256\n\
             -- (or hostssl, with sslmode=require in the database URL)\n\
             select pg_reload_conf();"
        ));
    }
    if is_code(&SqlState::INVALID_CATALOG_NAME) {
        return Finding::error(Code::DatabaseMissing, database, "there is no such database on this server")
            .remedy(format!("create database {quoted_database};"))
            .advise("Correct the database's name at the end of --database-url, or create it:");
    }
    if is_code(&SqlState::INSUFFICIENT_PRIVILEGE) {
        return Finding::error(
            Code::RoleCannotConnect,
            role,
            format!("the role may not connect to {database}: {said}"),
        )
        .remedy(format!("grant connect on database {quoted_database} to {quoted_role};"));
    }
    if is_code(&SqlState::TOO_MANY_CONNECTIONS) {
        return Finding::error(Code::TooManyConnections, address(config), format!("no connection is free: {said}"))
            .remedy(
                "-- see who is connected:\n\
                 select usename, application_name, count(*) from pg_stat_activity group by 1, 2 order by 3 desc;\n\
                 -- or allow more:\n\
                 alter system set max_connections = 200;\n-- then restart Postgres",
            );
    }
    if is_code(&SqlState::CANNOT_CONNECT_NOW) || is_code(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
        return Finding::error(Code::NotAccepting, address(config), format!("the server takes nobody in: {said}"))
            .advise("Wait until Postgres has started; its log says what it waits for.");
    }
    if is_code(&SqlState::PROTOCOL_VIOLATION) {
        return Finding::error(Code::PoolerRefusesSettings, address(config), said).advise(
            "Point --database-url at Postgres itself: a connection pooler refuses what Dormouse's sessions need.",
        );
    }
    Finding::error(Code::ConnectionRefused, address(config), format!("{said} [{}]", code.code()))
        .advise("The server's log says more.")
}

/// Host and port, for people.
pub(super) fn address(config: &tokio_postgres::Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    format!("{host}:{}", config.get_ports().first().copied().unwrap_or(5432))
}

/// Whether a replication connection can be had where SQL can.
pub(super) async fn examine_replication(target: &Target) -> Finding {
    let subject = address(target.config());
    match tokio::time::timeout(CONNECT_MAX, crate::source::try_replication_connection(target)).await {
        Ok(Ok(())) => Finding::ok(Code::ReplicationConnection, subject, "a replication connection works"),
        Ok(Err(why)) => no_replication(subject, &why),
        Err(_) => no_replication(subject, "no answer within 8 seconds"),
    }
}

fn no_replication(subject: String, why: &str) -> Finding {
    let message = format!("SQL works here, but a replication connection does not: {why}");
    Finding::error(Code::NoReplicationConnection, subject, message).advise(
        "Point --database-url at Postgres itself instead of a connection pooler, or run `dormouse serve --source poll`, which needs SQL only.",
    )
}

/// An error with its cause, which `tokio-postgres` keeps apart.
pub(super) fn cause(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    if let Some(db) = error.as_db_error() {
        return format!("{} [{}]", db.message(), db.code().code());
    }
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}
