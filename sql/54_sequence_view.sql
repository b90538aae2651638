CREATE VIEW bdr.sequences AS
    SELECT n.nspname, c.relname,
           CASE k.seqkind WHEN 's' THEN 'snowflakeid' WHEN 't' THEN 'timeshard' WHEN 'g' THEN 'galloc' ELSE 'local' END AS seqkind
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN bdr.sequence_kind k ON k.seqid = c.oid
    WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'bdr');
COMMENT ON VIEW bdr.sequences IS 'sequences of users and their kinds';

CREATE VIEW bdr.sequence_alloc AS
    SELECT k.seqid::regclass AS seqid, a.chunk_size AS seq_chunk_size, a.allocated_up_to AS seq_allocated_up_to,
           a.nallocs AS seq_nallocs, a.last_alloc AS seq_last_alloc
    FROM bdr.sequence_allocation a
    JOIN bdr.sequence_kind k ON k.seq_key = a.seq_key AND k.seqkind = 'g';
COMMENT ON VIEW bdr.sequence_alloc IS 'galloc sequences: up to where their values have been given out to nodes';

-- Whoever may read the sequence may call it.
CREATE FUNCTION bdr.galloc_chunk_info(seqname regclass)
RETURNS TABLE (first_value bigint, last_value bigint)
AS 'MODULE_PATHNAME', 'bdr_galloc_chunk_info'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.galloc_chunk_info(regclass) IS 'which values of a galloc sequence this node may make';

