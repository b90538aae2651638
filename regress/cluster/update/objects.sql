-- All that the catalogs say about the extension and its members, one fact a row,
-- without oids.  Privileges are compared by what they are, not by whether they
-- were written down, and the server's own count of changes of a column is left out.
WITH member AS (
    SELECT d.classid, d.objid, identity.type || ' ' || identity.identity AS name
    FROM pg_extension e
        JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e',
        LATERAL pg_identify_object(d.classid, d.objid, 0) identity
    WHERE e.extname = 'bdr'),
relation AS (SELECT c.*, m.name FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
routine AS (SELECT p.*, m.name FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid),
-- What belongs to a member without being one.
part AS (
    SELECT 'pg_constraint'::regclass AS classid, k.oid AS objid, format('constraint %s of %s', k.conname, r.name) AS name,
           pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' not valid' END AS definition
    FROM pg_constraint k JOIN relation r ON r.oid = k.conrelid
    UNION ALL SELECT 'pg_class'::regclass, i.indexrelid, format('index %s of %s', x.relname, r.name),
           pg_get_indexdef(i.indexrelid) || format(' valid %s identity %s', i.indisvalid, i.indisreplident)
    FROM pg_index i JOIN relation r ON r.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
    UNION ALL SELECT 'pg_trigger'::regclass, g.oid, format('trigger %s of %s', g.tgname, r.name),
           pg_get_triggerdef(g.oid) || ' enabled ' || g.tgenabled::text
    FROM pg_trigger g JOIN relation r ON r.oid = g.tgrelid WHERE NOT g.tgisinternal
    UNION ALL SELECT 'pg_policy'::regclass, y.oid, format('policy %s of %s', y.polname, r.name),
           concat_ws(' ', y.polcmd::text, y.polpermissive, y.polroles::regrole[], pg_get_expr(y.polqual, y.polrelid), 'check',
               pg_get_expr(y.polwithcheck, y.polrelid))
    FROM pg_policy y JOIN relation r ON r.oid = y.polrelid),
privilege AS (
    SELECT r.name, r.relowner AS owner, COALESCE(r.relacl, acldefault('r', r.relowner)) AS acl FROM relation r
    UNION ALL SELECT r.name, r.proowner, COALESCE(r.proacl, acldefault('f', r.proowner)) FROM routine r
    UNION ALL SELECT m.name, n.nspowner, COALESCE(n.nspacl, acldefault('n', n.nspowner))
    FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND m.objid = n.oid),
initial AS (
    SELECT r.name, COALESCE(i.initprivs, acldefault('r', r.relowner)) AS acl
    FROM relation r LEFT JOIN pg_init_privs i ON i.classoid = 'pg_class'::regclass AND i.objoid = r.oid AND i.objsubid = 0
    UNION ALL SELECT r.name, COALESCE(i.initprivs, acldefault('f', r.proowner))
    FROM routine r LEFT JOIN pg_init_privs i ON i.classoid = 'pg_proc'::regclass AND i.objoid = r.oid)
SELECT 'member: ' || name FROM member
UNION ALL SELECT format('extension: version %s, schema %s, relocatable %s', extversion, extnamespace::regnamespace, extrelocatable)
    FROM pg_extension WHERE extname = 'bdr'
UNION ALL SELECT format('configuration table: %s where %s', c.oid::regclass, e.condition)
    FROM pg_extension x, unnest(x.extconfig, x.extcondition) e (relation, condition), pg_class c
    WHERE x.extname = 'bdr' AND c.oid = e.relation
UNION ALL SELECT format('definition of %s: %s parallel %s', name, pg_get_functiondef(oid), proparallel) FROM routine
UNION ALL SELECT format('definition of %s: %s', name, pg_get_viewdef(oid, true)) FROM relation WHERE relkind = 'v'
UNION ALL SELECT format('%s: kind %s, persistence %s, identity %s, row security %s %s, options %s, tablespace %s', name, relkind,
    relpersistence, relreplident, relrowsecurity, relforcerowsecurity, reloptions, reltablespace) FROM relation
UNION ALL SELECT format('column %s of %s: number %s, %s %s%s%s, default %s, storage %s, options %s', a.attname, r.name,
    row_number() OVER (PARTITION BY r.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attnotnull THEN 'not null' END, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attstorage,
    ARRAY(SELECT o FROM unnest(a.attoptions) o WHERE o !~ '^pg_attver='))
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
UNION ALL SELECT format('column %s of %s: privileges %s', a.attname, r.name, a.attacl)
    FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid WHERE a.attacl IS NOT NULL
UNION ALL SELECT format('%s: %s', name, definition) FROM part
UNION ALL SELECT format('owner of %s: %s', name, owner::regrole) FROM privilege
UNION ALL SELECT format('privilege on %s: %s to %s by %s, grantable %s', p.name, a.privilege_type, a.grantee::regrole, a.grantor::regrole, a.is_grantable)
    FROM privilege p, aclexplode(p.acl) a
UNION ALL SELECT format('initial privilege on %s: %s to %s', p.name, a.privilege_type, a.grantee::regrole)
    FROM initial p, aclexplode(p.acl) a
UNION ALL SELECT format('comment on %s: %s', m.name, c.description)
    FROM (SELECT classid, objid, name FROM member UNION ALL SELECT classid, objid, name FROM part) m
        JOIN pg_description c ON c.classoid = m.classid AND c.objoid = m.objid AND c.objsubid = 0
UNION ALL SELECT format('comment on column %s of %s: %s', a.attname, r.name, c.description)
    FROM relation r JOIN pg_description c ON c.classoid = 'pg_class'::regclass AND c.objoid = r.oid AND c.objsubid > 0
        JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = c.objsubid
UNION ALL SELECT format('security label on %s: %s %s', m.name, l.provider, l.label)
    FROM member m JOIN pg_seclabel l ON l.classoid = m.classid AND l.objoid = m.objid
