package sqlitestore

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is asked of the events of one task does not look at those of all the others.
func TestEventsOfATaskAreFoundByIndex(t *testing.T) {
	db := openDB(t, filepath.Join(t.TempDir(), "db"))
	for text, args := range map[string][]any{selectEventsOfTask: {1, 2, 3, 4}, deleteEventsOfTask: {1, 2}} {
		var id, parent, unused int
		var plan string
		must(t, db.read.db.QueryRow("EXPLAIN QUERY PLAN "+text, args...).Scan(&id, &parent, &unused, &plan))
		if !strings.Contains(plan, "events_of_task (session=? AND task=?") {
			t.Errorf("%s: %s", text, plan)
		}
	}
}
