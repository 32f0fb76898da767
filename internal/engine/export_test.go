package engine

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
