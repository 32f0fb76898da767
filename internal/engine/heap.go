package engine

// placed is what a heap holds.
type placed[T any] interface {
	before(T) bool // is to come out earlier
	moved(to int)  // stands there now, from 1; 0: in the heap no more
}

// heap is a binary heap that tells its items where they stand. container/heap is the same but for an allocation an item
// that is no pointer.
type heap[T placed[T]] []T

func (h *heap[T]) push(x T) {
	*h = append(*h, x)
	h.up(len(*h) - 1)
}

// pop takes out the first item. There must be one.
func (h *heap[T]) pop() T { return h.remove(1) }

// remove takes out the item that stands at a place.
func (h *heap[T]) remove(place int) T {
	items := *h
	i, last := place-1, len(items)-1
	x := items[i]
	items[i] = items[last]
	var none T
	items[last] = none
	*h = items[:last]
	if i < last {
		h.fix(place)
	}
	x.moved(0)
	return x
}

// fix restores the order after the item at a place has changed.
func (h *heap[T]) fix(place int) {
	if i := place - 1; !h.down(i) {
		h.up(i)
	}
}

func (h heap[T]) up(i int) {
	x := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if !x.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		h[i].moved(i + 1)
		i = parent
	}
	h[i] = x
	x.moved(i + 1)
}

// down reports whether the item has moved.
func (h heap[T]) down(i int) bool {
	x, from := h[i], i
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if right := child + 1; right < len(h) && h[right].before(h[child]) {
			child = right
		}
		if !h[child].before(x) {
			break
		}
		h[i] = h[child]
		h[i].moved(i + 1)
		i = child
	}
	h[i] = x
	x.moved(i + 1)
	return i != from
}
