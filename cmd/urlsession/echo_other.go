//go:build !linux

package main

// stopEcho does nothing here: term.ReadPassword does it, a moment after the question is asked.
func stopEcho(int) error { return nil }
