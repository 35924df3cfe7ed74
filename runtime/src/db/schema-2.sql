-- Version 2. How often the lease was taken or renewed: by this a server tells a database that was restored from a copy.
alter table dormouse.lease add column renewals bigint not null default 0;
