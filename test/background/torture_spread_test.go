package background

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urlsession/urlsession"
	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// checkRecords looks at the downloads over several connections, once the daemon is dead: of what this life has brought into a
// part file, its record may lack so many bytes, whichever connections brought them.
func (x *torture) checkRecords(most int64) {
	x.t.Helper()
	spread := false
	for _, j := range x.plan.Jobs {
		if !j.Spread {
			continue
		}
		parts, err := filepath.Glob(x.plan.destination(j) + ".*.part")
		if err != nil || len(parts) == 0 { // not begun, or ended
			continue
		}
		var held partial.Ranges
		if text, err := os.ReadFile(parts[0] + ".json"); err == nil {
			record, err := partial.ParseRecord(text)
			if err != nil {
				x.t.Errorf("the record of job %d: %v", j.Number, err)
			}
			held = record.Held
		}
		spread = spread || len(held) > 1
		lacks, err := unrecorded(parts[0], held, j.body())
		if err != nil {
			x.t.Fatal(err)
		}
		if lost := lacks - x.lacked[j.Number]; lost > most {
			x.t.Errorf("at kill %d, the record of job %d lacked %d bytes that had come since the last: %v", x.kills+1, j.Number, lost, held)
		}
		x.lacked[j.Number] = lacks
	}
	if spread {
		x.spread++
	}
}

// unrecorded is how many bytes a part file has that its record lacks, by blocks that are the body's.
func unrecorded(path string, held partial.Ranges, body urlsessiontest.Body) (n int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	const block = 4 * kib
	there, want := make([]byte, block), make([]byte, block)
	zero := [block]byte{}
	for _, hole := range held.Holes(info.Size()) {
		for at := hole[0]; at < hole[1]; at += block {
			size := min(block, hole[1]-at)
			if _, err := f.ReadAt(there[:size], at); err != nil {
				return 0, err
			}
			if string(there[:size]) == string(zero[:size]) {
				continue // nobody has been there
			}
			if _, err := body.ReadAt(want[:size], at); err != nil {
				return 0, err
			}
			if string(there[:size]) == string(want[:size]) {
				n += size
			}
		}
	}
	return n, nil
}

// checkFetched says whether a download fetched more twice than the kills may cost: of each life of the daemon but the last what it
// had fetched and not recorded, and what was under way in the kernel's buffers, and never read. It also says whether one that was
// to come over several connections had them.
func (x *torture) checkFetched(j job) error {
	if j.Kind != urlsession.KindDownload || !j.Strong {
		return nil
	}
	onTheWay := bufferMost("rmem") + bufferMost("wmem") // of a connection
	if j.Spread {
		onTheWay = paceRate / 2
	}
	lives := make([][]urlsessiontest.Request, len(x.lives)+1)
	for _, r := range x.server(j).RequestsTo(j.path()) {
		n := 0
		for n < len(x.lives) && x.lives[n].Before(r.Time) {
			n++
		}
		lives[n] = append(lives[n], r)
	}
	most := 0
	var sent, allowed int64
	for _, requests := range lives {
		n := atOnce(requests)
		most = max(most, n)
		var fetched int64
		for _, r := range requests {
			fetched += r.Sent
		}
		sent += fetched
		allowed += min(fetched, checkpoint+int64(n)*onTheWay)
	}
	if j.Size >= 32*mib {
		x.t.Logf("job %d, of %d MiB: %d connections at most, %d MiB fetched again", j.Number, j.Size/mib, most, (sent-j.Size)/mib)
	}
	if j.Spread && most < 2 {
		return errors.New("it never had a second connection")
	}
	if again := sent - j.Size; again > allowed {
		return fmt.Errorf("%d bytes were fetched again", again)
	}
	return nil
}

// checkpoint is the most that a download has written and not recorded, and one buffer.
const checkpoint = partial.UnrecordedLimit + mib

// bufferMost is the most bytes that the kernel holds for a TCP socket in a direction.
func bufferMost(direction string) int64 {
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_" + direction)
	if f := strings.Fields(string(b)); err == nil && len(f) == 3 {
		if n, err := strconv.ParseInt(f[2], 10, 64); err == nil {
			return n
		}
	}
	return 8 * mib
}

// atOnce is the most of the requests that were answered at once.
func atOnce(requests []urlsessiontest.Request) (most int) {
	for _, r := range requests {
		n := 0
		for _, other := range requests {
			if !other.Time.After(r.Time) && (other.Ended.IsZero() || other.Ended.After(r.Time)) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}