-- Tells what is in the catalogs, which everybody may read.  A column counts with what it inherits to
-- and from, for ALTER TABLE changes all of that, and with the columns that refer to it.  The path of
-- schemas is fixed, so that names come out qualified and operators are the server's.
CREATE FUNCTION bdr.sequence_candidates(seqkind text DEFAULT 'snowflakeid')
RETURNS TABLE (sequence regclass, relation regclass, column_name name, column_type text, current_kind text, new_kind text,
    too_narrow boolean, referring_columns text[], blocked_by text[], statements text[])
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    wanted_kind CONSTANT text := seqkind;
BEGIN
    IF wanted_kind IS NULL OR wanted_kind NOT IN ('distributed', 'snowflakeid', 'timeshard', 'galloc', 'local') THEN
        RAISE EXCEPTION 'unknown kind of sequences: "%"', wanted_kind
            USING ERRCODE = 'invalid_parameter_value',
                HINT = 'The kinds are local, distributed, snowflakeid, timeshard and galloc.';
    END IF;
    RETURN QUERY
    WITH RECURSIVE integers AS (
        SELECT t.oid AS typid, t.typlen AS width, t.typtype = 'd' AS is_domain
        FROM pg_type t WHERE t.oid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
        UNION ALL SELECT t.oid, i.width, true
        FROM integers i JOIN pg_type t ON t.typbasetype = i.typid AND t.typtype = 'd'),
    columns AS MATERIALIZED (
        SELECT a.attrelid AS relid, a.attnum, a.attname, a.attidentity, a.attinhcount = 0 AS is_root, a.atttypid,
               i.width, i.is_domain
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'f')
        LEFT JOIN integers i ON i.typid = a.atttypid
        WHERE a.attnum > 0 AND NOT a.attisdropped),
    sequences AS MATERIALIZED (
        SELECT q.seqrelid AS seqid, s.seqkind AS current_kind, i.width,
               q.seqmax < 9223372036850581504 -- the first id of the last millisecond; the maximum of a type goes with it
                   AND q.seqmax <> CASE i.width WHEN 2 THEN 32767 WHEN 4 THEN 2147483647 ELSE 0 END AS is_bounded,
               CASE WHEN wanted_kind <> 'distributed' THEN wanted_kind
                   WHEN q.seqmax >= 9223372036850581504 THEN 'snowflakeid' ELSE 'galloc' END AS new_kind
        FROM bdr.sequences s
        JOIN pg_namespace n ON n.nspname = s.nspname
        JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.relname AND c.relpersistence = 'p'
        JOIN pg_sequence q ON q.seqrelid = c.oid
        JOIN integers i ON i.typid = q.seqtypid
        WHERE CASE wanted_kind WHEN 'distributed' THEN s.seqkind = 'local' ELSE s.seqkind <> wanted_kind END),
    used_by AS MATERIALIZED ( -- what owns the sequence, or has a default that names it
        SELECT d.objid AS seqid, d.refobjid AS relid, d.refobjsubid AS attnum
        FROM pg_depend d
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
          AND d.deptype IN ('a', 'i')
        UNION SELECT d.refobjid, f.adrelid, f.adnum
        FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
        WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass),
    inherited AS MATERIALIZED (
        SELECT h.inhparent AS parent, p.attnum AS parent_attnum, h.inhrelid AS child, c.attnum AS child_attnum
        FROM pg_inherits h
        JOIN columns p ON p.relid = h.inhparent
        JOIN columns c ON c.relid = h.inhrelid AND c.attname = p.attname AND NOT c.is_root),
    edges AS MATERIALIZED (
        SELECT h.parent AS from_relid, h.parent_attnum AS from_attnum, h.child AS to_relid, h.child_attnum AS to_attnum,
               false AS refers FROM inherited h
        UNION ALL SELECT h.child, h.child_attnum, h.parent, h.parent_attnum, false FROM inherited h
        UNION ALL SELECT f.confrelid, k.referred, f.conrelid, k.referring, true
        FROM pg_constraint f, unnest(f.confkey, f.conkey) AS k (referred, referring) WHERE f.contype = 'f'),
    uses AS MATERIALIZED ( -- a row of the answer each; the width that every column and the sequence must have
        SELECT row_number() OVER () AS use, s.seqid, s.current_kind, s.new_kind, s.width AS seq_width,
               s.is_bounded AND s.new_kind IN ('snowflakeid', 'timeshard') AS is_bounded,
               c.relid, c.attnum, c.attname, c.atttypid, c.attidentity,
               CASE s.new_kind WHEN 'local' THEN 0 WHEN 'galloc' THEN least(s.width, c.width) ELSE 8 END AS width
        FROM sequences s
        LEFT JOIN (used_by u JOIN columns c ON c.relid = u.relid AND c.attnum = u.attnum) ON u.seqid = s.seqid
            AND NOT EXISTS (SELECT FROM inherited h JOIN used_by p ON p.relid = h.parent AND p.attnum = h.parent_attnum
                WHERE h.child = c.relid AND h.child_attnum = c.attnum AND p.seqid = s.seqid)),
    reached AS (
        SELECT u.use, u.relid, u.attnum, false AS refers FROM uses u WHERE u.relid IS NOT NULL
        UNION SELECT r.use, e.to_relid, e.to_attnum, r.refers OR e.refers
        FROM reached r JOIN edges e ON e.from_relid = r.relid AND e.from_attnum = r.attnum),
    involved AS MATERIALIZED (
        SELECT r.use, c.relid, c.attnum, c.attname, c.is_root, c.atttypid, c.attidentity, c.is_domain, bool_and(r.refers) AS refers,
               coalesce(c.width < u.width, false) AS is_narrow, u.width
        FROM reached r JOIN uses u ON u.use = r.use JOIN columns c ON c.relid = r.relid AND c.attnum = r.attnum
        GROUP BY r.use, c.relid, c.attnum, c.attname, c.is_root, c.atttypid, c.attidentity, c.is_domain, c.width, u.width),
    alter_tables AS (
        SELECT i.use, bool_and(i.refers) AS refers, i.relid,
               format('ALTER TABLE %s %s', i.relid::regclass,
                   string_agg(format('ALTER COLUMN %I TYPE %s', i.attname,
                       CASE i.width WHEN 8 THEN 'bigint' ELSE 'integer' END), ', ' ORDER BY i.refers, i.attnum)) AS statement
        FROM involved i WHERE i.is_narrow AND i.is_root AND NOT i.is_domain
        GROUP BY i.use, i.relid),
    alter_sequences AS ( -- of an identity column ALTER TABLE changes the type
        SELECT u.use, CASE WHEN u.width <> u.seq_width AND NOT EXISTS (SELECT FROM involved i
                   WHERE i.use = u.use AND i.is_narrow AND NOT i.refers AND i.attidentity <> '')
               THEN format('ALTER SEQUENCE %s AS %s%s', u.seqid::regclass,
                   CASE u.width WHEN 8 THEN 'bigint' WHEN 4 THEN 'integer' ELSE 'smallint' END,
                   CASE WHEN u.is_bounded OR u.width < u.seq_width THEN ' NO MAXVALUE' END)
               WHEN u.is_bounded THEN format('ALTER SEQUENCE %s NO MAXVALUE', u.seqid::regclass) END AS statement
        FROM uses u WHERE u.width > 0 AND (u.width <> u.seq_width OR u.is_bounded)),
    blockers AS (
        SELECT i.use, CASE WHEN w.ev_class IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
               ELSE pg_describe_object('pg_class'::regclass, w.ev_class, 0) END AS what
        FROM involved i
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = i.relid AND d.refobjsubid = i.attnum
        LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
        WHERE i.is_narrow AND (d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass,
                'pg_publication_rel'::regclass, 'pg_proc'::regclass)
            OR d.classid = 'pg_attrdef'::regclass AND EXISTS (SELECT FROM pg_attrdef f
                WHERE f.oid = d.objid AND NOT (f.adrelid = i.relid AND f.adnum = i.attnum)))
        UNION SELECT i.use, format('partition key of table %s', i.relid::regclass)
        FROM involved i JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.relid AND d.objsubid = i.attnum
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.relid AND d.refobjsubid = 0 AND d.deptype = 'i'
        WHERE i.is_narrow
        UNION SELECT i.use, pg_describe_object('pg_constraint'::regclass, f.oid, 0) -- of a partition alone
        FROM involved i JOIN pg_class c ON c.oid = i.relid AND c.relispartition
        JOIN pg_constraint f ON f.contype = 'f' AND f.conparentid = 0 AND f.confrelid = i.relid AND i.attnum = ANY (f.confkey)
        WHERE i.is_narrow
        UNION SELECT i.use, format('table %s, which has the column from several tables', i.relid::regclass)
        FROM involved i JOIN inherited h ON h.child = i.relid AND h.child_attnum = i.attnum
        JOIN columns p ON p.relid = h.parent AND p.attnum = h.parent_attnum AND p.is_root
        WHERE i.is_narrow GROUP BY i.use, i.relid HAVING count(*) > 1
        UNION SELECT i.use, format('type %s', i.atttypid::regtype)
        FROM involved i WHERE i.is_narrow AND i.is_domain),
    answers AS (
        SELECT u.use, u.seqid, u.relid, u.attname, u.atttypid, u.current_kind, u.new_kind,
               ARRAY(SELECT format('%s.%I', i.relid::regclass, i.attname) FROM involved i
                   WHERE i.use = u.use AND i.refers AND i.is_root ORDER BY 1) AS referring_columns,
               ARRAY(SELECT b.what FROM blockers b WHERE b.use = u.use ORDER BY 1) AS blocked_by,
               ARRAY(SELECT s.statement FROM (
                   SELECT 1 AS place, format('SELECT bdr.alter_sequence_set_kind(%L, %L)', u.seqid::regclass, 'local') AS statement
                   WHERE u.current_kind NOT IN ('local', 'galloc') AND EXISTS (SELECT FROM alter_sequences s WHERE s.use = u.use)
                   UNION ALL SELECT CASE WHEN t.refers THEN 3 ELSE 2 END, t.statement FROM alter_tables t WHERE t.use = u.use
                   UNION ALL SELECT 4, s.statement FROM alter_sequences s WHERE s.use = u.use AND s.statement IS NOT NULL) s
                   ORDER BY s.place, s.statement) AS statements
        FROM uses u)
    SELECT a.seqid::regclass, a.relid::regclass, a.attname, format_type(a.atttypid, NULL), a.current_kind, a.new_kind,
           cardinality(a.statements) > 0 OR cardinality(a.blocked_by) > 0, a.referring_columns, a.blocked_by, a.statements
    FROM answers a ORDER BY a.seqid::regclass::text, a.relid::regclass::text, a.attname;
