package sqlitestore

import (
	"testing"

	"github.com/urlsession/urlsession/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	for _, c := range storetest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			db := newDB(t)
			must(t, db.CreateSession(t.Context(), "s", nil))
			if err := c.Check(t.Context(), db.Session("s")); err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range storetest.DurableCases {
		t.Run(c.Name, func(t *testing.T) {
			db := newDB(t)
			must(t, db.CreateSession(t.Context(), "s", nil))
			if err := c.Check(t.Context(), db.Session("s")); err != nil {
				t.Error(err)
			}
		})
	}
}
