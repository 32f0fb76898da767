package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/urlsession/urlsession/internal/control"
)

// maxGenerations is how many different chains a session can have in use at once.
const maxGenerations = 32

// generations are a session's configuration as the store keeps it, sealed: the newest whole, of those before it the chains,
// by the numbers that tasks know them by (task.Spec.Configuration). A task keeps to the chain that it was created under.
type generations struct {
	Newest control.Configuration `json:"configuration"`
	Number int                   `json:"number"` // of the newest's chain, from 1
	Last   int                   `json:"last"`   // the highest number ever given
	// Chains are those of before, at most maxGenerations - 1. One that no task uses any more stays until there is no room.
	Chains map[int]control.Chain `json:"chains,omitempty"`
}

func firstGeneration(c control.Configuration) generations {
	return generations{Newest: c, Number: 1, Last: 1}
}

// chain is the one of a number.
func (g *generations) chain(number int) (control.Chain, bool) {
	if number == g.Number {
		return g.Newest.Chain, true
	}
	c, ok := g.Chains[number]
	return c, ok
}

// with is g with a newer configuration. An identical chain has its number again. Where there is no room for one more, all
// go that inUse does not name; it is asked only then, since it looks at all tasks.
func (g *generations) with(c control.Configuration, inUse func() (map[int]bool, error)) (generations, error) {
	next := generations{Newest: c, Number: g.Number, Last: g.Last, Chains: maps.Clone(g.Chains)}
	if sameJSON(c.Chain, g.Newest.Chain) {
		return next, nil
	}
	if next.Chains == nil {
		next.Chains = make(map[int]control.Chain)
	}
	next.Chains[g.Number] = g.Newest.Chain
	next.Number = 0
	for number, before := range next.Chains {
		if sameJSON(c.Chain, before) {
			next.Number = number
			delete(next.Chains, number)
			return next, nil
		}
	}
	if len(next.Chains) >= maxGenerations {
		used, err := inUse()
		if err != nil {
			return next, err
		}
		maps.DeleteFunc(next.Chains, func(number int, _ control.Chain) bool { return !used[number] }) // all, so that it is asked seldom
		if len(next.Chains) >= maxGenerations {
			return next, fmt.Errorf("%d configurations that differ in proxy, TLS, cookies or credentials are in use by tasks that have not ended; wait for some to end, or cancel them", maxGenerations)
		}
	}
	next.Last++
	next.Number = next.Last
	return next, nil
}

// parseConfiguration reads what a client sends. What this version does not know is refused: it would not be done.
func parseConfiguration(data []byte) (c control.Configuration, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("its configuration is none that this version knows: %w", err)
	}
	return c, checkConfiguration(&c)
}

func checkConfiguration(c *control.Configuration) error {
	if c.MaximumConnectionsPerHost < 0 || c.RateLimit < 0 {
		return errors.New("a limit of its configuration is negative; 0 is the default")
	}
	if err := checkLaunch(&c.Launch); err != nil {
		return err
	}
	t, err := newTransport(&c.Chain, 1, remembered{})
	if err != nil {
		return err
	}
	t.CloseIdleConnections()
	return nil
}

// sameJSON says whether two values are stored alike.
func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}
