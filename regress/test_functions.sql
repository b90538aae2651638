-- What only tests call; extension/test, in bdr_test.so. MODULE stands for its path.
-- Only superusers may call it.
CREATE SCHEMA IF NOT EXISTS bdr_test;

-- Make the manager fail, where it has loaded bdr_go_test.so.
CREATE OR REPLACE FUNCTION bdr_test.internal_debug_fault(kind text)
RETURNS void
AS 'MODULE', 'bdr_internal_debug_fault'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- Count wake-ups that the manager loses.
CREATE OR REPLACE FUNCTION bdr_test.latch_stress(n integer)
RETURNS integer
AS 'MODULE', 'bdr_internal_latch_stress'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- Apply messages as if a peer had sent them.
CREATE OR REPLACE FUNCTION bdr_test.apply(messages bytea)
RETURNS void
AS 'MODULE', 'bdr_internal_debug_apply'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- The newest commit time seen or committed.
CREATE OR REPLACE FUNCTION bdr_test.clock()
RETURNS timestamptz
AS 'MODULE', 'bdr_internal_debug_clock'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- Who makes versions of a table invisible.
CREATE OR REPLACE FUNCTION bdr_test.key_removal(relation oid, OUT in_progress bigint, OUT newest timestamptz)
AS 'MODULE', 'bdr_internal_debug_key_removal'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- All command tags of this server.
CREATE OR REPLACE FUNCTION bdr_test.command_tags()
RETURNS text[]
AS 'MODULE', 'bdr_internal_command_tags'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;

-- What bdr.so finds by a tag.
CREATE OR REPLACE FUNCTION bdr_test.command_fate(tag text)
RETURNS text
AS 'MODULE', 'bdr_internal_command_fate'
LANGUAGE C STRICT VOLATILE PARALLEL UNSAFE;
