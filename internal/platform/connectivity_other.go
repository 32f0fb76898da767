//go:build !linux

package platform

import (
	"context"
	"time"
)

// Online is true: this system is not asked yet.
func (c *Connectivity) Online() bool { return true }

// Changes returns a channel that is closed when ctx ends; this system is not listened to yet.
func (c *Connectivity) Changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{})
	context.AfterFunc(ctx, func() { close(changed) })
	return changed
}

func askMetered(time.Duration) Metering { return Metering{} }
