//go:build !linux

package daemon

import "time"

// watchFolder has changes receive once a minute, until stop is called.
func watchFolder(string) (changes <-chan struct{}, stop func()) { return every(time.Minute) }
