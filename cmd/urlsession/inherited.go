package main

import (
	"os"
	"strconv"
	"syscall"
)

// keepInherited keeps from the programs that this one starts what it was itself given beside standard input, output and
// error, such as a pipe of the shell's or of a CI runner: a daemon would hold it open, and its reader wait for ever. Our own
// files are never handed on.
func keepInherited() {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // there is no such folder on this system
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}
