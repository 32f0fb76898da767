package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// TestAnOwnerIsNotLostToItself: who comes back takes the place of its old stream, however long that takes to end; another
// is refused.
func TestAnOwnerIsNotLostToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := claims{held: make(map[string]*claim)}
		var release func()
		release, err := c.take(t.Context(), "s", "a", func() { time.AfterFunc(time.Minute, func() { release() }) })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.take(t.Context(), "s", "b", nil); task.CodeOf(err) != task.SessionInUse {
			t.Errorf("another: %v", err)
		}
		again, err := c.take(t.Context(), "s", "a", nil)
		if err != nil {
			t.Fatalf("the same: %v", err)
		}
		if again(); !c.mayAcknowledge("s", "b") {
			t.Error("the claim is still held")
		}
	})
}
