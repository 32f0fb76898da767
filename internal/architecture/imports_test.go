package architecture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listed is what go list tells of a package; its JSON names are go list's.
type listed struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// TestImportLaw checks every package of the module, on each system whose files differ.
func TestImportLaw(t *testing.T) {
	root := "../.."
	seeTree(t, root)
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, violation := range check(list(t, root, goos)) {
			t.Errorf("GOOS=%s: %s", goos, violation)
		}
	}
}

// seeTree opens each folder below root: go test then knows that a cached result is stale when a file has changed, which
// it does not learn from what go list reads.
func seeTree(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func list(t *testing.T, dir, goos string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports,Deps", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list ./...: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// check returns one line for each breach of the law.
func check(pkgs []listed) (violations []string) {
	report := func(format string, args ...any) { violations = append(violations, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		who := below(p.ImportPath)
		r := slices.IndexFunc(law, func(r rule) bool { return r.pkg == who })
		if r < 0 {
			report("%s has no rule: say in law_test.go what it may import, and why", who)
			continue
		}
		may := reachable(who)
		for _, to := range p.Imports {
			switch {
			case ours(to):
				if !slices.Contains(may, below(to)) {
					report("%s imports %s, which it may not: %s", who, below(to), law[r].because)
				}
			default:
				if why := refused(who, to); why != "" {
					report("%s imports %s: %s", who, to, why)
				}
			}
		}
		mayTest := append(slices.Concat(may, testHelpers), who)
		for _, r := range testsMay {
			if r.pkg == who {
				mayTest = append(mayTest, strings.Fields(r.may)...)
			}
		}
		for _, to := range slices.Concat(p.TestImports, p.XTestImports) {
			switch {
			case ours(to):
				if b := below(to); !slices.Contains(mayTest, b) {
					report("a test of %s imports %s, which %s may not: %s", who, b, who, law[r].because)
				}
			case !slices.ContainsFunc(outsidersOfTests, func(path string) bool { return under(to, path) }):
				if why := refused(who, to); why != "" {
					report("a test of %s imports %s: %s", who, to, why)
				}
			}
		}
		for _, n := range nevers {
			if n.pkg != who {
				continue
			}
			from, verb := p.Deps, "reaches"
			if n.direct {
				from, verb = p.Imports, "imports"
			}
			for _, to := range from {
				if under(below(to), n.reach) {
					report("%s %s %s, which it never may: %s", who, verb, below(to), n.because)
				}
			}
		}
	}
	return violations
}

// reachable is what pkg may import of ours: the transitive closure of the law.
func reachable(pkg string) []string {
	var all []string
	var visit func(string)
	visit = func(p string) {
		for _, r := range law {
			if r.pkg != p {
				continue
			}
			for _, to := range strings.Fields(r.may) {
				if !slices.Contains(all, to) {
					all = append(all, to)
					visit(to)
				}
			}
		}
	}
	visit(pkg)
	return all
}

// refused says why who may not import path, which is not ours; "" if it may.
func refused(who, path string) string {
	for _, o := range outsiders {
		if under(path, o.path) {
			if slices.Contains(strings.Fields(o.by), who) {
				return ""
			}
			return "only " + o.by + " may: " + o.because
		}
	}
	if who == "urlsessiontest" && !standard(path) {
		return "it is standard library only, so that any project can take it"
	}
	if !standard(path) {
		return "it is not in law_test.go: a new dependency is a decision (docs/decisions)"
	}
	return ""
}

func ours(path string) bool { return under(path, module) }

// below is the path of a package of ours below the module, "." for the root; any other path is returned as it is.
func below(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

// under reports whether path is root or lies below it.
func under(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

// standard reports whether path is of the standard library: a module's first element has a dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}

// TestLawIsWellFormed finds rules that could never speak, and cycles.
func TestLawIsWellFormed(t *testing.T) {
	var known []string
	for _, r := range law {
		if slices.Contains(known, r.pkg) {
			t.Errorf("%s has two rules", r.pkg)
		}
		known = append(known, r.pkg)
		if r.because == "" {
			t.Errorf("%s has no reason", r.pkg)
		}
		if slices.Contains(reachable(r.pkg), r.pkg) {
			t.Errorf("%s may import itself, through others", r.pkg)
		}
	}
	names := slices.Clone(testHelpers)
	for _, r := range slices.Concat(law, testsMay) {
		names = append(append(names, r.pkg), strings.Fields(r.may)...)
	}
	for _, n := range nevers {
		names = append(names, n.pkg)
	}
	for _, o := range outsiders {
		names = append(names, strings.Fields(o.by)...)
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			t.Errorf("the law names %s, which has no rule", name)
		}
	}
}

// TestLawSpeaks breaks the law in each way and expects the reason.
func TestLawSpeaks(t *testing.T) {
	pkg := func(name string, imports ...string) listed {
		path := module
		if name != "." {
			path += "/" + name
		}
		return listed{ImportPath: path, Imports: imports, Deps: imports}
	}
	for _, c := range []struct {
		name string
		p    listed
		want string // "": lawful
	}{
		{"transitive", pkg("internal/engine", module+"/internal/task", module+"/internal/durable"), ""},
		{"upwards", pkg("internal/task", module+"/internal/engine"), "may not"},
		{"sideways", pkg("internal/partial", module+"/internal/transport"), "may not"},
		{"engine and control", pkg("internal/engine", module+"/internal/control"), "socket exists"},
		{"root and database", pkg(".", "database/sql"), "no database"},
		{"root and database, through others", listed{ImportPath: module, Deps: []string{"modernc.org/sqlite/lib"}}, "never may"},
		{"root and daemon", pkg(".", module+"/daemon"), "may not"},
		{"command and engine", pkg("cmd/urlsession", module+"/internal/engine"), "public API"},
		{"command and daemon", pkg("cmd/urlsession", module+"/daemon", module), ""},
		{"testing in code", pkg("urlsessiontest", "testing"), "raft's mistake"},
		{"testing in the conformance suite", pkg("internal/store/storetest", "testing"), ""},
		{"origin with a module", pkg("urlsessiontest", "golang.org/x/net/http2"), "only"},
		{"unknown module", pkg("internal/transfer", "example.com/left-pad"), "docs/decisions"},
		{"module of another package", pkg("internal/engine", "github.com/godbus/dbus/v5"), "only internal/platform"},
		{"huma in the daemon", pkg("daemon", "github.com/danielgtaylor/huma/v2"), "huma lives there alone"},
		{"huma in the client", listed{ImportPath: module + "/internal/control", Deps: []string{"github.com/danielgtaylor/huma/v2"}}, "never may"},
		{"client and file I/O", pkg("internal/control", module+"/internal/durable"), "may not"},
		{"unknown package", pkg("internal/util"), "no rule"},
		{"test with helper", listed{ImportPath: module + "/internal/transfer", TestImports: []string{"testing", module + "/urlsessiontest"}}, ""},
		{"test reaching up", listed{ImportPath: module + "/internal/transfer", XTestImports: []string{module}}, "a test of"},
		{"code with a helper", pkg("internal/transfer", module+"/urlsessiontest"), "may not"},
	} {
		got := strings.Join(check([]listed{c.p}), "\n")
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
