package power

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/urlsession/urlsession/internal/partial"
	"github.com/urlsession/urlsession/test/powerfs"
	"github.com/urlsession/urlsession/urlsessiontest"
)

// journals calls test for each kind of disk, with its share of the cuts.
func journals(t *testing.T, test func(t *testing.T, journal powerfs.Journal, cuts int)) {
	needMounts(t)
	for _, journal := range []powerfs.Journal{powerfs.Ordered, powerfs.Scattered} {
		t.Run(journal.String(), func(t *testing.T) { test(t, journal, (*cuts+1)/2) })
	}
}

// downloads is a machine on which files are downloaded, one after the other, of an origin that breaks off and publishes new
// versions.
type downloads struct {
	*machine
	origin  *urlsessiontest.Server
	file    string // the one on its way, "f1" and so on
	version int    // of it, as published
	sizes   map[string]int64
	whole   map[string]int // versions of those that are done

	promised int64 // how many of its bytes the command kept when it ended
}

// body is a version of a file. Its first bytes differ from those of each other version.
func (d *downloads) body(file string, version int) urlsessiontest.Body {
	n, _ := strconv.ParseUint(file[1:], 10, 32)
	return urlsessiontest.Body{Seed: n<<16 | uint64(version), Size: d.sizes[file]}
}

func newDownloads(t *testing.T, journal powerfs.Journal, seed uint64, origin *urlsessiontest.Server) *downloads {
	return &downloads{machine: newMachine(t, journal, seed), origin: origin, sizes: make(map[string]int64), whole: make(map[string]int)}
}

// arrived reports whether the file has its final name, in the version that is published.
func (d *downloads) arrived() bool {
	data, err := d.disk.ReadFile(d.file)
	return err == nil && string(data) == string(d.body(d.file, d.version).Bytes())
}

func (d *downloads) publish() {
	d.version++
	d.promised = 0
	d.origin.Publish("/"+d.file, urlsessiontest.Resource{Content: d.body(d.file, d.version), ETag: fmt.Sprintf(`"%d"`, d.version)})
}

func (d *downloads) next(n int) {
	d.file, d.version = "f"+strconv.Itoa(n), 0
	d.sizes[d.file] = 1 + d.random.Int64N(300<<10)
	if n%8 == 0 { // checkpoints while bytes arrive
		d.sizes[d.file] = 9<<20 + d.random.Int64N(4<<20)
	}
	d.publish()
}

// work runs the command until it succeeds or the power is gone; each time, the origin may break off or have another version.
func (d *downloads) work() (done bool) {
	for !d.dark() {
		body := d.body(d.file, d.version)
		if d.random.IntN(5) > 0 {
			d.origin.Script("/"+d.file, urlsessiontest.Truncate(d.random.Int64N(body.Size)))
		}
		cmd := exec.Command(binary, "download", "-q", "--retry", "0", "--replace", "-o", filepath.Join(d.dir, d.file), d.origin.URL+"/"+d.file)
		cmd.Env = []string{"HOME=/nonexistent"}
		status, stderr := d.run(cmd, nil)
		switch {
		case status == 0:
			return true
		case status > 0 && !d.dark() && !strings.Contains(stderr, "(-1005)"):
			d.errorf("exit %d: %s", status, stderr)
		case status > 0 && !d.dark():
			d.promised = d.kept().Prefix()
		}
		if d.random.IntN(4) == 0 {
			d.publish()
		}
	}
	return false
}

// check looks at each file that is there.
func (d *downloads) check() {
	d.t.Helper()
	names := d.disk.Names()
	there := make(map[string]bool)
	for _, name := range names {
		there[name] = true
	}
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, ".part.json"):
			d.checkRecord(name, there)
		case strings.Contains(name, ".part"):
		default:
			d.checkWhole(name)
		}
	}
	for name := range d.whole {
		if !there[name] {
			d.errorf("%s was complete and is gone", name)
		}
	}
}

// checkWhole: what has its final name is whole, of the version that was told, or of one that was published after.
func (d *downloads) checkWhole(name string) {
	d.t.Helper()
	data, err := d.disk.ReadFile(name)
	must(d.t, err)
	first := max(d.whole[name], 1)
	last := first
	if name == d.file {
		last = d.version
	}
	for v := first; v <= last; v++ {
		if string(data) == string(d.body(name, v).Bytes()) {
			return
		}
	}
	d.errorf("%s, of %d bytes, is no version from %d to %d", name, len(data), first, last)
}

// checkRecord: each byte that a record claims is there, and of the record's version.
func (d *downloads) checkRecord(name string, there map[string]bool) {
	d.t.Helper()
	text, err := d.disk.ReadFile(name)
	must(d.t, err)
	record, err := partial.ParseRecord(text)
	if err != nil {
		d.errorf("%s: %v", name, err)
	}
	part := strings.TrimSuffix(name, ".json")
	data, err := d.disk.ReadFile(part)
	if !there[part] || len(data) == 0 { // it holds nothing, and the record is none
		return
	}
	must(d.t, err)
	version, err := strconv.Atoi(strings.Trim(record.Validator.ETag, `"`))
	must(d.t, err)
	file, _, _ := strings.Cut(path.Base(name), ".")
	body := d.body(file, version).Bytes()
	if record.Total != int64(len(body)) {
		d.errorf("%s: a total of %d, and it is %d", name, record.Total, len(body))
	}
	for _, r := range record.Held {
		if r[1] > int64(len(data)) {
			d.errorf("%s claims bytes %d to %d, and %s has %d", name, r[0], r[1], part, len(data))
		}
		if string(data[r[0]:r[1]]) != string(body[r[0]:r[1]]) {
			d.errorf("%s claims bytes %d to %d of version %d, and %s has others", name, r[0], r[1], version, part)
		}
	}
}

