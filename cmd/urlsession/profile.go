//go:build profile

package main

import (
	"fmt"
	"os"
	"runtime/pprof"
)

// profileVariable names a file, or the beginning of its name: a dot and the process's number follow. The process's CPU profile
// is in it when the process has ended in good order. bench builds with the tag profile for that; what is released has no such variable.
const profileVariable = "URLSESSION_CPUPROFILE"

func init() {
	path := os.Getenv(profileVariable)
	if path == "" {
		return
	}
	file, err := os.Create(fmt.Sprintf("%s.%d", path, os.Getpid()))
	if err == nil {
		err = pprof.StartCPUProfile(file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "urlsession: profile:", err)
		os.Exit(exitFailed)
	}
	atExit = func() {
		pprof.StopCPUProfile()
		file.Close()
	}
}
