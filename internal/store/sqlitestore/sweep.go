package sqlitestore

import "context"

// sweepPages is how many pages one commit of Sweep frees, 4 MiB, and how many rows' writes it counts as.
const sweepPages = 1000

// Sweep gives the space that forgotten history has left back to the file system: it cuts free pages off the end of the file,
// in small commits, so that nobody waits long. An end of ctx leaves the rest to the next time.
func (db *DB) Sweep(ctx context.Context) error {
	for freed := 1; freed > 0; {
		err := db.write.do(ctx, sweepPages, func(t *tx) error {
			freed = t.vacuum()
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// vacuum frees up to sweepPages pages, and returns how many.
func (t *tx) vacuum() (freed int) {
	if t.err != nil {
		return 0
	}
	rows, err := t.w.conn.QueryContext(context.Background(), "PRAGMA incremental_vacuum(1000)") // sweepPages; a row a page
	if err != nil {
		t.err = err
		return 0
	}
	defer rows.Close()
	for rows.Next() {
		freed++
	}
	t.err = rows.Err()
	return freed
}
