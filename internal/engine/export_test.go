package engine

import (
	"time"

	"github.com/urlsession/urlsession/internal/task"
)

// InMemory is how many tasks that have not ended are in memory.
func (e *Engine) InMemory() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.runs) + len(e.loading)
}

// Expire forgets history that is past its retention, at once.
func (e *Engine) Expire() { e.expire() }

// Dates is how many wake-ups are planned.
func (e *Engine) Dates() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.agenda.dates)
}

// PlanEnded plans a wake-up each for n tasks that have ended.
func PlanEnded(n int) {
	a := agenda{e: &Engine{stopping: true}}
	for i := range n {
		a.add(task.ID(i+1), time.Time{}.Add(time.Duration(i)))
	}
}

// Accounted is how many connections to each host the engines have, and how many of those they have not fetched yet.
func (a *Hosts) Accounted() (taken map[string]int, granted int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken = make(map[string]int)
	for key, sh := range a.hosts {
		sum := 0
		for _, s := range sh.shares {
			sum += s.taken
			granted += s.granted
		}
		if sum != sh.taken {
			panic("the account does not add up")
		}
		taken[key] = sh.taken
	}
	return taken, granted
}

// Lately is how many of n tasks are known lately that have ended one after the other; 0 where the newest is not.
func Lately(n int) int {
	var l lately
	for i := range n {
		l.add(task.ID(i+1), moved{})
	}
	if _, known := l.moved[task.ID(n)]; !known {
		return 0
	}
	return len(l.moved)
}
