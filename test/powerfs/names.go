package powerfs

import (
	"maps"
	"slices"
)

// A change of names is one step: all of its names change or none.
type change struct {
	names []named
	of    []*node // whose names they are or were
}

// A named is what a name stands for after a change; nil: for nothing.
type named struct {
	folder *node
	name   string
	node   *node
}

// rename makes a change as processes see it; it is durable later.
func (d *Disk) rename(names ...named) {
	c := &change{names: names}
	for _, e := range names {
		old := e.folder.entries[e.name]
		for _, n := range []*node{old, e.node} {
			if n != nil && !slices.Contains(c.of, n) {
				c.of = append(c.of, n)
			}
		}
		if old != nil {
			old.links--
		}
		if e.node != nil {
			e.node.links++
			e.folder.entries[e.name] = e.node
		} else {
			delete(e.folder.entries, e.name)
		}
	}
	for _, n := range c.of {
		d.collect(n)
	}
	d.pending = append(d.pending, c)
}

// collect drops a node that nobody can name or has open. Changes that are pending may bring it back.
func (d *Disk) collect(n *node) {
	if n.links == 0 && n.known == 0 {
		delete(d.nodes, n.number)
	}
}

// needs reports whether c cannot have happened without an earlier change.
func (c *change) needs(earlier *change) bool {
	for _, e := range c.names {
		for _, f := range earlier.names {
			if e.folder == f.folder && e.name == f.name {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.of, func(n *node) bool { return slices.Contains(earlier.of, n) })
}

func (c *change) touches(folder *node) bool {
	return slices.ContainsFunc(c.names, func(e named) bool { return e.folder == folder })
}

// syncNames makes a folder's names durable, and those that they need.
func (d *Disk) syncNames(folder *node) {
	var must []*change
	for i := len(d.pending) - 1; i >= 0; i-- {
		c := d.pending[i]
		needed := c.touches(folder)
		if d.journal == Ordered {
			needed = needed || len(must) > 0
		} else {
			needed = needed || slices.ContainsFunc(must, func(m *change) bool { return m.needs(c) })
		}
		if needed {
			must = append(must, c)
		}
	}
	d.keep(func(c *change) bool { return slices.Contains(must, c) })
}

// keep makes some of the pending changes durable, in their order.
func (d *Disk) keep(some func(*change) bool) {
	d.pending = slices.DeleteFunc(d.pending, func(c *change) bool {
		if !some(c) {
			return false
		}
		for _, e := range c.names {
			if e.node == nil {
				delete(e.folder.durable.entries, e.name)
			} else {
				e.folder.durable.entries[e.name] = e.node
			}
		}
		return true
	})
}

// survive makes of the disk what is found after the cut.
func (d *Disk) survive() {
	switch d.journal {
	case Ordered:
		upto := d.random.IntN(len(d.pending) + 1)
		d.keep(func(*change) bool { upto--; return upto >= 0 })
	case Scattered:
		luck := d.random.Float64()
		var lost []*change
		d.keep(func(c *change) bool {
			if d.random.Float64() < luck && !slices.ContainsFunc(lost, c.needs) {
				return true
			}
			lost = append(lost, c)
			return false
		})
	}
	d.pending = nil

	old := d.nodes
	d.nodes = make(map[uint64]*node)
	var find func(*node)
	find = func(n *node) {
		if d.nodes[n.number] != nil {
			n.links++
			return
		}
		d.nodes[n.number] = n
		n.links, n.known = 1, 0
		if !n.folder() {
			n.survive(d.random)
			return
		}
		n.entries, n.modified = maps.Clone(n.durable.entries), n.durable.modified
		for _, name := range slices.Sorted(maps.Keys(n.entries)) {
			find(n.entries[name])
		}
	}
	find(old[root])
}