// kept is what the record on the disk claims, as processes see it; nil where there is none.
func (d *downloads) kept() (ranges partial.Ranges) {
	d.t.Helper()
	for _, name := range d.disk.Names() {
		if strings.HasPrefix(name, d.file+".") && strings.HasSuffix(name, ".part.json") {
			text, err := d.disk.ReadFile(name)
			must(d.t, err)
			record, err := partial.ParseRecord(text)
			if err == nil && record.Validator.ETag == fmt.Sprintf("%q", strconv.Itoa(d.version)) {
				ranges = record.Held
			}
		}
	}
	return ranges
}

// A download whose power is cut again and again: its record never claims what is not there, nor is lost; it goes on
// from there to the right bytes, and a file that was told to be there stays.
func TestDownload(t *testing.T) {
	journals(t, func(t *testing.T, journal powerfs.Journal, cuts int) {
		origin := urlsessiontest.NewServer()
		defer origin.Close()
		files, records := 0, 0
		for ; cuts > 0; cuts -= perMachine {
			d := newDownloads(t, journal, *first+uint64(cuts), origin)
			d.next(cuts)
			for range min(cuts, perMachine) {
				done := false
				d.life(25, func() { done = d.work() })
				if done {
					d.whole[d.file] = d.version
				}
				d.check()
				// A disk without order can forget Commit's rename and keep the removal of the record that follows. Then all is
				// fetched again; one more fsync of each file that has a record would be the price of less.
				if journal == powerfs.Ordered && !done && !d.kept().Contains(0, d.promised) && !d.arrived() {
					d.errorf("bytes 0 to %d of version %d were kept, and now %v are", d.promised, d.version, d.kept())
				}
				if d.kept() != nil {
					records++
				}
				if done {
					files++
				}
				if done && d.random.IntN(3) > 0 {
					d.next(cuts + files)
				} else if done || d.random.IntN(8) == 0 { // done: in place of the one that is there
					d.publish()
				}
			}
		}
		if records == 0 || files == 0 {
			t.Errorf("%d lives left a record, %d files were complete: nothing was tested", records, files)
		}
		t.Logf("%d lives left a record, %d files were complete", records, files)
	})
}

// A download over several connections whose power is cut: what its record claims is there, also where it has holes, and the next
// life goes on from there, over several connections again.
func TestSegments(t *testing.T) {
	journals(t, func(t *testing.T, journal powerfs.Journal, cuts int) {
		origin := urlsessiontest.NewServer(urlsessiontest.ConnectionRate(paceRate))
		defer origin.Close()
		files, holes := 0, 0
		for n := 1; cuts > 0; cuts -= 2 * perMachine { // its lives are longer
			d := newDownloads(t, journal, *first+uint64(cuts), origin)
			for range min(cuts, perMachine) {
				if d.file == "" || d.whole[d.file] != 0 {
					d.file, d.version = "f"+strconv.Itoa(n), 0
					d.sizes[d.file] = 24<<20 + d.random.Int64N(4<<20)
					d.publish()
					n++
				}
				done := false
				d.life(20+d.random.IntN(200), func() { done = d.work() })
				if done {
					d.whole[d.file] = d.version
					files++
				}
				d.check()
				if len(d.kept()) > 1 {
					holes++
				}
			}
		}
		if holes == 0 || files == 0 || origin.Load().PeakRequests < 2 {
			t.Errorf("%d lives left a record with holes, %d files were complete, %d requests at once: nothing was tested", holes, files, origin.Load().PeakRequests)
		}
		t.Logf("%d lives left a record with holes, %d files were complete, %d requests at once", holes, files, origin.Load().PeakRequests)
	})
}

// paceRate is what the origin of TestSegments gives each connection, in bytes a second.
const paceRate = 8 << 20

// perMachine is how often one machine's power is cut, in each of which a test goes on with what the last has left.
const perMachine = 10

// A list of small files, many at once in one folder: each that downloadcompleted told of is there and whole.
func TestList(t *testing.T) {
	journals(t, func(t *testing.T, journal powerfs.Journal, cuts int) {
		origin := urlsessiontest.NewServer()
		defer origin.Close()
		var d *downloads
		origin.PublishFunc(func(path string) (urlsessiontest.Resource, bool) {
			return urlsessiontest.Resource{Content: d.body(path[1:], 1), ETag: `"1"`}, true
		})
		const files = 60
		for life := range max(cuts/4, 1) {
			if life%perMachine == 0 || len(d.whole) == files {
				d = newDownloads(t, journal, *first+uint64(life), origin)
				d.version = 1
				for n := range files {
					d.sizes["f"+strconv.Itoa(n)] = d.random.Int64N(8 << 10)
				}
			}
			d.life(5*files, func() {
				cmd := exec.Command(binary, "download", "--json", "--retry", "0", "-i", "-", "-o", d.dir+"/")
				cmd.Env = []string{"HOME=/nonexistent"}
				var list strings.Builder
				for n := range files {
					if name := "f" + strconv.Itoa((n*7+life)%files); d.whole[name] == 0 {
						fmt.Fprintln(&list, origin.URL+"/"+name)
					}
				}
				cmd.Stdin = strings.NewReader(list.String())
				d.run(cmd, func(line string) {
					var event struct{ Event, Path string }
					if json.Unmarshal([]byte(line), &event) == nil && event.Event == "downloadcompleted" {
						d.whole[filepath.Base(event.Path)] = 1
					}
				})
			})
			for _, name := range d.disk.Names() {
				if d.lost && !strings.Contains(name, ".") {
					d.whole[name] = 1 // it may have come to its name untold
				}
			}
			d.check()
		}
	})
}
