package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/urlsession/urlsession"
)

// barInterval is how often bars are drawn. A task that is shorter gets none, so that thousands of small files cost
// nothing.
const barInterval = 150 * time.Millisecond

// bars is progress for a terminal: a bar a task, and below them a line for all. A task that has ended leaves a line.
type bars struct {
	*board
	silence
	container *mpb.Progress
	drawn     map[*urlsession.Task]*bar // of the drawing goroutine
	total     *bar                      // from the second task on
	stop      chan struct{}
	stopped   sync.WaitGroup
}

// bar is one line on the terminal and the text beside it, which the drawing goroutine renews.
type bar struct {
	*mpb.Bar
	text atomic.Pointer[string]
}

func newBars(out io.Writer) *bars {
	b := &bars{
		board:     newBoard(),
		silence:   silence{out: out},
		container: mpb.New(mpb.WithOutput(out), mpb.WithRefreshRate(barInterval), mpb.WithAutoRefresh()),
		drawn:     make(map[*urlsession.Task]*bar),
		stop:      make(chan struct{}),
	}
	b.stopped.Go(b.draw)
	return b
}

func (b *bars) begin(label string, t *urlsession.Task) func(error) {
	w := b.add(label, t)
	return func(err error) {
		status := b.remove(w, err)
		if err == nil {
			b.note(endText(w.label, status))
		}
	}
}

func (b *bars) note(line string) {
	if _, err := fmt.Fprintln(b.container, line); err != nil { // the bars are closed
		b.silence.note(line)
	}
}

func (b *bars) close() {
	close(b.stop)
	b.stopped.Wait()
	if b.total != nil {
		_, sum := b.look()
		b.note("urlsession: " + sum.String() + " in " + formatDuration(sum.elapsed))
	}
	b.container.Wait()
}

// draw renews the bars until close. They are its alone.
func (b *bars) draw() {
	tick := time.NewTicker(barInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			b.redraw()
		case <-b.stop:
			for _, bar := range b.drawn {
				bar.drop()
			}
			if b.total != nil {
				b.total.drop()
			}
			return
		}
	}
}

func (b *bars) redraw() {
	active, sum := b.look()
	gone := maps.Clone(b.drawn)
	for _, w := range active {
		delete(gone, w.task)
		bar := b.drawn[w.task]
		if bar == nil {
			bar = b.addBar(w.label)
			b.drawn[w.task] = bar
		}
		bar.show(w.status)
	}
	for t, bar := range gone {
		bar.drop()
		delete(b.drawn, t)
	}
	if b.total == nil && sum.running+sum.ended > 1 {
		b.total = b.addTotal()
	}
	if b.total != nil {
		b.total.set(sum.String())
	}
}

func (b *bars) addBar(label string) *bar {
	shown := new(bar)
	shown.Bar = b.container.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarWidth(24),
		mpb.PrependDecorators(decor.Any(func(s decor.Statistics) string { return clip(label, max(6, s.AvailableWidth/3)) }, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(shown.decorator()))
	return shown
}

func (b *bars) addTotal() *bar {
	shown := new(bar)
	shown.Bar = b.container.New(0, mpb.NopStyle(), mpb.BarPriority(math.MaxInt32), mpb.PrependDecorators(shown.decorator()))
	return shown
}

func (s *bar) decorator() decor.Decorator {
	return decor.Any(func(decor.Statistics) string {
		if text := s.text.Load(); text != nil {
			return *text
		}
		return ""
	})
}

func (s *bar) set(text string) { s.text.Store(&text) }

func (s *bar) show(status urlsession.Status) {
	moved, expected := bytesOf(status)
	s.SetTotal(max(expected, 0), false)
	s.SetCurrent(moved)
	s.set(stateText(status))
}

// drop takes the bar off the terminal.
func (s *bar) drop() { s.Abort(true) }

// endText is what is left of a task that succeeded.
func endText(label string, s urlsession.Status) string {
	moved, _ := bytesOf(s)
	if s.Path != "" {
		label = oneLine(filepath.Base(s.Path))
	}
	took := s.Ended.Sub(s.Created)
	return fmt.Sprintf("%s  %s in %s", label, formatSize(moved), formatDuration(took))
}

// clip cuts a label to n characters, keeping its end, which is what tells files apart.
func clip(label string, n int) string {
	if r := []rune(label); len(r) > n {
		return "…" + string(r[len(r)-n+1:])
	}
	return label
}
