package memstore_test

import (
	"testing"

	"github.com/urlsession/urlsession/internal/store/memstore"
	"github.com/urlsession/urlsession/internal/store/storetest"
)

func TestConformance(t *testing.T) {
	for _, c := range storetest.Cases {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t.Context(), memstore.New("s")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDurableConformance(t *testing.T) {
	for _, c := range storetest.DurableCases {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Check(t.Context(), memstore.New("s")); err != nil {
				t.Error(err)
			}
		})
	}
}
