package urlsessiontest

import (
	"context"
	"math"
	"sync"
	"time"
)

// Forever is a stall that only the client's leaving or [Server.Close] ends.
const Forever = time.Duration(math.MaxInt64)

// Point is a place in a reply. A point that the reply never reaches, because it
// is shorter, does nothing. Interim (1xx) answers come before every point.
type Point struct {
	where where
	n     int64
}

type where int

const (
	onWire where = iota // n bytes of all that is sent
	inBody              // n bytes of content
	midHeader
	bodyEnd
	replyEnd
)

// AtByte is after n bytes of all that is sent: status line, header, chunk
// framing and content. AtByte(3) is in the status line.
func AtByte(n int64) Point { return Point{onWire, n} }

// BeforeHeader is before the first byte.
func BeforeHeader() Point { return AtByte(0) }

// MidHeader is after half of the bytes of status line and header.
func MidHeader() Point { return Point{where: midHeader} }

// AtBody is after n bytes of the body's content; in a chunked body between two
// chunks. AtBody(0) is after the header, also where there is no body.
func AtBody(n int64) Point { return Point{inBody, n} }

// BodyEnd is after the body's last byte; in a chunked body before the last
// chunk.
func BodyEnd() Point { return Point{where: bodyEnd} }

// AtEnd is after all of the reply.
func AtEnd() Point { return Point{where: replyEnd} }

type trigger struct {
	at Point
	do func(*conn) error // an error ends the connection
}

func at(p Point, do func(*conn) error) Step {
	return func(r *Reply) { r.triggers = append(r.triggers, trigger{p, do}) }
}

// CloseAt closes the connection there in good order: with TLS by close_notify,
// then by FIN. At AtEnd it is the unannounced end of a kept connection.
func CloseAt(p Point) Step { return at(p, (*conn).close) }

// DropAt closes the connection there by FIN alone: with TLS there is no
// close_notify, the truncation that RFC 8446 §6.1 warns of.
func DropAt(p Point) Step { return at(p, (*conn).drop) }

// TearAt is DropAt in the midst of a TLS record. A client notices it even where
// it tolerates a missing close_notify between two records, as Go's does. Without
// TLS it is DropAt.
func TearAt(p Point) Step { return at(p, (*conn).tear) }

// ResetAt resets the connection there (RST), which may also destroy what the
// client has not read yet.
func ResetAt(p Point) Step { return at(p, (*conn).reset) }

// StallAt sends nothing for d there, then goes on.
func StallAt(p Point, d time.Duration) Step {
	return at(p, func(c *conn) error { return c.pause(d, nil) })
}

// HoldAt sends nothing there until the gate opens, then goes on.
func HoldAt(p Point, gate *Gate) Step {
	return at(p, func(c *conn) error {
		gate.arrive()
		return c.pause(Forever, gate.open)
	})
}

// Truncate closes the connection in good order after n bytes of the body:
// CloseAt(AtBody(n)).
func Truncate(n int64) Step { return CloseAt(AtBody(n)) }

// Silent closes the connection without sending a byte: CloseAt(BeforeHeader()).
func Silent() Step { return CloseAt(BeforeHeader()) }

// Delay waits before the first byte: StallAt(BeforeHeader(), d).
func Delay(d time.Duration) Step { return StallAt(BeforeHeader(), d) }

// Slow sends the reply at a number of bytes a second.
func Slow(bytesPerSecond int64) Step { return func(r *Reply) { r.rate = bytesPerSecond } }

// SlowHeader sends status line and header a byte at a time, with a pause after
// each: a slow loris from the other side.
func SlowHeader(pause time.Duration) Step { return func(r *Reply) { r.perByte = pause } }

// Gate holds replies back until it is opened; see [HoldAt]. One gate may hold
// many.
type Gate struct {
	once    sync.Once
	open    chan struct{}
	first   sync.Once
	arrived chan struct{}
}

// NewGate is a closed gate.
func NewGate() *Gate {
	return &Gate{open: make(chan struct{}), arrived: make(chan struct{})}
}

// Open lets all pass, from now on.
func (g *Gate) Open() { g.once.Do(func() { close(g.open) }) }

// Wait returns when a reply has come to the gate, or with ctx's error.
func (g *Gate) Wait(ctx context.Context) error {
	select {
	case <-g.arrived:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g *Gate) arrive() { g.first.Do(func() { close(g.arrived) }) }
