//go:build !linux

package platform

import "context"

// Plugged is true: this system is not asked yet.
func (p *Power) Plugged() bool { return true }

// Changes returns a channel that is closed when ctx ends; nothing changes.
func (p *Power) Changes(ctx context.Context) <-chan struct{} {
	changed := make(chan struct{})
	context.AfterFunc(ctx, func() { close(changed) })
	return changed
}
