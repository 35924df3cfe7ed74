//! What keeps a server from connecting: addresses, passwords, roles, TLS, poolers.

use super::clinic::{call, cluster, complaints, database, doctor, paste, treat};
use crate::support::authority::Authority;
use crate::support::eventually;
use dormouse_runtime::demo::cluster::{Cluster, free_port};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ITEMS: &str = "create table item (id int primary key, name text);";

fn url_as(cluster: &Cluster, user: &str, database: &str) -> String {
    format!("postgres://{user}@127.0.0.1:{}/{database}", cluster.port())
}

/// From now on these lines say who comes in.
async fn let_in(cluster: &Cluster, lines: &str) {
    let path = paste(cluster, "postgres", "show hba_file;").await;
    std::fs::write(path, lines).expect("written");
    paste(cluster, "postgres", "select pg_reload_conf();").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_us_out_is_named_and_mended() {
    let cluster = cluster(&[]);
    let nowhere = format!("postgres://u:secret@127.0.0.1:{}/d", free_port().expect("a port"));
    let visit = doctor(&nowhere, &[]).await;
    assert_eq!(visit.complaints(), ["unreachable"]);
    assert!(!visit.text.contains("secret"), "{}", visit.text);
    database(&cluster, "shop", ITEMS).await;
    let roles = "create role app login superuser password 'right'; create role shut nologin superuser;";
    paste(&cluster, "postgres", roles).await;

    treat(&cluster, "postgres", &url_as(&cluster, "shut", "shop"), &[], "role_cannot_login").await;

    let url = url_as(&cluster, "postgres", "later");
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["database_missing"], "{}", visit.text);
    paste(&cluster, "postgres", &visit.remedy("database_missing")).await;
    assert_eq!(doctor(&url, &[]).await.complaints(), ["no_tables"]);

    let url = url_as(&cluster, "new\"comer", "shop").replace('"', "%22");
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["role_missing"], "{}", visit.text);
    paste(&cluster, "postgres", &visit.remedy("role_missing")).await;
    assert!(!doctor(&url, &[]).await.complaints().contains(&"role_missing"));

    paste(&cluster, "postgres", "revoke connect on database shop from public;").await;
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["role_cannot_connect"], "{}", visit.text);
    paste(&cluster, "postgres", &visit.remedy("role_cannot_connect")).await;
    assert!(!doctor(&url, &[]).await.complaints().contains(&"role_cannot_connect"));

    let open = "host all postgres all trust\nhost all app all scram-sha-256\n";
    let_in(&cluster, open).await;
    let wrong = format!("postgres://app:wrong@127.0.0.1:{}/shop", cluster.port());
    eventually("passwords are asked for", async || complaints(&wrong).await == ["wrong_password"]).await;
    let visit = doctor(&wrong, &[]).await;
    assert!(visit.find("wrong_password")["advice"].as_str().is_some_and(|advice| advice.contains("--database-url")));
    assert!(!visit.text.contains("wrong@"), "{}", visit.text);
    assert_eq!(doctor(&wrong.replace("wrong", "right"), &[]).await.complaints(), [""; 0]);

    let shut = url_as(&cluster, "shut", "shop");
    let visit = doctor(&shut, &[]).await;
    assert_eq!(visit.complaints(), ["refused_by_hba"], "{}", visit.text);
    let remedy = visit.remedy("refused_by_hba");
    let line = remedy.lines().find_map(|line| line.split_once("names:")).expect("it names the line").1.trim();
    let line = line.replace("THIS-HOST", "127.0.0.1").replace("scram-sha-256", "trust");
    let path = paste(&cluster, "postgres", "show hba_file;").await;
    std::fs::write(path, format!("{open}{line}\n")).expect("written");
    paste(&cluster, "postgres", &remedy).await;
    eventually("it comes in", async || complaints(&shut).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_named_and_mended() {
    let (cluster, authority) = (cluster(&[]), Authority::new());
    paste(&cluster, "postgres", ITEMS).await;
    // It has a certificate, and TLS is off all the same.
    authority.issue("localhost").install(&cluster).await;
    paste(&cluster, "postgres", "alter system reset ssl;\nselect pg_reload_conf();").await;
    eventually("TLS is off", async || paste(&cluster, "postgres", "show ssl;").await == "off").await;
    let ca = authority.file().display().to_string();
    let full =
        format!("postgres://postgres@localhost:{}/postgres?sslmode=verify-full&sslrootcert={ca}", cluster.port());
    for url in [&format!("{}?sslmode=require", cluster.url()), &full] {
        let visit = doctor(url, &[]).await;
        assert_eq!((visit.complaints(), visit.status), (vec!["tls_refused"], 1), "{}", visit.text);
    }
    let remedy = doctor(&full, &[]).await.remedy("tls_refused");
    paste(&cluster, "postgres", &remedy).await;
    eventually("it is well", async || complaints(&full).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_refuses_replication_is_named() {
    let cluster = cluster(&[]);
    paste(&cluster, "postgres", ITEMS).await;
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres", refusing_proxy(cluster.port()).await);
    let visit = doctor(&url, &[]).await;
    assert_eq!(visit.complaints(), ["no_replication_connection"], "{}", visit.text);
    let advice = visit.find("no_replication_connection")["advice"].as_str().expect("advice");
    assert!(advice.contains("serve --source poll"), "{advice}");
}

/// Forwards to a server, and closes connections that begin with a demand for replication, as poolers do.
async fn refusing_proxy(upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut startup = vec![0; 4];
                if near.read_exact(&mut startup).await.is_err() {
                    return;
                }
                let length = u32::from_be_bytes(startup[..4].try_into().expect("four bytes")) as usize;
                startup.resize(length, 0);
                near.read_exact(&mut startup[4..]).await.expect("a whole message");
                if startup.windows(12).any(|window| window == b"replication\0") {
                    return;
                }
                let mut far = TcpStream::connect(("127.0.0.1", upstream)).await.expect("the server is there");
                far.write_all(&startup).await.expect("sent");
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_calls_are_wrong_usage() {
    for arguments in [&["doctor"][..], &["doctor", "--database-url", "nonsense"]] {
        let output = call(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}
