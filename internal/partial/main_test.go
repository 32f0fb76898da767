package partial

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// childEnv names what this test binary does, instead of tests, in a process that a test starts in order to kill it.
const childEnv = "PARTIAL_TEST_CHILD"

var children = map[string]func(path string){
	"download": childDownload,
	"hold":     childHold,
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		children[name](os.Getenv(childEnv + "_PATH"))
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func childCommand(t *testing.T, name, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+name, childEnv+"_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

const page = 4096

// fill makes p, which begins at off, what version has there: each page repeats a number of version and page.
func fill(p []byte, version int, off int64) {
	var number [8]byte
	for len(p) > 0 {
		index := off / page
		binary.LittleEndian.PutUint64(number[:], (uint64(version)<<32+uint64(index)+1)*0x9e3779b97f4a7c15)
		n := min(len(p), int(page-off%page))
		for i := range n {
			p[i] = number[(off+int64(i))%8]
			if i == 63 { // the rest by doubling: 8 divides 64
				for i++; i < n; i *= 2 {
					copy(p[i:n], p[:i])
				}
				break
			}
		}
		p, off = p[n:], off+int64(n)
	}
}

// content is the bytes [first, end) of version.
func content(version int, first, end int64) []byte {
	p := make([]byte, end-first)
	fill(p, version, first)
	return p
}

// versioned is the validator by which versionOf knows a version again.
func versioned(version int) Validator { return Validator{ETag: fmt.Sprintf(`"%d"`, version)} }

func versionOf(v Validator) (version int, err error) {
	_, err = fmt.Sscanf(v.ETag, `"%d"`, &version)
	return version, err
}

// checkHeld holds every byte of held, in data, against version.
func checkHeld(data []byte, held Ranges, version int) error {
	for _, a := range held {
		if a[1] > int64(len(data)) {
			return fmt.Errorf("[%d,%d) is held of %d bytes", a[0], a[1], len(data))
		}
		for first := a[0]; first < a[1]; first += 1 << 20 {
			end := min(first+1<<20, a[1])
			if !bytes.Equal(data[first:end], content(version, first, end)) {
				return fmt.Errorf("bytes in [%d,%d) are not those of version %d", first, end, version)
			}
		}
	}
	return nil
}

func newPart(t *testing.T) string { return filepath.Join(t.TempDir(), Name("file.bin", "0123abcd")) }

func mustOpen(t *testing.T, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// begun is a new part file of version 1 and total bytes.
func begun(t *testing.T, total int64) *File {
	t.Helper()
	f := mustOpen(t, newPart(t))
	must(t, f.Begin(versioned(1), total))
	return f
}

// write writes the bytes [first, end) of version 1.
func write(t *testing.T, f *File, first, end int64) {
	t.Helper()
	if n, err := f.WriteAt(content(1, first, end), first); err != nil || int64(n) != end-first {
		t.Fatalf("write of [%d,%d): %d, %v", first, end, n, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return data
}

// wantNames checks the names in folder, in order.
func wantNames(t *testing.T, folder string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	must(t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the folder has %q, want %q", got, want)
	}
}
