package platform

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	supplies = "/sys/class/power_supply" // Documentation/ABI/testing/sysfs-class-power
	// powerEvery is how often the supplies are read while somebody watches. The kernel tells of them by uevents, which not
	// every container gets; a task that waits for power can wait this much longer.
	powerEvery = 30 * time.Second
)

// Plugged reports whether the machine draws on no battery: some mains or USB supply is online, or no battery that powers
// the machine (scope System, as against a mouse's) is discharging. A machine without batteries, and one whose supplies
// cannot be read, is plugged in. It costs a few reads of small files.
func (p *Power) Plugged() bool {
	root := p.root
	if root == "" {
		root = supplies
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return true
	}
	discharging := false
	for _, e := range entries {
		supply := filepath.Join(root, e.Name())
		switch read(supply, "type") {
		case "Mains", "USB", "Wireless":
			if online := read(supply, "online"); online == "1" || online == "2" { // 2: programmable
				return true
			}
		case "Battery":
			if read(supply, "scope") != "Device" && read(supply, "status") == "Discharging" {
				discharging = true
			}
		}
	}
	return !discharging
}

// read is an attribute of a supply; empty: it has none.
func read(supply, attribute string) string {
	b, err := os.ReadFile(filepath.Join(supply, attribute))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// Changes returns a channel that gets a value after Plugged has changed; it is asked each 30 seconds. The channel is closed
// when ctx ends.
func (p *Power) Changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{}, 1)
	was := p.Plugged() // before it returns: what changes from here on is told
	go func() {
		defer close(changed)
		ticker := time.NewTicker(powerEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if is := p.Plugged(); is != was {
				was = is
				notify(changed)
			}
		}
	}()
	return changed
}
