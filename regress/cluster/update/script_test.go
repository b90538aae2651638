package update

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What sql/update.awk gets, and what it makes of it.
const (
	scriptHead     = "\\echo Use \"ALTER EXTENSION\" to load this file. \\quit\nALTER TABLE bdr.grown ADD COLUMN b int;\nDROP VIEW bdr.user_of;\nDROP FUNCTION bdr.result_changed();\n"
	scriptReleased = `\echo Use "CREATE EXTENSION" to load this file. \quit
CREATE TABLE bdr.grown (
    a int -- the first; only
);
INSERT INTO bdr.grown VALUES (1);
CREATE VIEW bdr.same AS SELECT 1;
CREATE VIEW bdr.wider AS
    SELECT 1 AS a;
COMMENT ON VIEW bdr.wider IS 'one';
CREATE FUNCTION bdr.result_changed() RETURNS int AS 'm' LANGUAGE C;
REVOKE ALL ON FUNCTION bdr.result_changed() FROM PUBLIC;
CREATE VIEW bdr.user_of AS SELECT bdr.result_changed();
`
	scriptPieces = `\echo Use "CREATE EXTENSION" to load this file. \quit
-- A comment; of no interest.
CREATE TABLE bdr.grown (
    a int, -- the first; only
    b int
);
INSERT INTO bdr.grown VALUES (1), (2);
CREATE TABLE bdr.fresh (a int);
INSERT INTO bdr.fresh VALUES (1);
CREATE UNIQUE INDEX fresh_idx ON bdr.fresh (a);
CREATE VIEW   bdr.same AS SELECT 1;
CREATE VIEW bdr.wider AS
    SELECT 1 AS a, 2 AS b; -- wider
COMMENT ON VIEW bdr.wider IS 'one';
CREATE FUNCTION bdr.result_changed() RETURNS bigint AS 'm' LANGUAGE C;
REVOKE ALL ON FUNCTION bdr.result_changed() FROM PUBLIC;
CREATE VIEW bdr.user_of AS SELECT bdr.result_changed();
DO $do$
BEGIN
    PERFORM 1;
END
$do$;
CREATE FUNCTION bdr.body() RETURNS int
BEGIN ATOMIC
    SELECT 1;
    SELECT 2;
END;
`
	scriptDerived = scriptHead + `
CREATE TABLE bdr.fresh (a int);

INSERT INTO bdr.fresh VALUES (1);

CREATE UNIQUE INDEX fresh_idx ON bdr.fresh (a);

CREATE OR REPLACE VIEW bdr.wider AS
    SELECT 1 AS a, 2 AS b; -- wider

CREATE OR REPLACE FUNCTION bdr.result_changed() RETURNS bigint AS 'm' LANGUAGE C;

REVOKE ALL ON FUNCTION bdr.result_changed() FROM PUBLIC;

CREATE OR REPLACE VIEW bdr.user_of AS SELECT bdr.result_changed();

DO $do$
BEGIN
    PERFORM 1;
END
$do$;

CREATE OR REPLACE FUNCTION bdr.body() RETURNS int
BEGIN ATOMIC
    SELECT 1;
    SELECT 2;
END;
`
)

// TestUpdateScript exists because what the derived script leaves out is missing in
// every database that is updated: it has what is new, what was changed, and what
// depends on what goes; and nothing that was there before.
func TestUpdateScript(t *testing.T) {
	dir := t.TempDir()
	arguments := []string{"-f", "../../../sql/update.awk"}
	for _, file := range []struct{ name, text string }{{"head.sql", scriptHead}, {"released.sql", scriptReleased}, {"pieces.sql", scriptPieces}} {
		path := filepath.Join(dir, file.name)
		if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		arguments = append(arguments, path)
	}
	got, err := exec.Command("awk", arguments...).Output()
	if err != nil || string(got) != scriptDerived {
		t.Errorf("%v, the script is:\n%s\nexpected:\n%s", err, got, scriptDerived)
	}
	if err := os.WriteFile(filepath.Join(dir, "pieces.sql"), []byte("CREATE VIEW bdr.v AS SELECT 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("awk", arguments...).Run(); err == nil {
		t.Error("a statement without an end was taken")
	}
}
