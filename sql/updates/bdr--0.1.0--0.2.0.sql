\echo Use "ALTER EXTENSION bdr UPDATE" to load this file. \quit
-- By hand: what CREATE OR REPLACE cannot do.  The rest is derived from sql/*.sql (sql/update.awk).

ALTER TABLE bdr.subscription ADD COLUMN origin_system text, ADD COLUMN origin_timeline integer;

ALTER TABLE bdr.node_group ADD COLUMN last_node_seq_id integer NOT NULL DEFAULT 0;
