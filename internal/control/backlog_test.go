package control

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/task"
)

func TestBacklog(t *testing.T) {
	var b Backlog[string]
	b.Add(1, ProgressesOf(1)[0], "1p10")
	b.Add(2, ProgressesOf(2)[0], "2p5")
	b.Add(1, ProgressesOf(1)[0], "1p20")
	b.Add(1, ProgressesOf(1)[1], "1u1")
	b.Add(1, 0, "1response")
	b.Add(1, ProgressesOf(1)[0], "1p30")
	b.Add(2, ProgressesOf(2)[0], "2p6")
	b.Add(1, ProgressesOf(1)[0], "1p40")
	if b.Durable() != 1 {
		t.Errorf("%d durable", b.Durable())
	}
	var got []string
	for {
		v, ok := b.Pop()
		if !ok {
			break
		}
		if got = append(got, v); v == "2p6" { // what was taken is not replaced
			b.Add(2, ProgressesOf(2)[0], "2p7")
		}
	}
	if s := strings.Join(got, " "); s != "1p20 2p6 1u1 1response 1p40 2p7" {
		t.Error(s)
	}
}

// TestBacklogAgainstAList compares it with the plainest thing that does the same.
func TestBacklogAgainstAList(t *testing.T) {
	type entry struct {
		id   task.ID
		live Progress
		v    string
	}
	var b Backlog[string]
	var list []entry
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 100_000 {
		if r.IntN(5) < 2 {
			got, ok := b.Pop()
			if ok != (len(list) > 0) || ok && got != list[0].v {
				t.Fatalf("step %d: got %q, %v", i, got, ok)
			}
			if ok {
				list = list[1:]
			}
			continue
		}
		if r.IntN(20) == 0 {
			all := b.Take(nil)
			if len(all) != len(list) {
				t.Fatalf("step %d: took %d, want %d", i, len(all), len(list))
			}
			for j, v := range all {
				if v != list[j].v {
					t.Fatalf("step %d: took %q, want %q", i, v, list[j].v)
				}
			}
			list = nil
		}
		id := task.ID(1 + r.IntN(3))
		progress := ProgressesOf(id)
		e := entry{id, append(progress[:], 0)[r.IntN(3)], fmt.Sprint(i)}
		b.Add(e.id, e.live, e.v)
		replaced := false
		for j := len(list) - 1; j >= 0 && e.live != 0; j-- {
			if list[j].id != e.id {
				continue
			}
			if list[j].live == 0 {
				break
			}
			if list[j].live == e.live {
				list[j].v, replaced = e.v, true
				break
			}
		}
		if !replaced {
			list = append(list, e)
		}
		durable := 0
		for _, e := range list {
			if e.live == 0 {
				durable++
			}
		}
		if b.Durable() != durable {
			t.Fatalf("step %d: %d durable, want %d", i, b.Durable(), durable)
		}
	}
}

func TestDeltas(t *testing.T) {
	var d Deltas
	for _, c := range []struct {
		total, said, want int64
		tell              bool
	}{
		{10, 10, 10, true},
		{10, 0, 0, false},
		{30, 5, 20, true}, // what was between was not told
		{30, 30, 0, false},
		{4, 4, 4, true}, // it started over
	} {
		ev, changed, tell := d.Adjust(task.Event{Task: 1, Detail: task.DownloadProgress{Written: c.said, Total: c.total}})
		got := ev.Detail.(task.DownloadProgress).Written
		if tell != c.tell || tell && (got != c.want || changed != (c.said != c.want)) {
			t.Errorf("%+v: %d, changed %v, tell %v", c, got, changed, tell)
		}
	}
	if ev, _, tell := d.Adjust(task.Event{Task: 1, Detail: task.UploadProgress{Sent: 1, Total: 4}}); !tell || ev.Detail.(task.UploadProgress).Sent != 4 {
		t.Errorf("%+v", ev)
	}
	d.Adjust(task.Event{Task: 1, Detail: task.SessionCompleted{}})
	if len(d.told) != 0 {
		t.Errorf("%v is still known", d.told)
	}
}
