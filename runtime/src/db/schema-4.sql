-- Version 4. The instances that were replaced, the last one first: one that greets again lives nevertheless, and is given an id of its own.
alter table dormouse.client add column replaced bigint[] not null default '{}';
