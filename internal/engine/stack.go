package engine

// growStack gives the goroutine of an attempt, while it is young and holds little, the stack that the attempt comes to
// need in net/http. Grown by and by, the stack would be copied from down there, frame by frame, at each doubling. at must
// not be known to the compiler, which would do without the frame.
//
//go:noinline
func growStack(at int) byte {
	var frame [6 << 10]byte
	return frame[at]
}
