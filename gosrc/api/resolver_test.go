package api

import (
	"strings"
	"testing"

	"bdr/gosrc/catalog"
	"bdr/gosrc/pgerr"
)

// A refusal must list what would have been right.
func TestCheckResolver(t *testing.T) {
	for _, test := range []struct{ conflictType, resolver, code, hint string }{
		{"target_column_missing", "ignore", "", ""},
		{"target_table_missing", "skip", "", ""},
		{"insert_exists", "update_if_newer", "", ""},
		{"target_column_missing", "update", pgerr.InvalidParameter, `"ignore_if_null", "ignore", "skip", "error"`},
		{"Target_Column_Missing", "ignore", pgerr.InvalidParameter, `"target_column_missing"`},
		{"", "", pgerr.InvalidParameter, `"insert_exists"`},
		{"insert_exists", "skip", "", ""},
		{"target_table_missing", "skip_if_recently_dropped", "", ""},
		{"update_differing", "error", "", ""},
		{"apply_error_ddl", "skip_transaction", pgerr.FeatureNotSupported, "bdr.worker_errors"},
	} {
		err := checkResolver(catalog.Resolver{ConflictType: test.conflictType, Name: test.resolver})
		if (err == nil) != (test.code == "") {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if e := pgerr.From(err); err != nil && (e.Code != test.code || !strings.Contains(e.Hint, test.hint)) {
			t.Errorf("%+v: %s, hint %q", test, e.Code, e.Hint)
		}
	}
}
