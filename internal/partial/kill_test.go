package partial

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"
)

const killedSize = 40<<20 + 777

// childDownload goes on from the part file as a download would: of the version that is held, in segments, and of the
// next version when it is complete. It prints what it has done before it goes on, for the parent to hold it to.
func childDownload(path string) {
	f, err := Open(path)
	if err != nil {
		panic(err)
	}
	var out sync.Mutex
	say := func(words ...any) { // one write, so that what is said is said whole
		out.Lock()
		defer out.Unlock()
		os.Stdout.WriteString(fmt.Sprintln(words...))
	}
	say("open")
	version, err := versionOf(f.Validator())
	if err != nil || f.Held() == nil {
		version = rand.IntN(1 << 20)
		say("begin", version)
		if err := f.Begin(versioned(version), killedSize); err != nil {
			panic(err)
		}
	}
	for {
		var wg sync.WaitGroup
		holes := f.Written().Holes(killedSize)
		next := make(chan [2]int64)
		for range 3 {
			wg.Go(func() {
				for a := range next {
					if _, err := f.WriteAt(content(version, a[0], a[1]), a[0]); err != nil {
						panic(err)
					}
					say("wrote", version, a[1]-a[0])
				}
			})
		}
		for _, hole := range holes {
			for at := hole[0]; at < hole[1]; {
				end := min(at+1+rand.Int64N(512<<10), hole[1])
				next <- [2]int64{at, end}
				at = end
				if rand.IntN(50) == 0 {
					if err := f.Checkpoint(); err != nil {
						panic(err)
					}
				}
			}
		}
		close(next)
		wg.Wait()
		version++
		say("begin", version)
		if err := f.Begin(versioned(version), killedSize); err != nil {
			panic(err)
		}
	}
}

// After kill -9 at any moment, what is held is of one version, to the byte, and lacks at most UnrecordedLimit.
func TestKilled(t *testing.T) {
	path := newPart(t)
	held, version := Ranges(nil), -1 // as the last round left it
	resumed, began := 0, 0
	for range 15 {
		cmd := childCommand(t, "download", path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		lines := bufio.NewScanner(out)
		lines.Scan() // it is open
		go func() {
			time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond) // any moment will do
			cmd.Process.Kill()
		}()
		known := held.Total()
		for lines.Scan() {
			var v int
			var n int64
			if _, err := fmt.Sscanf(lines.Text(), "begin %d", &v); err == nil {
				version, known = v, 0
				began++
			} else if _, err := fmt.Sscanf(lines.Text(), "wrote %d %d", &v, &n); err == nil && v == version {
				known += n
			}
		}
		cmd.Wait()

		f, err := Open(path)
		must(t, err)
		held = f.Held()
		if held != nil {
			resumed++
			v, err := versionOf(f.Validator())
			must(t, err)
			if v != version && v != version-1 { // killed after it said that it would begin, before it did
				t.Fatalf("version %d is held, and %d was written", v, version)
			}
			if v != version {
				version, known = v, 0
			}
			if err := checkHeld(mustRead(t, path), held, v); err != nil {
				t.Fatal(err)
			}
		}
		if lost := known - held.Total(); lost > UnrecordedLimit {
			t.Fatalf("%d bytes were written and are not held", lost)
		}
		must(t, f.Close())
	}
	if resumed == 0 || began == 0 {
		t.Errorf("%d rounds left something held, %d versions were begun: nothing was tested", resumed, began)
	}
	t.Logf("%d rounds left something held, %d versions were begun", resumed, began)
}
