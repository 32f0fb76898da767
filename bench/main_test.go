//go:build linux

package main

import (
	"os"
	"testing"
)

// The tests start children, as main does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if work := children[os.Args[1]]; work != nil {
			exit(work(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}
