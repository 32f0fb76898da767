package powerfs

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// name is what /proc/self/mountinfo calls these mounts, after "fuse.".
const name = "powerfs"

// source is the source of the mounts of a process.
func source(pid int) string { return name + "-" + strconv.Itoa(pid) }

const (
	guardEnv   = "POWERFS_GUARD"
	guardPause = 200 * time.Millisecond
)

// Guard comes first in the TestMain of who mounts. It unmounts what processes that are gone have left, and has a process of its own do
// so for this one, should it end without Unmount.
//
// A process that serves a mount and waits for it with one of its threads cannot die by itself: the thread waits for an answer
// that nobody gives any more, and keeps open what would end the mount. So somebody else has to.
func Guard() error {
	if pid, err := strconv.Atoi(os.Getenv(guardEnv)); err == nil {
		for alive(pid) {
			time.Sleep(guardPause)
		}
		sweep()
		os.Exit(0)
	}
	sweep()
	cmd := exec.Command("/proc/self/exe") // no output: nobody waits for its end
	cmd.Env = append(os.Environ(), fmt.Sprint(guardEnv, "=", os.Getpid()))
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// alive reports whether a process runs: one that has ended but for threads that hang has no program any more.
func alive(pid int) bool {
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil
}

// sweep unmounts what processes that are gone have left mounted. It asks nothing of a mount, which may hang.
func sweep() {
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(list)) {
		before, after, _ := strings.Cut(line, " - fuse."+name+" ")
		fields, of := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(of) == 0 {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimPrefix(of[0], name+"-")); err == nil && !alive(pid) {
			_ = unix.Unmount(fields[4], unix.MNT_FORCE|unix.MNT_DETACH) // litter, at worst
		}
	}
}
