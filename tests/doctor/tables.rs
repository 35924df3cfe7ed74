//! What the role, the tables and the publication have wrong. One cluster, a database for each case.

use super::clinic::{cluster, database, doctor, paste, treat};
use dormouse_runtime::demo::cluster::Cluster;

/// A database per case, whose only complaint is the code; its remedy leaves none.
async fn each(cluster: &Cluster, cases: &[(&str, &str, &[&str])]) {
    for (n, (code, sql, arguments)) in cases.iter().enumerate() {
        let name = format!("case_{n}_{code}");
        let url = database(cluster, &name, sql).await;
        treat(cluster, &name, &url, arguments, code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_synced_are_named_and_mended() {
    let cluster = cluster(&[]);
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "table_without_key",
            "create table \"Odd \"\"name\" (id int); insert into \"Odd \"\"name\" values (1), (1);",
            &[],
        ),
        ("table_without_key", "create table t (a text not null unique, b text unique);", &["--tables", "t"]),
        ("table_without_key", "create table t (a int primary key deferrable);", &[]),
        ("table_without_key", "create table t (a text); alter table t replica identity full;", &[]),
        (
            "table_without_key",
            "create table t (a text primary key, b int not null unique); alter table t replica identity using index t_b_key; alter table t drop constraint t_b_key;",
            &[],
        ),
        ("identity_nothing", "create table t (a int primary key); alter table t replica identity nothing;", &[]),
        ("identity_nothing", "create table t (a int not null unique); alter table t replica identity nothing;", &[]),
        (
            "identity_nothing",
            "create table t (a int); alter table t replica identity nothing; create publication p for table t;",
            &["--publication", "p"],
        ),
        ("table_unlogged", "create unlogged table t (a int primary key);", &[]),
    ];
    each(&cluster, cases).await;
    let url = database(&cluster, "named", "create table t (a int primary key);").await;
    let visit = doctor(&url, &["--tables", "t,u"]).await;
    assert_eq!((visit.complaints(), visit.status), (vec!["table_missing"], 1), "{}", visit.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn publications_that_cannot_serve_are_named_and_mended() {
    let cluster = cluster(&[]);
    let p: &[&str] = &["--publication", "p"];
    let cases: &[(&str, &str, &[&str])] = &[
        ("publication_missing", "create table t (a int primary key);", p),
        ("publication_for_all_tables", "create table t (a int primary key); create publication p for all tables;", p),
        (
            "publication_lacks_operations",
            "create table t (a int primary key); create publication p for table t with (publish = 'insert, update');",
            p,
        ),
        (
            "publication_via_root",
            "create table t (a int primary key); create publication p for table t with (publish_via_partition_root);",
            p,
        ),
        (
            "publication_feeds_itself",
            "create table t (a int primary key); create schema dormouse; create table dormouse.x (a int primary key); create publication p for table t, dormouse.x;",
            p,
        ),
        (
            "publication_feeds_itself",
            "create table t (a int primary key); create schema dormouse; create table dormouse.x (a int primary key); create publication p for table t, tables in schema dormouse;",
            p,
        ),
        (
            "publication_hides_key",
            "create table t (a int primary key, b int, c int); create publication p for table t (b, c) where (a > 7);",
            p,
        ),
        (
            "publication_hides_key",
            "create table t (a int primary key, b int, c int); create publication p for table t where (b > 7);",
            p,
        ),
        ("no_tables", "create table t (a int primary key); create publication p;", p),
    ];
    each(&cluster, cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_role_lacks_is_named_and_mended_and_nothing_is_changed_by_looking() {
    let cluster = cluster(&[("autovacuum", "off")]);
    paste(&cluster, "postgres", "create role \"the app\" login;").await;
    let sql = "create schema closed; create table closed.item (id int primary key); create table open (id int primary key); \
         create table guarded (id int primary key); grant select on guarded to \"the app\"; alter table guarded enable row level security;";
    database(&cluster, "rights", sql).await;
    let url = format!("postgres://the%20app@127.0.0.1:{}/rights", cluster.port());
    let everything = "select pg_snapshot_xmax(pg_current_snapshot()), (select count(*) from pg_class), (select count(*) from pg_namespace), \
         (select count(*) from pg_publication), (select count(*) from pg_replication_slots);";
    let before = paste(&cluster, "rights", everything).await;

    // Without a publication, what is not owned is left out.
    let visit = doctor(&url, &[]).await;
    let all = [
        "role_replication",
        "role_cannot_create",
        "tables_not_owned",
        "role_lacks_usage",
        "role_lacks_select",
        "row_security",
    ];
    assert_eq!(visit.complaints(), all, "{}", visit.text);
    assert_eq!(
        paste(&cluster, "rights", everything).await,
        before,
        "looking changes nothing, no transaction id is used"
    );
    for code in all {
        paste(&cluster, "rights", &visit.remedy(code)).await;
    }
    let after = doctor(&url, &[]).await;
    assert_eq!(after.complaints(), [""; 0], "{}", after.text);

    // The schema of another role.
    paste(
        &cluster,
        "rights",
        "create schema dormouse; create table dormouse.version (version int); create sequence dormouse.s;",
    )
    .await;
    treat(&cluster, "rights", &url, &[], "role_lacks_own_schema").await;
    paste(&cluster, "rights", "insert into dormouse.version values (1000);").await;
    assert_eq!(doctor(&url, &[]).await.complaints(), ["schema_newer"]);
}