END
$function$;
COMMENT ON FUNCTION bdr.sequence_candidates(text) IS 'sequences that are not of a kind yet, and what to alter before they can be';

-- A sequence that cannot be changed is told of, and the others go on.
CREATE FUNCTION bdr.alter_all_sequences_set_kind(seqkind text DEFAULT 'distributed')
RETURNS TABLE (sequence regclass, new_kind text, result text)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    candidate record;
    detail text;
BEGIN
    FOR candidate IN
        SELECT c.sequence, c.new_kind, bool_or(c.too_narrow) AS too_narrow
        FROM bdr.sequence_candidates(seqkind) c
        JOIN pg_class r ON r.oid = c.sequence AND pg_has_role(r.relowner, 'USAGE')
        GROUP BY c.sequence, c.new_kind ORDER BY c.sequence::text
    LOOP
        sequence := candidate.sequence;
        new_kind := candidate.new_kind;
        IF candidate.too_narrow THEN
            result := format('too narrow: bdr.sequence_candidates(%L) says what to alter', new_kind);
        ELSE
            BEGIN
                PERFORM bdr.alter_sequence_set_kind(sequence, new_kind);
                result := 'changed';
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS result = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
                result := concat_ws(': ', result, nullif(detail, ''));
            END;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$function$;
COMMENT ON FUNCTION bdr.alter_all_sequences_set_kind(text) IS 'change the kind of all sequences that the caller owns';
