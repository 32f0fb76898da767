//go:build !linux

package daemon

func newAlarm() alarm { return newTimerAlarm() }
