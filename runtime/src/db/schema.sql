-- Version 1. Everything durable that Dormouse keeps, beside the tables that it serves.

-- The right to replicate: one row, whose token fences every earlier holder.
create table dormouse.lease (
    one boolean primary key default true check (one),
    token bigint not null default 0,
    holder text not null default '',
    expires_at timestamptz not null default 'epoch',
    released boolean not null default true,
    attempt_lsn pg_lsn not null default '0/0',
    attempts integer not null default 0
) with (fillfactor = 10);
insert into dormouse.lease default values;

-- The continuity within which positions can be compared. The one with the highest counter is present.
create table dormouse.era (
    counter integer primary key,
    id bigint not null,
    start_lsn pg_lsn not null,
    covered_lsn pg_lsn not null,
    -- No snapshot is taken before every transaction below this has ended.
    x0 xid8 not null,
    schema integer not null,
    horizon_lsn pg_lsn not null,
    horizon_xid xid8 not null,
    horizon_time timestamptz not null,
    horizon_changes integer not null,
    system_identifier bigint not null,
    database_oid bigint not null,
    timeline bigint not null,
    reason text not null,
    schema_reason text not null default '',
    begun_at timestamptz not null default now(),
    fingerprints jsonb not null
) with (fillfactor = 50);

-- A transaction exists once its row does. Nothing without it is read.
create table dormouse.transaction_history (
    era integer not null,
    commit_lsn pg_lsn not null,
    end_lsn pg_lsn not null,
    xid xid8 not null,
    commit_time timestamptz not null,
    changes integer not null,
    schema integer not null,
    bytes bigint not null,
    primary key (era, commit_lsn)
);
create index transaction_history_xid on dormouse.transaction_history (era, xid);

create table dormouse.change_history (
    commit_lsn pg_lsn not null,
    relation bigint not null,
    era integer not null,
    index integer not null,
    operation "char" not null,
    -- The values, in the layout of pgoutput's tuples; the key that was, where one row loses it.
    row bytea,
    key bytea,
    primary key (era, commit_lsn, index)
);

-- The shapes that changes refer to.
create table dormouse.relation (
    id bigint primary key,
    definition jsonb not null
);

-- The registry. The position is what the client has acknowledged in this epoch.
create sequence dormouse.epoch;
create table dormouse.client (
    id text primary key,
    instance bigint,
    attempt bigint not null,
    epoch bigint not null,
    expires_at timestamptz not null,
    era_counter integer,
    era_id bigint,
    schema integer,
    commit_lsn pg_lsn,
    index bigint,
    xid xid8,
    committed_at timestamptz,
    seen_at timestamptz not null default now()
) with (fillfactor = 70);

-- Snapshots on the disk of some node: history after their start is kept while they live.
create sequence dormouse.spool_id;
create table dormouse.spool (
    id bigint primary key,
    era integer not null,
    start_lsn pg_lsn not null,
    expires_at timestamptz not null
);
