-- Version 3. How often the lease had been renewed when the server was started: whoever takes the lease of a restored database
-- renews it as often as it had been, and a server that looks only then would not notice.
alter table dormouse.lease
    add column started_at timestamptz,
    add column renewals_at_start bigint not null default 0;
