package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession"
)

// taskName names a task of the daemon.
type taskName struct {
	session string
	id      urlsession.TaskID
}

// String is ID/N.
func (n taskName) String() string { return fmt.Sprintf("%s/%d", oneLine(n.session), n.id) }

// parseTaskName reads ID/N. An identifier may hold slashes: the last one splits.
func parseTaskName(s string) (taskName, error) {
	i := strings.LastIndexByte(s, '/')
	if i < 1 {
		return taskName{}, usagef("%q is no task: give ID/N, the session's identifier and the task's number, as urlsession task list shows them", s)
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 64)
	if err != nil || n == 0 {
		return taskName{}, usagef("%q is no task: what follows the last / is no number of one; give ID/N, such as %s/1", s, s[:i])
	}
	return taskName{s[:i], urlsession.TaskID(n)}, nil
}
