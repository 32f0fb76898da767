// Package platform tells what the machine says of itself: whether it has a network, whether that network is metered, how it
// is supplied, and how much room a file system has. It decides nothing.
//
// On Linux the kernel and NetworkManager are asked. Other systems compile and answer "online, unmetered, plugged in".
package platform

import (
	"sync"
	"time"
)

// Connectivity asks the machine about its networks. The zero value is ready; its methods may be called from any
// goroutine.
type Connectivity struct {
	mu      sync.Mutex // held while NetworkManager is asked, so that concurrent callers ask once
	asked   time.Time
	metered Metering
}

// Metering says what a network costs.
type Metering struct {
	// Expensive: bytes cost money or a quota, as on a mobile link or a tethered phone, known or guessed.
	Expensive bool
	// Constrained: a person has marked the connection as metered, which is the nearest thing here to Low Data Mode.
	Constrained bool
}

const (
	// meteredWait bounds the time that Metered takes. A machine that does not answer in it counts as unmetered.
	meteredWait = 200 * time.Millisecond
	// meteredKept is how long an answer is given again without asking.
	meteredKept = time.Second
)

// Metered says what the machine's current network costs; both are false where that is unknown. It takes at most 200 ms,
// and an answer may be a second old. Only tasks that forbid expensive or constrained access need to call it.
func (c *Connectivity) Metered() (expensive, constrained bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked.IsZero() || time.Since(c.asked) >= meteredKept {
		c.metered = askMetered(meteredWait)
		c.asked = time.Now()
	}
	return c.metered.Expensive, c.metered.Constrained
}
